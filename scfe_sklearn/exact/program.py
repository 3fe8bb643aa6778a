"""The mixed-integer program of one row.

Variables: for a number with options 0 to M - 1 the binaries ``z_p = [its option is below p]``,
p = 1 to M - 1, which ascend; for a column with levels one binary per option, which add up to
1; and for every reachable leaf of a tree with more than one of them a continuous y in [0, 1],
which add up to 1 per tree. Below every branch, the leaves together are at most the options of
the tested column that lead there, so whole z and x leave one leaf per tree.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy import sparse

from scfe_sklearn.exact.options import Options
from scfe_sklearn.exact.requirements import Ensemble


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


@dataclass(frozen=True, eq=False)
class Program:
    """Minimise ``cost @ v + constant`` with ``low <= matrix @ v <= high``, v in [0, 1].

    Parameters
    ----------
    matrix : sparse array of shape (rows, V)
        All rows that do not depend on the conditions on the output.
    low, high : ndarray of shape (rows,)
        Their bounds.
    pick : sparse array of shape (M, V)
        Options as functions of the variables, with `pick_constant` (M,).
    pick_constant : ndarray of shape (M,)
        See there.
    n_binary : int
        The first variables are whole.
    leaf : ndarray of shape (L,), int
        Node of each of the other variables.
    certain : ndarray of shape (k,), int
        Leaves that the row reaches whatever it does.
    """

    matrix: sparse.csr_array
    low: np.ndarray
    high: np.ndarray
    pick: sparse.csr_array
    pick_constant: np.ndarray
    n_binary: int
    leaf: np.ndarray
    certain: np.ndarray

    @property
    def n_variables(self) -> int:
        """Number of variables."""
        return self.n_binary + len(self.leaf)

    def over_leaves(self, coefficient: np.ndarray) -> sparse.csr_array:
        """Rows (R, V) of node coefficients (N, R) over the leaf variables."""
        empty = sparse.csr_array((coefficient.shape[1], self.n_binary))
        return sparse.csr_array(
            sparse.hstack([empty, sparse.csr_array(coefficient[self.leaf].T)], format="csr")
        )

    def chosen(self, v: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Option (J,) that a solution takes in each column."""
        share = self.pick @ v + self.pick_constant
        return np.array([a + int(share[a:b].argmax()) for a, b in pairwise(starts)])


def build(ensemble: Ensemble, reach: Reach) -> Program:
    """Write down the program of a reduced row.

    Parameters
    ----------
    ensemble : Ensemble
        The trees.
    reach : Reach
        What the row can reach.

    Returns
    -------
    Program
    """
    pick, pick_constant, order_rows, order_low, order_high = _pick(reach)
    n_binary = pick.shape[1]
    is_leaf = reach.reached & (ensemble.column < 0)
    leaves = np.flatnonzero(is_leaf)
    counts = np.bincount(reach.tree[leaves], minlength=len(ensemble.roots))
    certain = leaves[counts[reach.tree[leaves]] == 1]
    leaf = leaves[counts[reach.tree[leaves]] > 1]
    below = _below(ensemble, reach, leaf)
    paths, bounds = _paths(ensemble, reach, below, pick, pick_constant)
    trees = _one_leaf_per_tree(reach, leaf)
    padding = sparse.csr_array((order_rows.shape[0], len(leaf)))
    matrix = sparse.vstack(
        [
            sparse.hstack([order_rows, padding]),
            sparse.hstack([sparse.csr_array((trees.shape[0], n_binary)), trees]),
            paths,
        ],
        format="csr",
    )
    ones = np.ones(trees.shape[0])
    low = np.concatenate([order_low, ones, np.full(len(bounds), -np.inf)])
    high = np.concatenate([order_high, ones, bounds])
    return Program(
        sparse.csr_array(matrix), low, high, pick, pick_constant, n_binary, leaf, certain
    )


def _pick(
    reach: Reach,
) -> tuple[sparse.csr_array, np.ndarray, sparse.csr_array, np.ndarray, np.ndarray]:
    """Options as functions of the binaries, and the rows that the binaries obey."""
    options = reach.options
    rows: list[int] = []
    cols: list[int] = []
    data: list[float] = []
    constant = np.zeros(len(options.value))
    order: list[tuple[list[int], list[float], float, float]] = []
    count = 0
    for j, numeric in enumerate(options.numeric):
        start, stop = int(options.starts[j]), int(options.starts[j + 1])
        size = stop - start
        if size == 1:
            constant[start] = 1.0
        elif numeric:
            # option p is z_{p+1} - z_p, with z_0 = 0 and z_M = 1
            names = range(count, count + size - 1)
            for p, name in enumerate(names):
                rows += [start + p, start + p + 1]
                cols += [name, name]
                data += [1.0, -1.0]
            constant[stop - 1] = 1.0
            order += [([a, a + 1], [1.0, -1.0], -np.inf, 0.0) for a in names[:-1]]
            count += size - 1
        else:
            names = range(count, count + size)
            rows += range(start, stop)
            cols += names
            data += [1.0] * size
            order.append((list(names), [1.0] * size, 1.0, 1.0))
            count += size
    pick = sparse.csr_array((data, (rows, cols)), shape=(len(options.value), count))
    at = np.repeat(np.arange(len(order)), [len(names) for names, *_ in order])
    flat = [name for names, *_ in order for name in names]
    weights = [weight for _, listed, *_ in order for weight in listed]
    matrix = sparse.csr_array((weights, (at, flat)), shape=(len(order), count))
    low, high = np.array([row[2] for row in order]), np.array([row[3] for row in order])
    return pick, constant, matrix, low, high


def _one_leaf_per_tree(reach: Reach, leaf: np.ndarray) -> sparse.csr_array:
    trees, row = np.unique(reach.tree[leaf], return_inverse=True)
    shape = (len(trees), len(leaf))
    return sparse.csr_array((np.ones(len(leaf)), (np.ravel(row), np.arange(len(leaf)))), shape)


def _below(ensemble: Ensemble, reach: Reach, leaf: np.ndarray) -> sparse.csr_array:
    """Return which leaf variables lie below each node (N, L)."""
    n = len(ensemble.left)
    parent = np.full(n, -1, dtype=np.intp)
    inner = np.flatnonzero(reach.reached & (ensemble.column >= 0))
    for child in (ensemble.left[inner], ensemble.right[inner]):
        alive = reach.reached[child]
        parent[child[alive]] = inner[alive]
    node, which = leaf.copy(), np.arange(len(leaf))
    rows, cols = [], []
    while len(node):
        rows.append(node)
        cols.append(which)
        up = parent[node]
        node, which = up[up >= 0], which[up >= 0]
    at = (np.concatenate(rows), np.concatenate(cols)) if rows else (leaf, leaf)
    return sparse.csr_array((np.ones(len(at[0])), at), shape=(n, len(leaf)))


def _paths(
    ensemble: Ensemble,
    reach: Reach,
    below: sparse.csr_array,
    pick: sparse.csr_array,
    pick_constant: np.ndarray,
) -> tuple[sparse.csr_array, np.ndarray]:
    """Rows: the leaves below a child are at most the options of the tested column that lead there.

    Tests of the same column on the path above count as well, which makes the relaxation
    tight.
    """
    options = reach.options
    inner = np.flatnonzero(
        reach.reached & (ensemble.column >= 0) & (ensemble.left != ensemble.right)
    )
    child = np.concatenate([ensemble.left[inner], ensemble.right[inner]])
    tested = np.concatenate([ensemble.column[inner]] * 2)
    some = reach.reached[child] & (np.diff(below.indptr)[child] > 0)
    child, tested = child[some], tested[some]
    mine = options.column[None] == tested[:, None]
    lead = reach.passes[child] & mine
    binding = (lead != mine).any(axis=1)  # else every option leads there
    child, tested, lead, mine = child[binding], tested[binding], lead[binding], mine[binding]
    # of many levels, list those that do not lead there: fewer entries
    many = ~options.numeric[tested] & (2 * lead.sum(axis=1) > mine.sum(axis=1))
    flags = sparse.csr_array(np.where(many[:, None], mine & ~lead, lead).astype(np.float64))
    sign = np.where(many, -1.0, 1.0)
    over = sparse.diags_array(sign) @ (flags @ pick)
    bound = many + sign * (flags @ pick_constant)
    rows = sparse.csr_array(sparse.hstack([-over, below[child]], format="csr"))
    rows.eliminate_zeros()
    return rows, bound
