"""Steps of a fitted estimator before its last one, replayed on bare arrays of numbers.

Encoders of levels are tables over column space; every other transformer is the user's own,
given an array. So the matrix is the one which the estimator would see, bit for bit, without
building a data frame or taking it apart again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import StandardScaler

from scfe_sklearn.data import Column
from scfe_sklearn.models.compiled import (
    Frame,
    UnsupportedModelError,
    branches,
    input_frame,
    split_pipeline,
    stack,
    transform,
    unwrap,
)

# --------------------------------------------------------------------------------- without names


NAMES = "feature_names_in_"


def nameless(estimator: Any) -> Any:
    """Return an estimator without the names of its columns; itself where it has none.

    Only what holds names is copied, and no copy is deep: trees and matrices are shared.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.preprocessing import StandardScaler
    >>> scaler = StandardScaler().fit(pd.DataFrame({"a": [0.0, 2.0]}))
    >>> nameless(scaler).transform([[2.0]])
    array([[1.]])
    >>> hasattr(scaler, "feature_names_in_")
    True
    """
    return _nameless(estimator, {})


def _nameless(value: Any, known: dict[int, Any]) -> Any:
    """Return a value in which no estimator has names; ``known`` holds what was seen already."""
    if id(value) in known:
        return known[id(value)]
    kind = type(value)
    if kind in (list, tuple):
        members = [_nameless(one, known) for one in value]
        same = all(new is old for new, old in zip(members, value, strict=True))
        return value if same else kind(members)
    if kind is dict:
        values = {key: _nameless(one, known) for key, one in value.items()}
        return values if any(values[key] is not value[key] for key in value) else value
    if kind is np.ndarray and value.dtype == object:
        members = [_nameless(one, known) for one in value.flat]
        if all(new is old for new, old in zip(members, value.flat, strict=True)):
            return value
        out = np.empty_like(value)
        out.flat[:] = members
        return out
    if isinstance(value, BaseEstimator) or _of_sklearn(value):
        known[id(value)] = value  # whatever leads back to it keeps it
        known[id(value)] = _without_names(value, known)
        return known[id(value)]
    return value


def _of_sklearn(value: Any) -> bool:
    """Whether a value is an object of scikit-learn that may hold estimators."""
    package = type(value).__module__.partition(".")[0]
    return package == "sklearn" and hasattr(value, "__dict__") and not callable(value)


def _without_names(estimator: Any, known: dict[int, Any]) -> Any:
    """Return an estimator of which nothing inside has names either."""
    parts = vars(estimator)
    new = {key: _nameless(value, known) for key, value in parts.items() if key != NAMES}
    if NAMES not in parts and all(new[key] is parts[key] for key in new):
        return estimator
    out = copy(estimator)
    vars(out).clear()
    vars(out).update(new)
    return out


# ---------------------------------------------------------------------------------------- replay


# Points of column space (n, U) to some columns of numbers (n, w).
Program = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class _Columns:
    """Columns between two steps: known as a frame as long as they have levels, else computed."""

    frame: Frame | None
    program: Program | None = None

    @property
    def numbers(self) -> bool:
        """Whether no column has levels any more."""
        return self.frame is None or all(levels is None for levels in self.frame.levels)

    def run(self) -> Program:
        """Return the function that computes these columns."""
        if self.program is not None:
            return self.program
        assert self.frame is not None
        if not np.all(self.frame.numeric):
            raise UnsupportedModelError("There is a column of text where numbers are needed.")
        source, node = self.frame.source, self.frame.compile()

        def evaluate(u: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                return np.asarray(node.value({source: torch.from_numpy(u)}))

        return evaluate

    def take(self, indices: np.ndarray) -> _Columns:
        if self.frame is not None:
            return _Columns(self.frame.take(indices))
        program = self.run()
        return _Columns(None, lambda u: program(u)[:, indices])


def replay(estimator: Any, columns: Sequence[Column]) -> tuple[Program, Any]:
    """The matrix that the last estimator of a fitted pipeline reads, and this estimator.

    Parameters
    ----------
    estimator : fitted estimator
        Most often a Pipeline.
    columns : sequence of Column
        Layout of column space.

    Returns
    -------
    program : callable
        Points of column space (n, U) to the matrix.
    last : estimator
        The one without transformers in front, and without the names of its columns.

    Raises
    ------
    UnsupportedModelError
        Text reaches a step that is no encoder.
    """
    part = _Columns(input_frame(unwrap(estimator), columns))
    steps, last = split_pipeline(estimator)
    for step in steps:
        part = _transformed(step, part)
    return part.run(), nameless(last)


def _transformed(step: Any, part: _Columns) -> _Columns:
    step = unwrap(step)
    if step is None or (isinstance(step, str) and step == "passthrough"):
        return part
    if type(step) is Pipeline:
        for _, inner in step.steps:
            part = _transformed(inner, part)
        return part
    if type(step) in (ColumnTransformer, FeatureUnion):
        return _side_by_side(step, part)
    if not part.numbers and part.frame is not None:
        try:
            return _Columns(transform(step, part.frame))
        except UnsupportedModelError:
            if not np.all(part.frame.numeric):
                raise
    return _asked(step, part)


def _side_by_side(step: Any, whole: _Columns) -> _Columns:
    parts = []
    for part in branches(step):
        out = _transformed(part.step, whole if part.columns is None else whole.take(part.columns))
        parts.append(out if part.weight is None else _scaled(out, float(part.weight)))
    return _joined(parts)


def _scaled(part: _Columns, weight: float) -> _Columns:
    program = part.run()
    return _Columns(None, lambda u: program(u) * weight)


def _joined(parts: list[_Columns]) -> _Columns:
    """Columns side by side."""
    if not parts:
        raise UnsupportedModelError("No column is left.")
    if len(parts) == 1:
        return parts[0]
    frames = [part.frame for part in parts if part.frame is not None]
    if len(frames) == len(parts) and not all(part.numbers for part in parts):
        return _Columns(stack(frames))
    programs = [part.run() for part in parts]
    return _Columns(None, lambda u: np.hstack([program(u) for program in programs]))


def _asked(step: Any, part: _Columns) -> _Columns:
    """Columns of a transformer of numbers, which is called itself."""
    program = part.run()
    if type(step) is StandardScaler:
        # The same arithmetic without the checks, since nearly every pipeline has one.
        center = step.mean_ if step.with_mean else None
        scale = step.scale_ if step.with_std else None

        def standardise(u: np.ndarray) -> np.ndarray:
            matrix = program(u)
            matrix = matrix - center if center is not None else matrix
            return matrix / scale if scale is not None else matrix

        return _Columns(None, standardise)

    step = nameless(step)

    def ask(u: np.ndarray) -> np.ndarray:
        out = step.transform(program(u))
        return out.toarray() if sparse.issparse(out) else np.asarray(out, dtype=np.float64)

    return _Columns(None, ask)
