"""Plain English for one row of an explanation."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from scfe_sklearn.presentation.neutral import one_line
from scfe_sklearn.presentation.wording import is_boolean, is_number, quoted, value_pair
from scfe_sklearn.status import Status

__all__ = ["Change", "Outcome", "direction", "failure", "feature_text", "sentence"]


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
