"""Targets of a classifier, row by row, from the user's parameters to classes; outputs of models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from scfe_sklearn._utils import RowBatch
from scfe_sklearn.targets.types import Interval, Probability


@dataclass(frozen=True, eq=False)
class Outcome(RowBatch):
    """The model's answers for m rows.

    Parameters
    ----------
    code : ndarray of shape (m,), int
        Position of the predicted class, -1 where there is none; all 0 for a regressor.
    value : ndarray of shape (m,)
        Predicted value of a regressor; NaN for a classifier.
    probability : ndarray of shape (m, C) or None
        Probabilities of the classes, where a target needs them.
    """

    code: np.ndarray
    value: np.ndarray
    probability: np.ndarray | None = None
    _by_row = ("code", "value", "probability")

    def without_probability(self) -> Outcome:
        """Return the outcome for targets without a probability."""
        return Outcome(self.code, self.value)


GRID = 32
"""Quantiles that distinguish ends of intervals, for densities only."""

LEAST = 30
"""Least number of training rows of a group, if there are as many."""


def groups_of(
    low: np.ndarray, high: np.ndarray, ordered: np.ndarray, order: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Group (n,) of each interval, and the training rows that the intervals of a group hold."""
    total = len(ordered)
    step = max(total // GRID, 1)
    # Ranks of the training values inside, coarsened so that there are few groups.
    first = np.searchsorted(ordered, low, "left") // step * step
    last = total - (total - np.searchsorted(ordered, high, "right")) // step * step
    middle = (first + last) // 2
    short = last - first < min(LEAST, total)
    begin = (middle - LEAST // 2).clip(0, max(total - LEAST, 0))
    first = np.where(short, begin, first)
    last = np.where(short, np.minimum(begin + LEAST, total), last)
    pairs, group = np.unique(np.column_stack([first, last]), axis=0, return_inverse=True)
    return group.reshape(-1), [order[a:b] for a, b in pairs.tolist()]


# --------------------------------------------------------------------------------------- classes


# Returns the probabilities (T, C) of training rows.
Table = Callable[[], np.ndarray]


@dataclass(frozen=True, eq=False)
class ClassTarget(RowBatch):
    """Kinds of answers that each row accepts: predictions of a class, or probabilities.

    The first C groups are answers that are valid because their class is predicted. Every further
    group holds answers that are valid because a probability lies within limits, whatever is
    predicted. Limits that hold about the same training rows form one group, which has a density
    of its own, so that a row's answer does not depend on the other rows.

    Parameters
    ----------
    wanted : ndarray of shape (n, G), bool
        The groups that would do.
    low, high : ndarray of shape (n, G)
        Limits of the probability; NaN where there are none.
    about : ndarray of shape (G,), int
        The class of each group: that is predicted, or that has the probability.
    n_classes : int
        Number of classes C.
    members : tuple of ndarray
        Positions of the training rows of each group after the first C.
    """

    wanted: np.ndarray
    low: np.ndarray
    high: np.ndarray
    about: np.ndarray
    n_classes: int
    members: tuple[np.ndarray, ...] = ()
    _by_row = ("wanted", "low", "high")

    @classmethod
    def of_predictions(cls, wanted: np.ndarray) -> ClassTarget:
        """Return targets for predicted classes (n, C) only."""
        limits, c = np.full(wanted.shape, np.nan), wanted.shape[1]
        return cls(wanted, limits, limits, np.arange(c), c)

    @property
    def n_groups(self) -> int:
        """Number of kinds of answers."""
        return len(self.about)

    @property
    def uses_probability(self) -> bool:
        """Whether any probability matters."""
        return self.n_groups > self.n_classes

    def met(self, rows: np.ndarray, group: np.ndarray, outcome: Outcome) -> np.ndarray:
        """Return (m,): does an outcome of row ``rows`` (m,) answer it by group ``group`` (m,)."""
        good = (outcome.code == group) & self.wanted[rows, group]
        if self.uses_probability and outcome.probability is not None:
            p = outcome.probability[np.arange(len(group)), self.about[group]]
            # Comparisons with NaN are false.
            good |= (p >= self.low[rows, group]) & (p <= self.high[rows, group])
        return np.asarray(good & (outcome.code >= 0))

    def answered_by(self, rows: np.ndarray, outcome: Outcome) -> np.ndarray:
        """Return (m,): the group by which an outcome answers its row, -1 where it does not.

        The predicted class comes first, then the greatest probability within its limits.
        """
        code = outcome.code.clip(0)
        found = np.where(self.met(rows, code, outcome), code, -1)
        left = np.flatnonzero(found < 0)
        if not self.uses_probability or outcome.probability is None or len(left) == 0:
            return found
        groups = np.arange(self.n_classes, self.n_groups)
        every, group = np.repeat(left, len(groups)), np.tile(groups, len(left))
        met = self.met(rows[every], group, outcome.take(every)).reshape(len(left), -1)
        p = outcome.probability[left][:, self.about[groups]]
        best = groups[np.where(met, p, -np.inf).argmax(axis=1)]
        found[left] = np.where(met.any(axis=1), best, -1)
        return found

    def limits(self, group: int) -> tuple[np.ndarray, np.ndarray]:
        """Least and greatest probability (n,) that a group demands of each row."""
        return self.low[:, group], self.high[:, group]

    def labels(self, group: np.ndarray) -> np.ndarray:
        """Return (m,): the class of groups (m,)."""
        return np.asarray(self.about[group])


def class_target(
    target: Any, predicted: np.ndarray, classes: np.ndarray, table: Table | None = None
) -> ClassTarget:
    """Read the target of a classifier.

    Parameters
    ----------
    target : None, label, Probability, set of these or array-like of shape (n,)
        None: any class but the predicted one. A label, a `Probability` or a set of them: for all
        rows. An array: one label, `Probability` or set per row.
    predicted : ndarray of shape (n,), int
        Position of the predicted class of each row, -1 where there is none.
    classes : ndarray of shape (C,)
        Class labels.
    table : callable or None, default=None
        Returns the probabilities (T, C) of training rows; called if the target has a
        `Probability`.

    Returns
    -------
    ClassTarget

    Raises
    ------
    ValueError
        If a label is not a class, or the number of labels is not that of the rows.

    Examples
    --------
    >>> import numpy as np
    >>> class_target(None, np.array([0, 1]), np.array(["no", "yes"])).wanted
    array([[False,  True],
           [ True, False]])
    """
    n, c = len(predicted), len(classes)
    if target is None:
        return ClassTarget.of_predictions(predicted[:, None] != np.arange(c))
    if isinstance(target, Interval):
        raise ValueError(_message(classes, f"{target!r}, which is for regressors"))
    if isinstance(target, str):  # an array of texts would lose a NUL at the end
        target = str(target)
    if isinstance(target, (str, set, frozenset, Probability)):
        return _each([target], np.zeros(n, dtype=np.intp), classes, table)
    # As objects: an array of 1 and "0" would turn the number into text.
    labels = _objects(target) if isinstance(target, (list, tuple)) else np.asarray(target)
    if labels.ndim == 0:
        return _each([labels.item()], np.zeros(n, dtype=np.intp), classes, table)
    if labels.shape != (n,):
        raise ValueError(_message(classes, f"an array of shape {labels.shape} for {n} rows"))
    listed = labels.tolist()
    if any(isinstance(one, (set, frozenset, Probability)) for one in listed):
        return _each(*_distinct(listed, classes), classes, table)
    return ClassTarget.of_predictions(_codes(listed, classes)[:, None] == np.arange(c))


def _objects(values: Sequence[Any]) -> np.ndarray:
    """Return a list as an array of objects, with one axis where it holds sets."""
    if any(isinstance(one, (set, frozenset)) for one in values):
        out = np.empty(len(values), dtype=object)
        out[:] = values
        return out
    return np.asarray(values, dtype=object)


def _distinct(targets: list[Any], classes: np.ndarray) -> tuple[list[Any], np.ndarray]:
    """Return the different ones among the targets of rows, and the position of each row's."""
    known: dict[Any, int] = {}
    position = np.empty(len(targets), dtype=np.intp)
    for k, one in enumerate(targets):
        # 1, 1.0 and True are one label, as they are for `_codes`.
        key = frozenset(one) if isinstance(one, set) else one
        try:
            position[k] = known.setdefault(key, len(known))
        except TypeError:
            raise ValueError(_message(classes, repr(one))) from None
    return list(known), position


def _each(
    targets: list[Any], position: np.ndarray, classes: np.ndarray, table: Table | None
) -> ClassTarget:
    """Return targets of rows, each one of ``targets`` by its ``position``."""
    named = np.zeros((len(targets), len(classes)), dtype=bool)
    limits: list[_Limits] = []
    for k, target in enumerate(targets):
        members = list(target) if isinstance(target, (set, frozenset)) else [target]
        if not members:
            raise ValueError(_message(classes, "an empty set"))
        codes = _codes([_label(one) for one in members], classes)
        for one, code in zip(members, codes.tolist(), strict=True):
            if isinstance(one, Probability):
                limits.append(_Limits(k, code, *one.limits))
            else:
                named[k, code] = True
    if not limits:
        return ClassTarget.of_predictions(named[position])
    assert table is not None
    return _with_limits(named, limits, table()).take(position)


class _Limits(NamedTuple):
    """Limits of the probability of a class, of one of several targets."""

    target: int
    code: int
    low: float
    high: float


def _with_limits(named: np.ndarray, limits: list[_Limits], known: np.ndarray) -> ClassTarget:
    """Add a group for all limits that hold about the same training rows.

    Parameters
    ----------
    named : ndarray of shape (k, C), bool
        The classes that would do if they are predicted, for each of k targets.
    limits : list of _Limits
        Further ways to answer them.
    known : ndarray of shape (T, C)
        Probabilities of training rows.
    """
    about, members = list(range(named.shape[1])), []
    placed: dict[tuple[int, int], _Limits] = {}
    for code in sorted({one.code for one in limits}):
        own = [one for one in limits if one.code == code]
        low, high = (np.array([getattr(one, end) for one in own]) for end in ("low", "high"))
        order = np.argsort(known[:, code], kind="stable")
        group, found = groups_of(low, high, known[order, code], order)
        for one, k in zip(own, group.tolist(), strict=True):
            # Two limits of one target which hold the same training rows need a group each.
            while (one.target, len(about) + k) in placed:
                found.append(found[k])
                k = len(found) - 1
            placed[one.target, len(about) + k] = one
        about += [code] * len(found)
        members += found
    shape = (len(named), len(about))
    wanted, low, high = np.zeros(shape, dtype=bool), np.full(shape, np.nan), np.full(shape, np.nan)
    wanted[:, : named.shape[1]] = named
    for place, one in placed.items():
        wanted[place], low[place], high[place] = True, one.low, one.high
    return ClassTarget(wanted, low, high, np.array(about), named.shape[1], tuple(members))


def _label(target: Any) -> Any:
    return target.label if isinstance(target, Probability) else target


def _codes(labels: list[Any], classes: np.ndarray) -> np.ndarray:
    """Positions of labels among the classes."""
    position = {label: code for code, label in enumerate(classes.tolist())}
    for label in labels:
        if not _known(label, position):
            raise ValueError(_message(classes, repr(label)))
    return np.array([position[label] for label in labels], dtype=np.intp)


def _known(label: Any, position: dict[Any, int]) -> bool:
    try:
        return label in position
    except TypeError:
        return False


def _message(classes: np.ndarray, got: str) -> str:
    known = ", ".join(repr(label) for label in classes.tolist())
    return (
        f"The 'target' parameter of explain must be None, a class among {{{known}}}, a "
        "Probability of one, a set of these, or an array with one of them per row. "
        f"Got {got} instead."
    )
