"""Values of options, for argparse: whole numbers, weights, shares, seconds."""

from __future__ import annotations

import argparse
import math


class whole:
    """Whole numbers from a limit on.

    Examples
    --------
    >>> whole(1)("3")
    3
    """

    def __init__(self, least: int) -> None:
        self.least = least

    def __call__(self, text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = self.least - 1
        if value < self.least:
            raise argparse.ArgumentTypeError(
                f"must be an int in [{self.least}, inf). Got {text!r} instead."
            )
        return value


def weight(text: str) -> float:
    """A finite number that is not negative."""
    value = _float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a float in [0, inf). Got {text!r} instead.")
    return value


def seconds(text: str) -> float:
    """A time."""
    value = _float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a float in (0, inf). Got {text!r} instead.")
    return value


def number(text: str) -> float:
    """A finite number."""
    value = _float(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a finite number. Got {text!r} instead.")
    return value


def budget(text: str) -> int | str:
    """A number of changes, or the word for as few as possible."""
    if text == "fewest":
        return text
    try:
        return whole(1)(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"must be an int in [1, inf) or 'fewest'. Got {text!r} instead."
        ) from None


def mebibytes(text: str) -> int:
    """A size in MiB, as bytes."""
    return whole(1)(text) << 20


def port(text: str) -> int:
    """A port of this machine."""
    value = int(text) if text.isdecimal() else -1
    if not 0 <= value < 65536:
        raise argparse.ArgumentTypeError(f"must be an int in [0, 65536). Got {text!r} instead.")
    return value


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
