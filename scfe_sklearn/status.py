"""The words in the ``status`` column of an `Explanation`."""

from __future__ import annotations

from typing import Final

__all__ = ["Status"]


class Status:
    """Outcome of a row, or of an option of it, as plain strings.

    Examples
    --------
    >>> Status.FOUND
    'found'
    >>> Status.UNREACHABLE in Status.ALL
    True
    """

    FOUND: Final = "found"
    """The model gives the counterfactual its target, and every change keeps the rules."""

    ALREADY_TARGET: Final = "already has the target"
    """The factual row has the target class, or the target probability, already."""

    CLOSEST: Final = "closest, but not valid"
    """No answer was found; the row holds the change that came closest (`best_effort`)."""

    UNREACHABLE: Final = "not reachable under these rules"
    """The search covered what the rules leave open, and the target is not there."""

    NOT_FOUND: Final = "budget exhausted"
    """The search stopped at its limits without an answer; there may be one."""

    NO_FURTHER: Final = "no further option"
    """The row has an answer, but fewer than `n_counterfactuals`; this entry of it is empty."""

    INVALID_INPUT: Final = "invalid input"
    """The factual holds a missing or infinite number, or a category never seen."""

    CONFLICTING_RULES: Final = "conflicting rules"
    """The rules of the row contradict one another."""

    MODEL_FAILED: Final = "model failed"
    """The model raises for the row, or returns NaN, infinity or an array of a wrong shape."""

    ALL: Final = (
        FOUND,
        ALREADY_TARGET,
        CLOSEST,
        UNREACHABLE,
        NOT_FOUND,
        NO_FURTHER,
        INVALID_INPUT,
        CONFLICTING_RULES,
        MODEL_FAILED,
    )
    """Every status, in the order of summaries."""
