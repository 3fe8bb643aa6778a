"""Interpretability score against the percentile: GSE, its published settings, and rivals.

The share of a change's 2-norm on entries of the adversarial saliency map above a percentile of
all its entries (GSE paper, figure 2), for the class before and the class after; means over the
successes. Most of a dense change lies on entries that a sparse one leaves alone, so its score
is close to the share of the entries that count. --save draws the curves.
"""

from __future__ import annotations

import argparse

import torch

from benchmarks.datasets import add_data_option
from benchmarks.image_attacks import ATTACKS
from benchmarks.image_nets import NETS, correct
from benchmarks.reporting import Bars, add_check_option, print_table, words
from scfe_sklearn.image.saliency import interpretability, saliency

PERCENTILES = (50, 60, 70, 80, 90)
NAMES = ["gse", "gse, published", "strattack", "fwnucl", "sigma-zero", "reparameterized",
         "afw, l1.5 1.5"]  # fmt: skip
MEASURES = ("success", "pixels", "clusters", "length", "patches")
LESS = 0.01
"""By how much the default may score less than the published settings."""


def scores(module, normalization, result):
    """Mean score of the successes at each percentile."""
    mean, std = (
        torch.as_tensor(part).reshape(1, -1, 1, 1).to(result.images)
        for part in normalization or (0.0, 1.0)
    )
    keep = torch.from_numpy(result.success)
    x, w = result.images[keep], result.changes[keep]
    before, after = (
        torch.from_numpy(part[result.success]).to(x.device)
        for part in (result.before, result.after)
    )
    maps = saliency(lambda image: module((image - mean) / std), x, before, after)
    return [float(interpretability(maps, w, nu).mean()) for nu in PERCENTILES]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_data_option(parser)
    add_check_option(parser)
    parser.add_argument("--net", choices=sorted(NETS), default="resnet20")
    parser.add_argument("--images", type=int, default=30)
    parser.add_argument("--targeted", action="store_true", help="towards the next class")
    parser.add_argument("--attacks", type=words, help="first words of names, all by default")
    parser.add_argument("--save", metavar="FILE", help="where to write the curves")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(arguments)
    module, x, y = correct(options.net, options.images, 0, options.data, options.device)
    target = (y + 1) % 10 if options.targeted else None
    found, sizes = {}, {}
    for name in NAMES:
        if options.attacks and name.split(",")[0] not in options.attacks:
            continue
        kind, parameters = ATTACKS[name]
        normalization = NETS[options.net].normalization
        result = kind(module, normalization=normalization, **parameters).explain(x, target)
        if result.success.any():
            found[name] = scores(module, normalization, result)
            sizes[name] = [result.summary()[measure] for measure in MEASURES]
    print_table(
        ("attack", *(f"{nu} %" for nu in PERCENTILES), *MEASURES),
        [(name, *values, *sizes[name]) for name, values in found.items()],
    )
    if options.save:
        _draw(found, options.save)
    bars = Bars()
    if {"gse", "gse, published"} <= set(found):
        gap = max(b - a for a, b in zip(found["gse"], found["gse, published"], strict=True))
        bars.add(f"gse scores less than published by at most {gap:.3f} (<= {LESS})", gap <= LESS)
    return bars.finish(options.check)


def _draw(found, file):
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(layout="constrained")
    for name, values in found.items():
        axis.plot(PERCENTILES, values, marker="o", label=name)
    axis.set_xlabel("percentile of the adversarial saliency map")
    axis.set_ylabel("interpretability score")
    axis.legend()
    figure.savefig(file)
    plt.close(figure)


if __name__ == "__main__":
    raise SystemExit(main())
