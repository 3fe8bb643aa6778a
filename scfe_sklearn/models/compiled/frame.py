"""The symbolic side: what a fitted estimator's input looks like while a model is compiled.

A frame stands for a matrix of ``F`` columns. Every column is an affine function of the rows
of a few torch nodes, so scalers, encoders, projections and the first layer of a classifier
fold into one matrix before anything runs.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import sparse
from torch import nn

from scfe_sklearn.data import Column
from scfe_sklearn.models.compiled.nodes import Affine, Apply, Input, Node, UnsupportedModelError


@dataclass(frozen=True, eq=False)
class Levels:
    """A column that still knows its raw levels: `values[k]` weighs `source[:, start + k]`."""

    start: int
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class Term:
    """(rows of `node` - center) @ weight."""

    node: Node
    center: np.ndarray
    weight: sparse.csc_array


@dataclass(frozen=True, eq=False)
class Frame:
    """Columns between two steps of a pipeline: ``bias + sum of terms``.

    Parameters
    ----------
    source : Input
        The node of column space.
    terms : tuple of Term
        One per node that the columns depend on.
    bias : ndarray of shape (F,)
        Constant part.
    levels : tuple of (Levels or None)
        For each column its raw levels, while an encoder can still read them.
    numeric : ndarray of bool, shape (F,)
        False for a column of text or missing levels, which is no number yet.
    labels : tuple
        Where each column comes from, for messages.
    dtype : torch.dtype
        Type of the compiled constants.
    """

    source: Input
    terms: tuple[Term, ...]
    bias: np.ndarray
    levels: tuple[Levels | None, ...]
    numeric: np.ndarray
    labels: tuple[Hashable, ...]
    dtype: torch.dtype

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.bias)

    @classmethod
    def from_columns(cls, columns: Sequence[Column], dtype: torch.dtype) -> Frame:
        """Frame of the raw columns over a new input node."""
        starts = np.concatenate([[0], np.cumsum([column.width for column in columns])]).astype(int)
        source = Input(int(starts[-1]))
        entries, rows, levels, numeric = [], [], [], []
        for column, start in zip(columns, starts[:-1].tolist(), strict=True):
            level = None if column.levels is None else Levels(start, column.levels)
            table, is_number = _table(level)
            at = np.flatnonzero(table)  # NaN included
            entries.append(table[at])
            rows.append(start + at)
            levels.append(level)
            # What a held column has is no number, and no level is known of it.
            numeric.append(is_number and not column.held)
        ends = np.cumsum([0, *(len(one) for one in rows)])
        weight = sparse.csc_array(
            (np.concatenate([*entries, np.empty(0)]), np.concatenate([*rows, [0][:0]]), ends),
            shape=(source.width, len(columns)),
        )
        terms = (Term(source, np.zeros(source.width), weight),) if columns else ()
        labels = tuple(column.name for column in columns)
        flags = np.array(numeric, dtype=bool)
        return Frame(source, terms, np.zeros(len(columns)), tuple(levels), flags, labels, dtype)

    def lookup(self, levels: Levels | None, start: int, label: Hashable) -> Frame:
        """One new column: a coordinate of the source, or a table over a column's levels."""
        entries, is_number = _table(levels)
        rows = np.flatnonzero(entries)  # NaN included
        weight = sparse.csc_array(
            (entries[rows], start + rows, [0, len(rows)]), shape=(self.source.width, 1)
        )
        term = Term(self.source, np.zeros(self.source.width), weight)
        numeric = np.array([is_number])
        return replace(
            self,
            terms=(term,),
            bias=np.zeros(1),
            levels=(levels,),
            numeric=numeric,
            labels=(label,),
        )

    def constants(self, values: np.ndarray, labels: Sequence[Hashable]) -> Frame:
        """Columns that do not depend on the input."""
        term = self._source_term(sparse.csc_array((self.source.width, len(values))))
        return replace(
            self,
            terms=(term,),
            bias=np.asarray(values, dtype=float),
            levels=(None,) * len(values),
            numeric=np.ones(len(values), bool),
            labels=tuple(labels),
        )

    def tables(
        self, weight: sparse.csc_array, bias: np.ndarray, levels: Sequence[Levels | None]
    ) -> Frame:
        """Build the columns ``source @ weight + bias``, which encoders turn into.

        One with a NaN in its table is no number before an imputer fills it.
        """
        width = weight.shape[1]
        numeric = np.ones(width, bool)
        owner = np.repeat(np.arange(width), np.diff(weight.indptr))
        numeric[owner[np.isnan(weight.data)]] = False
        weight = weight.copy()
        weight.data = np.nan_to_num(weight.data)
        return replace(
            self,
            terms=(self._source_term(weight),),
            bias=bias,
            levels=tuple(levels),
            numeric=numeric & ~np.isnan(bias),
            labels=tuple(range(width)),
        )

    def take(self, indices: Sequence[int] | np.ndarray) -> Frame:
        """Choose some of the columns, in the given order."""
        chosen = np.asarray(indices, dtype=int)
        terms = tuple(replace(term, weight=term.weight[:, chosen]) for term in self.terms)
        return replace(
            self,
            terms=terms,
            bias=self.bias[chosen],
            levels=tuple(self.levels[k] for k in chosen),
            numeric=self.numeric[chosen],
            labels=tuple(self.labels[k] for k in chosen),
        )

    def require_numbers(self, reader: object) -> None:
        """Refuse columns of text or missing levels where an estimator needs numbers."""
        if not np.all(self.numeric):
            label = self.labels[int(np.flatnonzero(~self.numeric)[0])]
            raise UnsupportedModelError(
                f"{type(reader).__name__} needs numbers, but column {label!r} has levels that "
                "are text or missing. Encode or impute it before."
            )

    def scale_shift(self, scale: object, shift: object) -> Frame:
        """Columns ``x * scale + shift``, as a scaler makes them."""
        scale_ = np.broadcast_to(np.asarray(scale, dtype=float), (self.width,))
        shift_ = np.broadcast_to(np.asarray(shift, dtype=float), (self.width,))
        terms = tuple(
            replace(term, weight=sparse.csc_array(term.weight @ sparse.diags_array(scale_)))
            for term in self.terms
        )
        bias = self.bias * scale_ + shift_
        return replace(self, terms=terms, bias=bias, levels=(None,) * self.width)._absorb_bias()

    def project(self, weight: np.ndarray, bias: object) -> Frame:
        """Columns ``x @ weight + bias``; labels are numbers from there on."""
        width = weight.shape[1]
        terms = tuple(
            replace(term, weight=sparse.csc_array(term.weight @ weight)) for term in self.terms
        )
        return replace(
            self,
            terms=terms,
            bias=self.bias @ weight + np.broadcast_to(np.asarray(bias, float), (width,)),
            levels=(None,) * width,
            numeric=np.ones(width, bool),
            labels=tuple(range(width)),
        )

    def apply(self, function: nn.Module, width: int) -> Frame:
        """Columns of a torch function of these columns."""
        node = Apply(function, self.compile(), width)
        identity = sparse.csc_array(sparse.eye_array(width))
        return replace(
            self,
            terms=(Term(node, np.zeros(width), identity),),
            bias=np.zeros(width),
            levels=(None,) * width,
            numeric=np.ones(width, bool),
            labels=self.labels if width == self.width else tuple(range(width)),
        )

    def compile(self) -> Affine:
        """Build the torch node of these columns."""
        return Affine(
            [(term.node, term.center, term.weight) for term in self.terms], self.bias, self.dtype
        )

    def _source_term(self, weight: sparse.csc_array) -> Term:
        return Term(self.source, np.zeros(self.source.width), weight)

    def _absorb_bias(self) -> Frame:
        """Move biases into the centers of the coordinates.

        x - mean loses no digits, where (x / std) - (mean / std) would lose those of a calendar
        year in float32.
        """
        counts = sum(np.diff(term.weight.indptr) for term in self.terms)
        bias, terms = self.bias.copy(), []
        for term in self.terms:
            weight, center = term.weight, term.center.copy()
            lone = np.flatnonzero((counts == 1) & (np.diff(weight.indptr) == 1) & (bias != 0))
            rows, data = weight.indices[weight.indptr[lone]], weight.data[weight.indptr[lone]]
            usable = (center[rows] == 0) & (data != 0)
            rows, first = np.unique(rows[usable], return_index=True)
            columns = lone[usable][first]
            moves = np.zeros_like(center)
            moves[rows] = -bias[columns] / data[usable][first]
            bias = bias + moves @ weight
            bias[columns] = 0.0
            terms.append(replace(term, center=center + moves))
        return replace(self, terms=tuple(terms), bias=bias)


def stack(frames: Sequence[Frame]) -> Frame:
    """Frames side by side; those over the same node share one matrix."""
    nodes = list(dict.fromkeys(term.node for frame in frames for term in frame.terms))
    biases = [frame.bias for frame in frames]
    terms = []
    for node in nodes:
        found = [next((t for t in frame.terms if t.node is node), None) for frame in frames]
        center = np.zeros(node.width)
        for term in found:
            if term is not None:
                center = np.where(center == 0, term.center, center)
        weights = []
        for k, term in enumerate(found):
            if term is None:
                weights.append(sparse.csc_array((node.width, frames[k].width)))
            else:
                weights.append(term.weight)
                biases[k] = biases[k] + (center - term.center) @ term.weight
        terms.append(Term(node, center, sparse.csc_array(sparse.hstack(weights, format="csc"))))
    return replace(
        frames[0],
        terms=tuple(terms),
        bias=np.concatenate(biases),
        levels=tuple(level for frame in frames for level in frame.levels),
        numeric=np.concatenate([frame.numeric for frame in frames]),
        labels=tuple(label for frame in frames for label in frame.labels),
    )


def _table(levels: Levels | None) -> tuple[np.ndarray, bool]:
    """Weights of the coordinates of a column, and whether it is a number."""
    if levels is None:
        return np.ones(1), True
    values = as_numbers(levels.values)
    return (np.zeros(len(levels.values)), False) if values is None else (values, True)


def as_numbers(values: np.ndarray) -> np.ndarray | None:
    """Read levels as floats, like scikit-learn would; None where it could not."""
    if values.dtype.kind in "mM":
        return None
    try:
        numbers = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        return None
    return None if np.isnan(numbers).any() else numbers
