"""Costs: the price of changing a column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scfe_sklearn._utils import numbers
from scfe_sklearn.data import FeatureSpace, position
from scfe_sklearn.rules.base import ColumnRule, JointRule, Kind, Options
from scfe_sklearn.rules.reading import number_text, subject, wrong


@dataclass(frozen=True, eq=False)
class Cost(ColumnRule):
    """The price (n,) of changing a column; prices of merged rules are multiplied."""

    feature: int
    price: np.ndarray
    _by_row = ("price",)

    def narrow(self, options: Options) -> None:
        options.cost = options.cost * self.price


class CostKind(Kind):
    """`Rules(costs=...)`."""

    parameter = "costs"

    def parse(self, given: Any, space: FeatureSpace, n: int) -> Iterator[ColumnRule | JointRule]:
        if not isinstance(given, Mapping):
            raise wrong("costs", "be a dict from columns to positive numbers", given)
        for name, price in given.items():
            j = position(space.names_, name, "costs", "Rules")
            values = numbers(price)
            finite = values is not None and bool(((values > 0) & (values < np.inf)).all())
            if values is None or not finite or values.shape not in ((), (n,)):
                must = f"give a positive number for a column, or one for each of the {n} rows"
                raise wrong("costs", must, price, name)
            yield Cost(j, np.broadcast_to(values, (n,)))

    def describe(self, given: Any, space: FeatureSpace) -> Iterator[tuple[int, str]]:
        for name, price in given.items():
            j = position(space.names_, name, "costs", "Rules")
            times = "differently much row by row"
            if not np.ndim(price):
                times = f"{number_text(price)} times as much"
            yield j, f"changing {subject(name)} costs {times}"
