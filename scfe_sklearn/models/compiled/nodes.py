"""The compiled side: torch nodes, each evaluated once per call, and the links that read outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn.functional import logsigmoid


class UnsupportedModelError(TypeError):
    """The estimator has no exact differentiable version here; treat it as a black box."""


class AdapterMismatchError(ValueError):
    """The torch version and the estimator disagree on rows where they must be equal."""


Memo = dict["Node", Tensor]


class Node(nn.Module):
    """A batch of rows at one place of the compiled model; `width` columns wide.

    A node is a module only so that its constants follow ``.to(device)``: they are buffers,
    never parameters.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def value(self, memo: Memo) -> Tensor:
        """Rows of this node, computed at most once per `memo`."""
        rows = memo.get(self)
        if rows is None:
            rows = memo[self] = self.compute(memo)
        return rows

    def compute(self, memo: Memo) -> Tensor:
        """Rows of this node from those of its parents."""
        raise NotImplementedError

    def constant(self, name: str, value: object, dtype: torch.dtype) -> None:
        """Keep an array as a buffer of this node."""
        self.register_buffer(name, as_constant(value, dtype))


class Input(Node):
    """The rows of column space that the caller hands in."""

    def compute(self, memo: Memo) -> Tensor:
        """Refuse: the input is put into the memo by the caller."""
        raise KeyError("The input rows are missing from the evaluation.")


class Apply(Node):
    """A torch function of one parent."""

    def __init__(self, function: nn.Module, parent: Node, width: int) -> None:
        super().__init__(width)
        self.function = function
        self.parent = parent

    def compute(self, memo: Memo) -> Tensor:
        """Apply the function to the parent's rows."""
        return cast(Tensor, self.function(self.parent.value(memo)))


class _Piece(Node):
    """(rows - center) @ weight, as a scaled selection of columns where that is all it is."""

    rows: Tensor
    center: Tensor
    weight: Tensor

    def __init__(
        self, node: Node, center: np.ndarray, weight: sparse.csc_array, dtype: torch.dtype
    ) -> None:
        super().__init__(weight.shape[1])
        self.node = node
        self.selects = bool(np.all(np.diff(weight.indptr) == 1))
        self.skips = False
        if self.selects:
            rows = weight.indices
            self._choose(rows)
            center, dense = center[rows], weight.data
        else:
            dense = weight.toarray()
            # A missing number that these columns do not read must not reach them: 0 * NaN is NaN.
            read = np.flatnonzero(dense.any(axis=1))
            self.skips = 0 < len(read) < len(dense)
            if self.skips:
                self._choose(read)
                center, dense = center[read], dense[read]
        self.shifts = bool(np.any(center != 0))
        self.scales = not (self.selects and np.all(dense == 1))
        self.constant("center", center, dtype)
        self.constant("weight", dense, dtype)

    def _choose(self, rows: np.ndarray) -> None:
        """Remember the cheapest way to pick these columns."""
        first, width = int(rows[0]), len(rows)
        contiguous = np.array_equal(rows, np.arange(first, first + width))
        self.span = (first, width) if contiguous else None
        self.register_buffer("rows", torch.as_tensor(rows.astype(np.int64)))

    def compute(self, memo: Memo) -> Tensor:
        """Rows of the piece."""
        x = self.node.value(memo)
        if self.selects or self.skips:
            if self.span is None:
                x = x.index_select(1, self.rows)
            elif self.span != (0, x.shape[1]):
                x = x.narrow(1, *self.span)
        if self.shifts:
            x = x - self.center
        if not self.selects:
            return x @ self.weight
        return x * self.weight if self.scales else x


_Term = tuple[Node, np.ndarray, sparse.csc_array]


class Affine(Node):
    """bias + sum over parents of (rows - center) @ weight, in as few operations as it takes.

    Parents which feed different columns are concatenated; others are added up.
    """

    bias: Tensor
    order: Tensor

    def __init__(
        self,
        terms: Sequence[_Term],
        bias: np.ndarray,
        dtype: torch.dtype,
    ) -> None:
        super().__init__(len(bias))
        rounded = [(node, round_to(center, dtype), weight) for node, center, weight in terms]
        for (_, exact, weight), (_, center, _) in zip(terms, rounded, strict=True):
            bias = bias + (center - exact) @ weight  # what rounding the center moves
        terms, bias = _drop_centers(rounded, bias, dtype)
        used = [np.flatnonzero(np.diff(weight.indptr)) for _, _, weight in terms]
        order = np.concatenate([np.empty(0, dtype=int), *used])
        self.joins = len(terms) > 1 and len(np.unique(order)) == len(order) == self.width
        pieces = [
            _Piece(node, center, weight[:, columns] if self.joins else weight, dtype)
            for (node, center, weight), columns in zip(terms, used, strict=True)
            if len(columns)
        ]
        self.pieces = nn.ModuleList(pieces)
        back = np.argsort(order) if self.joins else np.arange(self.width)
        self.sorts = not np.array_equal(back, np.arange(self.width))
        self.register_buffer("order", torch.as_tensor(back.astype(np.int64)))
        self.adds = bool(np.any(bias != 0))
        self.constant("bias", bias, dtype)
        self.anchor = terms[0][0]

    def compute(self, memo: Memo) -> Tensor:
        """Rows of the combination."""
        bias = self.bias
        parts = [cast(Node, piece).value(memo) for piece in self.pieces]
        if not parts:
            return bias.expand(self.anchor.value(memo).shape[0], self.width)
        if self.joins:
            rows = torch.cat(parts, dim=1)
            if self.sorts:
                rows = rows.index_select(1, self.order)
        else:
            rows = parts[0]
            for part in parts[1:]:
                rows = rows + part
        return rows + bias if self.adds else rows


def _drop_centers(
    terms: Sequence[_Term], bias: np.ndarray, dtype: torch.dtype
) -> tuple[list[_Term], np.ndarray]:
    """Put centers into the bias where no digits are lost: it saves a copy of all rows."""
    allowed = (1e-12 if dtype == torch.float64 else 2e-7) / torch.finfo(dtype).eps
    kept = []
    for node, center, weight in terms:
        if np.max(np.abs(center) @ abs(weight), initial=0.0) <= allowed:
            bias = bias - center @ weight
            center = np.zeros_like(center)
        kept.append((node, center, weight))
    return kept, bias


def round_to(values: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    """Round values to what `dtype` holds; in float64."""
    return as_constant(values, dtype).double().numpy()


def as_constant(value: object, dtype: torch.dtype) -> Tensor:
    """Tensor copy of an array, without gradient."""
    return torch.as_tensor(np.array(value, dtype=np.float64)).to(dtype)


# ----------------------------------------------------------------------------------------- links


Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Link:
    """Link between the raw output of a family of classifiers and its probabilities.

    Parameters
    ----------
    scores : callable
        Raw output -> (n, C), whose largest column is the predicted class.
    log_proba : callable or None
        Raw output -> (n, C) logarithms of ``predict_proba``.
    decision : callable or None
        Raw output -> what ``decision_function`` returns.
    response_method : str
        The method that judges the model: ``"predict_proba"`` or ``"decision_function"``.
    """

    scores: Function
    log_proba: Function | None
    decision: Function | None
    response_method: str = "predict_proba"


def two_sided(f: Tensor) -> Tensor:
    """Scores (-f/2, f/2) of a binary decision f of shape (n, 1): softmax gives sigmoid(f)."""
    half = 0.5 * f
    return torch.cat([-half, half], dim=1)


def log_sigmoid_pair(f: Tensor) -> Tensor:
    """log(1 - p), log(p) with p = sigmoid(f), from f of shape (n, 1)."""
    return logsigmoid(torch.cat([-f, f], dim=1))


def single(f: Tensor) -> Tensor:
    """Return the one column as a vector."""
    return f[:, 0]


def identity(raw: Tensor) -> Tensor:
    """Return the raw output itself."""
    return raw


def log_softmax(raw: Tensor) -> Tensor:
    """Logarithm of the softmax over classes."""
    return torch.log_softmax(raw, dim=1)


def difference(raw: Tensor) -> Tensor:
    """Score of class 1 minus score of class 0."""
    return raw[:, 1] - raw[:, 0]


def safe_log(p: Tensor) -> Tensor:
    """Logarithm with a floor at the smallest normal number, where log(0) has no gradient."""
    return torch.log(p.clamp(min=torch.finfo(p.dtype).tiny))


def modified_huber(f: Tensor) -> Tensor:
    """Log-probabilities of SGD's modified Huber loss: (clip(f, -1, 1) + 1) / 2, normalised."""
    p = (f.clamp(-1, 1) + 1) / 2
    if f.shape[1] == 1:
        return safe_log(torch.cat([1 - p, p], dim=1))
    total = p.sum(dim=1, keepdim=True)
    uniform = torch.full_like(p, 1 / p.shape[1])
    return safe_log(torch.where(total == 0, uniform, p / torch.where(total == 0, 1.0, total)))


def binary_link(proba: bool, slope: float = 1.0) -> Link:
    """One column f; p = sigmoid(slope * f) where the model has probabilities."""
    if not proba:
        return Link(two_sided, None, single, "decision_function")
    if slope == 1.0:
        return Link(two_sided, log_sigmoid_pair, single)
    return Link(lambda f: two_sided(slope * f), lambda f: log_sigmoid_pair(slope * f), single)


SOFTMAX = Link(identity, log_softmax, identity)
SOFTMAX_PAIR = Link(identity, log_softmax, difference)
SOFTMAX_ONLY = Link(identity, log_softmax, None)
ONE_VS_REST = Link(logsigmoid, lambda raw: log_softmax(logsigmoid(raw)), identity)
DECISION = Link(identity, None, identity, "decision_function")
LOG_PROBA = Link(identity, identity, None)
