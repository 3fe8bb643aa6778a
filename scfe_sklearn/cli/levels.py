"""Texts of the command line and of files as the levels and labels that training had."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

_TRUE, _FALSE = ("true", "yes", "1", "1.0"), ("false", "no", "0", "0.0")


def match_texts(texts: Iterable[str], levels: Iterable[Any]) -> dict[str, Any]:
    """Find the level that each text means; those that mean none are left out.

    Parameters
    ----------
    texts : iterable of str
        Distinct texts.
    levels : iterable
        Texts, numbers or booleans, as training had them.

    Returns
    -------
    dict
        From texts to levels.

    Examples
    --------
    >>> match_texts(["1", "2.0", "x"], [1, 2])
    {'1': 1, '2.0': 2}
    >>> match_texts(["TRUE", "no"], [False, True])
    {'TRUE': True, 'no': False}
    """
    known = {str(level): level for level in levels}
    numbers, truths = {}, {}
    for level in known.values():
        if isinstance(level, (bool, np.bool_)):
            truths[bool(level)] = level
        elif isinstance(level, (int, float, np.number)):
            numbers[float(level)] = level
    found = {}
    for text in texts:
        word = text.strip()
        if text in known:
            found[text] = known[text]
        elif word.lower() in _TRUE and True in truths:
            found[text] = truths[True]
        elif word.lower() in _FALSE and False in truths:
            found[text] = truths[False]
        elif numbers and _number(word) in numbers:
            found[text] = numbers[_number(word)]
    return found


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return np.nan
