"""Rules in plain sentences."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from scfe_sklearn.features.kinds import plain_level, position
from scfe_sklearn.features.stated.joint_wording import describe_joint, number, subject
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
        found.append((j, f"{subject(name)} {phrase}"))

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
        found.extend(describe_joint(part, space))
        for name, weight in (part.costs or {}).items():
            j = position(space.names_, name, "costs", "Rules")
            times = "differently much" if np.ndim(weight) else f"{number(weight)} times as much"
            where = " row by row" if np.ndim(weight) else ""
            found.append((j, f"changing {subject(name)} costs {times}{where}"))
    ordered = sorted(found, key=lambda item: item[0])
    return [*dict.fromkeys(sentence for _, sentence in ordered), *_about_breaches(parts)]


def _about_breaches(parts: list[Part]) -> list[str]:
    """What is demanded of a row that breaks a rule already."""
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
