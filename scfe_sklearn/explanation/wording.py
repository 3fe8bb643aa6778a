"""Plain English for explanations: safe texts, values, and one sentence per row."""

from __future__ import annotations

import numbers
import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scfe_sklearn.status import Status

# Embeddings, overrides and isolates: their effect goes on after the name that they are in.
_DIRECTIONS = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_CONTROLS = (*range(0x20), *range(0x7F, 0xA0), *range(0xD800, 0xE000))
_KEPT = map(ord, "\t\n\r")
_NEUTRAL = dict.fromkeys(sorted({*_DIRECTIONS, *_CONTROLS} - {*_KEPT}), "\ufffd")
_BREAKS = re.compile(r"[\t\n\r\x0b\x0c\u0085\u2028\u2029]+")

# Full-width signs begin formulas in some spreadsheets, too.
_FORMULA = re.compile(r"[\s\ufffd\u200b-\u200f\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*", re.ASCII)


def neutral(text: str) -> str:
    r"""Text in which control characters, and those that turn the direction of text, are marked.

    Tabs and ends of lines stay, and so do words that are written from right to left.

    Examples
    --------
    >>> neutral("abc\u202edef\x1b[2J").encode("ascii", "replace")
    b'abc?def?[2J'
    """
    return text.translate(_NEUTRAL)


def one_line(text: str) -> str:
    r"""Neutral text in which an end of a line is a space.

    Examples
    --------
    >>> one_line("debt\n1: no change")
    'debt 1: no change'
    """
    return neutral(_BREAKS.sub(" ", text))


def spreadsheet_cell(value: Any) -> Any:
    r"""A cell that no spreadsheet takes for a formula; values that are no text stay.

    Text that begins with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return has an apostrophe
    in front, which spreadsheets take for "this is text". Text that is a number stays.

    Examples
    --------
    >>> [spreadsheet_cell(value) for value in ("=1+1", "-5", "-5 or less", -5, "plain")]
    ["'=1+1", '-5', "'-5 or less", -5, 'plain']
    """
    if not isinstance(value, str):
        return value
    text = neutral(value)
    acts = _FORMULA.match(text) or text.startswith(("\t", "\r", "\n"))
    return f"'{text}" if acts and not _NUMBER.fullmatch(text) else text


# ---------------------------------------------------------------------------------------- values


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


# ------------------------------------------------------------------------------------- sentences


OUTSIDE = "(It breaks a rule already, and still does.)"
"""Note on an answer that is outside of the rules, as the row was before."""


@dataclass(frozen=True)
class Change:
    """One changed feature of one row, in raw values."""

    position: int
    feature: Hashable
    before: Any
    after: Any
    upward: bool | None
    """The direction of a number or of an ordered level; None where there is no order."""


@dataclass(frozen=True)
class Outcome:
    """Outcome of one row, with all that sentences need."""

    label: Any
    status: str
    reason: str
    target: Any
    prediction: Any
    probability: tuple[float, float]
    changes: tuple[Change, ...]
    outside: bool = False
    """Whether the answer breaks a rule, as the row did before."""


def direction(before: Any, after: Any, levels: Sequence[Any] | None) -> bool | None:
    """Whether a change goes up: by the order of the levels, or of the numbers; None if unknown.

    Examples
    --------
    >>> direction(3, 2, None), direction("low", "high", ["low", "high"])
    (False, True)
    """
    if levels is not None:
        known = list(levels)
        ordered = before in known and after in known
        return known.index(after) > known.index(before) if ordered else None
    if is_number(before) and is_number(after):
        return bool(after > before)
    return None


def feature_text(feature: Hashable) -> str:
    """A feature's name within a sentence: a position is called "feature 3"."""
    return one_line(feature if isinstance(feature, str) else f"feature {feature}")


def sentence(outcome: Outcome, max_features: int | None = None) -> str:
    """Sentence about the changes of one row, or the reason for no answer.

    Examples
    --------
    >>> income = Change(0, "income", 31000, 36500, True)
    >>> housing = Change(3, "housing", "rent", "own", None)
    >>> row = Outcome(7, Status.FOUND, "", "yes", "no", (0.2, 0.7), (income, housing))
    >>> sentence(row)
    "Increase income from 31,000 to 36,500 and change housing from 'rent' to 'own'."
    >>> sentence(row, max_features=1)
    'Increase income from 31,000 to 36,500 and make 1 more change.'
    """
    if outcome.status == Status.ALREADY_TARGET:
        if outcome.reason.startswith("the probability of"):
            return f"No change needed: {outcome.reason}."
        return f"No change needed: the prediction is already {quoted(outcome.prediction)}."
    if outcome.status == Status.NO_FURTHER:
        return "No further option found."
    closest = outcome.status == Status.CLOSEST
    if outcome.status != Status.FOUND and not closest:
        return f"No change found: {failure(outcome)}."
    if not outcome.changes:
        return "No change needed."
    shown = outcome.changes[:max_features]
    phrases = [_phrase(change) for change in shown]
    hidden = len(outcome.changes) - len(shown)
    if hidden:
        more = "more " if shown else ""
        phrases.append(f"make {hidden} {more}change{'s' if hidden > 1 else ''}")
    text = _joined(phrases)
    note = f" {OUTSIDE}" if outcome.outside else ""
    if closest:
        return f"No change found; closest, but not valid: {text}.{note}"
    return f"{text[0].upper()}{text[1:]}.{note}"


def failure(outcome: Outcome) -> str:
    """The status of a row without an answer, and the reason where one is given."""
    reason = outcome.reason.strip().rstrip(".")
    return f"{outcome.status} ({reason})" if reason else outcome.status


def _phrase(change: Change) -> str:
    before, after = value_pair(change.before, change.after)
    name = feature_text(change.feature)
    if is_boolean(change.before) and is_boolean(change.after):
        return f"set {name} to {after} (now {before})"
    if change.upward is None:
        verb = "change"
    elif is_number(change.before):
        verb = "increase" if change.upward else "decrease"
    else:
        verb = "raise" if change.upward else "lower"
    return f"{verb} {name} from {before} to {after}"


def _joined(phrases: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    if len(phrases) == 1:
        return phrases[0]
    return f"{', '.join(phrases[:-1])} and {phrases[-1]}"
