"""Steps of a fitted estimator before its last one, replayed on bare arrays of numbers.

Encoders of levels are tables over column space; every other transformer is the user's own,
given an array. So the matrix is the one which the estimator would see, bit for bit, without
building a data frame or taking it apart again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import StandardScaler

from scfe_sklearn.data import Column
from scfe_sklearn.models.black_box.nameless import nameless
from scfe_sklearn.models.compiled import Frame, select_inputs, stack, transform, unwrap
from scfe_sklearn.models.errors import UnsupportedModelError
from scfe_sklearn.models.transformers import column_positions

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
    inner = unwrap(estimator)
    frame = Frame.from_columns(columns, torch.float64)
    chosen = select_inputs(inner, [column.name for column in columns])
    part = _Columns(frame if chosen is None else frame.take(chosen))
    while isinstance(inner, Pipeline):
        for _, step in inner.steps[:-1]:
            part = _transformed(step, part)
        inner = unwrap(inner.steps[-1][1])
    return part.run(), nameless(inner)


def _transformed(step: Any, part: _Columns) -> _Columns:
    step = unwrap(step)
    if step is None or (isinstance(step, str) and step == "passthrough"):
        return part
    if type(step) is Pipeline:
        for _, inner in step.steps:
            part = _transformed(inner, part)
        return part
    if type(step) is ColumnTransformer:
        return _column_transformer(step, part)
    if type(step) is FeatureUnion and not step.transformer_weights:
        members = [inner for _, inner in step.transformer_list if not _drops(inner)]
        return _joined([_transformed(inner, part) for inner in members])
    if not part.numbers and part.frame is not None:
        try:
            return _Columns(transform(step, part.frame))
        except UnsupportedModelError:
            if not np.all(part.frame.numeric):
                raise
    return _asked(step, part)


def _column_transformer(step: Any, part: _Columns) -> _Columns:
    weights = step.transformer_weights or {}
    parts = []
    for name, inner, chosen in step.transformers_:
        indices = column_positions(step, chosen)
        if _drops(inner) or not len(indices):
            continue
        out = _transformed(inner, part.take(indices))
        if weights.get(name) is not None:
            out = _scaled(out, float(weights[name]))
        parts.append(out)
    return _joined(parts)


def _drops(step: Any) -> bool:
    return isinstance(step, str) and step == "drop"


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
