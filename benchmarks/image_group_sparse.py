"""Group-wise sparse changes of images, against what the published code finds.

ResNet-20 on the first correctly classified images, 2-norms in units in which pixels go from -1 to
1. "published" are figures of the published GSE code on the same 30 (targeted: 16) images and
weights; "parity" is GroupSparseExplainer with the published settings; "default" is its default.
An evaluation is a forward and a backward pass; the published code needs two forward passes for
each. Other networks are adversarially trained.

Parity mode does what the published code does, in its order, on pixels from -1 to 1: the prox does
not know their range, the average with the last point is a u + (1 - a) last, and a change is what is
left of it in the clipped image. The prox with the range changes two of the 16 targeted images.

Runs of hundreds of steps with thresholds in them are chaotic: a change of the images by 2e-7, the
rounding of single precision, gives single images another answer and so moves the means of 16
images by several per cent. One targeted image has 127 pixels in the published order, alone and in
every batch tried, and 101 in double precision or where the same sums are taken in another order:
it makes the 2-norm of all 16 1.22 or 1.25. So three more comparisons are made with the "plain
loop", code of its own, written from the paper: on --plain-images images it and parity mode
are compared, in single precision, and in double precision where the two differ then;
--roundings compares both in double precision, and the published figures with the range that
rounding alone gives ("parity, rounded").

The plain loop takes two forward passes and one backward pass for each step, as the published code
does, so its time stands for that of the published code. It needs more passes than were counted
there (about 640 forward): what is left of the ratio for these is printed beside it.
"""

from __future__ import annotations

import argparse
import time

import torch

from benchmarks.datasets import add_data_option
from benchmarks.image_nets import NETS, correct
from benchmarks.image_textbook import Constants, plain_group_sparse
from benchmarks.reporting import Bars, add_check_option, print_table, words
from scfe_sklearn.image import GroupSparseExplainer, gse_parameters
from scfe_sklearn.image.metrics import lengths, n_clusters, n_patches, n_pixels

PUBLISHED = {
    False: {"pixels": 48.3, "clusters": 1.86, "length": 0.910, "patches": 207.0},
    True: {"pixels": 102.7, "clusters": 2.31, "length": 1.22, "patches": 305.0},
}
FORWARD_PASSES = 640
ROUNDING = 2e-7
SAME = 1e-3
"""Changes of pixels from -1 to 1 that are closer are the same."""

MOST = {"pixels": 37.0, "clusters": 1.95, "length": 0.80, "patches": 175.0}
NAMES = ("success", "pixels", "clusters", "length", "patches")


def clock(device):
    """Seconds: of this process on a CPU, which others share."""
    return time.process_time() if device == "cpu" else time.perf_counter()


def explained(name, module, x, y, targeted, parity):
    """Explain images (n, 3, H, W) of labels (n,)."""
    settings = {"normalization": NETS[name].normalization}
    if parity:
        # The published code takes pixels from -1 to 1.
        mean, std = torch.tensor(settings["normalization"], dtype=torch.float64)
        settings = {"normalization": (2 * mean - 1, 2 * std), "bounds": (-1, 1)}
        settings |= gse_parameters("cifar", targeted)
        x = 2 * x - 1
    target = (y + 1) % 10 if targeted else None
    return GroupSparseExplainer(module, **settings).explain(x, target)


def measure(name, images, skip, targeted, parity, folder, device, double=False, seed=None):
    """Explain images; return the means and the cost."""
    module, x, y = correct(name, images, skip, folder, device)
    if seed is not None:
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed)).to(x.device)
        x = (x + ROUNDING * noise).clamp(0, 1)
    if double:
        module, x = module.double(), x.double()
    begin = clock(device)
    result = explained(name, module, x, y, targeted, parity)
    end = clock(device)
    values = result.summary()
    values["forward"] = float(result.n_forward.mean())
    values["backward"] = float(result.n_backward.mean())
    values["seconds"] = (end - begin) / len(x)
    return values


def parity_changes(module, x, y, targeted):
    """Return what parity mode changes of images, and which of them reach their goal."""
    result = explained("resnet20", module, x, y, targeted, True)
    return result.changes, torch.as_tensor(result.success, device=x.device)


def plain_changes(module, x, y, targeted):
    """Return what the plain loop changes of images, and which of them reach their goal."""
    mean, std = (torch.as_tensor(part, dtype=x.dtype, device=x.device).reshape(1, -1, 1, 1)
                 for part in NETS["resnet20"].normalization)  # fmt: skip
    label = (y + 1) % 10 if targeted else y
    constants = Constants(n_gather=gse_parameters("cifar", targeted)["n_gather"])
    module = module.requires_grad_(False)
    return plain_group_sparse(
        lambda image: module(((image + 1) / 2 - mean) / std), 2 * x - 1, label, targeted, constants
    )


def means(w, reached):
    """Means over the images that reach their goal, and how many do."""
    values = {"pixels": n_pixels(w), "clusters": n_clusters(w), "length": lengths(w),
              "patches": n_patches(w)}  # fmt: skip
    values = {name: float(value[reached].double().mean()) for name, value in values.items()}
    return {"success": float(reached.double().mean()), **values}


def plain(images, skip, targeted, folder, device, kind=torch.float64):
    """Means of the plain loop, in double or single precision, and its cost."""
    module, x, y = correct("resnet20", images, skip, folder, device)
    passes = {"forward": 0, "backward": 0}

    def count(_, inputs):
        passes["forward"] += len(inputs[0])
        passes["backward"] += len(inputs[0]) if torch.is_grad_enabled() else 0

    module = module.to(kind)
    module.register_forward_pre_hook(count)
    begin = clock(device)
    found = plain_changes(module, x.to(kind), y, targeted)
    seconds = clock(device) - begin
    cost = {name: number / len(x) for name, number in passes.items()}
    return {**means(*found), **cost, "seconds": seconds / len(x)}


def both(images, targeted, folder, device):
    """Changes (n, C, H, W) by parity mode and by the plain loop, and which reach their goal.

    In single precision; in double precision those images for which rounding makes them differ.
    Returns how many these are as well.
    """
    module, x, y = correct("resnet20", images, 0, folder, device)
    found = [parity_changes(module, x, y, targeted), plain_changes(module, x, y, targeted)]
    apart = (found[0][0] - found[1][0]).abs().flatten(1).amax(1) > SAME
    found = [(w.double(), reached.clone()) for w, reached in found]
    if bool(apart.any()):
        module, x, y = module.double(), x[apart].double(), y[apart]
        exact = [parity_changes(module, x, y, targeted), plain_changes(module, x, y, targeted)]
        for (w, reached), (better, said) in zip(found, exact, strict=True):
            w[apart], reached[apart] = better, said
    return (*found, int(apart.sum()))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_data_option(parser)
    add_check_option(parser)
    parser.add_argument("--nets", type=words, default=["resnet20", "resnet4b", "cnn", "mnist"])
    parser.add_argument("--images", type=int, default=30)
    parser.add_argument("--targeted-images", type=int, default=16)
    parser.add_argument(
        "--roundings", type=int, default=0, help="runs that show what rounding does"
    )
    parser.add_argument(
        "--plain-images", type=int, default=0, help="images that the plain loop changes, too"
    )
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
    where = ("resnet20", count, options.skip, targeted)
    parity, default = (
        measure(*where, flag, options.data, options.device) for flag in (True, False)
    )
    loop = plain(*where[1:], options.data, options.device, torch.float32)
    # The published figures are those of these images.
    same = options.skip == 0 and count == (16 if targeted else 30)
    for name, value in known.items() if same else ():
        bars.add(
            f"resnet20, {kind}: parity {name} {parity[name]:.3f} within 2 % of {value}",
            abs(parity[name] / value - 1) <= 0.02,
        )
    more = _rounded(options, where, known, parity, bars) if options.roundings and same else []
    if options.plain_images and same:
        more += _against_plain(options, targeted, loop, bars)
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
    share = default["seconds"] / loop["seconds"]
    text = f"resnet20, {kind}: {share:.2f} of the time of the plain loop (<= 0.5)"
    if not targeted:
        few = share * loop["forward"] / FORWARD_PASSES
        text += f"; were it to need {FORWARD_PASSES} forward passes, {few:.2f}"
    bars.add(text, share <= 0.5)
    return [
        ("resnet20", kind, "published", 1.0, *(known[name] for name in NAMES[1:]), "", "", ""),
        _row("resnet20", kind, "plain loop", loop),
        _row("resnet20", kind, "parity", parity),
        *more,
        _row("resnet20", kind, "default", default),
    ]


def _rounded(options, where, known, parity, bars):
    """The same algorithm in double precision, and the range of the figures under rounding."""
    _, count, _, targeted = where
    kind = "next" if targeted else "any"
    loop = plain(count, 0, targeted, options.data, options.device)
    double = measure(*where, True, options.data, options.device, double=True)
    runs = [parity] + [
        measure(*where, True, options.data, options.device, seed=seed)
        for seed in range(options.roundings)
    ]
    for name, value in known.items():
        bars.add(
            f"resnet20, {kind}: in double precision {name} {double[name]:.3f}, plain "
            f"{loop[name]:.3f}",
            abs(double[name] / loop[name] - 1) <= 1e-3,
        )
        low, high = (pick(run[name] for run in runs) for pick in (min, max))
        bars.add(
            f"resnet20, {kind}: published {name} {value} within 2 % of {low:.3f} to {high:.3f}",
            0.98 * low <= value <= 1.02 * high,
        )
    blank = ("resnet20", kind)
    return [
        *(_row("resnet20", kind, f"parity, rounded {k}", run) for k, run in enumerate(runs[1:])),
        _row(*blank, "plain, double", loop),
        _row("resnet20", kind, "parity, double", double),
    ]


def _against_plain(options, targeted, few, bars):
    """The plain loop on the images of the published figures, and both on more images."""
    kind, known, rows = "next" if targeted else "any", PUBLISHED[targeted], []
    for name, value in known.items():
        bars.add(
            f"resnet20, {kind}: plain loop {name} {few[name]:.3f} within 2 % of {value}",
            abs(few[name] / value - 1) <= 0.02,
        )
    many = options.plain_images
    *found, apart = both(many, targeted, options.data, options.device)
    own, loop = (means(*part) for part in found)
    for name in known:
        bars.add(
            f"resnet20, {kind}, {many} images, {apart} of them in double precision: parity {name} "
            f"{own[name]:.3f} within 0.1 % of the plain loop's {loop[name]:.3f}",
            abs(own[name] / loop[name] - 1) <= 1e-3,
        )
    for method, values in ((f"plain, {many} images", loop), (f"parity, {many} images", own)):
        rows.append(("resnet20", kind, method, *(values[name] for name in NAMES), "", "", ""))
    return rows


def _row(net, kind, method, values):
    return (net, kind, method, *(values[name] for name in (*NAMES, "forward", "backward")),
            values["seconds"])  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
