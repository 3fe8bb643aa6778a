"""The arguments of an explanation as read-only arrays, and several explanations as one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scfe_sklearn.explanation import tables
from scfe_sklearn.explanation.containers import columns_in_order, is_polars, objects, row_labels
from scfe_sklearn.explanation.wording import is_missing
from scfe_sklearn.status import Status

if TYPE_CHECKING:
    from scfe_sklearn.explanation.marginals import Marginals
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


# -------------------------------------------------------------------------------- several as one


PARTLY = "some rows: "
"""Stands before a rule that not all parts have."""


def joined(parts: Iterable[Explanation]) -> Explanation:
    """Return the entries of all parts, one part after the other."""
    from scfe_sklearn.explanation.result import Explanation

    every = list(parts)
    if not every:
        raise ValueError("The 'parts' parameter of Explanation.concat must hold at least one part.")
    for part in every:
        if not isinstance(part, Explanation):
            raise TypeError(
                "The 'parts' parameter of Explanation.concat must hold Explanation objects. "
                f"Got {type(part).__name__} instead."
            )
    first = every[0]
    orders = [_order(first, part) for part in every]
    aligned: dict[str, Any] = {
        name: _stacked_values([getattr(part, name) for part in every])
        for name in tables.ALIGNED
        if name not in ("changed", "index")
    }
    frames: dict[str, Any] = {
        name: _stacked_rows([getattr(part, name) for part in every])
        for name in ("factual", "counterfactuals")
    }
    seen = None
    if any(part.seen is not None for part in every):
        seen = tuple(_stacked_rows([part.by_feature[k] for part in every]) for k in (0, 1))
    return dataclasses.replace(
        first,
        **aligned,
        **frames,
        seen=seen,
        front=all(part.front for part in every),
        changed=np.concatenate(
            [part.changed[:, order] for part, order in zip(every, orders, strict=True)]
        ),
        index=first.index.append([part.index for part in every[1:]]),
        solver=", ".join(dict.fromkeys(part.solver for part in every if part.solver)),
        rules_text=_rules([part.rules_text for part in every]),
        background=first.background if _same_pictures(every) else None,
    )


def _order(first: Explanation, part: Explanation) -> list[int]:
    """Positions in a part of the features of the first one; raise if it has others."""
    names = list(first.feature_names)
    own = list(part.feature_names)
    if len(own) != len(names) or set(own) != set(names):
        raise _differ("features", names, own)
    _check_container(first.factual, part.factual)
    order = [own.index(name) for name in names]
    for j, k in enumerate(order):
        if first.kinds[j] != part.kinds[k]:
            raise _differ(f"kind of feature {names[j]!r}", first.kinds[j], part.kinds[k])
        levels = [_levels(one, at) for one, at in ((first, j), (part, k))]
        if not _same_levels(*levels):
            raise _differ(f"levels of feature {names[j]!r}", *levels)
    return order


def _levels(explanation: Explanation, j: int) -> list[Any] | None:
    levels = None if explanation.levels is None else explanation.levels[j]
    return None if levels is None else list(levels)


def _same_levels(a: list[Any] | None, b: list[Any] | None) -> bool:
    if a is None or b is None:
        return a is b
    return len(a) == len(b) and all(
        (is_missing(one) and is_missing(other)) or one == other
        for one, other in zip(a, b, strict=True)
    )


def _check_container(first: Any, other: Any) -> None:
    """Raise if two containers are of different kinds or have other columns."""
    if type(first) is not type(other):
        raise TypeError(
            "The 'parts' parameter of Explanation.concat must hold rows in the same kind of "
            f"container. Got {type(first).__name__} and {type(other).__name__} instead."
        )
    names, own = list(getattr(first, "columns", ())), list(getattr(other, "columns", ()))
    if len(names) != len(own) or set(names) != set(own):
        raise _differ("columns", names, own)


def _differ(what: str, first: Any, other: Any) -> ValueError:
    return ValueError(
        f"The 'parts' parameter of Explanation.concat must have the same {what}. "
        f"Got {first} and {other} instead."
    )


def _stacked_rows(frames: Sequence[Any]) -> Any:
    """Rows of several containers of a kind; columns are paired by name."""
    names = list(getattr(frames[0], "columns", ()))
    if not names:
        return _stacked_values(frames)
    frames = [columns_in_order(frame, names) for frame in frames]
    if is_polars(frames[0]):
        import polars as pl

        return pl.concat(frames, how="vertical_relaxed")
    import pandas as pd

    return pd.concat(frames)


def _stacked_values(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays one after the other; objects where NumPy would turn one kind into another."""
    kinds = {array.dtype.kind for array in arrays}
    if len(kinds) > 1 and not kinds <= set("iuf"):
        arrays = [array.astype(object) for array in arrays]
    return np.concatenate(arrays)


def _rules(texts: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The rules of all parts; those that not all of them have are marked."""
    plain = [[text.removeprefix(PARTLY) for text in part] for part in texts]
    common = [text for text in texts[0] if all(text in part for part in texts)]
    others = dict.fromkeys(text for part in plain for text in part if text not in common)
    return (*common, *(f"{PARTLY}{text}" for text in others if f"{PARTLY}{text}" not in common))


def _same_pictures(parts: Sequence[Explanation]) -> bool:
    """Whether all parts have the same background and list their features alike."""
    first = parts[0]
    return all(
        list(part.feature_names) == list(first.feature_names)
        and _same_background(first.background, part.background)
        for part in parts[1:]
    )


def _same_background(a: Marginals | None, b: Marginals | None) -> bool:
    if a is b or a is None or b is None:
        return a is b
    return list(a.labels) == list(b.labels) and all(
        np.array_equal(one, other)
        for name in ("positions", "heights")
        for one, other in zip(getattr(a, name), getattr(b, name), strict=True)
    )
