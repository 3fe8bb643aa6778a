"""Candidates for shortcuts: columns of a table, windows of an image."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from scfe_sklearn.data import Edit, as_table, open_table
from scfe_sklearn.explanation.containers import take_rows
from scfe_sklearn.image.batches import channels_first, check_bounds, read_images
from scfe_sklearn.models import handed
from scfe_sklearn.models.classifiers import as_constant_function
from scfe_sklearn.status import Status

CHUNK = 512


class Candidates(Protocol):
    """Parts of rows that a model may use as shortcuts."""

    names: list[Any]

    def predict(self, X: Any) -> np.ndarray:
        """Predicted labels (n,)."""

    def use(self, X: Any, target: Any) -> tuple[np.ndarray, list[Any]]:
        """Share of the changes of counterfactuals in each candidate, and its new content."""

    def replaced(self, X: Any, k: int, origin: np.ndarray) -> Any:
        """Rows in which candidate ``k`` comes from the rows at ``origin``."""

    def pasted(self, X: Any, k: int, content: Any) -> Any:
        """Rows in which candidate ``k`` has the given content."""

    def overlap(self, k: int, other: int) -> bool:
        """Whether two candidates share a part of the rows."""


@dataclass(eq=False)
class Columns:
    """The columns of a table.

    Parameters
    ----------
    explainer : CounterfactualExplainer
        Fitted.
    """

    explainer: Any
    names: list[Any] = field(init=False)

    def __post_init__(self) -> None:
        """Read the names of the columns; raise if a column is not a feature."""
        if not self.explainer.inputs_.plain:
            raise ValueError(
                "The 'explainer' parameter of find_shortcuts must have neither 'blocks' nor "
                f"'derived'. Got {self.explainer!r} instead."
            )
        self.names = list(self.explainer.space_.names_)

    def read(self, X: Any) -> Any:
        """Return rows as a table."""
        return as_table(X)

    def predict(self, X: Any) -> np.ndarray:
        """Predicted labels (n,)."""
        return np.asarray(self.explainer.estimator_.predict(handed(X)))

    def use(self, X: Any, target: Any) -> tuple[np.ndarray, list[Any]]:
        """Share of the counterfactuals that change each column, and the typical new value."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*no counterfactual", UserWarning)
            result = self.explainer.explain(X, np.full(len(X), target))
        found = np.flatnonzero(result.status == Status.FOUND)
        changed = result.changed[found]
        if len(found) == 0:
            return np.zeros(len(self.names)), [None] * len(self.names)
        table = open_table(take_rows(result.by_feature[1], found))
        return changed.mean(axis=0), [
            self._typical(table, j, changed[:, j]) for j in range(len(self.names))
        ]

    def _typical(self, table: Any, j: int, changed: np.ndarray) -> Any:
        """Return the median number or the most common level; None without changes."""
        rows = np.flatnonzero(changed)
        if len(rows) == 0:
            return None
        if self.explainer.space_.kinds_[j] in ("numeric", "integer"):
            return float(np.quantile(table.numbers(j)[rows], 0.5, method="lower"))
        codes, levels = table.factorize(j)
        return levels[np.bincount(codes[rows]).argmax()]

    def replaced(self, X: Any, k: int, origin: np.ndarray) -> Any:
        """Rows in which column ``k`` comes from the rows at ``origin``."""
        j = self._position(X, k)
        out = X.clone() if hasattr(X, "with_columns") else X.copy()
        if hasattr(X, "with_columns"):
            name = X.columns[j]
            return out.with_columns(X[origin.tolist()][name].alias(name))
        if hasattr(X, "iloc"):
            out.isetitem(j, X.iloc[origin, j].set_axis(X.index))
        else:
            out[:, j] = X[origin, j]
        return out

    def pasted(self, X: Any, k: int, content: Any) -> Any:
        """Rows in which column ``k`` has one value."""
        rows = np.arange(len(X))
        values = np.array([content] * len(X))
        empty = np.empty(0, dtype=np.intp)
        return open_table(X).write({self._position(X, k): Edit(rows, values, empty)})

    def overlap(self, k: int, other: int) -> bool:
        """Whether two columns share anything."""
        return k == other

    def _position(self, X: Any, k: int) -> int:
        columns = list(getattr(X, "columns", ()))
        return columns.index(self.names[k]) if columns else k


@dataclass(eq=False)
class Windows:
    """The square windows of images.

    Parameters
    ----------
    explainer : image explainer
        Fitted, where it has to be.
    shape : (C, H, W)
        Of an image.
    side : int
        Side of the windows.
    step : int
        Distance of neighbouring windows.
    """

    explainer: Any
    shape: tuple[int, ...]
    side: int
    step: int
    names: list[Any] = field(init=False)

    def __post_init__(self) -> None:
        """Lay out the windows, including those at the last rows and columns."""
        rows, columns = (
            sorted({*range(0, size - self.side + 1, self.step), size - self.side})
            for size in self.shape[1:]
        )
        self.names = [(i, j) for i in rows for j in columns]

    def read(self, X: Any) -> np.ndarray:
        """Return images as an array."""
        return X.detach().cpu().numpy() if isinstance(X, torch.Tensor) else np.asarray(X)

    def predict(self, X: Any) -> np.ndarray:
        """Predicted classes (n,)."""
        who = type(self.explainer).__name__
        bounds = check_bounds(self.explainer.bounds, who)
        given = read_images(X, bounds, who)
        model = self.explainer._image_model(bounds)
        dtype, device = model.place(given)
        with (
            as_constant_function(self.explainer.model),
            torch.no_grad(),
            channels_first(given, who),
        ):
            parts = [model.logits(part.to(device, dtype)).argmax(1) for part in given.split(CHUNK)]
        return torch.cat(parts).cpu().numpy()

    def use(self, X: Any, target: Any) -> tuple[np.ndarray, list[Any]]:
        """Mean share of the squared changes within each window, and the typical new content."""
        result = self.explainer.explain(X, np.full(len(X), target))
        found = np.asarray(result.status == Status.FOUND)
        if not found.any():
            return np.zeros(len(self.names)), [None] * len(self.names)
        size = np.asarray(result.changes, dtype=np.float64)[found] ** 2
        size = size.sum(axis=1)
        share = (size / size.sum(axis=(1, 2), keepdims=True)).mean(axis=0)
        answers = np.asarray(result.counterfactuals)[found]
        used = np.array([share[self._pixels(k)].sum() for k in range(len(self.names))])
        contents = [
            np.median(answers[:, :, *self._pixels(k)], axis=0) for k in range(len(self.names))
        ]
        return used, contents

    def replaced(self, X: Any, k: int, origin: np.ndarray) -> Any:
        """Images in which window ``k`` comes from the images at ``origin``."""
        out = X.copy()
        out[:, :, *self._pixels(k)] = X[origin][:, :, *self._pixels(k)]
        return out

    def pasted(self, X: Any, k: int, content: Any) -> Any:
        """Images with one content in window ``k``."""
        out = X.copy()
        out[:, :, *self._pixels(k)] = content
        return out

    def _pixels(self, k: int) -> tuple[slice, slice]:
        i, j = self.names[k]
        return slice(i, i + self.side), slice(j, j + self.side)

    def overlap(self, k: int, other: int) -> bool:
        """Whether two windows share pixels."""
        gaps = (abs(a - b) for a, b in zip(self.names[k], self.names[other], strict=True))
        return all(gap < self.side for gap in gaps)

    def outside(self, mask: np.ndarray) -> np.ndarray:
        """Whether each window holds no pixel of an object."""
        return np.array([not mask[self._pixels(k)].any() for k in range(len(self.names))])
