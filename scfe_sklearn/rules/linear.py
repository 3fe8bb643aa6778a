"""Linear relations as users write them: text or `Linear`, checked, and in plain sentences."""

from __future__ import annotations

import ast
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scfe_sklearn.data import (
    FeatureSpace,
    is_listing,
    is_number,
    own_levels,
    position,
    rounding,
)
from scfe_sklearn.rules.base import TOLERANCE, JointRule, RawRows
from scfe_sklearn.rules.reading import by_row, find_column, is_by_row, number_text, subject, wrong

# Coefficients by column, lower and upper limit.
Reading = tuple[dict[Hashable, float], float | None, float | None]

_BACKTICKS = re.compile(r"`([^`]*)`")


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
    >>> from scfe_sklearn.rules import Linear, Rules
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
class WeightedSum(JointRule):
    """Limits on a weighted sum of numbers, for n rows.

    Parameters
    ----------
    features : tuple of int
        Positions of the columns.
    coefficients : ndarray of shape (k,)
        Their coefficients.
    low, high : ndarray of shape (n,)
        Limits, infinite where there is none.
    norm : float
        How much the sum changes, at most, by one unit of Euclidean distance in solver space.
    """

    features: tuple[int, ...]
    coefficients: np.ndarray
    low: np.ndarray
    high: np.ndarray
    norm: float
    _by_row = ("low", "high")

    @property
    def terms(self) -> Iterator[tuple[int, float]]:
        """Positions of the columns with their coefficients."""
        return zip(self.features, self.coefficients.tolist(), strict=True)

    def total(self, values: Sequence[np.ndarray]) -> np.ndarray:
        """The sum (n,), by the numbers (n,) of each column."""
        total = np.zeros(len(self.low))
        # Column by column, so that a row's sum does not depend on the rows beside it.
        for coefficient, column in zip(self.coefficients, values, strict=True):
            with np.errstate(invalid="ignore", over="ignore"):
                total = total + coefficient * column
        return total

    def exceeded(self, total: np.ndarray, near: float) -> np.ndarray:
        """Rows whose sum is beyond a limit by more than a tolerance."""
        return (total > self.high + near) | (total < self.low - near)

    def tolerance(self, *rows: RawRows) -> float:
        """Tolerance of a sum at its limit, by the precision of the rows."""
        noise = [
            abs(c) * rounding(rows[0].space.features_[j], min(one.bits(j) for one in rows))
            for j, c in self.terms
        ]
        return TOLERANCE * self.norm + float(sum(noise))


def listed_relations(given: Any, space: FeatureSpace) -> Iterator[tuple[Linear, Any]]:
    """Yield every relation as `Linear`, with what the user wrote."""
    if isinstance(given, Mapping) or not is_listing(given):
        raise _no_relation(given)
    for item in given:
        if isinstance(item, str):
            for coefficients, low, high in read_relation(item, space.names_):
                yield Linear(coefficients, low, high), item
        elif isinstance(item, Linear):
            yield item, item
        else:
            raise _no_relation(item)


def _no_relation(given: Any) -> ValueError:
    must = "be a list of strings such as 'rent + 0.3 * food <= 1000' or of Linear(...)"
    return wrong("relations", must, given)


def check_coefficients(linear: Linear, space: FeatureSpace) -> dict[int, float]:
    """Coefficients by feature; ValueError if a column cannot have one."""
    if not isinstance(linear.coefficients, Mapping) or not linear.coefficients:
        raise ValueError(
            "The 'coefficients' parameter of Linear must be a dict from columns to numbers. "
            f"Got {linear.coefficients!r} instead."
        )
    found, of_change = {}, linear.of == "change"
    for name, value in linear.coefficients.items():
        j = find_column(space, name, "relations")
        plain = is_number(value) and not isinstance(value, (bool, np.bool_))
        if not plain or not np.isfinite(value) or value == 0 or (of_change and value < 0):
            raise ValueError(
                "The 'coefficients' parameter of Linear must have finite numbers other than 0"
                f"{', which are positive for changes' if of_change else ''}. "
                f"Got {value!r} for {name!r} instead."
            )
        if not of_change and space.kinds_[j] == "categorical":
            _check_levels(space, j)
        found[j] = float(value)
    return found


def _check_levels(space: FeatureSpace, j: int) -> None:
    """Raise if the levels of a column are no numbers."""
    words = [v for v in own_levels(space.features_[j]) if v is not None and not is_number(v)]
    if words:
        raise ValueError(
            "The 'relations' parameter of Rules must name numeric, ordinal or boolean columns. "
            f"Got {space.names_[j]!r}, which has levels such as {words[0]!r}; use 'implications'."
        )


def check_limits(linear: Linear, shown: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Both limits for each row; ValueError if they do not fit."""
    ends = []
    for name, absent in (("at_least", -np.inf), ("at_most", np.inf)):
        given = getattr(linear, name)
        limit = by_row(given, n, absent)
        if limit is None:
            raise ValueError(
                f"The {name!r} parameter of Linear must be a number, None for no limit, or one "
                f"number for each of the {n} rows. Got {given!r} instead."
            )
        ends.append(limit)
    low, high = ends
    single = not (is_by_row(linear.at_least) or is_by_row(linear.at_most))
    if linear.of == "change":
        if linear.at_least is not None or linear.at_most is None or (high < 0).any():
            raise ValueError(
                "Linear(..., of='change') must have the limit 'at_most', which is not negative, "
                f"and not 'at_least'. Got at_least={linear.at_least!r} and "
                f"at_most={linear.at_most!r} instead."
            )
    elif single and n and low[0] > high[0]:
        raise ValueError(
            "The 'relations' parameter of Rules must have at_least <= at_most. "
            f"Got {linear.at_least!r} and {linear.at_most!r} in {shown!r} instead."
        )
    return low, high


# ------------------------------------------------------------------------------ sentences


def sentence(linear: Linear) -> str:
    """One relation in words, its negative terms on the other side."""
    low, high = linear.at_least, linear.at_most
    if linear.of == "change":
        budget = "limits given row by row" if np.ndim(high) else f"at most {number_text(high)}"
        return f"the changes of {_terms(linear.coefficients)} must add up to {budget}"
    terms = dict(linear.coefficients)
    if np.ndim(low) or np.ndim(high):
        return f"{_terms(terms)} must stay within limits given row by row"
    if low is not None and high is not None and low != high:
        return f"{_terms(terms)} must be between {number_text(low)} and {number_text(high)}"
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
        return f"{_terms(left)} {verb} {number_text(limit)}"
    constant = "" if limit == 0 else f" {'+' if limit > 0 else '-'} {number_text(abs(limit))}"
    return f"{_terms(left)} {verb} {_terms(right)}{constant}"


def _terms(coefficients: Mapping[Hashable, float]) -> str:
    out = ""
    for name, value in coefficients.items():
        size = "" if abs(value) == 1 else f"{number_text(abs(value))} x "
        sign = ("-" if value < 0 else "") if not out else (" - " if value < 0 else " + ")
        out += f"{sign}{size}{subject(name)}"
    return out


# --------------------------------------------------------------------------- read from text


class _Refused(Exception):
    """Raised with the mistake in a relation."""


@dataclass(frozen=True)
class _Sum:
    """A linear expression: coefficients by column, and a constant."""

    terms: dict[Hashable, float]
    constant: float

    def plus(self, other: _Sum, sign: float = 1.0) -> _Sum:
        terms = dict(self.terms)
        for name, value in other.terms.items():
            terms[name] = terms.get(name, 0.0) + sign * value
        return _Sum(terms, self.constant + sign * other.constant)

    def times(self, factor: float) -> _Sum:
        terms = {name: factor * value for name, value in self.terms.items()}
        return _Sum(terms, factor * self.constant)


def read_relation(text: str, names: Sequence[Hashable]) -> list[Reading]:
    """The relations that a string states, one for each comparison sign in it.

    Parameters
    ----------
    text : str
        Sums of columns with constant factors, compared by ``<=``, ``>=`` or ``==``. A label
        that is no Python name stands in backticks; so does the position in an array.
    names : sequence
        The columns that there are.

    Returns
    -------
    list of (dict, low, high)
        Coefficients by column and the limits of their sum.

    Raises
    ------
    ValueError
        If the string is no relation, or names an unknown column.

    Examples
    --------
    >>> read_relation("`net pay` >= 2 * (rent + 10)", ["net pay", "rent"])
    [({'net pay': 1.0, 'rent': -2.0}, 20.0, None)]
    """
    prefix = "c"
    while prefix in text:
        prefix += "_c"
    labels: list[str] = []

    def shield(match: re.Match[str]) -> str:
        labels.append(match.group(1))
        return f" {prefix}{len(labels) - 1}_ "

    shielded = _BACKTICKS.sub(shield, text).strip()
    quoted = {f"{prefix}{k}_": label for k, label in enumerate(labels)}
    try:
        body = ast.parse(shielded, mode="eval").body
    except (SyntaxError, RecursionError, MemoryError, ValueError) as error:
        raise _unreadable(text, "it cannot be read") from error
    try:
        if not isinstance(body, ast.Compare):
            raise _Refused("there is no comparison")
        sides = [_expression(side, names, quoted) for side in (body.left, *body.comparators)]
        pairs = zip(sides[:-1], body.ops, sides[1:], strict=True)
        return [_comparison(left, sign, right) for left, sign, right in pairs]
    except RecursionError:
        raise _unreadable(text, "it is nested too deeply") from None
    except _Refused as reason:
        raise _unreadable(text, str(reason)) from None


def _unreadable(text: str, reason: str) -> ValueError:
    return ValueError(
        "The 'relations' parameter of Rules must state linear relations such as "
        "'rent + 0.3 * food <= 1000', with <=, >= or ==, and backticks around labels that are "
        f"no Python names. Got {text!r} instead: {reason}."
    )


def _comparison(left: _Sum, sign: ast.cmpop, right: _Sum) -> Reading:
    difference = left.plus(right, -1.0)
    terms = {name: value for name, value in difference.terms.items() if value != 0}
    if not terms:
        raise _Refused("a comparison names no column")
    limit = 0.0 - difference.constant
    if not np.isfinite([limit, *terms.values()]).all():
        raise _Refused("its numbers are too large")
    if isinstance(sign, ast.LtE):
        return terms, None, limit
    if isinstance(sign, ast.GtE):
        return terms, limit, None
    if isinstance(sign, ast.Eq):
        return terms, limit, limit
    raise _Refused("it has another comparison sign than <=, >= or ==")


def _expression(node: ast.expr, names: Sequence[Hashable], quoted: dict[str, str]) -> _Sum:
    if isinstance(node, ast.Name):
        return _Sum({_column(node.id, names, quoted): 1.0}, 0.0)
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        try:
            return _Sum({}, float(node.value))  # type: ignore[arg-type]
        except OverflowError:
            raise _Refused("its numbers are too large") from None
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.UAdd, ast.USub)):
        sign = 1.0 if isinstance(node.op, ast.UAdd) else -1.0
        return _expression(node.operand, names, quoted).times(sign)
    if isinstance(node, ast.BinOp):
        left = _expression(node.left, names, quoted)
        right = _expression(node.right, names, quoted)
        return _operation(left, node.op, right)
    raise _Refused(f"{ast.unparse(node)!r} is neither a column nor a number nor a sum of them")


def _operation(left: _Sum, sign: ast.operator, right: _Sum) -> _Sum:
    if isinstance(sign, ast.Add):
        return left.plus(right)
    if isinstance(sign, ast.Sub):
        return left.plus(right, -1.0)
    if isinstance(sign, ast.Mult) and not (left.terms and right.terms):
        return right.times(left.constant) if not left.terms else left.times(right.constant)
    if isinstance(sign, ast.Div) and not right.terms and right.constant:
        return _Sum(
            {name: value / right.constant for name, value in left.terms.items()},
            left.constant / right.constant,
        )
    raise _Refused("columns may only be added, subtracted, and multiplied or divided by numbers")


def _column(name: str, names: Sequence[Hashable], quoted: dict[str, str]) -> Hashable:
    label = quoted.get(name, name)
    if label not in names and name in quoted and label.isdecimal() and int(label) in names:
        return int(label)
    position(names, label, "relations", "Rules")
    return label
