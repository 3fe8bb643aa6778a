"""Double precision for operators that need it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor


@cache
def has_double(device: torch.device) -> bool:
    """Whether a device knows float64 (Apple's does not).

    Examples
    --------
    >>> has_double(torch.device("cpu"))
    True
    """
    try:
        torch.zeros(1, dtype=torch.float64, device=device)
    except TypeError:
        return False
    return True


def on_processor(operator: Callable[..., Tensor], v: Tensor, *others: Any) -> Tensor:
    """Return ``operator(v, *others)``, worked out on the processor, on the device of ``v``.

    Examples
    --------
    >>> on_processor(torch.add, torch.ones(1), 2.0)
    tensor([3.])
    """
    moved = [part.cpu() if isinstance(part, Tensor) else part for part in (v, *others)]
    return operator(*moved).to(v.device)
