"""Small data sets with their column space, built here so that no other room is needed."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from scfe_sklearn.data import Column


@dataclass
class World:
    """Raw rows, labels, layout and the same rows in column space."""

    X: Any
    y: np.ndarray
    columns: list[Column]
    u: torch.Tensor

    def fit(self, estimator):
        """A fitted copy of an estimator."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.simplefilter("ignore", FutureWarning)
            return clone(estimator).fit(self.X, self.y)

    @property
    def width(self) -> int:
        return self.u.shape[1]


def encode(X, columns: list[Column]) -> torch.Tensor:
    """Column space of raw rows."""
    blocks = []
    for k, column in enumerate(columns):
        values = X[column.name] if isinstance(X, pd.DataFrame) else X[:, k]
        values = np.asarray(values, dtype=object)
        if column.levels is None:
            blocks.append(values.astype(float)[:, None])
        else:
            gone, lost = pd.isna(values)[:, None], pd.isna(column.levels)[None, :]
            blocks.append(
                ((values[:, None] == column.levels[None, :]) | (gone & lost)).astype(float)
            )
    return torch.tensor(np.hstack(blocks))


def make_arrays(n_classes: int) -> World:
    rng = np.random.default_rng(n_classes)
    X = rng.normal(size=(160, 4)) * [1.0, 30.0, 0.2, 5.0] + [0.0, 100.0, 1.0, -3.0]
    signal = X[:, 0] + (X[:, 1] - 100) / 30 + 0.5 * rng.normal(size=160)
    y = np.digitize(signal, np.quantile(signal, np.linspace(0, 1, n_classes + 1)[1:-1]))
    columns = [Column(k, None) for k in range(4)]
    return World(X, y, columns, torch.tensor(X))


def make_mixed(n_classes: int, missing: bool = False) -> World:
    rng = np.random.default_rng(10 + n_classes)
    n = 180
    job = rng.choice(["clerk", "miner", "nurse", "pilot"], n, p=[0.5, 0.3, 0.15, 0.05])
    frame = pd.DataFrame(
        {
            "income": rng.lognormal(10, 0.5, n),
            "age": rng.integers(18, 80, n),
            "job": job,
            "grade": pd.Categorical(rng.choice(["low", "mid", "top"], n)),
            "owner": rng.random(n) < 0.4,
            "rooms": rng.integers(1, 4, n),
        }
    )
    if missing:
        frame["job"] = frame["job"].astype(object).where(rng.random(n) > 0.2, np.nan)
    signal = np.log(frame["income"]) + frame["age"] / 30 + (frame["grade"] == "top") * 1.0
    signal = signal + (frame["job"] == "nurse") * 1.5 + rng.normal(size=n) * 0.4
    labels = np.array(["a", "b", "c"])[:n_classes]
    cuts = np.quantile(signal, np.linspace(0, 1, n_classes + 1)[1:-1])
    y = labels[np.digitize(signal, cuts)]
    jobs: list[Any] = ["clerk", "miner", "nurse", "pilot"] + ([np.nan] if missing else [])
    columns = [
        Column("income", None),
        Column("age", None),
        Column("job", np.array(jobs, dtype=object)),
        Column("grade", np.array(["low", "mid", "top"], dtype=object)),
        Column("owner", np.array([False, True])),
        Column("rooms", np.array([1, 2, 3])),
    ]
    return World(frame, y, columns, encode(frame, columns))


_BUILDERS = {
    "binary": lambda: make_arrays(2),
    "multi": lambda: make_arrays(3),
    "mixed": lambda: make_mixed(2),
    "mixed3": lambda: make_mixed(3),
    "missing": lambda: make_mixed(2, missing=True),
}
_CACHE: dict[str, World] = {}


@pytest.fixture
def world():
    """Function from the kind of data to its World."""

    def build(kind: str) -> World:
        if kind not in _CACHE:
            _CACHE[kind] = _BUILDERS[kind]()
        return _CACHE[kind]

    return build


@pytest.fixture
def to_columns():
    """The `encode` function."""
    return encode
