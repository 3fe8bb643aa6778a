"""Values as people write them: no float noise, thousands separated, strings quoted."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

__all__ = [
    "is_boolean",
    "is_missing",
    "is_number",
    "number_pair",
    "plain",
    "probability_pair",
    "quoted",
    "value_pair",
]

_EXACT_DECIMALS = 4  # a value with no more decimals than this is written in full
_LARGE, _SMALL = 1e15, 1e-7  # beyond these, powers of ten


def is_missing(value: Any) -> bool:
    """Whether a raw value is None, NaN, NaT or pandas' NA."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def is_boolean(value: Any) -> bool:
    """Whether a raw value is a boolean."""
    return isinstance(value, bool | np.bool_)


def is_number(value: Any) -> bool:
    """Whether a raw value is a real number; booleans and missing values are none."""
    return isinstance(value, numbers.Real) and not is_boolean(value) and not is_missing(value)


def value_pair(before: Any, after: Any, *, quotes: bool = True) -> tuple[str, str]:
    """Two values of one feature, written so that they can be told apart.

    Examples
    --------
    >>> value_pair(31000, 36500), value_pair(False, True), value_pair("rent", "own")
    (('31,000', '36,500'), ('no', 'yes'), ("'rent'", "'own'"))
    """
    if is_number(before) and is_number(after):
        return number_pair(before, after)
    write = quoted if quotes else plain
    return write(before), write(after)


def quoted(value: Any) -> str:
    r"""One value on its own, as `plain` writes it, with quotes around text.

    Examples
    --------
    >>> quoted("own"), quoted("it's"), quoted(12)
    ("'own'", '"it\'s"', '12')
    """
    text = plain(value)
    bare = is_missing(value) or is_boolean(value) or is_number(value)
    return text if bare else repr(text)


def plain(value: Any) -> str:
    """One value on its own.

    Examples
    --------
    >>> plain("own"), plain(0.1 + 0.2), plain(None), plain(True), plain(36500.0)
    ('own', '0.3', 'missing', 'yes', '36,500')
    """
    if is_missing(value):
        return "missing"
    if is_boolean(value):
        return "yes" if value else "no"
    if is_number(value):
        return _exact(_clean(value))
    return str(value)


def number_pair(before: Any, after: Any) -> tuple[str, str]:
    """Two numbers, with as many decimals as their difference needs.

    Numbers of at most four decimals are written in full, because on a lattice of whole
    numbers or of cents every digit counts. Others are rounded where the third digit of their
    difference stands; if the results look alike, one decimal after the other is added.

    Examples
    --------
    >>> number_pair(31000.0, 36500.0), number_pair(0.1 + 0.2, 0.35)
    (('31,000', '36,500'), ('0.3', '0.35'))
    >>> number_pair(52.18345612, 61.99120034), number_pair(1000.123456, 1000.123789)
    (('52.18', '61.99'), ('1,000.123456', '1,000.123789'))
    >>> number_pair(2e-9, 31e-10)
    ('2e-09', '3.1e-09')
    """
    a, b = _clean(before), _clean(after)
    if isinstance(a, int) and isinstance(b, int):
        return f"{a:,}", f"{b:,}"
    if a == b and before != after:  # told apart by their last digits only
        return repr(float(before)), repr(float(after))
    difference = abs(b - a)
    largest = max(abs(a), abs(b))
    if not 0 < difference < np.inf:
        return _exact(a), _exact(b)
    if largest >= _LARGE or largest < _SMALL:
        digits = _order(largest) - _order(difference) + 3
        return f"{a:.{digits}g}", f"{b:.{digits}g}"
    for decimals in range(max(0, 2 - _order(difference)), 18):
        pair = _number(a, decimals), _number(b, decimals)
        if pair[0] != pair[1]:
            return pair
    return repr(a), repr(b)


def probability_pair(before: float, after: float) -> tuple[str, str]:
    """Two probabilities with two decimals, with more where they would look alike.

    Examples
    --------
    >>> probability_pair(0.21, 0.634), probability_pair(0.4996, 0.5004)
    (('0.21', '0.63'), ('0.4996', '0.5004'))
    """
    for decimals in (2, 3, 4):
        pair = f"{before:.{decimals}f}", f"{after:.{decimals}f}"
        if pair[0] != pair[1]:
            break
    return pair


def _order(value: float) -> int:
    """The power of ten of the first digit."""
    return int(np.floor(np.log10(value)))


def _clean(value: Any) -> int | float:
    """A number without the noise of binary fractions; a whole number is an integer."""
    if isinstance(value, numbers.Integral):
        return int(value)
    number = float(str(value)) if isinstance(value, np.float32 | np.float16) else float(value)
    if number.is_integer() and abs(number) < _LARGE:
        return int(number)
    return float(f"{number:.14g}")


def _exact(value: int | float) -> str:
    """A number on its own: full up to four decimals, else to about four digits."""
    if isinstance(value, int):
        return f"{value:,}"
    if abs(value) >= _LARGE or abs(value) < 10.0**-_EXACT_DECIMALS:
        return f"{value:.4g}"
    return _number(value, _EXACT_DECIMALS)


def _number(value: int | float, decimals: int) -> str:
    """Fixed decimals without trailing zeros; more decimals where they write the value in full."""
    if value == round(value, _EXACT_DECIMALS):
        decimals = max(decimals, _EXACT_DECIMALS)
    text = f"{value:,.{decimals}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text
