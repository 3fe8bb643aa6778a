"""Copies of training rows of the target, and of single features of near ones."""

from __future__ import annotations

import torch

from scfe_sklearn.solvers.fallback.ledger import COORDINATES, Ledger
from scfe_sklearn.solvers.problem import TOLERANCE
from scfe_sklearn.solvers.starts import hybrids

WAVES = (64, 4096)
"""Training rows whose margin is computed, nearest first: a few, then more."""

LOOKED_AT = 256
"""Near training rows from which those to copy are chosen."""

COPIED = 8192
"""Points per row that are evaluated while features are copied, about."""

MOST = 8
"""Features that are copied at most."""


def try_training_rows(ledger: Ledger, anchors: torch.Tensor) -> None:
    """Evaluate the training rows (T, D) that the rules and budget of each row permit."""
    done = 0
    for wave in WAVES:
        left = ledger.missing()
        if len(left) == 0 or done >= len(anchors):
            return
        for rows in left.split(max(COORDINATES // max(anchors.numel(), 1), 1)):
            problem = ledger.problem.take(rows)
            hybrid = hybrids(problem.domain, anchors)
            changes = problem.domain.changed(hybrid).sum(-1)
            fits = ((hybrid - anchors).abs() <= TOLERANCE).all(-1)
            fits &= (changes > 0) & (changes <= problem.max_changes[:, None])
            distance = torch.where(fits, problem.sparse_distance(hybrid.clone()), torch.inf)
            order = distance.argsort(dim=1, stable=True)[:, done:wave]
            row, entry = (distance.gather(1, order) < torch.inf).nonzero().T
            points = anchors[order[row, entry]]
            ledger.evaluate(rows[row], points, torch.arange(len(row), device=row.device))
        done = wave


def copy_features(ledger: Ledger, anchors: torch.Tensor, count: int) -> None:
    """Copy features of near training rows greedily, within the budget.

    Parameters
    ----------
    ledger : Ledger
        n rows.
    anchors : Tensor of shape (T, D)
        Training rows of the target.
    count : int
        Training rows per row at most, the nearest that are valid.
    """
    if len(anchors) == 0:
        return
    features = ledger.problem.domain.n_features
    count = max(min(count, COPIED // (features * min(MOST, features))), 1)
    everything = torch.arange(len(ledger.problem), device=anchors.device)
    chunk = max(COORDINATES // max(anchors.numel(), anchors.shape[1] ** 2 * count), 1)
    for rows in everything.split(chunk):
        problem = ledger.problem.take(rows)
        hybrid = hybrids(problem.domain, anchors)
        distance = (hybrid - problem.domain.factual[:, None]).square().sum(-1)
        distance = torch.where(distance > TOLERANCE, distance, torch.inf)
        order = distance.argsort(dim=1, stable=True)[:, :LOOKED_AT]
        ends = hybrid.gather(1, order[..., None].expand(-1, -1, hybrid.shape[2]))
        valid = problem.valid(ends, distance.gather(1, order) < torch.inf)
        row, entry = (valid & (valid.cumsum(1) <= count)).nonzero().T
        _copied(ledger, rows[row], ends[row, entry])


def _copied(ledger: Ledger, rows: torch.Tensor, ends: torch.Tensor) -> None:
    """Copy features of the points ``ends`` (k, D) to the rows (k,), one after the other."""
    domain = ledger.problem.domain
    here = domain.factual[rows]
    left = domain.take(rows).changed(ends[:, None])[:, 0]
    features = torch.arange(domain.n_features, device=rows.device)
    belongs = domain.groups == features[:, None]
    budget = ledger.problem.max_changes[rows]
    for step in range(min(MOST, domain.n_features)):
        going = (ledger.valid.best[rows] == torch.inf) & left.any(1) & (budget > step)
        keep = going.nonzero()[:, 0]
        if len(keep) == 0:
            return
        rows, ends, here, left, budget = (part[keep] for part in (rows, ends, here, left, budget))
        instance, feature = left.nonzero().T
        points = torch.where(belongs[feature], ends[instance], here[instance])
        got = ledger.evaluate(
            rows[instance], points, torch.arange(len(instance), device=rows.device)
        )
        margin = torch.full(left.shape, -torch.inf, dtype=got.dtype, device=got.device)
        margin[instance, feature] = got
        best = margin.argmax(1)
        here = torch.where(belongs[best], ends, here)
        left = left.clone()
        left[torch.arange(len(best), device=best.device), best] = False
