"""Targets of a classifier: from the user's words to the classes that would do, row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from scfe_sklearn.targets.asked import Interval, Probability
from scfe_sklearn.targets.outcome import Outcome


@dataclass(frozen=True, eq=False)
class ClassWishes:
    """Which classes would answer each row, and how sure of them the model must be.

    Parameters
    ----------
    wanted : ndarray of shape (n, C), bool
        The classes that would do.
    level : ndarray of shape (n, C)
        Least probability of each; 0 where being predicted is enough.
    """

    wanted: np.ndarray
    level: np.ndarray

    @property
    def n_groups(self) -> int:
        """Number of kinds of answers: one per class."""
        return self.wanted.shape[1]

    @property
    def asks_probability(self) -> bool:
        """Whether any probability matters."""
        return bool(self.level.any())

    def take(self, rows: np.ndarray) -> ClassWishes:
        """Return the wishes of some of the rows."""
        return ClassWishes(self.wanted[rows], self.level[rows])

    def met(self, rows: np.ndarray, group: np.ndarray, outcome: Outcome) -> np.ndarray:
        """Return (m,): does an outcome of row ``rows`` (m,) answer it by class ``group`` (m,)."""
        good = (outcome.code == group) & (outcome.code >= 0) & self.wanted[rows, group]
        if outcome.probability is not None:
            good &= outcome.probability[np.arange(len(group)), group] >= self.level[rows, group]
        return good

    def answered_by(self, rows: np.ndarray, outcome: Outcome) -> np.ndarray:
        """Return (m,): the group by which an outcome answers its row, -1 where it does not."""
        code = outcome.code.clip(0)
        return np.where(self.met(rows, code, outcome) & (outcome.code >= 0), code, -1)


def class_wishes(target: Any, predicted: np.ndarray, classes: np.ndarray) -> ClassWishes:
    """Read the target of a classifier.

    Parameters
    ----------
    target : None, label, Probability, set of these or array-like of shape (n,)
        None: any class but the predicted one. A label, a `Probability` or a set of them: for all
        rows. An array: one label or `Probability` per row.
    predicted : ndarray of shape (n,), int
        Position of the predicted class of each row, -1 where there is none.
    classes : ndarray of shape (C,)
        Class labels.

    Returns
    -------
    ClassWishes

    Raises
    ------
    ValueError
        If a label is not a class, or the number of labels is not that of the rows.

    Examples
    --------
    >>> import numpy as np
    >>> class_wishes(None, np.array([0, 1]), np.array(["no", "yes"])).wanted
    array([[False,  True],
           [ True, False]])
    """
    n, c = len(predicted), len(classes)
    if target is None:
        return ClassWishes(predicted[:, None] != np.arange(c), np.zeros((n, c)))
    if isinstance(target, (set, frozenset)):
        if not target:
            raise ValueError(_message(classes, "an empty set"))
        return _for_all(list(target), n, classes)
    if isinstance(target, Probability):
        return _for_all([target], n, classes)
    if isinstance(target, Interval):
        raise ValueError(_message(classes, f"{target!r}, which is for regressors"))
    # As objects: an array of 1 and "0" would turn the number into text.
    labels = np.asarray(target, dtype=object if isinstance(target, (list, tuple)) else None)
    if labels.ndim == 0:
        return _for_all([labels.item()], n, classes)
    if labels.shape != (n,):
        raise ValueError(_message(classes, f"an array of shape {labels.shape} for {n} rows"))
    listed = labels.tolist()
    codes = _codes([_label(one) for one in listed], classes)
    levels = np.array([_level(one) for one in listed], dtype=np.float64)
    wanted = codes[:, None] == np.arange(c)
    return ClassWishes(wanted, np.where(wanted, levels[:, None], 0.0))


def _for_all(targets: list[Any], n: int, classes: np.ndarray) -> ClassWishes:
    """Wishes of n rows of which each may get any of the targets."""
    codes = _codes([_label(one) for one in targets], classes)
    wanted, level = np.zeros(len(classes), dtype=bool), np.zeros(len(classes))
    wanted[codes] = True
    # Of two wishes for one class the weaker one is enough.
    for code in np.unique(codes):
        level[code] = min(_level(targets[k]) for k in np.flatnonzero(codes == code))
    return ClassWishes(np.repeat(wanted[None], n, axis=0), np.repeat(level[None], n, axis=0))


def _label(target: Any) -> Any:
    return target.label if isinstance(target, Probability) else target


def _level(target: Any) -> float:
    return float(target.at_least) if isinstance(target, Probability) else 0.0


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
