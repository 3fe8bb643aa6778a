"""Text from data that cannot act on what shows it: no control characters, no formulas."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["neutral", "one_line", "spreadsheet_cell"]

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
