"""Data of the benchmarks, and their split into training and query rows.

Wine and breast cancer come with scikit-learn and "heloc" is generated. The others are read from a
folder that ``--data`` or the environment variable SCFE_DATA names; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr
from sklearn.datasets import load_breast_cancer, load_wine

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
    """Return one of LOANS with the label that people want and rules."""
    if name == "breast":
        frame, label = load_breast_cancer(return_X_y=True, as_frame=True)
        return Loans(name, frame, label.to_numpy(), 1, (), ())
    if name == "heloc":
        frame, label = credit_histories()
        return Loans(name, frame, label, 1, (), ())
    if name == "adult":
        frame = pd.read_csv(data_file(folder, "adult.csv")).drop(columns="fnlwgt")
        return Loans(name, frame, frame.pop("income").to_numpy(), 1, ("sex", "race"), ("age",))
    frame = pd.read_csv(data_file(folder, "german_credit.csv"))
    label = frame.pop("default").to_numpy()
    return Loans(name, frame, label, 0, ("personal_status_sex", "foreign_worker"), ("age",))


def available_loans(names: Iterable[str], folder: str | None) -> Iterator[Loans]:
    """Yield the data sets whose files exist; print which are left out."""
    for name in names:
        try:
            yield loans(name, folder)
        except FileNotFoundError as reason:
            print(f"{name} is left out: {reason}")


LOANS = ("breast", "heloc", "adult", "german")
"""Data of `loans`: income above 50,000, no default, a benign tumour, a loan that is repaid."""


def credit_histories(n_rows: int = 8000, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Generate numbers of credit histories: 25 correlated and skewed columns of whole numbers.

    Five latent factors and independent noise make correlated normal scores. Each column is a
    monotone function of its score: months (skewed), counts (skewed, many zeros), percentages
    (bounded, many at the ends) or a rating. The label is 1, the loan is repaid, with a
    probability that depends on four of the factors, two of them jointly. No value is missing.
    """
    random = np.random.default_rng(seed)
    factors = random.standard_normal((n_rows, 5))
    kinds = [name.split()[0] for name in CREDIT_COLUMNS]
    loadings = random.standard_normal((5, len(kinds))) * (random.random((5, len(kinds))) < 0.5)
    loadings[random.integers(5, size=len(kinds)), np.arange(len(kinds))] += 1.0
    noise = random.uniform(0.5, 1.0, len(kinds)) * random.standard_normal((n_rows, len(kinds)))
    score = factors @ loadings + noise
    score = (score - score.mean(axis=0)) / score.std(axis=0)
    columns = {}
    for j, (name, kind) in enumerate(zip(CREDIT_COLUMNS, kinds, strict=True)):
        size = random.uniform(0.6, 1.0)
        if kind == "months":
            value = np.exp(random.uniform(2, 5) + 0.7 * size * score[:, j])
        elif kind == "count":
            value = np.exp(random.uniform(0.5, 3) + 0.8 * size * score[:, j]) - 1
        elif kind == "percent":
            value = np.clip(130 * ndtr(1.3 * score[:, j] + random.uniform(-1, 1)) - 15, 0, 100)
        else:
            value = 70 + 9 * score[:, j]
        columns[name] = np.maximum(np.rint(value), 0).astype(int)
    good = factors @ [1.2, -1.0, 0.8, 0.6, 0.0] + 0.5 * factors[:, 0] * factors[:, 1]
    label = (good + random.logistic(scale=0.6, size=n_rows) > 0.2).astype(int)
    return pd.DataFrame(columns), label


CREDIT_COLUMNS = (
    *("rating", "months since oldest", "months since newest", "months on file"),
    *("count of satisfactory", "count of late 60", "count of late 90", "percent never late"),
    *("months since late", "count of worst late", "count of total", "count of opened"),
    *("percent of instalments", "months since inquiry", "count of inquiries"),
    *("count of recent inquiries", "percent of revolving burden", "percent of instalment burden"),
    *("count of revolving", "count of instalments", "count of high use", "percent with balance"),
    *("months of contract", "percent of income", "count of cards"),
)
"""Columns of `credit_histories`; the first word is the kind of number."""
