"""The models that the benchmarks explain."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.datasets import Loans, Table
from scfe_sklearn import TorchClassifier


def published_network(table: Table, seed: int = 0, epochs: int = 80) -> TorchClassifier:
    """Train the published network: two hidden ReLU layers of 20, Adam at 0.005 fading to 0."""
    torch.manual_seed(seed)
    layers = torch.nn.Sequential(
        torch.nn.Linear(table.X.shape[1], 20),
        torch.nn.ReLU(),
        torch.nn.Linear(20, 20),
        torch.nn.ReLU(),
        torch.nn.Linear(20, 1),
    ).double()
    X, y = torch.from_numpy(table.X), torch.from_numpy(table.y).double()
    optimiser = torch.optim.Adam(layers.parameters(), lr=0.005)
    fading = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda epoch: 1 - epoch / epochs)
    for _ in range(epochs):
        for batch in torch.randperm(len(X)).split(32):
            optimiser.zero_grad()
            logits = layers(X[batch])[:, 0]
            torch.nn.functional.binary_cross_entropy_with_logits(logits, y[batch]).backward()
            optimiser.step()
        fading.step()
    return TorchClassifier(layers, classes=[0, 1]).fit(table.X, table.y)


def published_logistic(table: Table, seed: int = 0) -> tuple[Table, FrozenEstimator]:
    """Return the table in 8 principal components of its training rows, and a model of these."""
    components = PCA(8, random_state=seed).fit(table.X)
    X, queries = (components.transform(rows) for rows in (table.X, table.queries))
    reduced = replace(table, X=X, queries=queries)
    return reduced, FrozenEstimator(LogisticRegression(max_iter=2000).fit(X, table.y))


@dataclass(frozen=True, eq=False)
class Case:
    """A data set, a model fitted on 70 % of it, and the rows it refuses: those of the rest first.

    The other refused rows follow, for data sets whose rest is too small for the question.
    """

    loans: Loans
    kind: str
    model: Any
    X: pd.DataFrame
    y: np.ndarray
    refused: pd.DataFrame
    accuracy: float

    @property
    def numeric(self) -> list[str]:
        """Columns of numbers."""
        return list(self.X.select_dtypes("number").columns)

    @property
    def categorical(self) -> list[str]:
        """All other columns."""
        return [name for name in self.X.columns if name not in self.numeric]


MODELS = ("logistic", "mlp", "boosting", "forest")


def loan_case(data: Loans, kind: str, seed: int = 0) -> Case:
    """Fit a pipeline of scaling, one-hot encoding and one of MODELS."""
    X, rest, y, rest_y = train_test_split(
        data.X, data.y, test_size=0.3, random_state=seed, stratify=data.y
    )
    numeric = list(X.select_dtypes("number").columns)
    categorical = [name for name in X.columns if name not in numeric]
    columns = make_column_transformer(
        (StandardScaler(), numeric),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), categorical),
    )
    model = make_pipeline(columns, _classifier(kind, len(X), seed)).fit(X, y)
    predicted = model.predict(rest)
    accuracy = float((predicted == rest_y).mean())
    refused = pd.concat([rest[predicted != data.target], X[model.predict(X) != data.target]])
    return Case(data, kind, model, X, y, refused, accuracy)


def _classifier(kind: str, n_rows: int, seed: int) -> Any:
    if kind == "logistic":
        return LogisticRegression(max_iter=2000)
    if kind == "mlp":
        epochs = 60 if n_rows > 5000 else 200
        return MLPClassifier((32,), max_iter=epochs, random_state=seed)
    if kind == "boosting":
        return HistGradientBoostingClassifier(random_state=seed)
    return RandomForestClassifier(100, min_samples_leaf=2, random_state=seed)
