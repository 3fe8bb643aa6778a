"""Group-wise sparse changes of images, against what the published code finds.

ResNet-20 on the first correctly classified images, 2-norms in units in which pixels go from -1 to
1. "published" are figures of the published GSE code on the same 30 (targeted: 16) images and
weights; "parity" is GroupSparseExplainer with the published settings; "default" is its default.
An evaluation is a forward and a backward pass; the published code needs two forward passes for
each. Other networks are adversarially trained.
"""

from __future__ import annotations

import argparse
import time

import torch

from benchmarks.datasets import add_data_option
from benchmarks.image_nets import NETS, correct
from benchmarks.reporting import Bars, add_check_option, print_table, words
from scfe_sklearn.image import GroupSparseExplainer, published

PUBLISHED = {
    False: {"pixels": 48.3, "clusters": 1.86, "length": 0.910, "patches": 207.0},
    True: {"pixels": 102.7, "clusters": 2.31, "length": 1.22, "patches": 305.0},
}
FORWARD_PASSES = 640
MOST = {"pixels": 37.0, "clusters": 1.95, "length": 0.80, "patches": 175.0}
NAMES = ("success", "pixels", "clusters", "length", "patches")


def measure(name, images, skip, targeted, parity, folder, device):
    """Explain images; return the means and the cost."""
    module, x, y = correct(name, images, skip, folder, device)
    settings = published("cifar", targeted) if parity else {}
    explainer = GroupSparseExplainer(module, normalization=NETS[name].normalization, **settings)
    target = (y + 1) % 10 if targeted else None
    begin = time.process_time() if device == "cpu" else time.perf_counter()
    result = explainer.explain(x, target)
    end = time.process_time() if device == "cpu" else time.perf_counter()
    values = result.summary()
    values["forward"] = float(result.n_forward.mean())
    values["backward"] = float(result.n_backward.mean())
    values["seconds"] = (end - begin) / len(x)
    return values


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_data_option(parser)
    add_check_option(parser)
    parser.add_argument("--nets", type=words, default=["resnet20", "resnet4b", "cnn", "mnist"])
    parser.add_argument("--images", type=int, default=30)
    parser.add_argument("--targeted-images", type=int, default=16)
    parser.add_argument("--skip", type=int, default=0, help="correct images to leave out first")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(arguments)
    rows, bars = [], Bars()
    if "resnet20" in options.nets:
        for targeted in (False, True):
            rows += _resnet20(options, targeted, bars)
    for name in options.nets:
        if name != "resnet20":
            values = measure(
                name, options.images, options.skip, False, False, options.data, options.device
            )
            rows.append(_row(name, "any", "default", values))
            bars.add(f"{name}: success rate 1", values["success"] == 1)
    header = ("net", "target", "method", *NAMES, "forward", "backward", "s/image")
    print_table(header, rows)
    return bars.finish(options.check)


def _resnet20(options, targeted, bars):
    kind = "next" if targeted else "any"
    count = options.targeted_images if targeted else options.images
    known = PUBLISHED[targeted]
    parity, default = (
        measure("resnet20", count, options.skip, targeted, flag, options.data, options.device)
        for flag in (True, False)
    )
    # The published figures are those of these images.
    same = options.skip == 0 and count == (16 if targeted else 30)
    for name, value in known.items() if same else ():
        bars.add(
            f"resnet20, {kind}: parity {name} {parity[name]:.3f} within 2 % of {value}",
            abs(parity[name] / value - 1) <= 0.02,
        )
    most = {name: value * known[name] / PUBLISHED[False][name] for name, value in MOST.items()}
    for name, value in most.items():
        bars.add(
            f"resnet20, {kind}: default {name} {default[name]:.3f} at most {value:.2f}",
            default[name] <= value,
        )
    bars.add(f"resnet20, {kind}: success rate 1", default["success"] == parity["success"] == 1)
    if not targeted:
        bars.add(
            f"forward passes {default['forward']:.0f} at most half of {FORWARD_PASSES}",
            default["forward"] <= FORWARD_PASSES / 2,
        )
    return [
        ("resnet20", kind, "published", 1.0, *(known[name] for name in NAMES[1:]), "", "", ""),
        _row("resnet20", kind, "parity", parity),
        _row("resnet20", kind, "default", default),
    ]


def _row(net, kind, method, values):
    return (net, kind, method, *(values[name] for name in (*NAMES, "forward", "backward")),
            values["seconds"])  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
