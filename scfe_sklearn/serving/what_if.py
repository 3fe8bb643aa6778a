"""Values that are moved on the page: predictions, bounds and notes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from scfe_sklearn._utils import keep_filters
from scfe_sklearn.data import VERTEX, open_table
from scfe_sklearn.explanation.containers import (
    column_values,
    columns_in_order,
    objects,
    row_labels,
    take_rows,
)
from scfe_sklearn.explanation.tables import outcomes
from scfe_sklearn.explanation.wording import (
    exact,
    feature_text,
    is_missing,
    is_number,
    plain,
    sentence,
    value_pair,
)
from scfe_sklearn.rules import Rules
from scfe_sklearn.status import Status


def notes(rules: Rules, space: Any, before: Any, after: Any) -> list[dict[str, Any]]:
    """Return notes on values of one row that break a rule or leave the training data.

    Parameters
    ----------
    rules : Rules
        All rules of the row.
    space : FeatureSpace
        Fitted; knows the ranges of the training rows.
    before, after : DataFrame or ndarray of shape (1, d)
        The row as it is, and with moved values.

    Returns
    -------
    list of dict
        ``{"feature": position, "text": sentence}``, in the order of the features.
    """
    found = []
    broken = broken_rules(rules, space, before, after)
    for j in range(len(space.names_)):
        texts = [
            *_outside(space, after, j),
            *(f"Breaks a rule: {rule}." for rule in broken.get(j, ())),
        ]
        found += [{"feature": j, "text": text} for text in texts]
    return found


def broken_rules(rules: Rules, space: Any, before: Any, after: Any) -> dict[int, list[str]]:
    """Return the rules that each feature breaks, as sentences, by the position of the feature."""
    rules = rules.in_row_order(before)
    broken = rules.violations(space, before, after)[0]
    if not broken.any():
        return {}
    filled = Rules().violations(space, before, after)[0]
    found: dict[int, list[str]] = {
        int(j): ["a missing value stays missing"] for j in np.flatnonzero(broken & filled)
    }
    for rule in rules.one_by_one():
        own = rule.violations(space, before, after)[0] & broken & ~filled
        for j in np.flatnonzero(own):
            found.setdefault(int(j), []).extend(rule.describe(space))
    return {j: list(dict.fromkeys(texts)) for j, texts in found.items()}


def _outside(space: Any, row: Any, j: int) -> list[str]:
    """Return a note if a number lies outside of the training data."""
    if space.levels_[j] is not None:
        return []
    value = column_values(row, j, np.array([0]))[0]
    low, high = space.min_[j], space.max_[j]
    if not is_number(value) or low <= float(value) <= high:
        return []
    return [f"Outside of the training data, which go from {exact(low)} to {exact(high)}."]


_LARGEST = 1e300  # beyond, differences and squares overflow


class BadRequest(ValueError):
    """A request that has no answer; the message is for the person at the page."""


class WhatIf:
    """Answers questions about changed values of some people, as plain JSON values.

    Parameters
    ----------
    explainer : CounterfactualExplainer
        Fitted.
    X : DataFrame or array-like of shape (n, d)
        The people.
    target : label or other target, default=None
        The target, the same for everybody.
    rules : Rules or None, default=None
        Rules that hold besides those of the explainer.

    Notes
    -----
    A value is a number, the position of a level, or None where it is missing or unknown; the
    latter only where the person has it so.
    """

    def __init__(
        self, explainer: Any, X: Any, target: Any = None, rules: Rules | None = None
    ) -> None:
        check_is_fitted(explainer, "space_")
        X = X if hasattr(X, "columns") else np.asarray(X)
        self.n_people = open_table(X).n_rows
        if not self.n_people:
            raise ValueError("The 'X' parameter of serve must have at least one row. Got none.")
        self.explainer = explainer
        self.target = target
        self.space = explainer.space_
        names = list(getattr(explainer, "feature_names_in_", ()))
        self.people = X[names] if names and hasattr(X, "columns") else X
        self.seen = explainer.inputs_.to_search(self.people)
        if self.space.labelled_:
            self.seen = columns_in_order(self.seen, self.space.names_)
        self.labels = row_labels(self.people)
        self.rules = rules
        # This refuses a target or rules that are none.
        first = self._explain(take_rows(self.people, np.array([0])))
        self.rules_text = list(first.rules_text)
        self.every_rule = explainer._rules() if rules is None else explainer._rules().merged(rules)

    def setup(self) -> dict[str, Any]:
        """Return the content of the page before anyone is chosen."""
        space, background = self.space, self.explainer.background_
        features = []
        for j, name in enumerate(space.names_):
            goal = self._label_of(self.target)
            places, heights, own = background.curve(j, goal)
            feature: dict[str, Any] = {"name": str(feature_text(name)), "kind": space.kinds_[j]}
            if space.levels_[j] is not None:
                feature["levels"] = [exact(level) for level in space.levels_[j]]
                feature["shares"] = heights.round(4).tolist()
            else:
                feature |= {
                    "low": float(places[0]),
                    "high": float(places[-1]),
                    "step": float(space.step_[j]),
                    "offset": float(space.offset_[j]),
                    "curve": heights.round(3).tolist(),
                }
            features.append(feature | {"own": own})
        goal = self._label_of(self.target)
        return {
            "people": self.n_people,
            "features": features,
            "rules": self.rules_text,
            "target": None if goal is None else plain(goal),
        }

    def person(self, number: Any) -> dict[str, Any]:
        """A person as they are."""
        base = take_rows(self.seen, np.array([self._number(number)]))
        label = self.labels[self._number(number)]
        return {"label": str(label), "values": self._values(base)}

    @keep_filters()
    def answer(self, number: Any, values: Any) -> dict[str, Any]:
        """Prediction of the model for a person with these values."""
        k = self._number(number)
        row = self._row(k, values)
        with _refusing_values():
            return self._answered(k, row)

    def _answered(self, k: int, row: Any) -> dict[str, Any]:
        model = self.explainer.inputs_.wrap_model(self.explainer.estimator_)
        only = np.array([0])
        # Copies, since a model may write into the rows that it is given.
        predicted = np.asarray(model.predict(take_rows(row, only)))
        prediction = objects(predicted.ravel().tolist())[0]
        goal = self._goal(k)
        shown = prediction if goal is None else goal
        result: dict[str, Any] = {
            "values": self._values(row),
            "prediction": plain(prediction),
            "goal": None if not hasattr(self.explainer, "classes_") else plain(shown),
            "reached": goal is not None and bool(prediction == goal),
            "probability": None,
            "quantile": None,
            "notes": notes(self.every_rule, self.space, take_rows(self.seen, np.array([k])), row),
        }
        known = np.asarray(getattr(self.explainer, "classes_", ())) == shown
        if known.any():
            code = int(np.flatnonzero(known)[0])
            if hasattr(model, "predict_proba"):
                table = np.asarray(model.predict_proba(take_rows(row, only)))
                limits = getattr(self.target, "limits", None)
                if limits is not None:  # a probability decides alone
                    result["reached"] = bool(limits[0] <= table[0, code] <= limits[1])
                result["probability"] = _finite(table[0, code])
            result["quantile"] = self._quantile(row, code)
        return result

    def recourse(self, number: Any, values: Any) -> dict[str, Any]:
        """The nearest change that makes the model give the target to a person with these values."""
        k = self._number(number)
        row = self._row(k, values)
        with _refusing_values():
            return self._proposed(k, row)

    def _proposed(self, k: int, row: Any) -> dict[str, Any]:
        explanation = self._explain(self.explainer.inputs_.to_user(row), self._wanted(k))
        (outcome,) = outcomes(explanation)
        found = outcome.status == Status.FOUND
        after = explanation.by_feature[1] if found else row
        base = take_rows(self.seen, np.array([k]))
        broken = broken_rules(self.every_rule, self.space, base, after) if found else {}
        return {
            "found": found,
            "status": outcome.status,
            "sentence": sentence(outcome),
            "broken": list(dict.fromkeys(rule for texts in broken.values() for rule in texts)),
            "changes": [
                {
                    "feature": change.position,
                    "name": str(feature_text(change.feature)),
                    "pair": value_pair(change.before, change.after, quotes=False),
                }
                for change in outcome.changes
            ],
            "values": self._values(after),
            "prediction": plain(explanation.prediction_after[0]) if found else None,
            "probability": _finite(explanation.probability_after[0]),
            "quantile": _finite(explanation.density_quantile[0]),
        }

    def _explain(self, row: Any, target: Any = None) -> Any:
        # The status marks rows without an answer.
        wanted = self.target if target is None else target
        return self.explainer._explain(row, wanted, rules=self.rules)

    def _number(self, number: Any) -> int:
        whole = isinstance(number, int) and not isinstance(number, bool)
        if not whole or not 0 <= number < self.n_people:
            raise BadRequest(
                f"'person' must be an int in [0, {self.n_people}). Got {_short(number)} instead."
            )
        return int(number)

    def _label_of(self, target: Any) -> Any:
        """The label that a target names; None if it is another kind of target."""
        label = getattr(target, "label", target)
        for known in getattr(self.explainer, "classes_", ()):
            if not isinstance(label, set | frozenset | tuple | list) and known == label:
                return known
        return None

    def _goal(self, k: int) -> Any:
        """The label a person wants: the target, or of two classes the other one."""
        goal = self._label_of(self.target)
        classes: Any = getattr(self.explainer, "classes_", ())
        if goal is not None or self.target is not None or len(classes) != 2:
            return goal
        model = self.explainer.inputs_.wrap_model(self.explainer.estimator_)
        now = np.asarray(model.predict(take_rows(self.seen, np.array([k]))))[0]
        return classes[1] if now == classes[0] else classes[0]

    def _wanted(self, k: int) -> Any:
        """The target of a person who may have been moved across the boundary."""
        return self._goal(k) if self.target is None else self.target

    def _quantile(self, row: Any, code: int) -> float | None:
        Z = self.space.encode(row)
        if not np.isfinite(Z).all():
            return None
        density, index = self.explainer.density_, torch.tensor([code])
        value = density.log_prob(torch.as_tensor(Z), index)
        return _finite(density.quantile(value, index)[0])

    def _values(self, row: Any) -> list[float | int | None]:
        """The values of one row, as the page has them."""
        ranks = self.space.ranks(self.space.encode(row))[0]
        values: list[float | int | None] = []
        for j, rank in enumerate(ranks):
            if not np.isfinite(rank):
                values.append(None)
            elif self.space.levels_[j] is not None:
                values.append(int(rank))
            else:
                # A number of single precision by the digits that distinguish it.
                values.append(float(str(column_values(row, j, np.array([0]))[0])))
        return values

    def _row(self, k: int, values: Any) -> Any:
        """A person with changed values, snapped to what the columns can hold."""
        space = self.space
        d = len(space.names_)
        if not isinstance(values, list) or len(values) != d:
            raise BadRequest(
                f"'values' must be a list of {d} values. Got {_short(values)} instead."
            )
        base = take_rows(self.seen, np.array([k]))
        now = self._values(base)
        Z0 = space.encode(base)
        Z = Z0.copy()
        for j, (value, old) in enumerate(zip(values, now, strict=True)):
            number = self._checked(j, value, old)
            if number is None or number == old:
                continue
            block = space.slices_[j]
            if space.kinds_[j] == "categorical":
                Z[0, block] = 0.0
                Z[0, block.start + int(number)] = VERTEX
            else:
                Z[0, block.start] = (number - space.center_[j]) / space.scale_[j]
        with _refusing_values():
            row = space.decode(Z, base, reference=Z0)
        self._check_held(values, now, row)
        return row

    def _check_held(self, values: list[Any], now: list[Any], row: Any) -> None:
        """Refuse numbers that a column cannot hold, such as -1 among unsigned numbers."""
        for j, (value, old) in enumerate(zip(values, now, strict=True)):
            if value is None or value == old or self.space.levels_[j] is not None:
                continue
            held = column_values(row, j, np.array([0]))[0]
            off = np.inf if is_missing(held) else abs(float(held) - float(value))
            if not off <= self.space.step_[j] / 2 * (1 + 1e-9) + 0.01 * abs(float(value)):
                raise BadRequest(
                    f"The value of {_short(feature_text(self.space.names_[j]))} must be a number "
                    f"that its column can hold. Got {_short(value)} instead."
                )

    def _checked(self, j: int, value: Any, old: Any) -> float | None:
        """A value that the feature can have."""
        name = feature_text(self.space.names_[j])
        if value is None:
            if old is not None:
                raise BadRequest(f"The value of {_short(name)} must not be missing.")
            return None
        levels, number = self.space.levels_[j], _as_float(value)
        if levels is not None:
            if number is None or not number.is_integer() or not 0 <= number < len(levels):
                raise BadRequest(
                    f"The value of {_short(name)} must be the position of one of its "
                    f"{len(levels)} levels. Got {_short(value)} instead."
                )
        elif number is None or abs(number) > _LARGEST:
            raise BadRequest(
                f"The value of {_short(name)} must be a finite number. Got {_short(value)} instead."
            )
        return number


def _as_float(value: Any) -> float | None:
    """A finite number; None for anything else, also for whole numbers that no float is near."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if np.isfinite(number) else None


@contextlib.contextmanager
def _refusing_values() -> Iterator[None]:
    """Refuse values at which model, densities or columns fail."""
    try:
        with np.errstate(all="ignore"):
            yield
    except BadRequest:
        raise
    except (ArithmeticError, ValueError) as error:
        raise BadRequest(f"The model cannot take these values: {error}") from error


def _finite(number: Any) -> float | None:
    """A number that JSON knows."""
    return None if is_missing(number) or not np.isfinite(number) else float(number)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
