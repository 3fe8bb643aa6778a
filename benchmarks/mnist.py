"""The published experiment on MNIST: at most 25 changed pixels make a digit the next one.

The target of the first test images of each class is the digit after their label (0 after 9). Units
are those of the published script, where pixels run from -1 to 1: one mean and one deviation, 0.5,
for all pixels; the 2-norm is printed in units of the deviation of all pixels, 0.31, too. LOF is
that of a novelty with 20 neighbours among the training images of the wanted label, which does
not depend on a common unit, but on how many of these there are (--lof-rows: the fewer, the
lower). Pixels stay within the range that they have in the training images.

An image that the network gives the wanted digit already needs no change: it counts as valid,
and norms and LOF are means over the images that were changed. For comparison the LOF of the
same images before the change, and of other images of the wanted digits, is printed. --among-all
prints their LOF among all training images, whatever their label, too: it is 1.14 for ten images of
each class, which have 1.07 before the change. It is not known which of the two was published.

LOF is no bar: "LOF 50", with the published script's 50 neighbours among at most 2,000 training
images of the digit, and the paper's figures are printed beside ours. ``--least-lof`` searches the
least LOF that the pixels allow, whatever the network predicts
(:mod:`benchmarks.least_lof`); ``--least-lof --images 1 --skip 100`` prints 1.204
with 25 pixels and 1.216 with a 2-norm of at most 6.74 for each image as well. A trial of the same
search on 40 images that follow the first hundred of each class gave 1.200, at a 2-norm of 8.8, and
1.216; the images themselves have 1.436, our answers 1.303 at 6.39. So 25 pixels and
that norm nearly use up 1.21 before the network counts. Most of the rest is the way from 0 to
1: the ones are alike, a changed zero stays far from them (2.24; 1.86 with no network), and the
other nine targets have 1.20 (1.14). With 50 training images of each digit to compare with, the same
answers score about 1.13, with 200 about 1.27: the published figure depends on a number that is not
published with it.
"""

from __future__ import annotations

import argparse
import time
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.neighbors import LocalOutlierFactor

from benchmarks.datasets import add_data_option, data_file
from benchmarks.least_lof import Budget, References, least
from benchmarks.reporting import Bars, add_check_option, print_table, words
from scfe_sklearn import CounterfactualExplainer, Status, TorchClassifier

CHANGES = 25
NEIGHBOURS = 20
PUBLISHED_NEIGHBOURS, PUBLISHED_IMAGES = 50, 2000
"""Neighbours, and training images of each digit, of LOF in the published script."""
VALIDITY, NORM = 0.998, 6.74
PAPER = {"gmm": (99.1, 6.74, 1.21), "knn": (99.8, 7.04, 1.30)}
"""Published validity, 2-norm and LOF; LOF is no bar, since its reference images are not known."""
TAU = 30.0
"""Chosen on test images that follow the first hundred of each class."""

EPOCHS = {"published": 20, "strided": 15, "pooled": 15}
"""The published network had 80, of three times as many images. Longer training makes the margins
steeper and 25 pixels enough for more images; so it is an option. The default was chosen, like TAU,
on held-out images, with their validity in view."""


@dataclass(frozen=True, eq=False)
class Digits:
    """Images as rows of 784 pixels from -1 to 1, and their labels."""

    X: np.ndarray
    y: np.ndarray

    def first(self, count: int, skip: int = 0) -> Digits:
        """Return ``count`` images of each class, after the first ``skip``."""
        rows = [np.flatnonzero(self.y == digit)[skip : skip + count] for digit in range(10)]
        index = np.concatenate(rows)
        return Digits(self.X[index], self.y[index])


def digits(folder: str | None, part: str) -> Digits:
    """Read "train" or "test"."""
    with np.load(data_file(folder, f"mnist_{part}.npz")) as data:
        pixels = data["X"].reshape(len(data["X"]), -1)
        return Digits((pixels / 255 - 0.5) / 0.5, data["y"].astype(int))


def layers(kind: str) -> torch.nn.Sequential:
    """Return an untrained network: the published one, or one of two smaller ones."""
    nn = torch.nn
    image = nn.Unflatten(1, (1, 28, 28))
    if kind == "published":
        return nn.Sequential(
            image,
            *(nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(32, 64, 3), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)),
            nn.Flatten(),
            *(nn.Linear(64 * 36, 600), nn.Dropout(0.25), nn.Linear(600, 120), nn.Linear(120, 10)),
        )
    if kind == "strided":
        return nn.Sequential(
            image,
            *(nn.Conv2d(1, 8, 5, stride=2, padding=2), nn.ReLU()),
            *(nn.Conv2d(8, 16, 5, stride=2, padding=2), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(16 * 49, 10)),
        )
    return nn.Sequential(
        image,
        *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(16 * 49, 64), nn.ReLU(), nn.Linear(64, 10)),
    )


def network(kind: str, train: Digits, epochs: int, seed: int) -> TorchClassifier:
    """Train a network like the published one, for fewer epochs: Adam at 0.001, batches of 128."""
    torch.manual_seed(seed)
    module = layers(kind)
    X, y = torch.from_numpy(train.X).float(), torch.from_numpy(train.y)
    optimiser = torch.optim.Adam(module.parameters(), lr=0.001, betas=(0.5, 0.999))
    for _ in range(epochs):
        for batch in torch.randperm(len(X)).split(128):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(module(X[batch]), y[batch]).backward()
            optimiser.step()
    module.eval()
    return TorchClassifier(module, classes=range(10)).fit(train.X, train.y)


class Outliers:
    """LOF of images among the training images of the labels that they are meant to have."""

    def __init__(
        self, train: Digits, rows: int | None = None, neighbours: int = NEIGHBOURS
    ) -> None:
        self._images = [train.X[train.y == digit][:rows] for digit in range(10)]
        self._factors = [
            LocalOutlierFactor(neighbours, novelty=True).fit(images) for images in self._images
        ]

    def images(self, digit: int) -> np.ndarray:
        """The images of a digit that others are compared with."""
        return self._images[digit]

    def __call__(self, X: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """LOF of each row (n, 784)."""
        out = np.full(len(X), np.nan)
        for digit in np.unique(wanted):
            rows = wanted == digit
            out[rows] = -self._factors[digit].score_samples(X[rows])
        return out


def least_factors(train: Digits, asked: Digits, outliers: Outliers, norm: float) -> np.ndarray:
    """LOF (n,) of the best images found without a network, within the pixels and the 2-norm."""
    wanted = (asked.y + 1) % 10
    lower, upper = (torch.from_numpy(end).float() for end in (train.X.min(0), train.X.max(0)))
    out = asked.X.copy()
    for digit in np.unique(wanted):
        references = References.of(outliers.images(digit), NEIGHBOURS)
        for row in np.flatnonzero(wanted == digit):
            image = torch.from_numpy(asked.X[row]).float()
            found = least(references, Budget(image, lower, upper, CHANGES, norm))
            out[row] = np.where(found == image, asked.X[row], found.double())
    return outliers(out, wanted)


@dataclass(frozen=True)
class Result:
    """Means over the images."""

    validity: float
    already: int
    norm: float
    most_changes: int
    lof: float
    median_lof: float
    lof_before: float
    lof_among_all: float
    lof_published: float
    fit: float
    seconds: float


def run(
    explainer: CounterfactualExplainer,
    train: Digits,
    asked: Digits,
    outliers: Outliers,
    everything: LocalOutlierFactor | None,
    published: Outliers,
) -> Result:
    """Explain the images and score the answers by the network's own predictions."""
    wanted = (asked.y + 1) % 10
    begin = time.perf_counter()
    explainer.fit(train.X, train.y)
    middle = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        answer = explainer.explain(asked.X, target=wanted)
    end = time.perf_counter()
    already = answer.status == Status.ALREADY_TARGET
    found = np.isfinite(answer.counterfactuals).all(axis=1) & ~already
    after, before = answer.counterfactuals[found], asked.X[found]
    given = explainer.estimator_.predict(after) if found.any() else np.empty(0)
    valid = found.copy()
    valid[found] = given == wanted[found]
    factor = outliers(after, wanted[found])
    return Result(
        float((valid | already).mean()),
        int(already.sum()),
        float(np.linalg.norm(after - before, axis=1).mean()),
        int((after != before).sum(axis=1).max(initial=0)),
        float(factor.mean()),
        float(np.median(factor)),
        float(outliers(before, wanted[found]).mean()),
        np.nan if everything is None else -float(everything.score_samples(after).mean()),
        float(published(after, wanted[found]).mean()),
        middle - begin,
        end - middle,
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="benchmarks.mnist", description=__doc__)
    add_data_option(parser)
    add_check_option(parser)
    parser.add_argument("--net", type=words, default=["published"], help=",".join(EPOCHS))
    parser.add_argument("--epochs", type=int, help="of the training (default: 20 or 15)")
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument("--density", type=words, default=["lof"], help="lof,knn,kde,gmm")
    parser.add_argument("--tau", type=float, default=TAU, help=f"default {TAU}")
    parser.add_argument("--images", type=int, default=100, help="of each class (default 100)")
    parser.add_argument("--skip", type=int, default=0, help="images of each class left out first")
    parser.add_argument(
        "--lof-rows", type=int, help="training images of each class that LOF knows (default all)"
    )
    parser.add_argument(
        "--least-lof",
        action="store_true",
        help="only search the least LOF within the budget, with no network (6 s an image)",
    )
    parser.add_argument(
        "--among-all", action="store_true", help="print LOF among the images of all labels, too"
    )
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    train, test = digits(args.data, "train"), digits(args.data, "test")
    asked, outliers = test.first(args.images, args.skip), Outliers(train, args.lof_rows)
    others = test.first(args.images, args.skip + args.images)
    genuine = outliers(others.X, others.y).mean() if len(others.y) else np.nan
    if args.least_lof:
        rows = []
        for norm in (np.inf, NORM):
            factors = least_factors(train, asked, outliers, norm)
            rows.append([norm, factors.mean(), np.median(factors)])
        print(f"{len(asked.y)} images; at most {CHANGES} pixels, whatever a network says")
        print_table(["largest 2-norm", "LOF", "median LOF"], rows)
        return 0
    everything = None
    if args.among_all:
        everything = LocalOutlierFactor(NEIGHBOURS, novelty=True).fit(train.X)
    published = Outliers(train, PUBLISHED_IMAGES, PUBLISHED_NEIGHBOURS)
    rows, bars = [], Bars()
    for kind in args.net:
        epochs = EPOCHS[kind] if args.epochs is None else args.epochs
        model = network(kind, train, epochs, args.seed)
        accuracy = (model.predict(test.X) == test.y).mean()
        for density in args.density:
            explainer = CounterfactualExplainer(
                model,
                density=density,
                tau=args.tau,
                beta=0.0,
                max_changes=CHANGES,
                scale=None,
            )
            result = run(explainer, train, asked, outliers, everything, published)
            rows.append(
                [kind, 100 * float(accuracy), density, 100 * result.validity, result.already]
                + [result.norm, result.norm * 0.5 / (train.X.std() * 0.5), result.most_changes]
                + [result.lof, result.median_lof, result.lof_before, result.lof_among_all]
                + [result.lof_published, *PAPER.get(density, (np.nan,) * 3)]
                + [result.fit, result.seconds]
            )
            name = f"{kind} {density}"
            bars.add(f"{name}: at most {CHANGES} pixels", result.most_changes <= CHANGES)
            bars.add(f"{name}: validity >= {100 * VALIDITY} %", result.validity >= VALIDITY)
            bars.add(f"{name}: 2-norm <= {NORM}", result.norm <= NORM)
    print(f"{len(asked.y)} images; LOF of other images of the wanted digits {genuine:.3f}")
    header = ["network", "accuracy", "density", "valid %", "already", "2-norm", "by 0.31"]
    header += ["max 0-norm", "LOF", "median LOF", "LOF before", "among all", "LOF 50"]
    header += ["paper: valid %", "2-norm", "LOF", "fit s", "seconds"]
    print_table(header, rows)
    return bars.finish(args.check)


if __name__ == "__main__":
    raise SystemExit(main())
