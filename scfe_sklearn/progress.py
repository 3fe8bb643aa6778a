"""Answer rows in chunks, with progress callbacks, a time limit and clean interruption."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from numbers import Real
from time import monotonic
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from scfe_sklearn.recourse.answers import Answers
from scfe_sklearn.recourse.judge import Judge
from scfe_sklearn.recourse.model_calls import Deadline, ModelError
from scfe_sklearn.recourse.query import Query, unset
from scfe_sklearn.status import Status

STEPS = 100
"""Steps of a call at most: a bar costs the square of their number."""

HOOKS = ("setup", "on_fit_task_begin", "on_fit_task_end", "teardown")


def is_sklearn_callback(callback: Any) -> bool:
    """Whether an object has the hooks of scikit-learn's callbacks.

    Examples
    --------
    >>> is_sklearn_callback(print)
    False
    """
    return all(callable(getattr(callback, name, None)) for name in HOOKS)


class CallbackTasks:
    """Reports the progress of a call to a callback of scikit-learn.

    Parameters
    ----------
    callback : object
        With the hooks of `sklearn.callback.FitCallback`, such as its ``ProgressBar``.
    """

    def __init__(self, callback: Any) -> None:
        # Not before it is needed: scikit-learn has it since 1.9, and as an experiment.
        from sklearn.callback import CallbackSupportMixin

        # Callbacks show the name of the class, and hold on to the object: not to the explainer.
        kind = type("CounterfactualExplainer", (CallbackSupportMixin, BaseEstimator), {})
        self._callback = callback
        self._estimator = kind().set_callbacks(callback)
        self._task: Any = None
        self._done = 0

    def update(self, done: int, total: int) -> bool:
        """Report the number of rows that are done; return whether the callback stops the call."""
        steps = min(STEPS, total)
        if self._task is None:
            self._task = self._estimator._init_callback_context("explain", max_subtasks=steps)
            self._task.call_on_fit_task_begin(estimator=self._estimator)
        stop = False
        while self._done < steps and self._done < done * steps // max(total, 1):
            step = self._task.subcontext(task_name="rows")
            step.call_on_fit_task_begin(estimator=self._estimator)
            stop = bool(step.call_on_fit_task_end(estimator=self._estimator)) or stop
            self._done += 1
        return stop

    def close(self) -> None:
        """End the task, however far it is."""
        if self._task is None:
            return
        task, self._task = self._task, None
        try:
            task.call_on_fit_task_end(estimator=self._estimator)
        finally:
            self._callback.teardown(self._estimator, task)


QUICK = 5.0
"""Seconds that a larger part may take, about."""

SHARE = 0.25
"""Share of the time left that a part may take after a first one of few rows."""

CUT_SHORT = "found before the time limit ended the search"
"""Reason of a row whose answer might have become cheaper."""


@dataclass(frozen=True)
class Progress:
    """Progress of a call of ``explain``.

    Parameters
    ----------
    done : int
        Rows that are settled.
    total : int
        Rows of the query.
    found : int
        Rows with an answer.
    seconds : float
        Time since the call.
    """

    done: int
    total: int
    found: int
    seconds: float


@dataclass(eq=False)
class ProgressMonitor:
    """Progress reports and the time limit of a call.

    Parameters
    ----------
    callback : callable, callback of scikit-learn or None
        Takes a `Progress`; a true return value stops the call.
    time_limit : float or None
        Seconds.
    bar : bool
        Whether the progress is shown on the standard error stream.

    Attributes
    ----------
    total : int or None
        Rows of the call; None if they are answered at once.
    done, found : int
        Rows that earlier slices of the call have settled, and those with an answer.
    ended : str
        Why the call ended early; "" if it did not.

    Raises
    ------
    ValueError
        If a parameter is none of these.
    """

    callback: Any = None
    time_limit: float | None = None
    bar: bool = False
    start: float = field(default_factory=lambda: monotonic())
    total: int | None = field(default=None, init=False)
    done: int = field(default=0, init=False)
    found: int = field(default=0, init=False)
    ended: str = field(default="", init=False)
    _waited: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        theirs = self.callback is not None and is_sklearn_callback(self.callback)
        made = not (theirs and isinstance(self.callback, type))  # ProgressBar() and not ProgressBar
        if not (made and (self.callback is None or callable(self.callback) or theirs)):
            raise _refusal("callback", "callable or None", self.callback)
        limit = self.time_limit
        number = isinstance(limit, Real) and not isinstance(limit, bool)
        if limit is not None and not (number and limit > 0):
            raise _refusal("time_limit", "a float in (0, inf) or None", limit)
        if not isinstance(self.bar, (bool, np.bool_)):
            raise _refusal("progress", "a bool", self.bar)
        self._shown = _Bar() if self.bar else None
        self._tasks = CallbackTasks(self.callback) if theirs else None
        self.deadline = None if limit is None else Deadline(float(limit), lambda: self.left)

    @property
    def has_listener(self) -> bool:
        """Whether progress is reported to anybody."""
        return self.bar or self.callback is not None

    @property
    def seconds(self) -> float:
        """Time since the call."""
        return monotonic() - self.start

    @property
    def busy(self) -> float:
        """Time since the call, without that of the callback."""
        return self.seconds - self._waited

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return np.inf if self.time_limit is None else float(self.time_limit) - self.seconds

    def update(self, done: int, total: int, found: int) -> bool:
        """Report the progress of the call; return whether it should stop."""
        done, found = self.done + done, self.found + found
        total = total if self.total is None else self.total
        progress = Progress(done, total, found, self.seconds)
        if self._shown is not None:
            self._shown.show(progress)
        if self._tasks is not None:
            return self._tasks.update(done, total)
        start = self.seconds
        stop = self.callback is not None and bool(self.callback(progress))
        self._waited += self.seconds - start
        return stop

    def close(self) -> None:
        """End the line of the bar, and the task of a callback of scikit-learn."""
        if self._shown is not None:
            self._shown.close()
        if self._tasks is not None:
            self._tasks.close()


def answer_in_parts(
    answer: Callable[[Judge, Query], Answers],
    judge: Judge,
    query: Query,
    k: int,
    size: int,
    monitor: ProgressMonitor,
    largest: int = 0,
    first: int | None = None,
) -> tuple[Query, Answers]:
    """Answer rows part by part; rows that a stop leaves out have a status and a reason.

    The parts change no answer: rows do not depend on one another.

    Parameters
    ----------
    answer : callable
        Answers all rows of a query.
    judge : Judge
        For all rows.
    query : Query
        All rows.
    k : int
        Answers per row.
    size : int
        Rows in a part at most.
    monitor : ProgressMonitor
        Updated after every part; its ``ended`` becomes the reason of a stop.
    largest : int, default=0
        Rows in a part at most once some are done, if that is more: larger parts save work, and an
        interruption loses the part that it falls in.
    first : int or None, default=None
        Rows of the first part at most, if they are fewer.

    Returns
    -------
    query : Query
        With a status for the rows that were left over.
    answers : Answers

    Raises
    ------
    KeyboardInterrupt
        If the user interrupts before anything is done.
    """
    answers = Answers.none(query, k)
    open_ = np.flatnonzero(unset(query.status))
    n, at, reason = len(query.Z), 0, ""
    part = size if first is None else min(first, size)
    largest = max(largest, size)
    settled = n - len(open_)
    deadline = monitor.deadline
    try:
        stop = len(open_) == 0 and monitor.update(settled, n, 0)
        while at < len(open_) and not (stop or reason):
            if monitor.left <= 0:
                reason = "time limit"
                break
            rows, before = open_[at : at + part], monitor.seconds
            query = _answer_apart(answer, judge, query, rows, answers)
            at += len(rows)
            if deadline is not None and deadline.passed:
                query, reason = _cut_short(query, answers, rows), "time limit"
            taken = monitor.seconds - before
            each = max(taken, 1e-9) / len(rows)
            if first is None:
                part = int(np.clip(QUICK * len(rows) / max(taken, 1e-9), size, largest))
            else:
                part = int(np.clip(SHARE * monitor.left / each, 1, largest))
            stop = monitor.update(settled + at, n, int(answers.found.sum()))
        if stop and not reason:
            reason = "stopped by the callback"
    except KeyboardInterrupt:
        if at == 0:
            raise
        reason = "interrupted"
    monitor.ended = reason
    return _left_over(query, open_[at:], reason), answers


def _answer_apart(
    answer: Callable[[Judge, Query], Answers],
    judge: Judge,
    query: Query,
    rows: np.ndarray,
    answers: Answers,
) -> Query:
    """Store the answers of rows; rows for which a model raises are found by bisection."""
    try:
        answers.write(rows, answer(judge.take(rows), query.take(rows)))
    except (ModelError, MemoryError) as error:
        if len(rows) > 1:
            for half in np.array_split(rows, 2):
                query = _answer_apart(answer, judge, query, half, answers)
            return query
        if isinstance(error, MemoryError):
            raise
        return _with_status(query, rows, Status.MODEL_FAILED, f"the model raises {error}")
    return query


def _cut_short(query: Query, answers: Answers, rows: np.ndarray) -> Query:
    """Mark the rows of a search that the time limit has ended."""
    found = answers.found[rows]
    lost = rows[~found & (answers.proof[rows] == "") & (answers.closest[rows] < 0)]
    query = _with_status(query, lost, Status.NOT_FOUND, "time limit")
    reasons = query.reason.copy()
    reasons[rows[found]] = CUT_SHORT
    return replace(query, reason=reasons)


def _with_status(query: Query, rows: np.ndarray, word: str, why: str) -> Query:
    """Return the query with a status and reason of some rows."""
    status, reasons = query.status.copy(), query.reason.copy()
    status[rows], reasons[rows] = word, why
    return replace(query, status=status, reason=reasons)


def _left_over(query: Query, rows: np.ndarray, reason: str) -> Query:
    """Mark rows for which no answer was searched."""
    return query if len(rows) == 0 else _with_status(query, rows, Status.NOT_FOUND, reason)


class _Bar:
    """A bar by tqdm where it is installed, else a line that is written again and again."""

    def __init__(self) -> None:
        self._bar: Any = None
        try:
            from tqdm import tqdm
        except ImportError:
            self._tqdm = None
        else:
            self._tqdm = tqdm

    def show(self, progress: Progress) -> None:
        if self._tqdm is None:
            sys.stderr.write(
                f"\rexplain: {progress.done:,} of {progress.total:,} rows, "
                f"{progress.found:,} found, {progress.seconds:.0f} s"
            )
            sys.stderr.flush()
            return
        if self._bar is None:
            self._bar = self._tqdm(total=progress.total, desc="explain", unit="row")
        self._bar.set_postfix(found=progress.found, refresh=False)
        self._bar.update(progress.done - self._bar.n)

    def close(self) -> None:
        if self._tqdm is None:
            sys.stderr.write("\n")
        elif self._bar is not None:
            self._bar.close()


def _refusal(name: str, expected: str, value: Any) -> ValueError:
    return ValueError(
        f"The {name!r} parameter of explain must be {expected}. Got {value!r} instead."
    )
