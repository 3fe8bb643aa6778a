"""Protocols of tree ensembles and lattices, and conditions on the output of an ensemble."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from scfe_sklearn.data import Column


class Ensemble(Protocol):
    """Trees over column space: flat arrays of N nodes, and what the sums of leaves mean.

    See `scfe_sklearn.models.TreeEnsemble` for each of them.
    """

    @property
    def columns(self) -> Sequence[Column]: ...
    @property
    def starts(self) -> np.ndarray: ...
    @property
    def roots(self) -> np.ndarray: ...
    @property
    def left(self) -> np.ndarray: ...
    @property
    def right(self) -> np.ndarray: ...
    @property
    def column(self) -> np.ndarray: ...
    @property
    def threshold(self) -> np.ndarray: ...
    @property
    def missing_left(self) -> np.ndarray: ...
    @property
    def level_set(self) -> np.ndarray: ...
    @property
    def level_sets(self) -> np.ndarray: ...
    @property
    def values(self) -> np.ndarray: ...
    @property
    def baseline(self) -> np.ndarray: ...
    @property
    def divisor(self) -> float: ...
    @property
    def kind(self) -> str: ...
    @property
    def n_classes(self) -> int: ...
    @property
    def zero_class(self) -> int: ...
    @property
    def slope(self) -> float: ...
    @property
    def weights(self) -> np.ndarray | None: ...
    def thresholds(self) -> list[np.ndarray]: ...
    def leaves(self, u: np.ndarray) -> np.ndarray: ...
    def scores(self, u: np.ndarray) -> np.ndarray: ...
    def decide(self, u: np.ndarray) -> np.ndarray: ...


class Values(Protocol):
    """The representable values of k numbers, such as `scfe_sklearn.data.domains.Lattice`."""

    @property
    def step(self) -> np.ndarray:
        """Distance of neighbouring values (k,); 0 where they are as good as continuous."""

    def at_least(self, values: np.ndarray) -> np.ndarray:
        """The smallest representable values that are no less than ``values`` (n, k)."""

    def at_most(self, values: np.ndarray) -> np.ndarray:
        """The largest representable values that are no more than ``values`` (n, k)."""


CERTAIN = 37.0
"""Log-odds from which on a sigmoid is 1 in double precision, about."""


@dataclass(frozen=True, eq=False)
class Requirement:
    """``sum over trees of coefficient[leaf] >= bound`` for each of R conditions.

    Parameters
    ----------
    coefficient : ndarray of shape (N, R)
        What each node would add as a leaf.
    bound : ndarray of shape (R,)
        What the sums must reach.
    strict : ndarray of shape (R,), bool
        Whether equality is not enough.
    accepts : callable
        Rows (n, U) to flags (n,): the same in the ensemble's own floating-point arithmetic,
        which has the last word where a sum is within rounding of its bound.
    """

    coefficient: np.ndarray
    bound: np.ndarray
    strict: np.ndarray
    accepts: Callable[[np.ndarray], np.ndarray]


def class_wins(ensemble: Ensemble, code: int) -> Requirement:
    """Class number `code` is predicted: it has the largest score, ties as the ensemble has them.

    Parameters
    ----------
    ensemble : Ensemble
        A classifier.
    code : int
        Position of the class.

    Returns
    -------
    Requirement

    Examples
    --------
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from scfe_sklearn.data import Column
    >>> from scfe_sklearn.models import read_trees
    >>> tree = DecisionTreeClassifier().fit([[0.0], [1.0]], [0, 1])
    >>> class_wins(read_trees(tree, [Column(0, None)]), 1).coefficient.ravel()
    array([ 0., -1.,  1.])
    """
    _require_classes(ensemble, code, "class_wins")
    values, base = ensemble.values, ensemble.baseline
    if ensemble.kind in ("margin", "signed"):
        f, f0 = _margin(ensemble)
        sign = 1.0 if code == 1 else -1.0
        coefficient, bound = sign * f[:, None], np.array([-sign * f0])
        strict = np.array([ensemble.zero_class != code])
    else:
        others = np.array([c for c in range(ensemble.n_classes) if c != code], dtype=np.intp)
        coefficient = values[:, [code]] - values[:, others]
        bound = base[others] - base[code]
        strict = others < code  # the first of equals wins
    return Requirement(coefficient, bound, strict, lambda u: ensemble.decide(u) == code)


def probability_between(
    ensemble: Ensemble, code: int, low: float = 0.0, high: float = 1.0
) -> Requirement:
    """The probability of class number `code` lies in ``[low, high]``.

    Parameters
    ----------
    ensemble : Ensemble
        A classifier whose probabilities are means over trees or a sigmoid of a sum.
    code : int
        Position of the class.
    low, high : float
        Between 0 and 1; an end of 0 or 1 is no limit, and one must be another number.

    Returns
    -------
    Requirement

    Raises
    ------
    NotImplementedError
        For boosting of three or more classes, whose probabilities are no linear condition.
    """
    _require_classes(ensemble, code, "probability_between")
    if not 0 <= low <= high <= 1 or (low, high) == (0, 1):
        raise ValueError(
            "The 'low' and 'high' parameters of probability_between must be floats in [0, 1], in "
            f"this order, and not 0 and 1. Got {low!r} and {high!r} instead."
        )
    ends = [(1.0, low)] * (low > 0) + [(-1.0, high)] * (high < 1)
    return all_of([_probability_end(ensemble, code, sign, level) for sign, level in ends])


def _probability_end(ensemble: Ensemble, code: int, sign: float, level: float) -> Requirement:
    """One end: a probability of at least (sign 1) or at most (sign -1) a level."""
    if ensemble.kind == "mean":
        coefficient = sign * ensemble.values[:, [code]]
        bound = np.array([sign * (level * ensemble.divisor - ensemble.baseline[code])])

        def accepts(u: np.ndarray) -> np.ndarray:
            return np.asarray(sign * ensemble.scores(u)[:, code] >= sign * level)

    elif ensemble.kind in ("margin", "signed"):
        f, f0 = _margin(ensemble)
        side = sign if code == 1 else -sign
        with np.errstate(divide="ignore"):
            odds = np.clip(np.log(level) - np.log1p(-level), -CERTAIN, CERTAIN)
        scale = ensemble.divisor / ensemble.slope
        coefficient, bound = side * f[:, None], np.array([sign * odds * scale - side * f0])

        def accepts(u: np.ndarray) -> np.ndarray:
            return np.asarray(side * ensemble.slope * ensemble.scores(u)[:, 0] >= sign * odds)

    else:
        raise NotImplementedError(
            "A probability of boosting of three or more classes is not supported by the exact "
            "method: it is no linear condition on the leaves."
        )
    return Requirement(coefficient, bound, np.array([False]), accepts)


def value_between(ensemble: Ensemble, low: float = -np.inf, high: float = np.inf) -> Requirement:
    """The predicted value of a regressor lies in ``[low, high]``.

    Parameters
    ----------
    ensemble : Ensemble
        A regressor.
    low, high : float
        Ends of the interval; infinite ones always hold.

    Returns
    -------
    Requirement
    """
    if ensemble.n_classes:
        raise ValueError("value_between needs a regressor. Got a classifier instead.")
    if not low <= high:
        raise ValueError(
            "The 'low' parameter of value_between must not be above 'high'. "
            f"Got {low!r} and {high!r} instead."
        )

    def accepts(u: np.ndarray) -> np.ndarray:
        value = ensemble.scores(u)[:, 0]
        return np.asarray((value >= low) & (value <= high))

    value, base = ensemble.values[:, 0], float(ensemble.baseline[0])
    parts, bounds, strict = [], [], []
    if ensemble.kind == "median":
        # at most `high`: half of the weight is; at least `low`: less than half is below
        weight, half = _node_weights(ensemble), 0.5 * float(np.asarray(ensemble.weights).sum())
        ends = [(np.where(value <= high, weight, 0.0), half, False, high < np.inf)]
        ends.append((-np.where(value < low, weight, 0.0), -half, True, low > -np.inf))
    else:
        scale = ensemble.divisor
        ends = [(-value, -(high * scale - base), False, high < np.inf)]
        ends.append((value, low * scale - base, False, low > -np.inf))
    for coefficient, bound, open_end, finite in ends:
        if finite:
            parts.append(coefficient)
            bounds.append(bound)
            strict.append(open_end)
    matrix = np.stack(parts, axis=1) if parts else np.empty((len(value), 0))
    return Requirement(matrix, np.array(bounds, float), np.array(strict, bool), accepts)


def all_of(requirements: Sequence[Requirement]) -> Requirement:
    """Several requirements of the same ensemble together.

    Parameters
    ----------
    requirements : sequence of Requirement
        At least one.

    Returns
    -------
    Requirement
    """
    each = list(requirements)

    def accepts(u: np.ndarray) -> np.ndarray:
        return np.logical_and.reduce([requirement.accepts(u) for requirement in each])

    return Requirement(
        np.concatenate([r.coefficient for r in each], axis=1),
        np.concatenate([r.bound for r in each]),
        np.concatenate([r.strict for r in each]),
        accepts,
    )


def _margin(ensemble: Ensemble) -> tuple[np.ndarray, float]:
    """Margin that each node adds, and its start, before the division."""
    values, base = ensemble.values, ensemble.baseline
    if ensemble.kind == "margin":
        return values[:, 0], float(base[0])
    return values[:, 1] - values[:, 0], float(base[1] - base[0])


def _node_weights(ensemble: Ensemble) -> np.ndarray:
    """Weight of the tree of each node; trees lie one after the other."""
    sizes = np.diff(np.append(ensemble.roots, len(ensemble.values)))
    return np.repeat(np.asarray(ensemble.weights, dtype=np.float64), sizes)


def _require_classes(ensemble: Ensemble, code: int, caller: str) -> None:
    if not 0 <= code < ensemble.n_classes:
        raise ValueError(
            f"The 'code' parameter of {caller} must be a position among the "
            f"{ensemble.n_classes} classes. Got {code!r} instead."
        )
