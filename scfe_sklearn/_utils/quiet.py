"""Warnings ignored in the calling thread only, and filters kept by concurrent calls.

``warnings.catch_warnings`` replaces the filters of the process: where two threads use it at the
same time, the second may put back what the first has added. Here filters are added and removed
under a lock, and match in the threads that added them only.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator
from typing import Any

from numpy.exceptions import ComplexWarning

_LOCK = threading.Lock()

LEAKED = ("error", None, ComplexWarning, None, 0)
"""Filter that ``sklearn.utils.check_array``, called in two threads at once, may leave behind."""


class _OwnThread:
    """Pattern of a filter that matches every message in the threads that ignore a category.

    Parameters
    ----------
    category : type
        Class of the warnings.
    """

    pattern = "(?!)"
    """What joblib workers of scikit-learn match instead: nothing."""

    def __init__(self, category: type[Warning]) -> None:
        self.filter = ("ignore", self, category, None, 0)
        self.count = 0
        self.lists: list[list[Any]] = []
        self._local = threading.local()

    def match(self, text: str) -> bool:
        """Return whether the calling thread ignores the category, and keep the message."""
        for messages in self.blocks:
            messages.append(text)
        return bool(self.blocks)

    @property
    def blocks(self) -> list[list[str]]:
        """Messages of each block of the calling thread that ignores the category."""
        if not hasattr(self._local, "blocks"):
            self._local.blocks = []
        found: list[list[str]] = self._local.blocks
        return found

    def enter(self, messages: list[str]) -> None:
        """Put the filter before all others, if it is not there."""
        self.blocks.append(messages)
        with _LOCK:
            self.count += 1
            filters: list[Any] = warnings.filters  # type: ignore[assignment]
            if not filters or filters[0] is not self.filter:
                filters.insert(0, self.filter)
            if not any(known is filters for known in self.lists):
                self.lists.append(filters)

    def leave(self) -> None:
        """Remove the filter with the last block, wherever it was put."""
        self.blocks.pop()
        with _LOCK:
            self.count -= 1
            if self.count:
                return
            # The user may have replaced the list meanwhile, and may put the old one back.
            for filters in (*self.lists, warnings.filters):
                filters[:] = [one for one in filters if one is not self.filter]  # type: ignore[index]
            self.lists.clear()


_PATTERNS: dict[type[Warning], _OwnThread] = {}


@contextlib.contextmanager
def ignore_warnings(category: type[Warning] = Warning) -> Iterator[list[str]]:
    """Ignore warnings of a category in this thread; the filters of other threads do not change.

    Parameters
    ----------
    category : type, default=Warning
        Class of the warnings.

    Yields
    ------
    list of str
        Messages of the warnings of this thread, of the category or of another one.

    Examples
    --------
    >>> import warnings
    >>> filters = list(warnings.filters)
    >>> with ignore_warnings(UserWarning) as messages:
    ...     warnings.warn("not shown", UserWarning)
    >>> messages, list(warnings.filters) == filters
    (['not shown'], True)
    """
    with _LOCK:
        pattern = _PATTERNS.setdefault(category, _OwnThread(category))
    messages: list[str] = []
    pattern.enter(messages)
    try:
        yield messages
    finally:
        pattern.leave()


class _Calls:
    """Concurrent calls, and the filters before the first of them."""

    def __init__(self) -> None:
        self.running = 0
        self.overlapped = False
        self.filters: list[Any] = []


_CALLS = _Calls()


@contextlib.contextmanager
def keep_filters() -> Iterator[None]:
    """Repair the filters after concurrent calls of models, which scikit-learn may leave changed.

    What the user has added meanwhile stays. After calls that do not overlap nothing is repaired.
    """
    with _LOCK:
        if _CALLS.running == 0:
            _CALLS.overlapped, _CALLS.filters = False, _own(warnings.filters)
        _CALLS.running += 1
        _CALLS.overlapped |= _CALLS.running > 1
    try:
        yield
    finally:
        with _LOCK:
            _CALLS.running -= 1
            if _CALLS.running == 0 and _CALLS.overlapped:
                _repair(_CALLS.filters)


def _own(filters: Any) -> list[Any]:
    """Return filters without those of this module."""
    return [one for one in filters if not isinstance(one[1], _OwnThread)]


def _repair(before: list[Any]) -> None:
    """Remove the filter that was left behind; restore all if nothing else is new."""
    now: list[Any] = warnings.filters  # type: ignore[assignment]
    known = [_key(one) for one in before]
    kept = [one for one in _own(now) if one != LEAKED or one in before]
    if all(_key(one) in known for one in kept):
        kept = before
    if kept != _own(now):
        now[:] = kept


def _key(one: Any) -> tuple[Any, ...]:
    """Return a filter with texts for its patterns: scikit-learn compiles those of its workers."""
    return tuple(getattr(part, "pattern", part) for part in one)
