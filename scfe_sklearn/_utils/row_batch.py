"""Batches of rows, records with one value per row; selection of entries of each row."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, ClassVar, Self

import torch


def taken(value: Any, rows: Any) -> Any:
    """Return some rows of an array, of a batch, or of each in a tuple; None stays None.

    Examples
    --------
    >>> import numpy as np
    >>> taken((np.array([5, 6, 7]), None), np.array([2, 0]))
    (array([7, 5]), None)
    """
    if value is None:
        return None
    if isinstance(value, tuple):
        return tuple(taken(one, rows) for one in value)
    return value[rows] if hasattr(value, "dtype") else value.take(rows)


class RowBatch:
    """Mixin of dataclasses: `take` returns some rows of the fields that `_by_row` names, or of all.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> @dataclass
    ... class Interval(RowBatch):
    ...     low: np.ndarray
    ...     unit: float
    ...     _by_row = ("low",)
    >>> Interval(np.array([5, 6, 7]), 2.0).take(np.array([2, 0]))
    Interval(low=array([7, 5]), unit=2.0)
    """

    _by_row: ClassVar[tuple[str, ...] | None] = None

    def take(self, rows: Any) -> Self:
        """Return the rows at some positions, in their order."""
        names = self._by_row
        if names is None:
            names = tuple(field.name for field in fields(self))  # type: ignore[arg-type]
        changed = {name: taken(getattr(self, name), rows) for name in names}
        return replace(self, **changed)  # type: ignore[type-var]


# ------------------------------------------------------------------------------------- selection


def first_flagged(flags: torch.Tensor, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the positions (n, width) of the first flags of each row, those of no flag last.

    ``flags.topk(width)`` would put equal ones into an order that depends on the width, and so a
    row's own would depend on the widest row beside it.

    Parameters
    ----------
    flags : Tensor of shape (n, D), bool
        What is looked for.
    width : int
        Positions that are returned.

    Returns
    -------
    there : Tensor of shape (n, width), bool
        Whether a position is flagged.
    position : LongTensor of shape (n, width)
        Flagged ones in rising order, then others.
    """
    size = flags.shape[1]
    early = torch.arange(size, 0, -1, dtype=torch.int32, device=flags.device)
    key, position = (early + flags.to(torch.int32) * size).topk(width, dim=1)
    return key > size, position


def picked(z: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """Return the points (n, K, D) at positions ``order`` (n, K) of ``z`` (n, P, D)."""
    return z.gather(1, order[..., None].expand(-1, -1, z.shape[2]))


def cheapest(z: torch.Tensor, cost: torch.Tensor, count: int) -> torch.Tensor:
    """Return the ``count`` cheapest points of each row."""
    return picked(z, cost.topk(min(count, cost.shape[1]), dim=1, largest=False).indices)


def least(values: torch.Tensor, count: int) -> torch.Tensor:
    """Positions (n, K) of the least values of each row."""
    return values.topk(min(count, values.shape[1]), dim=1, largest=False).indices


def repeated(key: torch.Tensor) -> torch.Tensor:
    """Flag the entries (n, K) that an earlier entry of the row equals."""
    key, position = key.sort(dim=1, stable=True)
    again = torch.zeros_like(key, dtype=torch.bool)
    again[:, 1:] = key[:, 1:] == key[:, :-1]
    return torch.zeros_like(again).scatter(1, position, again)


def rank_within(rows: torch.Tensor) -> torch.Tensor:
    """Count the earlier entries (k,) of the same row, in a rising list of rows (k,)."""
    return torch.arange(len(rows), device=rows.device) - torch.searchsorted(rows, rows)
