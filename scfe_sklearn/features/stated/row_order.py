"""Parameters of rules whose values per row stand in the order of the rows."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from typing import Any

from scfe_sklearn.features.stated.relations import Linear
from scfe_sklearn.features.stated.relative import Relative
from scfe_sklearn.row_values import by_label, is_series

_FLAGS = ("immutable", "increasing", "decreasing", "fillable")
PARAMETERS = (*_FLAGS, "ranges", "transitions", "relations", "implications", "costs", "strict")
"""Parameters of rules, other than the rules that are merged into them."""


def in_row_order(parameters: Mapping[str, Any], index: Any) -> dict[str, Any]:
    """Return parameters of rules with every Series as an array in the order of the rows.

    Parameters
    ----------
    parameters : dict
        Parameters of one set of rules, unchecked.
    index : pandas.Index or None
        Labels of the rows; None where they have none.

    Returns
    -------
    dict
        The same parameters; what holds no Series is untouched.

    Raises
    ------
    ValueError
        If a Series lacks the label of a row, or has it more than once.
    """

    def taken(value: Any, parameter: str, name: Hashable) -> Any:
        what = f"The {parameter!r} parameter of Rules, for {name!r},"
        return by_label(value, index, what)

    def pair(value: Any, parameter: str, name: Hashable) -> Any:
        if isinstance(value, Relative):
            low, high = (taken(end, parameter, name) for end in (value.low, value.high))
            return replace(value, low=low, high=high)
        if _is_frame(value) and value.shape[1] == 2:
            value = tuple(value.iloc[:, k] for k in range(2))
        if isinstance(value, (tuple, list)) and any(map(is_series, value)):
            return tuple(taken(end, parameter, name) for end in value)
        return value

    out = dict(parameters)
    for parameter in (*_FLAGS, "costs", "transitions"):
        out[parameter] = _by_column(out[parameter], parameter, taken)
    out["ranges"] = _by_column(out["ranges"], "ranges", pair)
    if isinstance(out["relations"], (list, tuple)):
        out["relations"] = [_linear(item, taken) for item in out["relations"]]
    if isinstance(out["implications"], (list, tuple)):
        out["implications"] = [
            tuple(_by_column(side, "implications", pair) for side in item)
            if isinstance(item, (tuple, list))
            else item
            for item in out["implications"]
        ]
    return out


Taken = Callable[[Any, str, Hashable], Any]


def _by_column(given: Any, parameter: str, taken: Taken) -> Any:
    """Return what is given by column with the values of each in the order of the rows."""
    if _is_frame(given):
        given = {name: given[name] for name in given.columns}
    if not isinstance(given, Mapping):
        return given
    return {name: taken(value, parameter, name) for name, value in given.items()}


def _linear(item: Any, taken: Taken) -> Any:
    """Return a relation with its limits in the order of the rows."""
    if not isinstance(item, Linear):
        return item
    name = " and ".join(map(str, item.coefficients))
    low, high = (taken(end, "relations", name) for end in (item.at_least, item.at_most))
    return replace(item, at_least=low, at_most=high)


def _is_frame(value: Any) -> bool:
    """Return whether a value is a pandas data frame."""
    return hasattr(value, "iloc") and hasattr(value, "columns")
