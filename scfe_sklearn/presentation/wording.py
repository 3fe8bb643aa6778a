"""Values as people write them: thousands separated, strings quoted, no digit without need."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

__all__ = [
    "exact",
    "is_boolean",
    "is_missing",
    "is_number",
    "plain",
    "probability_pair",
    "quoted",
    "rounded_pair",
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
    """Two values of one feature, each in full as `exact` writes it.

    Examples
    --------
    >>> value_pair(31000, 36500), value_pair(False, True), value_pair("rent", "own")
    (('31,000', '36,500'), ('no', 'yes'), ("'rent'", "'own'"))
    >>> value_pair(1, "1", quotes=False)  # alike without quotes
    ('1', "'1'")
    """
    pair = exact(before, quotes=quotes), exact(after, quotes=quotes)
    if pair[0] == pair[1] and not quotes:
        return exact(before, quotes=True), exact(after, quotes=True)
    return pair


def exact(value: Any, *, quotes: bool = False) -> str:
    """One value of a feature in full: numbers with all digits that distinguish them from others.

    Without its thousands separators the text reads as the same number in the precision of the
    column.

    Examples
    --------
    >>> exact(36500.0), exact(0.00093488), exact(1234.5678901), exact(np.float32(0.1))
    ('36,500', '0.00093488', '1,234.5678901', '0.1')
    """
    if is_number(value):
        return _full(value)
    return quoted(value) if quotes else plain(value)


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
    """One label or prediction: numbers of at most four decimals in full, others rounded.

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


def rounded_pair(before: Any, after: Any) -> tuple[str, str]:
    """Two predictions, with as many decimals as their difference needs.

    Numbers of at most four decimals are written in full. Others are rounded where the third
    digit of their difference stands, and in full where the results would look alike or like 0.

    Examples
    --------
    >>> rounded_pair(31000.0, 36500.0), rounded_pair(0.1 + 0.2, 0.35)
    (('31,000', '36,500'), ('0.3', '0.35'))
    >>> rounded_pair(52.18345612, 61.99120034), rounded_pair("no", "yes")
    (('52.18', '61.99'), ('no', 'yes'))
    """
    if not (is_number(before) and is_number(after)):
        return plain(before), plain(after)
    a, b = _clean(before), _clean(after)
    difference = abs(b - a)
    if not 0 < difference < np.inf or max(abs(a), abs(b)) >= _LARGE:
        return plain(before), plain(after)
    decimals = max(0, 2 - _order(difference))
    pair = _number(a, decimals), _number(b, decimals)
    alike = pair[0] == pair[1] or (a and pair[0] == "0") or (b and pair[1] == "0")
    return (_full(before), _full(after)) if alike else pair


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


def _full(value: Any) -> str:
    """A number with the fewest digits that read as the same number, thousands separated."""
    if isinstance(value, numbers.Integral):
        return f"{int(value):,}"
    number = value if isinstance(value, np.float32 | np.float16) else float(value)
    size = abs(float(number))
    if size < _LARGE and size.is_integer():
        return f"{int(number):,}"
    if not _SMALL <= size < _LARGE:
        return str(number)
    text = np.format_float_positional(number, unique=True, trim="-")
    whole, point, fraction = text.partition(".")
    return f"{int(whole):,}{point}{fraction}" if len(whole) > 3 else text


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
