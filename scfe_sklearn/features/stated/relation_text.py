"""Read a linear relation such as ``"rent + 0.3 * food <= 1000"``; nothing of it is executed."""

from __future__ import annotations

import ast
import re
from collections.abc import Hashable, Sequence

import numpy as np

from scfe_sklearn.features.kinds import position

# Coefficients by column, lower and upper limit.
Reading = tuple[dict[Hashable, float], float | None, float | None]

_BACKTICKS = re.compile(r"`([^`]*)`")


class _Refused(Exception):
    """Raised with the mistake in a relation."""


class _Sum:
    """A linear expression: coefficients by column, and a constant."""

    def __init__(self, terms: dict[Hashable, float], constant: float) -> None:
        self.terms = terms
        self.constant = constant

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
        raise ValueError(_message(text, "it cannot be read")) from error
    try:
        if not isinstance(body, ast.Compare):
            raise _Refused("there is no comparison")
        sides = [_expression(side, names, quoted) for side in (body.left, *body.comparators)]
        pairs = zip(sides[:-1], body.ops, sides[1:], strict=True)
        return [_comparison(left, sign, right) for left, sign, right in pairs]
    except RecursionError:
        raise ValueError(_message(text, "it is nested too deeply")) from None
    except _Refused as reason:
        raise ValueError(_message(text, str(reason))) from None


def _message(text: str, reason: str) -> str:
    return (
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
