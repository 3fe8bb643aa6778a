"""One-hot blocks that the user encoded before the model, as one categorical column each.

Nothing here is public: users name their blocks by the parameter ``blocks`` of the explainer.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from scfe_sklearn._utils import invalid

_NAMED = ("blocks", "BlockExpander")  # in messages
REST = "none"
"""The level of rows that are 0 in a whole block, unless the user names it."""


@dataclass(frozen=True, eq=False)
class Block:
    """One block: the categorical column that it makes, and the column of each level.

    Parameters
    ----------
    name : hashable
        Label of the categorical column.
    levels : tuple
        Its levels.
    columns : tuple of (int or None)
        The position of the 0/1 column of each level; None for the level of the rows that are 0
        in the whole block.
    """

    name: Hashable
    levels: tuple[Hashable, ...]
    columns: tuple[int | None, ...]


class BlockExpander(BaseEstimator):
    """Turn categorical columns into the 0/1 columns that a model was trained on, and back.

    Fitted on the training rows with their 0/1 columns. `collapse` makes one categorical column
    of every block, so that its columns move together and count as one; `transform` makes the
    block again. A pipeline of the fitted expander and the user's model then reads collapsed
    rows, with the same gradient.

    Parameters
    ----------
    blocks : dict
        ``{name: {level: column}}``, with None for the column of the level that rows have
        which are 0 in the whole block; or ``{name: [column, ...]}``, where a level is the label
        without the prefix ``name_``, if all labels have it, and rows that are all 0 in training
        have the level "none". Columns of an array are positions.

    Attributes
    ----------
    blocks_ : tuple of Block
        The blocks, in the order of their first column.
    n_features_in_ : int
        Number of columns of collapsed rows, which `transform` reads.
    feature_names_in_ : ndarray of shape (d,), object
        Their labels: columns in the order of training, a block where its first column stood.

    Examples
    --------
    >>> import pandas as pd
    >>> X = pd.DataFrame({"age": [30, 40], "job_a": [1, 0], "job_b": [0, 1]})
    >>> expander = BlockExpander({"job": ["job_a", "job_b"]}).fit(X)
    >>> expander.collapse(X)
       age job
    0   30   a
    1   40   b
    >>> expander.transform(expander.collapse(X).assign(job="b"))
       age  job_a  job_b
    0   30      0      1
    1   40      0      1
    """

    def __init__(self, blocks: Mapping[Hashable, Any]) -> None:
        self.blocks = blocks

    # ------------------------------------------------------------------------------- fitting

    def fit(self, X: Any, y: Any = None) -> BlockExpander:
        """Learn the layout from the training rows with their 0/1 columns.

        Parameters
        ----------
        X : DataFrame or ndarray of shape (n, f)
            The rows that the model was trained on.
        y : None
            Not used.

        Returns
        -------
        BlockExpander
            Self.

        Raises
        ------
        ValueError
            If a block names unknown columns or columns of another block, or a training row is
            not one-hot in it.
        """
        frame = _as_frame(X)
        if not isinstance(self.blocks, Mapping) or not self.blocks:
            raise invalid(*_NAMED, "be a dict from names to columns", self.blocks)
        labels: list[Hashable] = list(frame.columns)
        blocks = [_block(name, given, labels) for name, given in self.blocks.items()]
        used = [k for block in blocks for k in block.columns if k is not None]
        twice = [labels[k] for k in dict.fromkeys(used) if used.count(k) > 1]
        if twice:
            raise ValueError(
                "The 'blocks' parameter of BlockExpander must name every column once. "
                f"Got {twice[0]!r} more than once."
            )
        blocks = [_with_rest(block, frame) for block in blocks]
        firsts = {min(k for k in b.columns if k is not None): b for b in blocks}
        self.blocks_ = tuple(firsts[k] for k in sorted(firsts))
        names: list[Hashable] = []
        source: list[int | Block] = []
        for k, label in enumerate(labels):
            if k in firsts:
                source.append(firsts[k])
                names.append(firsts[k].name)
            elif k not in used:
                source.append(k)
                names.append(label)
        clash = [name for name in names if names.count(name) > 1]
        if clash:
            raise invalid(*_NAMED, "give names that no other column has", clash[0])
        self.columns_ = frame.columns
        self.dtypes_ = tuple(frame.dtypes)
        self.array_dtype_ = X.dtype if isinstance(X, np.ndarray) else None
        self.source_ = tuple(source)
        self.n_features_in_ = len(names)
        self.feature_names_in_ = np.array([*names, None], dtype=object)[:-1]
        return self

    # ------------------------------------------------------------------- 0/1 columns -> levels

    def input_problems(self, X: Any) -> np.ndarray:
        """Why rows cannot be collapsed, if they cannot.

        Parameters
        ----------
        X : DataFrame or ndarray of shape (n, f)
            Rows with 0/1 columns.

        Returns
        -------
        ndarray of shape (n,), object
            None, or a reason such as "no 1 in the columns of 'job', ['job_a', 'job_b']: ...".
        """
        frame = self._training_frame(X)
        reasons = np.full(len(frame), None, dtype=object)
        for block in reversed(self.blocks_):
            bad = np.flatnonzero(_codes(block, frame) < 0)
            if len(bad):
                reasons[bad] = _block_problems(block, frame.iloc[bad])
        return reasons

    def collapse(self, X: Any) -> pd.DataFrame:
        """Rows with one categorical column in the place of every block.

        Parameters
        ----------
        X : DataFrame or ndarray of shape (n, f)
            Rows with 0/1 columns.

        Returns
        -------
        DataFrame of shape (n, d)
            The rows; a block that is not one-hot, see `input_problems`, is a missing level.
        """
        frame = self._training_frame(X)
        columns: dict[int, Any] = {}
        for k, source in enumerate(self.source_):
            if isinstance(source, Block):
                codes = _codes(source, frame)
                columns[k] = pd.Categorical.from_codes(codes, categories=pd.Index(source.levels))
            else:
                columns[k] = frame.iloc[:, source]
        out = pd.DataFrame(columns, index=frame.index, copy=True)
        out.columns = pd.Index(self.feature_names_in_.tolist())
        return out

    inverse_transform = collapse

    # ------------------------------------------------------------------- levels -> 0/1 columns

    def transform(self, X: pd.DataFrame) -> Any:
        """Rows with the 0/1 columns of training, in their order and of their dtypes.

        Parameters
        ----------
        X : DataFrame of shape (n, d)
            Collapsed rows.

        Returns
        -------
        DataFrame or ndarray of shape (n, f)
            The rows, in the kind of container that `fit` had. Where a category is missing so is
            its block, in a nullable dtype if need be.

        Raises
        ------
        ValueError
            If columns are missing, or a level is unknown.
        """
        check_is_fitted(self, "source_")
        columns: dict[int, Any] = {}
        for name, source in zip(self.feature_names_in_.tolist(), self.source_, strict=True):
            if name not in X.columns:
                raise ValueError(
                    "X must have the columns that BlockExpander makes, which are "
                    f"{self.feature_names_in_.tolist()}. Got no {name!r}."
                )
            column = X[name]
            if not isinstance(source, Block):
                columns[source] = column
                continue
            codes, missing = _level_codes(source, column)
            for level, place in enumerate(source.columns):
                if place is not None:
                    on = pd.Series(codes == level, index=X.index)
                    columns[place] = _cast(on, missing, self.dtypes_[place])
        if self.array_dtype_ is not None:
            return self._as_array(columns, len(X))
        out = pd.DataFrame({k: columns[k] for k in range(len(self.columns_))}, index=X.index)
        out.columns = self.columns_
        return out

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """The labels of the columns that `transform` makes."""
        check_is_fitted(self, "source_")
        return np.asarray(self.columns_, dtype=object)

    def column_sources(self) -> list[tuple[int, Hashable, bool]]:
        """Source of each column of `transform`.

        Returns
        -------
        list of (position, level, whole)
            The position of the collapsed column, and the level that the column indicates;
            ``whole`` is True for a column that passes as it is.
        """
        check_is_fitted(self, "source_")
        out: dict[int, tuple[int, Hashable, bool]] = {}
        for k, source in enumerate(self.source_):
            if isinstance(source, Block):
                for level, place in zip(source.levels, source.columns, strict=True):
                    if place is not None:
                        out[place] = (k, level, False)
            else:
                out[source] = (k, None, True)
        return [out[place] for place in range(len(out))]

    def _as_array(self, columns: Mapping[int, Any], n: int) -> np.ndarray:
        dtype = np.dtype(self.array_dtype_)
        lost = any(column.isna().any() for column in columns.values())
        if lost and dtype.kind in "iub":
            dtype = np.dtype(np.float64)
        out = np.empty((n, len(columns)), dtype=dtype)
        for place, column in columns.items():
            out[:, place] = column.to_numpy(dtype=dtype, na_value=np.nan) if lost else column
        return out

    def _training_frame(self, X: Any) -> pd.DataFrame:
        """Rows with their columns in the order of training."""
        check_is_fitted(self, "source_")
        frame = _as_frame(X)
        if isinstance(X, np.ndarray) and frame.shape[1] == len(self.columns_):
            return frame.set_axis(self.columns_, axis=1)
        if set(frame.columns) != set(self.columns_) or frame.columns.has_duplicates:
            raise ValueError(
                "X must have the columns that BlockExpander was fitted on, which are "
                f"{list(self.columns_)}. Got {list(frame.columns)} instead."
            )
        return frame[list(self.columns_)]


def _as_frame(X: Any) -> pd.DataFrame:
    if isinstance(X, pd.DataFrame):
        return X
    if isinstance(X, np.ndarray) and X.ndim == 2:
        return pd.DataFrame(X)
    raise TypeError(
        "X must be a pandas data frame or a 2-D array for BlockExpander. "
        f"Got an object of type {type(X).__name__} instead."
    )


def _block(name: Hashable, given: Any, labels: list[Hashable]) -> Block:
    if isinstance(given, Mapping):
        levels, columns = list(given), list(given.values())
    elif isinstance(given, (list, tuple)):
        columns = list(given)
        levels = list(columns)
        for prefix in (f"{name}_", f"{name}="):
            if all(isinstance(c, str) and c.startswith(prefix) for c in columns):
                levels = [c[len(prefix) :] for c in columns]
    else:
        raise invalid(*_NAMED, "give {level: column} or a list of columns", given, name)
    named = [c for c in columns if c is not None]
    unknown = [c for c in named if c not in labels]
    if unknown:
        raise invalid(*_NAMED, f"name columns of X, which are {labels[:20]}", unknown[0])
    if not named or len(columns) < 2 or len(columns) - len(named) > 1:
        must = "give at least two levels, of which at most one has no column"
        raise invalid(*_NAMED, must, given, name)
    return Block(
        name, tuple(levels), tuple(None if c is None else labels.index(c) for c in columns)
    )


def _with_rest(block: Block, frame: pd.DataFrame) -> Block:
    """Check the training rows of a block; where some are all 0 they get a level."""
    total = _indicators(block, frame).sum(axis=1)
    if None not in block.columns and (total == 0).any():
        if REST in block.levels:
            raise ValueError(
                f"The block {block.name!r} of BlockExpander has rows that are 0 in all columns, "
                f"and a level {REST!r} besides: name their level by {{level: None}}."
            )
        block = Block(block.name, (*block.levels, REST), (*block.columns, None))
    wrong = np.flatnonzero(_codes(block, frame) < 0)
    if len(wrong):
        raise ValueError(
            f"The columns of {block.name!r} must be one-hot in the training rows of "
            f"BlockExpander. Got {_shown(block, frame, wrong[0])} in row {wrong[0]}."
        )
    return block


def _shown(block: Block, frame: pd.DataFrame, row: int) -> list[Any]:
    return [frame.iloc[row, k] for k in block.columns if k is not None]


def _block_problems(block: Block, frame: pd.DataFrame) -> list[str]:
    """Return for every row what is wrong with its block, and what would be right."""
    on = _indicators(block, frame)
    names = [frame.columns[k] for k in block.columns if k is not None]
    such = f"the columns of {block.name!r}, {names[:8]}{' and others' if len(names) > 8 else ''}"
    one = "exactly one of them must be 1 and the others 0"
    remedy = "or the 'blocks' parameter must name a level for such rows by {level: None}"
    reasons = []
    for values in on:
        if np.isnan(values).any():
            reasons.append(f"other values than 0 and 1 in {such}: {one}")
        elif values.any():
            reasons.append(f"more than one 1 in {such}: {one}")
        else:
            reasons.append(f"no 1 in {such}: {one}, {remedy}")
    return reasons


def _indicators(block: Block, frame: pd.DataFrame) -> np.ndarray:
    """(n, levels with a column) values, NaN for all that is not 0 or 1."""
    out = []
    for k in block.columns:
        if k is not None:
            column = frame.iloc[:, k]
            # Text such as "1" is no number, whatever a conversion would make of it.
            text = pd.api.types.infer_dtype(column, skipna=True) in ("string", "mixed")
            values = np.full(len(frame), np.nan)
            if not text:
                numbers = pd.to_numeric(pd.Series(np.asarray(column)), errors="coerce")
                values = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
            out.append(np.where((values == 0) | (values == 1), values, np.nan))
    return np.stack(out, axis=1)


def _codes(block: Block, frame: pd.DataFrame) -> np.ndarray:
    """The level of every row, -1 where the block is not one-hot."""
    on = _indicators(block, frame)
    total = on.sum(axis=1)
    with_column = np.flatnonzero([k is not None for k in block.columns])
    codes = np.where(total == 1, with_column[np.nan_to_num(on).argmax(axis=1)], -1)
    if None in block.columns:
        codes = np.where(total == 0, block.columns.index(None), codes)
    return codes


def _level_codes(block: Block, column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """The level of every row and whether it is missing; ValueError for an unknown one."""
    values = np.asarray(column, dtype=object)
    missing = np.asarray(pd.isna(values), dtype=bool)
    codes = pd.Index(list(block.levels), dtype=object).get_indexer(pd.Index(values, dtype=object))
    unknown = np.flatnonzero((codes < 0) & ~missing)
    if len(unknown):
        raise ValueError(
            f"Column {block.name!r} of X must have levels of its block, which are "
            f"{list(block.levels)}. Got {values[unknown[0]]!r} instead."
        )
    return codes, missing


def _cast(on: pd.Series, missing: np.ndarray, dtype: Any) -> pd.Series:
    """0/1 values in a dtype, made nullable where some are missing."""
    if not missing.any():
        return on.astype(dtype)
    if isinstance(dtype, np.dtype) and dtype.kind in "iub":
        sign = "U" if dtype.kind == "u" else ""
        dtype = "boolean" if dtype.kind == "b" else f"{sign}Int{8 * dtype.itemsize}"
    return on.astype(dtype).mask(missing)
