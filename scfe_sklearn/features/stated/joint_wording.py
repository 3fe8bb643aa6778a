"""Relations and implications in plain sentences."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from scfe_sklearn.features.kinds import is_listing, position
from scfe_sklearn.features.stated.raw_values import is_number
from scfe_sklearn.features.stated.relations import Linear, listed_relations

if TYPE_CHECKING:
    from scfe_sklearn.features.space import FeatureSpace
    from scfe_sklearn.features.stated.parts import Part


def describe_joint(part: Part, space: FeatureSpace) -> list[tuple[int, str]]:
    """Sentences with the first column that each is about."""
    out = []
    for linear, _ in listed_relations(part, space):
        places = [position(space.names_, v, "relations", "Rules") for v in linear.coefficients]
        out.append((min(places), relation_sentence(linear)))
    for condition, consequence in part.implications or ():
        names = [*condition, *consequence]
        places = [position(space.names_, v, "implications", "Rules") for v in names]
        told = _atoms(condition, "is", space), _atoms(consequence, "must be", space)
        sentence = f"if {told[0]}, {told[1]}"
        out.append((min(places), sentence))
    return out


def subject(name: Hashable) -> str:
    """A column as sentences call it."""
    return name if isinstance(name, str) else f"column {name}"


def number(value: Any) -> str:
    """A number with thousands set apart."""
    return f"{float(value):,.15g}"


def relation_sentence(linear: Linear) -> str:
    """One relation, its negative terms on the other side."""
    low, high = linear.at_least, linear.at_most
    if linear.of == "change":
        budget = "limits given row by row" if np.ndim(high) else f"at most {number(high)}"
        return f"the changes of {_terms(linear.coefficients)} must add up to {budget}"
    terms = dict(linear.coefficients)
    if np.ndim(low) or np.ndim(high):
        return f"{_terms(terms)} must stay within limits given row by row"
    if low is not None and high is not None and low != high:
        return f"{_terms(terms)} must be between {number(low)} and {number(high)}"
    verb = "must equal" if low is not None and high is not None else "must be at least"
    limit = high if low is None else low
    if limit is None:
        return f"{_terms(terms)} has no limits"
    if low is None:
        verb = "must be at most"
    if all(value < 0 for value in terms.values()):
        terms, limit = {name: -value for name, value in terms.items()}, -limit
        turned = {"must be at most": "must be at least", "must be at least": "must be at most"}
        verb = turned.get(verb, verb)
    left = {name: value for name, value in terms.items() if value > 0}
    right = {name: -value for name, value in terms.items() if value < 0}
    if not right:
        return f"{_terms(left)} {verb} {number(limit)}"
    constant = "" if limit == 0 else f" {'+' if limit > 0 else '-'} {number(abs(limit))}"
    return f"{_terms(left)} {verb} {_terms(right)}{constant}"


def _terms(coefficients: Mapping[Hashable, float]) -> str:
    out = ""
    for name, value in coefficients.items():
        size = "" if abs(value) == 1 else f"{number(abs(value))} x "
        sign = ("-" if value < 0 else "") if not out else (" - " if value < 0 else " + ")
        out += f"{sign}{size}{subject(name)}"
    return out


def _atoms(atoms: Mapping[Hashable, Any], verb: str, space: FeatureSpace) -> str:
    told = []
    for name, wanted in atoms.items():
        kind = space.kinds_[position(space.names_, name, "implications", "Rules")]
        interval = is_listing(wanted) and (
            kind in ("numeric", "integer") or (kind == "ordinal" and isinstance(wanted, tuple))
        )
        told.append(f"{subject(name)} {verb} {_wanted(wanted, interval)}")
    return " and ".join(told)


def _wanted(wanted: Any, interval: bool) -> str:
    if not is_listing(wanted):
        return _value(wanted)
    if interval:
        low, high = wanted
        if np.ndim(low) or np.ndim(high):
            return "within limits given row by row"
        if low is None or high is None:
            end = f"at most {_value(high)}" if low is None else f"at least {_value(low)}"
            return "any value" if low is None and high is None else end
        return f"between {_value(low)} and {_value(high)}"
    return " or ".join(sorted(_value(v) for v in wanted))


def _value(value: Any) -> str:
    if value is None:
        return "missing"
    if isinstance(value, np.generic):
        value = value.item()
    if is_number(value) and not isinstance(value, bool):
        return number(value)
    return repr(value)
