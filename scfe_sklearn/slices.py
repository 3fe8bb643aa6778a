"""Answer the rows of a call slice by slice: bounded memory, a time limit, kept answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from scfe_sklearn.explanation import Explanation
from scfe_sklearn.explanation.containers import take_rows
from scfe_sklearn.progress import ProgressMonitor
from scfe_sklearn.recourse.model_calls import TimeUp
from scfe_sklearn.recourse.question import Question

__all__ = ["Keeper", "Slices", "answer_in_slices"]

SLICE = 2**14
"""Most rows whose coordinates and bounds are in memory at the same time."""

FIRST = 8
"""Rows of the first slice under a time limit; its time determines the size of the next ones."""

SHARE = 0.25
"""Share of the time left that a slice may take."""

KEPT = 256
"""Rows of the first slice that is kept in a checkpoint."""

KEPT_SECONDS = 15.0
"""Seconds between two slices that are kept, about: the work that a kill may cost."""

Explain = Callable[[Question, str], Explanation]
"""Answers a question; with a reason, its rows are left out for that reason."""


class Keeper(Protocol):
    """Keeps the answers of slices, so that they are found again."""

    def kept(self) -> Iterator[tuple[int, int, Explanation]]:
        """Give the first row, the end and the answers of each slice, in the order of rows."""

    def keep(self, start: int, stop: int, part: Explanation) -> None:
        """Keep the answers of a slice."""


def answer_in_slices(
    explain: Explain,
    question: Question,
    monitor: ProgressMonitor,
    keeper: Keeper | None = None,
    largest: int = SLICE,
) -> Explanation:
    """Answer a question slice by slice. The slices change no answer.

    Parameters
    ----------
    explain : callable
        Answers a question about some rows.
    question : Question
        All rows, with parsed rules.
    monitor : ProgressMonitor
        Ends the call early, and sets the reason of the rows that are left.
    keeper : Keeper or None
        Gives the slices that are answered already, and keeps the others.
    largest : int
        Most rows of a slice.

    Returns
    -------
    Explanation

    Raises
    ------
    KeyboardInterrupt
        If the user interrupts before any slice is done.
    """
    slices = Slices(question, monitor, keeper)
    size = _first_size(monitor, keeper, largest)
    for start, stop in slices.gaps():
        at = start
        while at < stop and not monitor.ended:
            before, end = monitor.busy, min(at + size, stop)
            part = _answered(explain, question, at, end, monitor, bool(slices.found))
            if part is None:
                break
            slices.add(at, end, part, monitor.ended)
            size = _next_size(monitor, keeper, largest, (monitor.busy - before) / (end - at))
            at = end
    return slices.joined(explain)


class Slices:
    """Answered slices of a question.

    Parameters
    ----------
    question : Question
        All rows, with parsed rules.
    monitor : ProgressMonitor
        Counts the rows that are done.
    keeper : Keeper or None
        Gives the slices that are answered already, and keeps the others.

    Attributes
    ----------
    found : dict
        First row of each slice, with its end and its answers.
    """

    def __init__(self, question: Question, monitor: ProgressMonitor, keeper: Keeper | None):
        self.question, self.monitor, self.keeper = question, monitor, keeper
        self.found: dict[int, tuple[int, Explanation]] = {}
        monitor.total = question.n_rows
        if keeper is not None:
            for start, stop, part in keeper.kept():
                self._add(start, stop, part)

    def add(self, start: int, stop: int, part: Explanation, ended: str) -> None:
        """Store a slice; keep it unless its search has ``ended`` early."""
        if self.keeper is not None and not ended:
            self.keeper.keep(start, stop, part)
        self._add(start, stop, part)
        self.monitor.ended = self.monitor.ended or ended

    def _add(self, start: int, stop: int, part: Explanation) -> None:
        """Store a slice, and count its rows."""
        self.found[start] = (stop, part)
        first = part.option == 0
        self.monitor.done += int(first.sum())
        self.monitor.found += int((first & part.success).sum())

    def gaps(self) -> list[tuple[int, int]]:
        """Ranges of the rows that are not answered."""
        gaps, at = [], 0
        for start in sorted(self.found):
            if start > at:
                gaps.append((at, start))
            at = self.found[start][0]
        n = self.question.n_rows
        return [*gaps, (at, n)] if at < n else gaps

    def joined(self, explain: Explain) -> Explanation:
        """Return one explanation of all rows; ``explain`` leaves out those without an answer."""
        for start, stop in self.gaps():
            for at in range(start, stop, SLICE):
                rows = np.arange(at, min(at + SLICE, stop))
                part = explain(self.question.take(rows), self.monitor.ended)
                self.found[at] = (int(rows[-1]) + 1, part)
        parts = [self.found[start][1] for start in sorted(self.found)]
        if len(parts) == 1:
            return parts[0]
        whole, X = Explanation.concat(parts), self.question.X
        if self.question.count > 1:
            X = take_rows(X, np.repeat(np.arange(self.question.n_rows), self.question.count))
        return dataclasses.replace(whole, factual=X, index=None)


def _answered(
    explain: Explain, question: Question, at: int, end: int, monitor: ProgressMonitor, begun: bool
) -> Explanation | None:
    """Answer the rows from ``at`` to ``end``; None if the call ends before they are answered."""
    if monitor.left <= 0:
        monitor.ended = "time limit"
        return None
    try:
        return explain(question.take(np.arange(at, end)), "")
    except TimeUp:
        monitor.ended = "time limit"
    except KeyboardInterrupt:
        if not begun:
            raise
        monitor.ended = "interrupted"
    return None


def _first_size(monitor: ProgressMonitor, keeper: Keeper | None, largest: int) -> int:
    """Rows of the first slice."""
    limits = [largest]
    if monitor.time_limit is not None:
        limits.append(FIRST)
    if keeper is not None:
        limits.append(KEPT)
    return min(limits)


def _next_size(
    monitor: ProgressMonitor, keeper: Keeper | None, largest: int, seconds: float
) -> int:
    """Rows of the next slice, from the seconds that a row took in the last one."""
    each, size = max(seconds, 1e-9), float(largest)
    if monitor.time_limit is not None:
        size = min(size, SHARE * monitor.left / each)
    if keeper is not None:
        size = min(size, KEPT_SECONDS / each)
    return int(np.clip(size, 1, largest))
