"""Exchange one changed feature for another, now that the others have their best values."""

from __future__ import annotations

import torch

from scfe_sklearn.solvers.problem import Pool, Problem, first_flagged


def swap(problem: Problem, pool: Pool, size: int, most: int) -> Pool:
    """Try every other single move in the place of each change of the best point.

    The screen compares supports by coarse values. A support that lost there may win once the
    features that it shares with the winner have been refined.

    Parameters
    ----------
    problem : Problem
        n rows.
    pool : Pool
        Refined points; the best of each row is exchanged.
    size : int
        Size of the pool that is returned.
    most : int
        About so many moves are tried, spread over features and values.

    Returns
    -------
    Pool
        Valid points of other supports, to be refined in their turn.
    """
    domain, out = problem.domain, Pool.empty(problem, size)
    rows = (pool.best < torch.inf).nonzero()[:, 0]
    if len(rows) == 0 or len(problem.moves) == 0:
        return out
    moves = problem.moves.subset(problem.moves.thinned(most))
    part, best = problem.take(rows), pool.z[rows, 0]
    changed = part.domain.changed(best[:, None])[:, 0]
    width = int(changed.sum(1).max())
    there, feature = first_flagged(changed, width)
    owns = domain.groups == feature[..., None]
    less = torch.where(owns, part.domain.factual[:, None], best[:, None])
    free = ~changed[:, moves.group] & moves.permitted(part.domain)
    live = there[:, :, None] & free[:, None]
    z = moves.apply(less[:, :, None], torch.arange(len(moves), device=best.device)).flatten(1, 2)
    price = part.sparse_distance(less)[:, :, None] + part.move_price(moves)[:, None]
    price = price.flatten(1)
    valid = part.margin(z, live.flatten(1)) >= part.floor
    combined = part.objective.combined_plausibility(
        less, part.domain.factual, moves.target, moves.keeps
    )
    worst = torch.full_like(price, torch.inf)
    if combined is None:
        # The cheapest few, by what is known without the density.
        order = torch.where(valid, price, worst).topk(min(4 * size, price.shape[1]), 1, False)
        z = z.gather(1, order.indices[..., None].expand(-1, -1, z.shape[2]))
        price, valid = price.gather(1, order.indices), valid.gather(1, order.indices)
        plausibility, worst = part.plausibility(z, valid), torch.full_like(price, torch.inf)
    else:
        plausibility = combined.flatten(1)
    cost = torch.where(valid, price - plausibility, worst)
    return out.scattered(rows, Pool.empty(part, size).merged(part, z, cost))
