"""The register of kinds of rules: what reads it, and what a kind of one's own needs."""

from dataclasses import dataclass
from inspect import signature
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scfe_sklearn import CounterfactualExplainer, Rules
from scfe_sklearn.cli.rule_files import KNOWN
from scfe_sklearn.data import FeatureSpace
from scfe_sklearn.rules import KINDS, rules
from scfe_sklearn.rules.base import ColumnRule, Kind
from scfe_sklearn.rules.reading import find_column, subject

ROOT = Path(__file__).resolve().parents[2]
PARAMETERS = [kind.parameter for kind in KINDS]


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_kind_is_offered_everywhere(parameter):
    assert parameter in signature(Rules).parameters
    assert parameter in signature(CounterfactualExplainer).parameters
    assert parameter in KNOWN
    assert f"`{parameter}`" in (ROOT / "docs" / "guide" / "rules.md").read_text(encoding="utf-8")


# The example of CONTRIBUTING: a rule of one column.


@dataclass(frozen=True, eq=False)
class AtMost(ColumnRule):
    feature: int
    high: np.ndarray
    _by_row = ("high",)

    def narrow(self, options):
        options.high = np.fmin(options.high, self.high)

    def breaks(self, change):
        return change.after > self.high + change.slack


class AtMostKind(Kind):
    parameter = "at_most"

    def parse(self, given, space, n):
        for name, high in given.items():
            yield AtMost(find_column(space, name, "at_most"), np.broadcast_to(high, (n,)))

    def describe(self, given, space):
        for name, high in given.items():
            yield find_column(space, name, "at_most"), f"{subject(name)} must be at most {high}"


class MoreRules(Rules):
    """Rules with a parameter of another kind."""

    def __init__(self, at_most=None, also=None, strict=False):
        super().__init__(also=also, strict=strict)
        self.at_most = at_most


def test_new_kind_needs_only_itself_a_registry_line_and_a_parameter(monkeypatch):
    monkeypatch.setattr(rules, "KINDS", (AtMostKind(),))
    X = pd.DataFrame({"a": [1, 2, 3, 9], "b": [0.5, 0.25, 0.75, 1.0]})
    space = FeatureSpace().fit(X)
    most = np.array([2, 1, 5, 9])
    ruled = MoreRules({"a": most})
    bounds = ruled.bind(space, X, space.encode(X))
    assert space.decode(bounds.upper, like=X)["a"].tolist() == [2, 1, 5, 9]
    assert bounds.mutable[:, 0].tolist() == [True, True, True, True]
    after = X.assign(a=[3, 1, 5, 9])
    assert ruled.violations(space, X, after).tolist() == [[1, 0], [0, 0], [0, 0], [0, 0]]
    assert bounds.take(np.array([2])).upper[0, 0] == bounds.upper[2, 0]
    assert MoreRules({"a": 4}).describe(space) == ["a must be at most 4"]
    assert [one.at_most for one in MoreRules({"a": 4, "b": 1}).one_by_one()] == [{"a": 4}, {"b": 1}]
