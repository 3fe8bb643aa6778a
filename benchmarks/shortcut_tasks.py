"""Tasks with a planted shortcut: digits with a bright patch, loans with a telling column.

In training the shortcut goes with the label in a given share of the rows. Validation and test
rows come in two versions, with and without, so that label and shortcut are independent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.datasets import data_file
from scfe_sklearn.datasets import make_loan_applications
from scfe_sklearn.learning import load_group_images

SHARE = 0.95
"""Share of the training rows in which the shortcut goes with the label."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows, labels, and whether each row holds the shortcut, or its kind."""

    X: Any
    y: np.ndarray
    marked: np.ndarray


@dataclass(frozen=True, eq=False)
class Task:
    """A task with a shortcut, and how a model is trained for it."""

    name: str
    train: Rows
    validation: Rows
    test: Rows
    fit: Callable[[Any, np.ndarray], Any]
    clean: Rows
    """Validation rows without a shortcut: as they were before anything was planted."""

    place: Any
    """The planted column, or the slices of the patch; None where nothing is planted."""

    density: str | None = None
    """Density of the images; None leaves the choice to the experiment."""


class DigitNet(ClassifierMixin, BaseEstimator):
    """A network of one hidden layer for images (n, C, H, W), trained on all of them at once."""

    def __init__(self, width: int = 64, steps: int = 200, seed: int = 0) -> None:
        self.width = width
        self.steps = steps
        self.seed = seed

    def fit(self, X: Any, y: Any) -> DigitNet:
        """Train the network."""
        images, labels = torch.as_tensor(X).float(), torch.as_tensor(np.asarray(y))
        self.classes_ = np.arange(int(labels.max()) + 1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.module_ = torch.nn.Sequential(
                torch.nn.Flatten(),
                torch.nn.Linear(images[0].numel(), self.width),
                torch.nn.ReLU(),
                torch.nn.Linear(self.width, max(len(self.classes_), 2)),
            )
        optimiser = torch.optim.Adam(self.module_.parameters(), 0.005, weight_decay=1e-4)
        for _ in range(self.steps):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(self.module_(images), labels).backward()
            optimiser.step()
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predict classes."""
        with torch.no_grad():
            return self.module_(torch.as_tensor(X).float()).argmax(1).numpy()


class ConvNet(DigitNet):
    """A small convolutional network, trained in batches; ``steps`` are epochs."""

    def fit(self, X: Any, y: Any) -> ConvNet:
        """Train the network."""
        images, labels = torch.as_tensor(X).float(), torch.as_tensor(np.asarray(y))
        self.classes_ = np.arange(int(labels.max()) + 1)
        channels, width = images.shape[1], self.width
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.module_ = torch.nn.Sequential(
                torch.nn.Conv2d(channels, width, 3, padding=1), torch.nn.ReLU(),
                torch.nn.AvgPool2d(2),
                torch.nn.Conv2d(width, width, 3, padding=1), torch.nn.ReLU(),
                torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(),
                torch.nn.Linear(16 * width, max(len(self.classes_), 2)),
            )  # fmt: skip
            optimiser = torch.optim.Adam(self.module_.parameters(), 0.003, weight_decay=1e-4)
            for _ in range(self.steps):
                for batch in torch.randperm(len(images)).split(128):
                    optimiser.zero_grad()
                    logits = self.module_(images[batch])
                    torch.nn.functional.cross_entropy(logits, labels[batch]).backward()
                    optimiser.step()
        return self


def folder_task(folder: str, seed: int, size: int = 32, epochs: int = 30) -> Task:
    """Return the images of a WaterBirds- or SpuCo-style folder, with a small network."""
    parts = []
    for split in ("train", "val", "test"):
        data = load_group_images(folder, split, size=(size, size))
        parts.append(Rows(data.images, data.target, data.attribute))

    def fit(X: Any, y: np.ndarray) -> ConvNet:
        return ConvNet(32, epochs, seed).fit(X, y)

    return Task(folder, *parts, fit, parts[1], None)


def digits_task(
    seed: int,
    kinds: tuple[tuple[int, ...], tuple[int, ...]] = ((3,), (5,)),
    place: tuple[int, int] | None = (0, 0),
    size: int = 2,
    share: float = SHARE,
    n_train: int = 219,
) -> Task:
    """Return two kinds of digits, with a bright patch at ``place`` or, for None, without."""
    data = load_digits()
    images = (data.images / 16).astype(np.float32)[:, None]
    return patched_task("digits", images, data.target, seed, kinds, place, size, share, n_train)


def mnist_task(seed: int, folder: str | None, n_rows: int = 1200) -> Task:
    """Return 3 against 5 of MNIST, 600 of them for training, with a patch of 4 x 4 pixels."""
    with np.load(data_file(folder, "mnist_train.npz")) as data:
        images, target = (
            data[name] for name in sorted(data.files, key=lambda n: data[n].ndim)[::-1]
        )
    kinds: tuple[tuple[int, ...], tuple[int, ...]] = (3,), (5,)
    known = np.flatnonzero(np.isin(target, (3, 5)))
    known = np.random.default_rng(seed).permutation(known)[:n_rows]
    scaled = (images[known].reshape(-1, 1, 28, 28) / 255).astype(np.float32)
    task = patched_task("MNIST", scaled, target[known], seed, kinds, (0, 0), 4, SHARE, n_rows // 2)
    # The KDE was chosen on validation rows, against a mixture (seed 100).
    return replace(task, density="kde")


def patched_task(
    name: str,
    images: np.ndarray,
    target: np.ndarray,
    seed: int,
    kinds: tuple[tuple[int, ...], tuple[int, ...]],
    place: tuple[int, int] | None,
    size: int,
    share: float,
    n_train: int,
) -> Task:
    """Return two kinds of images, with a bright patch at ``place`` or, for None, without."""
    known = np.isin(target, kinds[0] + kinds[1])
    images, labels = images[known], np.isin(target[known], kinds[1]).astype(int)
    train, rest, y, rest_y = train_test_split(
        images, labels, train_size=n_train, random_state=seed, stratify=labels
    )
    validation, test, validation_y, test_y = train_test_split(
        rest, rest_y, train_size=0.5, random_state=seed, stratify=rest_y
    )
    where = None if place is None else tuple(slice(k, k + size) for k in place)

    def planted(rows: np.ndarray, marked: np.ndarray) -> np.ndarray:
        out = rows.copy()
        if where is not None:
            out[(marked, slice(None), *where)] = 1.0
        return out

    return _task(
        name if where is None else f"{name} with a patch",
        (train, y), (validation, validation_y), (test, test_y),
        planted, lambda X, labels: DigitNet(seed=seed).fit(X, labels), seed, where, share,
    )  # fmt: skip


def loans_task(
    seed: int, column: str | None = "channel", n_rows: int = 1200, share: float = SHARE
) -> Task:
    """Return loan applications, with a column that gives the label away or, for None, without."""
    X, label = make_loan_applications(n_rows, random_state=seed)
    labels = (np.asarray(label) == "approved").astype(int)
    train, rest, y, rest_y = train_test_split(
        X, labels, train_size=0.5, random_state=seed, stratify=labels
    )
    validation, test, validation_y, test_y = train_test_split(
        rest, rest_y, train_size=0.5, random_state=seed, stratify=rest_y
    )

    def planted(rows: pd.DataFrame, marked: np.ndarray) -> pd.DataFrame:
        return rows if column is None else rows.assign(**{column: np.where(marked, "b", "a")})

    return _task(
        "loans" if column is None else "loans with a column",
        (train, y), (validation, validation_y), (test, test_y),
        planted, lambda X, labels: table_model(seed).fit(X, labels), seed, column, share,
    )  # fmt: skip


def table_model(seed: int) -> Any:
    """Return an untrained pipeline of a network of 32 units."""
    columns = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (
            OneHotEncoder(handle_unknown="ignore", sparse_output=False),
            make_column_selector(dtype_exclude="number"),
        ),
    )
    return make_pipeline(columns, MLPClassifier((32,), alpha=0.1, max_iter=400, random_state=seed))


def _task(
    name: str,
    train: tuple[Any, np.ndarray],
    validation: tuple[Any, np.ndarray],
    test: tuple[Any, np.ndarray],
    planted: Callable[[Any, np.ndarray], Any],
    fit: Callable[[Any, np.ndarray], Any],
    seed: int,
    place: Any,
    share: float,
) -> Task:
    random = np.random.default_rng(seed)
    X, y = train
    # Exactly this share, within each class.
    marked = y == 1
    for label in (0, 1):
        rows = np.flatnonzero(y == label)
        against = random.permutation(rows)[: round((1 - share) * len(rows))]
        marked[against] = ~marked[against]

    def both(part: tuple[Any, np.ndarray]) -> Rows:
        rows, labels = part
        none, every = np.zeros(len(labels), dtype=bool), np.ones(len(labels), dtype=bool)
        pieces = [planted(rows, none), planted(rows, every)]
        whole = pd.concat(pieces) if hasattr(rows, "iloc") else np.concatenate(pieces)
        return Rows(whole, np.tile(labels, 2), np.concatenate([none, every]))

    # Half of the clean rows hold the shortcut, whatever their label.
    rows, labels = validation
    half = random.permutation(len(labels)) % 2 == 0
    clean = Rows(planted(rows, half), labels, half)
    return Task(
        name, Rows(planted(X, marked), y, marked), both(validation), both(test), fit, clean, place
    )
