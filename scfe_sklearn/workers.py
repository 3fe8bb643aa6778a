"""Answer slices of rows in worker processes, by joblib and the backends that it has."""

from __future__ import annotations

import warnings
from concurrent.futures import BrokenExecutor
from dataclasses import replace
from time import time
from typing import Any

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from joblib.parallel import get_active_backend

from scfe_sklearn._utils import keep_filters
from scfe_sklearn.explanation import Explanation
from scfe_sklearn.progress import ProgressMonitor
from scfe_sklearn.recourse.question import Question
from scfe_sklearn.recourse.threads import one_thread
from scfe_sklearn.slices import SLICE, Keeper, Slices, answer_in_slices
from scfe_sklearn.status import Status

__all__ = ["answer_by_workers", "number_of_workers"]

PER_WORKER = 4
"""Slices of a worker, at least, so that none waits long for the others."""

LEAST = 32
"""Least rows of a slice: fewer are not worth the way to a worker."""

KEPT = 1024
"""Most rows of a slice that is kept in a checkpoint."""

DIED = "the worker process ended twice while it answered the row"
"""Reason of a row that ends the process, such as by a fault in compiled code of its model."""

_BROKEN = {"KilledWorker", "WorkerCrashedError", "RayActorError", "ActorDiedError"}


def number_of_workers(n_jobs: int | None) -> int:
    """Return the number of workers of joblib for ``n_jobs``; raise if it is no such number."""
    whole = isinstance(n_jobs, (int, np.integer)) and not isinstance(n_jobs, bool)
    if n_jobs is not None and not (whole and n_jobs != 0):
        raise ValueError(
            "The 'n_jobs' parameter of explain must be an int other than 0, or None. "
            f"Got {n_jobs!r} instead."
        )
    return int(effective_n_jobs(n_jobs))


def answer_by_workers(
    explainer: Any,
    question: Question,
    monitor: ProgressMonitor,
    workers: int,
    keeper: Keeper | None = None,
) -> Explanation:
    """Answer a question in worker processes; the slices change no answer.

    The rows of a worker that dies are answered again. If one dies again, its slice is halved
    until the row is found that ends it, and the other rows are answered.

    Parameters
    ----------
    explainer : CounterfactualExplainer
        Fitted; every task gets a copy.
    question : Question
        All rows, with parsed rules.
    monitor : ProgressMonitor
        Updated after every slice.
    workers : int
        Number of workers.
    keeper : Keeper or None
        Gives the slices that are answered already, and keeps the others.

    Returns
    -------
    Explanation
    """
    slices = Slices(question, monitor, keeper)
    size = int(np.clip(question.n_rows // (PER_WORKER * workers), LEAST, SLICE))
    size = size if keeper is None else min(size, KEPT)
    until = None if monitor.time_limit is None else time() + monitor.left
    todo = [
        (at, min(at + size, stop))
        for start, stop in slices.gaps()
        for at in range(start, stop, size)
    ]
    try:
        for _ in range(2):
            try:
                _run(explainer, question, todo, workers, until, slices)
            except Exception as error:
                if not _is_death(error):
                    raise
                warnings.warn(
                    "A worker process died; its rows are answered again.",
                    RuntimeWarning,
                    stacklevel=2,
                )
            todo = [span for span in todo if span[0] not in slices.found]
            if not todo or monitor.ended:
                break
        for start, stop in todo:
            if not monitor.ended:
                _run_alone(explainer, question, start, stop, until, slices)
    except KeyboardInterrupt:
        if not slices.found:
            raise
        monitor.ended = "interrupted"

    def left_out(part: Question, reason: str) -> Explanation:
        return explainer._explain_slice(part, monitor, reason)

    return slices.joined(left_out)


def _run(
    explainer: Any,
    question: Question,
    todo: list[tuple[int, int]],
    workers: int,
    until: float | None,
    slices: Slices,
) -> None:
    """Answer slices by workers, and store them as they come."""
    tasks = (
        delayed(_explain_rows)(explainer, question.take(np.arange(*span)), until) for span in todo
    )
    lazy = getattr(get_active_backend()[0], "supports_return_generator", False)
    answers = Parallel(n_jobs=workers, return_as="generator" if lazy else "list")(tasks)
    for span, (part, ended) in zip(todo, answers, strict=True):
        slices.add(*span, part, ended)
        if slices.monitor.update(0, question.n_rows, 0):
            slices.monitor.ended = slices.monitor.ended or "stopped by the callback"
        if slices.monitor.ended:
            break


def _run_alone(
    explainer: Any,
    question: Question,
    start: int,
    stop: int,
    until: float | None,
    slices: Slices,
) -> None:
    """Answer one slice in a worker of its own, and halve it while the worker dies."""
    for _ in range(2):
        try:
            _run(explainer, question, [(start, stop)], 2, until, slices)
            return
        except Exception as error:
            if not _is_death(error):
                raise
    if stop - start > 1:
        middle = (start + stop) // 2
        _run_alone(explainer, question, start, middle, until, slices)
        _run_alone(explainer, question, middle, stop, until, slices)
        return
    part = explainer._explain_slice(question.take(np.arange(start, stop)), ProgressMonitor(), DIED)
    failed = np.full(len(part), Status.MODEL_FAILED, dtype=object)
    slices.add(start, stop, replace(part, status=failed), "")


def _is_death(error: BaseException) -> bool:
    """Whether an error means that a worker died, and not that something raised in it."""
    return isinstance(error, BrokenExecutor) or type(error).__name__ in _BROKEN


def _explain_rows(
    explainer: Any, question: Question, until: float | None
) -> tuple[Explanation, str]:
    """Answer a slice in a worker; return the answers and why it ended early."""
    limit = None if until is None else max(until - time(), 1e-3)
    monitor = ProgressMonitor(None, limit)
    with one_thread(), keep_filters():
        part = answer_in_slices(
            lambda some, unreached: explainer._explain_slice(some, monitor, unreached),
            question,
            monitor,
        )
    return part, monitor.ended
