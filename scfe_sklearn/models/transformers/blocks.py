"""One-hot blocks of the user: every 0/1 column is a table over the levels of its category."""

from __future__ import annotations

import numpy as np

from scfe_sklearn.data import BlockExpander
from scfe_sklearn.models.compiled import Frame, Levels, compile_transformer, stack
from scfe_sklearn.models.errors import AdapterMismatchError, UnsupportedModelError
from scfe_sklearn.models.transformers.encoders import is_missing


@compile_transformer.register(BlockExpander)
def _expander(estimator: BlockExpander, frame: Frame) -> Frame:
    parts = []
    for place, (k, level, whole) in enumerate(estimator.column_sources()):
        column = frame.take([k])
        if whole:
            parts.append(column)
            continue
        levels = column.levels[0]
        if levels is None:
            raise UnsupportedModelError(
                f"BlockExpander reads column {column.labels[0]!r}, which has no levels here: "
                "declare it as categorical."
            )
        label = estimator.get_feature_names_out()[place]
        parts.append(frame.lookup(_indicator(levels, level, estimator), levels.start, label))
    return stack(parts)


def _indicator(levels: Levels, level: object, estimator: BlockExpander) -> Levels:
    """1 at a level and 0 at the others; a missing level has no number."""
    known = {other for block in estimator.blocks_ for other in block.levels}
    gone = is_missing(levels.values)
    strange = [v for v in levels.values[~gone].tolist() if v not in known]
    if strange:
        raise AdapterMismatchError(f"BlockExpander does not know the level {strange[0]!r}.")
    table = np.array([value == level for value in levels.values.tolist()], dtype=np.float64)
    table[gone] = np.nan
    return Levels(levels.start, table)
