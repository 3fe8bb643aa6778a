"""A call of ``explain`` as scikit-learn's callbacks (since 1.9) see a fit: one task in steps."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator

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
