"""Small models and rows, and the exhaustive search that the exact method must equal."""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier

from scfe_sklearn.data import Column
from scfe_sklearn.exact import row_options
from scfe_sklearn.models import read_trees

COLUMNS = [Column(0, None), Column(1, None), Column(2, None), Column(3, np.arange(3.0))]

CLASSIFIERS = {
    "tree": lambda: DecisionTreeClassifier(max_depth=4, random_state=0),
    "forest": lambda: RandomForestClassifier(5, max_depth=3, random_state=0),
    "pure forest": lambda: RandomForestClassifier(4, random_state=0),
    "even forest": lambda: ExtraTreesClassifier(2, max_depth=2, random_state=0),
    "boosting": lambda: GradientBoostingClassifier(n_estimators=4, max_depth=2, random_state=0),
    "hist": lambda: HistGradientBoostingClassifier(max_iter=4, min_samples_leaf=3),
    "adaboost": lambda: AdaBoostClassifier(n_estimators=4, random_state=0),
}
REGRESSORS = {
    "forest": lambda: RandomForestRegressor(4, max_depth=3, random_state=0),
    "boosting": lambda: GradientBoostingRegressor(n_estimators=4, max_depth=2, random_state=0),
    "adaboost": lambda: AdaBoostRegressor(n_estimators=5, random_state=0),
}


class Tenths:
    """Whole numbers in the first and third column, tenths in the second."""

    step = np.array([1.0, 0.1, 1.0])

    def at_least(self, values):
        near = np.round(values / self.step)
        tries = np.round((near[None] + np.arange(-1.0, 2.0)[:, None, None]) * self.step, 1)
        return np.where(tries >= values, tries, np.inf).min(axis=0)

    def at_most(self, values):
        return -self.at_least(-values)


@dataclass
class Case:
    """A fitted model, its trees, and one row with its box."""

    model: Any
    ensemble: Any
    X: np.ndarray
    row: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    allowed: np.ndarray
    unit: np.ndarray

    @property
    def factual(self):
        return to_columns(self.row[None])[0]

    def options(self, values=None):
        return row_options(
            self.ensemble,
            self.factual,
            lower=self.lower,
            upper=self.upper,
            allowed=self.allowed,
            unit=self.unit,
            values=values,
        )

    def lattice_rows(self):
        """Every admissible raw row, on whole numbers and tenths; the factual values included."""
        lists = []
        for k, step in enumerate(Tenths.step):
            first, last = (
                np.ceil(self.lower[k] / step - 1e-9),
                np.floor(self.upper[k] / step + 1e-9),
            )
            found = np.round(np.arange(first, last + 1) * step, 1)
            lists.append(np.union1d(found if self.allowed[k] else [], [self.row[k]]))
        levels = np.flatnonzero(self.allowed[3:])
        lists.append(np.union1d(levels, [self.row[3]]))
        return np.array(list(itertools.product(*lists)))

    def costs(self, rows, beta):
        """Squared distance plus the price of changes, and the number of changes."""
        moved = rows != self.row
        numbers = ((rows[:, :3] - self.row[:3]) / self.unit[:3]) ** 2
        return numbers.sum(axis=1) + moved[:, 3] + beta * moved.sum(axis=1), moved.sum(axis=1)


def to_columns(rows):
    return np.hstack([rows[:, :3], (rows[:, 3:] == np.arange(3.0)).astype(float)])


def to_raw(u):
    return np.append(u[:3], u[3:].argmax())


def make_case(model, seed, n_classes=2):
    """Random whole-ish data without any signal: small leaves, many ties."""
    rng = np.random.default_rng(seed)
    n = 40
    X = np.column_stack(
        [
            rng.integers(0, 6, n),
            rng.normal(size=n).round(1),
            rng.integers(0, 2, n),
            rng.integers(0, 3, n),
        ]
    ).astype(float)
    y = rng.normal(size=n).round(1)
    if n_classes:
        y = np.append(np.arange(n_classes), rng.integers(0, n_classes, n - n_classes))
    model = model.fit(X, y)
    row = X[0]
    low = [row[0] - rng.integers(0, 4), row[1] - rng.integers(0, 20) / 10, 0.0]
    high = [row[0] + rng.integers(0, 4), row[1] + rng.integers(0, 20) / 10, 1.0]
    return Case(
        model,
        read_trees(model, COLUMNS, X),
        X,
        row,
        np.append(np.round(low, 1), np.zeros(3)),
        np.append(np.round(high, 1), np.zeros(3)),
        rng.random(6) < 0.8,
        np.array([2.0, 1.0, 0.5, np.nan]),
    )


@pytest.fixture
def case():
    """`make_case`."""
    return make_case
