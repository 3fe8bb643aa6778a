"""Checks of parameters, with one grammar for their messages."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import torch


def refuse(name: str, owner: object, expected: str, value: Any) -> ValueError:
    """Return the error for a parameter with a wrong value."""
    who = type(owner).__name__
    return ValueError(f"The '{name}' parameter of {who} must be {expected}. Got {value!r} instead.")


def check_number(
    name: str, owner: object, value: Any, expected: str, low: float, *, infinite: bool = False
) -> None:
    """Refuse anything but a number >= low, or a tensor of such numbers."""
    if isinstance(value, torch.Tensor):
        good = not bool((torch.isnan(value) | (value < low)).any())
    else:
        good = _is(value, Real) and float(value) >= low
        good = good and (infinite or not math.isinf(float(value)))
    if not good:
        raise refuse(name, owner, expected, value)


def check_counts(name: str, owner: object, value: Any) -> None:
    """Refuse anything but a whole number >= 0, or an integer tensor of such numbers."""
    if isinstance(value, torch.Tensor):
        whole = not value.is_floating_point() and value.dtype != torch.bool
        good = whole and not bool((value < 0).any())
    else:
        good = _is(value, Integral) and int(value) >= 0
    if not good:
        raise refuse(name, owner, "an int in [0, inf) or one such int per row", value)


def _is(value: Any, kind: type) -> bool:
    """Return whether a value is a number of a kind; True and False are no numbers here."""
    return isinstance(value, kind) and not isinstance(value, bool)
