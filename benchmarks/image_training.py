"""Adversarial training with group-wise sparse examples, on a small network of digits.

Three networks from the same start: trained on digits, on digits and their changes by Auto-PGD, and
on digits and their changes by GSE, made anew against the network of the moment in every epoch.
Changed digits keep their label. Then, on digits not seen: accuracy; the share of images that GSE
still changes, its pixels, windows (3 x 3) and 2-norm, and the interpretability score of its
changes at percentile 80; the share that survives Auto-PGD in the 2-norm; seconds of training.

The thesis of the first author of GSE names such training as future work; it has no figures.
"""

from __future__ import annotations

import argparse
import time

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from benchmarks.reporting import Bars, add_check_option, print_table
from scfe_sklearn.image import GroupSparseExplainer, ProjectedGradient
from scfe_sklearn.image.saliency import interpretability, saliency

N_TRAIN, BATCH, RADIUS = 1000, 100, 0.8
METHODS = ("plain", "apgd", "gse")


def network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(16 * 36, 10),
    )  # fmt: skip


def attack(method, net):
    """Return what changes training images."""
    if method == "apgd":
        return ProjectedGradient(net, p=2, radius=RADIUS, n_iter=10)
    return GroupSparseExplainer(
        net, patch=3, n_searches=2, max_iter=40, n_gather=20, refine_iter=20
    )


def train(method, x, y, epochs, seed):
    """Train a network; half of the steps are on changed images after the first three epochs."""
    net = network(seed)
    optimiser = torch.optim.Adam(net.parameters(), 0.003)
    for epoch in range(epochs):
        changed = x
        if method != "plain" and epoch >= 3:
            result = attack(method, net).explain(x)
            found = torch.from_numpy(result.success).reshape(-1, 1, 1, 1)
            changed = torch.where(found, result.counterfactuals, x)
        for rows in torch.randperm(len(x)).split(BATCH):
            for part in (x, changed):
                optimiser.zero_grad()
                functional.cross_entropy(net(part[rows]), y[rows]).backward()
                optimiser.step()
    return net.eval()


def scores(net, x, y):
    """Accuracy, and measures of attacks on the images that the network classifies correctly."""
    with torch.no_grad():
        right = net(x).argmax(1) == y
    x = x[right]
    sparse = GroupSparseExplainer(net, patch=3).explain(x)
    dense = ProjectedGradient(net, p=2, radius=RADIUS, n_iter=20).explain(x)
    keep = torch.from_numpy(sparse.success)
    before, after = (torch.from_numpy(part)[keep] for part in (sparse.before, sparse.after))
    maps = saliency(net, x[keep], before, after)
    means = sparse.summary(patch=3)
    return {
        "accuracy": float(right.double().mean()),
        "apgd": 1 - float(dense.success.mean()),
        "success": means["success"],
        "pixels": means["pixels"],
        "patches": means["patches"],
        "length": means["length"],
        "score": float(interpretability(maps, sparse.changes[keep], 80).nanmean()),
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_check_option(parser)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--images", type=int, default=300, help="images not seen")
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args(arguments)
    data = load_digits()
    x = torch.from_numpy(data.images / 16).float()[:, None]
    y = torch.from_numpy(data.target)
    rows, found = [], {}
    for method in METHODS:
        parts, seconds = [], 0.0
        for seed in range(options.seeds):
            begin = time.process_time()
            net = train(method, x[:N_TRAIN], y[:N_TRAIN], options.epochs, seed)
            seconds += time.process_time() - begin
            last = slice(len(x) - options.images, len(x))
            parts.append(scores(net, x[last], y[last]))
        found[method] = {key: sum(p[key] for p in parts) / len(parts) for key in parts[0]}
        rows.append((method, *found[method].values(), seconds / options.seeds))
    header = ("trained on", "accuracy", "survives apgd", "gse succeeds", "pixels", "patches",
              "length", "score at 80", "s")  # fmt: skip
    print_table(header, rows)
    bars = Bars()
    for name in ("pixels", "length"):
        ours, plain = (found[method][name] for method in ("gse", "plain"))
        bars.add(
            f"{name} that GSE needs: {ours:.2f} after training, {plain:.2f} before", ours > plain
        )
    return bars.finish(options.check)


if __name__ == "__main__":
    raise SystemExit(main())
