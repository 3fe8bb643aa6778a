"""The largest entries of each row."""

from __future__ import annotations

import torch
from torch import Tensor

from scfe_sklearn.proximal.operators import as_tensor_like


def flag_largest(x: Tensor, count: int | Tensor) -> Tensor:
    """Flag the largest entries (n, d) of each row, of equal ones the first; NaN are largest.

    Parameters
    ----------
    x : Tensor of shape (n, d)
    count : int or LongTensor of shape (n,)
        How many, at most.

    Examples
    --------
    >>> flag_largest(torch.tensor([[3.0, 1.0, 3.0, 2.0]]), 2)
    tensor([[ True, False,  True, False]])
    """
    most = _most(count)
    count = as_tensor_like(count, x.new_empty(0, dtype=torch.long))
    count = count.reshape(-1, 1).expand(len(x), 1)
    if 4 * most > x.shape[1]:
        order = torch.sort(x, dim=1, descending=True, stable=True).indices
        first = torch.arange(x.shape[1], device=x.device) < count
        return torch.zeros_like(first.expand_as(x)).scatter(1, order, first.expand_as(x))
    # Few of many: no need to sort them all.
    x = torch.where(torch.isnan(x), torch.full_like(x, torch.inf), x)
    least = x.topk(max(most, 1), dim=1).values.gather(1, (count - 1).clamp(min=0))
    above, equal = x > least, x == least
    room = count - above.sum(dim=1, keepdim=True)
    return (above | (equal & (equal.cumsum(dim=1) <= room))) & (count > 0)


def _most(count: int | Tensor) -> int:
    """Return the largest count; a device is not waited for to know a plain number."""
    if not isinstance(count, Tensor):
        return int(count)
    return int(count.max()) if count.numel() else 0
