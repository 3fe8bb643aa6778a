"""Raw values as numbers in a rule: a value, its rank, or the number of its level."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scfe_sklearn.features.kinds import match_levels, plain_level

if TYPE_CHECKING:
    from scfe_sklearn.features.frames import Table
    from scfe_sklearn.features.kinds import Feature
    from scfe_sklearn.features.space import FeatureSpace


def coded(table: Table, at: int) -> tuple[np.ndarray, list[Hashable]]:
    """Codes and the levels that occur, missing last (whether or not it occurs)."""
    codes, distinct = table.factorize(at)
    used = np.unique(codes[codes >= 0])
    place = np.full(len(distinct) + 1, len(used))
    place[used] = np.arange(len(used))
    return place[codes], [*(plain_level(v) for v in distinct[used]), None]


def ranks(order: np.ndarray, levels: Sequence[Hashable]) -> np.ndarray:
    """The place of each level in an order, NaN where it has none."""
    objects = np.empty(len(levels), dtype=object)
    objects[:] = levels
    place = match_levels(order, objects).astype(np.float64)
    place[place < 0] = np.nan
    return place


def is_number(value: Any) -> bool:
    """Whether a level is a number or a boolean."""
    return isinstance(value, (bool, int, float, np.number, np.bool_))


def level_numbers(feature: Feature, levels: Sequence[Hashable]) -> np.ndarray:
    """Levels as numbers: the declared rank if ordinal, their own value otherwise (text: NaN)."""
    if feature.kind == "ordinal":
        return ranks(np.asarray(feature.declared), levels)
    return np.array([float(v) if is_number(v) else np.nan for v in levels], dtype=np.float64)  # type: ignore[arg-type]


def refuse_held(space: FeatureSpace, j: int, parameter: str) -> None:
    """Raise if a rule reads a column that is held as it is."""
    if space.kinds_[j] == "held":
        raise ValueError(
            f"The {parameter!r} parameter of Rules must name columns of numbers or levels. Got "
            f"{space.names_[j]!r} instead, which never changes and is held as it is; name it in "
            "'categorical' if a rule is to read its levels."
        )


def own_levels(feature: Feature) -> list[Hashable]:
    """The levels of a feature as rules write them, a missing one as None."""
    return [plain_level(v) for v in np.asarray(feature.levels).tolist()]


def raw_numbers(space: FeatureSpace, table: Table, at: int, j: int) -> np.ndarray:
    """Column ``at`` as the numbers (n,) of feature ``j``; missing values are NaN."""
    feature = space.features_[j]
    if feature.levels is None:
        return table.numbers(at)
    codes, levels = coded(table, at)
    return level_numbers(feature, levels)[codes]


def magnitude(feature: Feature) -> float:
    """The size of the numbers that a feature has in training."""
    if feature.levels is None:
        return max(abs(feature.low), abs(feature.high), abs(feature.center))
    return float(np.nanmax(np.abs(level_numbers(feature, own_levels(feature))), initial=0.0))


_ROUNDING = {16: 2.0**-10, 32: 2.0**-23}


def rounding(feature: Feature, bits: int = 64) -> float:
    """Rounding of a number of the feature by arithmetic and storage."""
    return _ROUNDING.get(min(bits, feature.bits), 8 * 2.0**-52) * magnitude(feature)
