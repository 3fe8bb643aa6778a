"""Calls of the user's model: rows that it refuses cost themselves only, and a deadline holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

import numpy as np
import torch

from scfe_sklearn.recourse.preparation import ScoreFunction

__all__ = ["Deadline", "ModelError", "TimeUp", "guarded", "isolated"]

PIECE = 0.05
"""Share of a time limit that one call of a model may take, about."""

FIRST_PIECE = 64
"""Points of the first call of a model under a time limit."""

RESERVE = 0.25
"""Largest share of a time limit that is kept for the final check of the answers."""


class TimeUp(BaseException):
    """Raised in place of a call of the model once the time limit is over.

    It is no Exception, so that code which recovers from errors of models lets it pass.
    """


class ModelError(Exception):
    """Raised where a model with a gradient raises: its message is the reason of the row."""


@dataclass(eq=False)
class Deadline:
    """End of a call with a time limit, and the rate at which the model answers.

    Parameters
    ----------
    limit : float
        Seconds of the whole call.
    left : callable
        Returns the seconds that are left of it.

    Attributes
    ----------
    rows : int
        Rows whose answers must still be checked by the model at the end.
    passed : bool
        Whether a call of the model was refused because the time was over.
    """

    limit: float
    left: Callable[[], float]
    rows: int = 0
    passed: bool = False
    _rate: float = field(default=0.0, init=False)

    def check(self) -> None:
        """Raise TimeUp if only the time for the final check of the answers is left."""
        reserve = min(RESERVE * self.limit, 2 * self.rows * self._rate)
        if self.left() <= reserve:
            self.passed = True
            raise TimeUp

    @property
    def piece(self) -> int:
        """Points of the next call, which should take a small share of the limit."""
        if self._rate == 0:
            return FIRST_PIECE
        return int(np.clip(PIECE * self.limit / self._rate, 1, 2**20))

    def note(self, points: int, seconds: float) -> None:
        """Remember how long a call took: the seconds for one point."""
        self._rate = seconds / max(points, 1)


def message_of(error: BaseException) -> str:
    """Return the type and the first line of an error.

    Examples
    --------
    >>> message_of(ValueError("no such row"))
    'ValueError: no such row'
    """
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def isolated(
    call: Callable[[np.ndarray], Any], n: int, deadline: Deadline | None = None
) -> tuple[list[tuple[np.ndarray, Any]], dict[int, str]]:
    """Call a model for n rows; find the rows for which it raises by bisection.

    Parameters
    ----------
    call : callable
        Takes positions (m,) and returns what the model returns for them, or raises.
    n : int
        Number of rows.
    deadline : Deadline or None
        Checked before every call; the rows then come in pieces.

    Returns
    -------
    done : list of (positions, result)
        The calls that succeeded.
    failed : dict
        Position of each row for which the model raises, with its message.

    Raises
    ------
    TimeUp
        If the deadline has passed.

    Examples
    --------
    >>> def call(rows):
    ...     return 6 / np.array([1, 0, 3])[rows] if 1 not in rows else 1 // 0
    >>> done, failed = isolated(call, 3)
    >>> [result.tolist() for _, result in done], failed
    ([[6.0], [2.0]], {1: 'ZeroDivisionError: integer division or modulo by zero'})
    """
    done: list[tuple[np.ndarray, Any]] = []
    failed: dict[int, str] = {}
    waiting = [np.arange(n)] if n else []
    while waiting:
        rows = waiting.pop()
        if deadline is not None:
            deadline.check()
            if len(rows) > deadline.piece:
                waiting.append(rows[deadline.piece :])
                rows = rows[: deadline.piece]
        start = monotonic() if deadline is not None else 0.0
        try:
            result = call(rows)
        except Exception as error:  # a user's model may raise anything
            if len(rows) == 1:
                failed[int(rows[0])] = message_of(error)
            else:
                half = len(rows) // 2
                waiting += [rows[half:], rows[:half]]
            continue
        if deadline is not None:
            deadline.note(len(rows), monotonic() - start)
        done.append((rows, result))
    return done, failed


@dataclass(frozen=True, eq=False)
class GuardedScores:
    """Scores of a model in which points that it refuses are NaN, and a deadline holds.

    Parameters
    ----------
    scores : callable
        Points (k, D) to scores (k, C).
    has_gradient : bool
        Whether they can be differentiated: such a model is called as a whole, and what it
        raises becomes a ModelError.
    width : int
        Number of scores C of a point.
    deadline : Deadline or None
        Checked before every call.
    """

    scores: Any
    has_gradient: bool
    width: int
    deadline: Deadline | None = None

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """Scores (k, C) of points (k, D); NaN where the model raises."""
        if not self.has_gradient:
            return self._in_pieces(len(z), lambda rows: self.scores(z[rows]))
        if self.deadline is not None:
            self.deadline.check()
        try:
            found: torch.Tensor = self.scores(z)
        except Exception as error:
            raise ModelError(message_of(error)) from error
        return found

    def __getattr__(self, name: str) -> Any:
        """Return the shortcuts that a model has: scores of whole rows, after moves, in cells."""
        if name not in ("of_rows", "after_moves", "cells"):
            raise AttributeError(name)
        shortcut = getattr(self.scores, name)
        if name == "of_rows":
            return self._of_rows
        if name == "after_moves" and self.deadline is not None:
            self.deadline.check()
        return shortcut

    def _of_rows(self, z: torch.Tensor, origin: torch.Tensor) -> torch.Tensor:
        """Scores (k, C) of points (k, D) of the rows ``origin`` (k,)."""
        return self._in_pieces(len(z), lambda rows: self.scores.of_rows(z[rows], origin[rows]))

    def _in_pieces(self, n: int, call: Callable[[Any], torch.Tensor]) -> torch.Tensor:
        """Scores (n, C) of n points."""

        def checked(rows: np.ndarray) -> torch.Tensor:
            found = call(slice(None) if len(rows) == n else torch.from_numpy(rows))
            if found.shape != (len(rows), self.width):
                raise ValueError(
                    f"the model returns an array of shape {tuple(found.shape)} for {len(rows)} rows"
                )
            return found

        done, failed = isolated(checked, n, self.deadline)
        if len(done) == 1 and not failed:
            return torch.as_tensor(done[0][1])
        out = torch.full((n, self.width), torch.nan, dtype=torch.float64)
        for rows, found in done:
            out[torch.from_numpy(rows)] = found
        return out


def guarded(functions: Sequence[ScoreFunction], deadline: Deadline | None) -> list[ScoreFunction]:
    """Return score functions whose models may raise, and which end at a deadline."""
    return [
        replace(one, scores=GuardedScores(one.scores, one.has_gradient, one.width, deadline))
        for one in functions
    ]
