"""The arguments of an explanation as read-only arrays, and its rows by their labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scfe_sklearn.explanation import tables
from scfe_sklearn.explanation.containers import objects, row_labels
from scfe_sklearn.status import Status

if TYPE_CHECKING:
    from scfe_sklearn.explanation.result import Explanation


class ByLabel:
    """``explanation.loc``: labels are looked up by the rules of pandas.

    Parameters
    ----------
    explanation : Explanation
        Its ``index`` holds the labels.
    """

    def __init__(self, explanation: Explanation) -> None:
        self._explanation = explanation

    def __getitem__(self, labels: Any) -> Explanation:
        """Return the entries of a label, a list or a slice of labels, or a mask."""
        import pandas as pd

        index = self._explanation.index
        if isinstance(labels, tuple) and index.nlevels == 1:
            raise TypeError(
                "Explanation.loc must be given labels of rows only: a label, a list, a slice or a "
                f"mask. Got {labels!r} instead."
            )
        places = pd.Series(np.arange(len(index)), index=index).loc[labels]
        return self._explanation[np.atleast_1d(np.asarray(places, dtype=np.intp))]


KINDS = ("numeric", "integer", "ordinal", "categorical", "held")
"""What a feature may be."""


def aligned(explanation: Explanation) -> dict[str, Any]:
    """Every argument in its final form, by its name.

    Raises
    ------
    ValueError
        If one has another shape than the rows and features demand, a status or kind is unknown,
        or a row without an answer has changes.
    """
    given = explanation
    n = given.factual.shape[0]
    _check_shape("counterfactuals", given.counterfactuals.shape, given.factual.shape)
    d = given.by_feature[0].shape[1]
    _check_lengths(given, n, d)

    def filled(values: Any, default: Any) -> Any:
        return np.full(n, default) if values is None else values

    found: dict[str, Any] = {
        "target": _labels(given.target),
        "prediction": _labels(given.prediction),
        "prediction_after": _labels(filled(given.prediction_after, None)),
        "outside_rules": np.array(filled(given.outside_rules, False), dtype=bool),
        "gap": np.array(filled(given.gap, np.nan), dtype=np.float64),
        "option": np.array(filled(given.option, 0), dtype=np.intp),
        "status": objects(given.status),
        "reason": objects(given.reason),
        **{name: np.array(getattr(given, name), dtype=np.float64) for name in tables.NUMBERS},
        "success": np.array(given.success, dtype=bool),
    }
    for name, value in found.items():
        _check_shape(name, value.shape, (n,))
    # An empty list has no second axis.
    found["changed"] = np.array(given.changed, dtype=bool).reshape(-1, d)
    _check_shape("changed", found["changed"].shape, (n, d))
    for name in ("feature_names", "kinds"):
        found[name] = objects(getattr(given, name))
        _check_shape(name, found[name].shape, (d,))
    for value in found.values():
        value.flags.writeable = False
    found["rules_text"] = _texts(given.rules_text)
    if given.levels is not None:
        found["levels"] = tuple(given.levels)
        _check_shape("levels", (len(found["levels"]),), (d,))
    found["index"] = row_labels(given.factual) if given.index is None else given.index
    _check_shape("index", (len(found["index"]),), (n,))
    _check_words(found)
    return found


def _check_shape(name: str, got: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    if tuple(got) != wanted:
        raise ValueError(
            f"The {name!r} parameter of Explanation must have shape {wanted}, aligned with "
            f"'factual'. Got {tuple(got)} instead."
        )


def _check_lengths(given: Explanation, n: int, d: int) -> None:
    """Raise for a wrong length before anything of that length is made."""
    by_row = ("target", "prediction", "prediction_after", "gap", "option", "status", "reason")
    for name in (*by_row, *tables.NUMBERS, "success"):
        if getattr(given, name) is not None:
            _check_shape(name, (len(getattr(given, name)),), (n,))
    for name in ("feature_names", "kinds"):
        _check_shape(name, (len(getattr(given, name)),), (d,))


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, (list, tuple)) or not all(isinstance(text, str) for text in values):
        raise ValueError(
            "The 'rules_text' parameter of Explanation must be a sequence of str. "
            f"Got {type(values).__name__} instead."
        )
    return tuple(values)


def _labels(values: Any) -> np.ndarray:
    """Labels in their own dtype; objects where each is a collection."""
    labels = np.array(values)
    return labels if labels.ndim == 1 else objects(values)


def _check_words(found: dict[str, Any]) -> None:
    """Refuse a status or kind that is none, and changes of rows without an answer."""
    for name, known in (("status", Status.ALL), ("kinds", KINDS)):
        unknown = [word for word in set(found[name]) if word not in known]
        if unknown:
            raise ValueError(
                f"The {name!r} parameter of Explanation must hold values among "
                f"{list(known)}. Got {unknown[0]!r} instead."
            )
    idle = ~found["success"] & (found["status"] != Status.CLOSEST)
    changed = found["changed"]
    if changed[idle].any():
        row = int(np.flatnonzero(changed.any(axis=1) & idle)[0])
        raise ValueError(
            "The 'changed' parameter of Explanation must be False in every row without "
            f"success. Got a change at position {row} instead."
        )
