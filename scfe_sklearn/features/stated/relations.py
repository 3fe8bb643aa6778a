"""Linear relations between columns, as the user writes them and laid out row by row."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from scfe_sklearn.features.kinds import is_listing, position
from scfe_sklearn.features.stated.raw_values import (
    is_number,
    level_numbers,
    own_levels,
    refuse_held,
    rounding,
)
from scfe_sklearn.features.stated.relation_text import read_relation
from scfe_sklearn.row_values import numbers

if TYPE_CHECKING:
    from scfe_sklearn.features.space import FeatureSpace
    from scfe_sklearn.features.stated.parts import Part

TOLERANCE = 1e-9  # in training standard deviations


@dataclass(frozen=True, eq=False)
class Linear:
    """Limits on a weighted sum of columns, or of the changes of columns.

    Parameters
    ----------
    coefficients : dict
        ``{column: number}``. An ordinal column counts by the rank of its level in the declared
        order (lowest: 0), a boolean one as 0 or 1.
    at_least, at_most : float, ndarray of shape (n,) or None
        Limits of the sum; None (in an array NaN): no limit.
    of : {"value", "change"}, default="value"
        With "change" the sum is over coefficient times absolute change, and a categorical
        column adds its coefficient if its level changes: a budget, which has `at_most` only.

    Examples
    --------
    >>> from scfe_sklearn.features import Linear, Rules
    >>> rules = Rules(
    ...     relations=[
    ...         "rent + 0.3 * food <= 1000",
    ...         Linear({"rent": 1, "food": 0.3}, at_most=200, of="change"),
    ...     ]
    ... )
    """

    coefficients: Mapping[Hashable, float]
    at_least: Any = None
    at_most: Any = None
    of: str = "value"


@dataclass(frozen=True, eq=False)
class Relation:
    r"""A relation :math:`l_i \le \sum_j c_j v_{ij} \le h_i` for every row i.

    Parameters
    ----------
    features : tuple of int
        Positions of the columns.
    coefficients : ndarray of shape (k,)
        Their coefficients.
    low, high : ndarray of shape (n,)
        Limits, infinite where there is none.
    of_change : bool
        Whether the numbers are absolute changes.
    norm : float
        How much the sum changes, at most, by one unit of Euclidean distance in solver space.
    """

    features: tuple[int, ...]
    coefficients: np.ndarray
    low: np.ndarray
    high: np.ndarray
    of_change: bool
    norm: float

    def take(self, rows: np.ndarray) -> Relation:
        """The relation of some rows."""
        return replace(self, low=self.low[rows], high=self.high[rows])

    def total(self, values: list[np.ndarray]) -> np.ndarray:
        """The sum (n,), by the numbers (n,) of each column."""
        total = np.zeros(len(self.low))
        # Column by column, so that a row's sum does not depend on the rows beside it.
        for coefficient, column in zip(self.coefficients, values, strict=True):
            with np.errstate(invalid="ignore", over="ignore"):
                total = total + coefficient * column
        return total

    def relaxed(self, total: np.ndarray) -> Relation:
        """The relation that a row must keep whose factual sum (n,) may break it already."""
        return replace(self, low=np.fmin(self.low, total), high=np.fmax(self.high, total))

    def tolerance(self, space: FeatureSpace, bits: list[int]) -> float:
        """Tolerance of a sum at its limit."""
        noise = [
            abs(c) * rounding(space.features_[j], width)
            for j, c, width in zip(self.features, self.coefficients, bits, strict=True)
        ]
        return TOLERANCE * self.norm + float(sum(noise))


def parse_relations(part: Part, space: FeatureSpace, n: int) -> list[Relation]:
    """Check the relations of rules, for ``n`` rows."""
    return [_parse(linear, shown, space, n) for linear, shown in listed_relations(part, space)]


def listed_relations(part: Part, space: FeatureSpace) -> list[tuple[Linear, Any]]:
    """Every relation as `Linear`, with what the user wrote."""
    given: Any = part.relations
    if isinstance(given, Mapping) or not is_listing(given):
        raise ValueError(_message(given))
    out: list[tuple[Linear, Any]] = []
    for item in given:
        if isinstance(item, str):
            for coefficients, low, high in read_relation(item, space.names_):
                out.append((Linear(coefficients, low, high), item))
        elif isinstance(item, Linear):
            out.append((item, item))
        else:
            raise ValueError(_message(item))
    return out


def _message(given: Any) -> str:
    return (
        "The 'relations' parameter of Rules must be a list of strings such as "
        f"'rent + 0.3 * food <= 1000' or of Linear(...). Got {given!r} instead."
    )


def _parse(linear: Linear, shown: Any, space: FeatureSpace, n: int) -> Relation:
    if linear.of not in ("value", "change"):
        raise ValueError(
            f"The 'of' parameter of Linear must be 'value' or 'change'. Got {linear.of!r} instead."
        )
    of_change = linear.of == "change"
    columns = _coefficients(linear, space, of_change)
    low, high, same = _limits(linear, n)
    if of_change:
        if linear.at_least is not None or linear.at_most is None or (high < 0).any():
            raise ValueError(
                "Linear(..., of='change') must have the limit 'at_most', which is not negative, "
                f"and not 'at_least'. Got at_least={linear.at_least!r} and "
                f"at_most={linear.at_most!r} instead."
            )
    elif same and len(low) and low[0] > high[0]:
        raise ValueError(
            "The 'relations' parameter of Rules must have at_least <= at_most. "
            f"Got {linear.at_least!r} and {linear.at_most!r} in {shown!r} instead."
        )
    features = tuple(columns)
    coefficients = np.array([columns[j] for j in features])
    spread = np.array([_spread(space, j, of_change) for j in features])
    norm = float(np.sqrt(((coefficients * spread) ** 2).sum()))
    return Relation(features, coefficients, low, high, of_change, norm or 1.0)


def _coefficients(linear: Linear, space: FeatureSpace, of_change: bool) -> dict[int, float]:
    if not isinstance(linear.coefficients, Mapping) or not linear.coefficients:
        raise ValueError(
            "The 'coefficients' parameter of Linear must be a dict from columns to numbers. "
            f"Got {linear.coefficients!r} instead."
        )
    out = {}
    for name, value in linear.coefficients.items():
        j = position(space.names_, name, "relations", "Rules")
        refuse_held(space, j, "relations")
        plain = is_number(value) and not isinstance(value, (bool, np.bool_))
        if not plain or not np.isfinite(value) or value == 0 or (of_change and value < 0):
            raise ValueError(
                "The 'coefficients' parameter of Linear must have finite numbers other than 0"
                f"{', which are positive for changes' if of_change else ''}. "
                f"Got {value!r} for {name!r} instead."
            )
        if not of_change and space.kinds_[j] == "categorical":
            _refuse_words(space, j)
        out[j] = float(value)
    return out


def _refuse_words(space: FeatureSpace, j: int) -> None:
    words = [v for v in own_levels(space.features_[j]) if v is not None and not is_number(v)]
    if words:
        raise ValueError(
            "The 'relations' parameter of Rules must name numeric, ordinal or boolean columns. "
            f"Got {space.names_[j]!r}, which has levels such as {words[0]!r}; use 'implications'."
        )


def _limits(linear: Linear, n: int) -> tuple[np.ndarray, np.ndarray, bool]:
    """Both limits for each row, and whether they are the same for all."""
    ends = []
    for name, absent in (("at_least", -np.inf), ("at_most", np.inf)):
        given = getattr(linear, name)
        values = numbers(absent if given is None else given)
        if (
            values is None
            or values.shape not in ((), (n,))
            or (values.shape == () and np.isnan(values))
        ):
            raise ValueError(
                f"The {name!r} parameter of Linear must be a number, None for no limit, or one "
                f"number for each of the {n} rows. Got {given!r} instead."
            )
        ends.append((np.broadcast_to(np.where(np.isnan(values), absent, values), (n,)), values))
    (low, one), (high, other) = ends
    return low, high, one.shape == () and other.shape == ()


def _spread(space: FeatureSpace, j: int, of_change: bool) -> float:
    """Change of the number of a feature by one unit of solver distance."""
    feature = space.features_[j]
    if feature.levels is None:
        return feature.scale
    if feature.kind == "categorical" and of_change:
        return 1.0
    counts = level_numbers(feature, own_levels(feature))
    counts = counts[~np.isnan(counts)]
    if feature.kind == "ordinal":
        return feature.scale * float(counts[-1] - counts[0]) / max(len(counts) - 1, 1)
    return float(np.sqrt(2.0 * ((counts - counts.mean()) ** 2).sum())) if len(counts) else 0.0
