"""Kinds of columns that the user gives: the parameters of a feature space, checked."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scfe_sklearn.features.kinds.naming import is_listing, position, positions


@dataclass(frozen=True, eq=False)
class KindOverrides:
    """The constructor's parameters, resolved to column positions."""

    categorical: frozenset[int]
    ordinal: Mapping[int, Sequence[Any] | None]
    integer: frozenset[int]
    continuous: frozenset[int]
    steps: Mapping[int, float]
    hint: frozenset[int]
    immutable: frozenset[int] = frozenset()
    scaled: bool = True

    def names(self, j: int) -> bool:
        """Whether a parameter gives the kind of a column."""
        given = (self.categorical, self.ordinal, self.integer, self.continuous, self.steps)
        return any(j in columns for columns in given)


def resolve(space: Any, names: Sequence[Hashable], hint: Any, immutable: Any = ()) -> KindOverrides:
    """Check the parameters of a feature space and resolve their columns."""
    ordinal: dict[int, Sequence[Any] | None] = {}
    if isinstance(space.ordinal, Mapping):
        for name, levels in space.ordinal.items():
            ordinal[position(names, name, "ordinal", "FeatureSpace")] = _ordered(name, levels)
    else:
        ordinal = dict.fromkeys(sorted(positions(names, space.ordinal, "ordinal")))
    steps: dict[int, float] = {}
    if not (space.steps is None or isinstance(space.steps, Mapping)):
        raise ValueError(
            "The 'steps' parameter of FeatureSpace must be a dict from columns to steps. "
            f"Got {space.steps!r} instead."
        )
    for name, step in (space.steps or {}).items():
        if not (isinstance(step, (int, float, np.number)) and 0 < step < np.inf):
            raise ValueError(
                f"The 'steps' parameter of FeatureSpace must be positive. Got {step!r} for "
                f"{name!r} instead."
            )
        steps[position(names, name, "steps", "FeatureSpace")] = float(step)
    if space.scale not in ("std", None):
        raise ValueError(
            f"The 'scale' parameter of FeatureSpace must be 'std' or None. Got {space.scale!r} "
            "instead."
        )
    overrides = KindOverrides(
        categorical=positions(names, space.categorical, "categorical"),
        ordinal=ordinal,
        integer=positions(names, space.integer, "integer"),
        continuous=positions(names, space.continuous, "continuous"),
        steps=steps,
        hint=positions(names, hint, "categorical_hint", "FeatureSpace.fit"),
        immutable=positions(names, immutable, "immutable", "FeatureSpace.fit"),
        scaled=space.scale == "std",
    )
    _refuse_contradictions(overrides, names)
    return overrides


def _ordered(name: Hashable, levels: Any) -> list[Any]:
    """The levels of an ordinal column as a list of distinct values."""
    if isinstance(levels, Mapping) or not is_listing(levels):
        raise ValueError(
            "The 'ordinal' parameter of FeatureSpace must give a list of levels, lowest first. "
            f"Got {levels!r} for {name!r} instead."
        )
    listed = list(levels)
    if not listed or len(set(listed)) != len(listed):
        raise ValueError(
            "The 'ordinal' parameter of FeatureSpace must give distinct levels. "
            f"Got {listed!r} for {name!r} instead."
        )
    return listed


def _refuse_contradictions(overrides: KindOverrides, names: Sequence[Hashable]) -> None:
    claims: dict[str, Iterable[int]] = {
        "categorical": overrides.categorical,
        "ordinal": overrides.ordinal,
        "integer": overrides.integer,
        "continuous": overrides.continuous,
    }
    taken: dict[int, str] = {}
    for parameter, columns in claims.items():
        for j in columns:
            if j in taken:
                raise ValueError(
                    f"The {parameter!r} parameter of FeatureSpace must not name a column of "
                    f"{taken[j]!r}. Got {names[j]!r} in both."
                )
            taken[j] = parameter
    for j in overrides.steps:
        if taken.get(j, "integer") != "integer":
            raise ValueError(
                f"The 'steps' parameter of FeatureSpace must not name a column of "
                f"{taken[j]!r}. Got {names[j]!r} in both."
            )
