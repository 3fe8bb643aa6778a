"""Rules in plain sentences."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from scfe_sklearn.features.kinds import is_listing, plain_level, position
from scfe_sklearn.features.stated.raw_values import is_number
from scfe_sklearn.features.stated.relations import Linear, listed_relations
from scfe_sklearn.features.stated.relative import Relative

if TYPE_CHECKING:
    from scfe_sklearn.features.space import FeatureSpace
    from scfe_sklearn.features.stated.parts import Part

_PHRASES = {
    "immutable": "must not change",
    "increasing": "may only increase",
    "decreasing": "may only decrease",
    "fillable": "may be filled in where it is missing",
}


def describe_rules(parts: list[Part], space: FeatureSpace) -> list[str]:
    """One sentence per rule, in the order of the columns."""
    found: list[tuple[int, str]] = []

    def add(name: Hashable, parameter: str, phrase: str) -> None:
        j = position(space.names_, name, parameter, "Rules")
        found.append((j, f"{_subject(name)} {phrase}"))

    for part in parts:
        for parameter, phrase in _PHRASES.items():
            given = getattr(part, parameter)
            wanted = () if given is None else given
            flags = wanted if isinstance(wanted, Mapping) else dict.fromkeys(wanted, True)
            for name, flag in flags.items():
                rows = np.asarray(flag)
                if rows.shape:
                    add(name, parameter, f"{phrase} (in {int(rows.sum())} of {len(rows)} rows)")
                elif rows:
                    add(name, parameter, phrase)
        for name, limits in (part.ranges or {}).items():
            add(name, "ranges", _range(limits))
        for name, given in (part.transitions or {}).items():
            for phrase in _transitions(given):
                add(name, "transitions", phrase)
        found.extend(_describe_joint(part, space))
        for name, weight in (part.costs or {}).items():
            j = position(space.names_, name, "costs", "Rules")
            times = "differently much" if np.ndim(weight) else f"{_number(weight)} times as much"
            where = " row by row" if np.ndim(weight) else ""
            found.append((j, f"changing {_subject(name)} costs {times}{where}"))
    ordered = sorted(found, key=lambda item: item[0])
    return [*dict.fromkeys(sentence for _, sentence in ordered), *_about_breaches(parts)]


def _about_breaches(parts: list[Part]) -> list[str]:
    """Return the sentence about rows that break a rule already."""
    single = any(
        any(not isinstance(limits, Relative) for limits in (part.ranges or {}).values())
        or any(not isinstance(given, Mapping) for given in (part.transitions or {}).values())
        for part in parts
    )
    joint = any(
        part.implications or any(getattr(r, "of", "value") == "value" for r in part.relations or ())
        for part in parts
    )
    if any(part.strict for part in parts):
        strict = "an answer must end within these rules, also where the row breaks one already"
        return [strict] if single or joint else []
    out = ["a value that breaks a rule already may stay as it is"] if single or joint else []
    if joint:
        out.append("a row that breaks a relation or an implication already must not break it more")
    return out


def _range(limits: Any) -> str:
    relative = isinstance(limits, Relative)
    low, high = (limits.low, limits.high) if relative else limits
    if _by_row(low) or _by_row(high):
        return (
            "must change within limits given row by row"
            if relative
            else ("must stay within limits given row by row")
        )
    if not relative:
        return _between("must be", _text(low), _text(high))
    if limits.factor:
        return _within("may become", _text(low), _text(high), " times its value")
    return _within("may change by", _signed(low), _signed(high))


def _between(verb: str, low: str | None, high: str | None) -> str:
    if low is not None and high is not None:
        return f"{verb} between {low} and {high}"
    if low is not None:
        return f"{verb} at least {low}"
    return "has no limits" if high is None else f"{verb} at most {high}"


def _within(verb: str, low: str | None, high: str | None, unit: str = "") -> str:
    if low is not None and high is not None:
        return f"{verb} {low} to {high}{unit}"
    if low is not None:
        return f"{verb} {low}{unit} or more"
    return "has no limits" if high is None else f"{verb} {high}{unit} at most"


def _transitions(given: Any) -> list[str]:
    if not isinstance(given, Mapping):
        return ["may change to levels given row by row"]
    out = []
    for level, allowed in given.items():
        targets = [_text(v) for v in allowed if plain_level(v) != plain_level(level)]
        if targets:
            out.append(f"may change from {_text(level)} only to {' or '.join(map(str, targets))}")
        else:
            out.append(f"may not change from {_text(level)}")
    return out


def _by_row(limit: Any) -> bool:
    return not isinstance(limit, (str, bytes)) and np.ndim(limit) > 0


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, (float, np.floating)) and not np.isnan(value):
        return f"{float(value):.15g}"
    return repr(value.item() if isinstance(value, np.generic) else value)


def _signed(value: Any) -> str | None:
    return None if value is None else f"{float(value):+.15g}"


def _describe_joint(part: Part, space: FeatureSpace) -> list[tuple[int, str]]:
    """Sentences with the first column that each is about."""
    out = []
    relations = () if part.relations is None else listed_relations(part, space)
    for linear, _ in relations:
        places = [position(space.names_, v, "relations", "Rules") for v in linear.coefficients]
        out.append((min(places), _relation_sentence(linear)))
    for condition, consequence in part.implications or ():
        names = [*condition, *consequence]
        places = [position(space.names_, v, "implications", "Rules") for v in names]
        texts = _atoms(condition, "is", space), _atoms(consequence, "must be", space)
        sentence = f"if {texts[0]}, {texts[1]}"
        out.append((min(places), sentence))
    return out


def _subject(name: Hashable) -> str:
    """A column as sentences call it."""
    return name if isinstance(name, str) else f"column {name}"


def _number(value: Any) -> str:
    """A number with thousands set apart."""
    return f"{float(value):,.15g}"


def _relation_sentence(linear: Linear) -> str:
    """One relation, its negative terms on the other side."""
    low, high = linear.at_least, linear.at_most
    if linear.of == "change":
        budget = "limits given row by row" if np.ndim(high) else f"at most {_number(high)}"
        return f"the changes of {_terms(linear.coefficients)} must add up to {budget}"
    terms = dict(linear.coefficients)
    if np.ndim(low) or np.ndim(high):
        return f"{_terms(terms)} must stay within limits given row by row"
    if low is not None and high is not None and low != high:
        return f"{_terms(terms)} must be between {_number(low)} and {_number(high)}"
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
        return f"{_terms(left)} {verb} {_number(limit)}"
    constant = "" if limit == 0 else f" {'+' if limit > 0 else '-'} {_number(abs(limit))}"
    return f"{_terms(left)} {verb} {_terms(right)}{constant}"


def _terms(coefficients: Mapping[Hashable, float]) -> str:
    out = ""
    for name, value in coefficients.items():
        size = "" if abs(value) == 1 else f"{_number(abs(value))} x "
        sign = ("-" if value < 0 else "") if not out else (" - " if value < 0 else " + ")
        out += f"{sign}{size}{_subject(name)}"
    return out


def _atoms(atoms: Mapping[Hashable, Any], verb: str, space: FeatureSpace) -> str:
    told = []
    for name, wanted in atoms.items():
        kind = space.kinds_[position(space.names_, name, "implications", "Rules")]
        interval = is_listing(wanted) and (
            kind in ("numeric", "integer") or (kind == "ordinal" and isinstance(wanted, tuple))
        )
        told.append(f"{_subject(name)} {verb} {_wanted(wanted, interval)}")
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
        return _number(value)
    return repr(value)
