"""Where the benchmarks' data come from, and how they are cut into training and query rows.

Wine comes with scikit-learn. The others are read from a folder that ``--data`` or the
environment variable SCFE_DATA names; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import load_wine

TEST_ROWS = 100
"""Last rows of the shuffled Housing and Wine data: the rows that are explained."""


@dataclass(frozen=True, eq=False)
class Table:
    """A published experiment: standardised numbers, class 1 against class 0."""

    name: str
    X: np.ndarray
    y: np.ndarray
    queries: np.ndarray
    query_labels: np.ndarray

    @property
    def targets(self) -> np.ndarray:
        """The opposite of the true label of every query."""
        return 1 - self.query_labels


@dataclass(frozen=True, eq=False)
class Loans:
    """Mixed data, the label that people want, and the rules that bind the way there."""

    name: str
    X: pd.DataFrame
    y: np.ndarray
    target: int
    immutable: tuple[str, ...]
    increasing: tuple[str, ...]

    @property
    def rules(self) -> dict[str, Any]:
        """The rules as parameters of the explainer."""
        return {"immutable": list(self.immutable), "increasing": list(self.increasing)}


def add_data_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--data`` to a command."""
    parser.add_argument(
        "--data",
        metavar="DIR",
        default=os.environ.get("SCFE_DATA"),
        help="folder with boston_housing.csv, adult.csv and german_credit.csv "
        "(default: the environment variable SCFE_DATA)",
    )


def data_file(folder: str | None, name: str) -> Path:
    """Return the path of a data file; raise FileNotFoundError where there is none."""
    if folder is None:
        raise FileNotFoundError(f"{name} is needed: say where it is by --data DIR or SCFE_DATA")
    path = Path(folder) / name
    if not path.is_file():
        raise FileNotFoundError(f"there is no {name} in the folder given by --data or SCFE_DATA")
    return path


def published_table(name: str, folder: str | None = None, seed: int = 0) -> Table:
    """Return "housing" (price below the mean, without chas) or "wine" (class_1 or not)."""
    if name == "housing":
        frame = pd.read_csv(data_file(folder, "boston_housing.csv")).drop(columns="chas")
        price = frame.pop("medv").to_numpy(dtype=float)
        X, y = frame.to_numpy(dtype=float), (price < price.mean()).astype(int)
    else:
        X, label = load_wine(return_X_y=True)
        y = (label == 1).astype(int)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    order = np.random.default_rng(seed).permutation(len(X))
    train, test = order[:-TEST_ROWS], order[-TEST_ROWS:]
    return Table(name, X[train], y[train], X[test], y[test])


def loans(name: str, folder: str | None = None) -> Loans:
    """Return "adult" (income above 50,000) or "german" (no default)."""
    if name == "adult":
        frame = pd.read_csv(data_file(folder, "adult.csv")).drop(columns="fnlwgt")
        return Loans(name, frame, frame.pop("income").to_numpy(), 1, ("sex", "race"), ("age",))
    frame = pd.read_csv(data_file(folder, "german_credit.csv"))
    label = frame.pop("default").to_numpy()
    return Loans(name, frame, label, 0, ("personal_status_sex", "foreign_worker"), ("age",))
