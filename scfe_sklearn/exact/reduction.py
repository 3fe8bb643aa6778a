"""Nodes that a row can reach, and options that the reachable nodes distinguish."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from scfe_sklearn.exact.options import Options
from scfe_sklearn.exact.protocols import Ensemble


@dataclass(frozen=True, eq=False)
class Reach:
    """The part of an ensemble that a row can reach, over a reduced set of options.

    Parameters
    ----------
    options : Options
        The options that are left.
    tree : ndarray of shape (N,), int
        Tree of each node.
    passes : ndarray of shape (N, M), bool
        Whether an option leads to a node, as far as the path above tests its column.
    reached : ndarray of shape (N,), bool
        Nodes that some choice of options reaches.
    """

    options: Options
    tree: np.ndarray
    passes: np.ndarray
    reached: np.ndarray


@dataclass(frozen=True, eq=False)
class Limits:
    """Limits on the cost of an answer.

    Parameters
    ----------
    cost : ndarray of shape (M,)
        What each option adds to the cost, nothing negative.
    most : float
        Cost of a known answer: only answers that cost no more are looked for.
    max_changes : int
        Budget of changed columns.
    further : bool
        Whether the distance counts that numbers go beyond the values of their options.
    """

    cost: np.ndarray
    most: float
    max_changes: int
    further: bool = False


def reduce(ensemble: Ensemble, options: Options, limits: Limits) -> tuple[Reach, Limits]:
    """Drop what no answer within the limits can use.

    Options that cost too much go first, then nodes that no remaining choice reaches within
    cost and budget; then all but the cheapest of neighbouring options that no reachable node
    distinguishes. All of this is exact.

    Parameters
    ----------
    ensemble : Ensemble
        The trees.
    options : Options
        What the row may become.
    limits : Limits
        What it may cost.

    Returns
    -------
    Reach, Limits
        The reduced problem, with the costs of its options.
    """
    affordable = limits.cost <= limits.most
    if limits.max_changes == 0:
        affordable &= ~options.changed
    affordable[options.stay] = True
    options, limits = _kept(options, limits, affordable)
    reach = _reach(ensemble, options, limits)
    return _merged(ensemble, reach, limits)


def _kept(options: Options, limits: Limits, keep: np.ndarray) -> tuple[Options, Limits]:
    return options.keep(keep), replace(limits, cost=limits.cost[keep])


def left_options(ensemble: Ensemble, options: Options, nodes: np.ndarray) -> np.ndarray:
    """Options (k, M) that go left at nodes (k,); all of the columns that they do not test."""
    tested = ensemble.column[nodes]
    out = options.column[None] != tested[:, None]
    for j in np.unique(tested):
        block = slice(int(options.starts[j]), int(options.starts[j + 1]))
        at = np.flatnonzero(tested == j)
        value = options.value[block][None]
        if options.numeric[j]:
            left = value <= ensemble.threshold[nodes[at]][:, None]
            left |= np.isnan(value) & ensemble.missing_left[nodes[at]][:, None]
        else:
            where = options.offsets[j] + options.value[block].astype(np.intp)
            left = ensemble.level_sets[ensemble.level_set[nodes[at]][:, None], where[None]]
        out[at, block] = left
    return out


def _reach(ensemble: Ensemble, options: Options, limits: Limits) -> Reach:
    """Descend all trees at once, level by level."""
    n, m = len(ensemble.left), len(options.value)
    sizes: np.ndarray = np.diff(np.append(ensemble.roots, n))
    tree = np.repeat(np.arange(len(ensemble.roots)), sizes)
    passes = np.zeros((n, m), dtype=bool)
    reached = np.zeros(n, dtype=bool)
    passes[ensemble.roots] = True
    reached[ensemble.roots] = True
    level = np.asarray(ensemble.roots, dtype=np.intp)
    while len(level):
        level = level[ensemble.column[level] >= 0]
        fixed = ensemble.left[level] == ensemble.right[level]  # no test
        passes[ensemble.left[level[fixed]]] = passes[level[fixed]]
        reached[ensemble.left[level[fixed]]] = True
        below = [ensemble.left[level[fixed]]]
        testing = level[~fixed]
        if len(testing):
            left = left_options(ensemble, options, testing)
            tested = options.column[None] != ensemble.column[testing][:, None]
            for child, goes in ((ensemble.left, left), (ensemble.right, ~left | tested)):
                nodes = child[testing]
                passes[nodes] = passes[testing] & goes
                alive = _affordable(passes[nodes], options, limits)
                reached[nodes[alive]] = True
                below.append(nodes[alive])
        level = np.concatenate(below)
    return Reach(options, tree, passes & reached[:, None], reached)


def _affordable(passes: np.ndarray, options: Options, limits: Limits) -> np.ndarray:
    """Return which nodes (k,) the options that pass (k, M) reach within limits."""
    if not len(passes):
        return np.zeros(0, dtype=bool)
    cost = np.where(passes, limits.cost, np.inf)
    least = np.minimum.reduceat(cost, options.starts[:-1], axis=1).sum(axis=1)
    changes = (~passes[:, options.stay]).sum(axis=1)
    return np.isfinite(least) & (least <= limits.most) & (changes <= limits.max_changes)


def _merged(ensemble: Ensemble, reach: Reach, limits: Limits) -> tuple[Reach, Limits]:
    """Keep the cheapest of the options that every branching node sends the same way.

    Joint rules must not distinguish them, either. Of columns that a relation reads, the cells of
    the others become part of the option that is kept.

    A node with one reachable child needs no test: the other way breaks the limits, and a
    cheaper option does not break limits that a more expensive one keeps.
    """
    options = reach.options
    branching = np.flatnonzero(
        reach.reached
        & (ensemble.left != ensemble.right)
        & reach.reached[ensemble.left]
        & reach.reached[ensemble.right]
    )
    keep = np.zeros(len(options.value), dtype=bool)
    keep[options.stay] = True
    tested, named = ensemble.column[branching], options.rules.columns
    far, away = options.far.copy(), options.away
    for j in range(len(options.stay)):
        start, stop = int(options.starts[j]), int(options.starts[j + 1])
        mine = branching[tested == j]
        if stop - start == 1 or not (len(mine) or j in named):
            continue  # nothing tests it: it may as well stay
        if j in named and not options.numeric[j]:
            keep[start:stop] = True  # what rules make of each level may differ
            continue
        left = left_options(ensemble, options, mine)[:, start:stop]
        if j in named:
            value = options.value[start:stop]
            left = np.vstack([left, options.rules.patterns(j, value, float(options.home[j]))])
        _, group = np.unique(left, axis=1, return_inverse=True)
        group = np.ravel(group)
        # nearest to the row among equally cheap ones: a cell goes on from there
        order = np.lexsort((away[start:stop], limits.cost[start:stop], group))
        first = np.ones(len(order), dtype=bool)
        first[1:] = group[order][1:] != group[order][:-1]
        cheapest = order[first]
        own = group[int(options.stay[j]) - start]
        others = group[cheapest] != own
        keep[start + cheapest[others]] = True
        if j in options.rules.loose:
            last = order[np.append(first[1:], True)]
            far[start + cheapest[others]] = options.far[start + last[others]]
    kept, limits = _kept(replace(options, far=far), limits, keep)
    return replace(reach, options=kept, passes=reach.passes[:, keep]), limits
