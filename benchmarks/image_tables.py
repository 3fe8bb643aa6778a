"""Tables of the image papers that have no command of their own.

* targets: every image towards each of the other classes. The average over all successes, and the
  best and the worst class of each image, measure by measure; an image counts as a success at best
  if a class is reached, at worst if all of them are (GSE paper, targeted attacks on CIFAR-10).
* transfer: of the images that both networks classify correctly and whose change succeeds, how many
  does it make another network classify wrongly.
* calibration: expected calibration error before and after dividing the logits by the temperature
  that half of the images give, on the other half (SVCE paper, table 6).
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.datasets import add_data_option
from benchmarks.image_attacks import ATTACKS
from benchmarks.image_nets import NETS, correct, images, load
from benchmarks.reporting import Bars, add_check_option, print_table, words
from scfe_sklearn.image.calibration import calibration_error, temperature

MEASURES = ("pixels", "clusters", "length", "patches")
PUBLISHED = {
    ("gse", "average"): (1.0, 86.3, 1.76, 1.13, 262.0),
    ("gse", "best"): (1.0, 29.6, 1.06, 0.68, 137.0),
    ("gse", "worst"): (1.0, 162.0, 3.31, 1.57, 399.0),
    ("strattack", "average"): (1.0, 231.0, 10.1, 1.86, 534.0),
    ("fwnucl", "average"): (0.858, 373.0, 2.52, 2.54, 564.0),
}
"""Of the GSE paper: CIFAR-10, ResNet-20, all test images."""
CIFAR = ("resnet20", "resnet4b", "cnn")


def logits(name: str, module: nn.Module, x: Tensor) -> Tensor:
    """Return the logits (n, K) of images (n, C, H, W) in [0, 1]."""
    parts = NETS[name].normalization or (0.0, 1.0)
    mean, std = (torch.as_tensor(part).reshape(1, -1, 1, 1).to(x) for part in parts)
    with torch.no_grad():
        return torch.cat([module((some - mean) / std) for some in x.split(200)])


def chosen(options) -> list[str]:
    """Return the names of the chosen attacks, by their first words."""
    return [name for name in ATTACKS if name.split(",")[0] in options.attacks]


def explainer(attack: str, module: nn.Module, net: str):
    """Return an attack of the table of attacks on a network."""
    kind, parameters = ATTACKS[attack]
    return kind(module, normalization=NETS[net].normalization, **parameters)


def cases(values: dict[str, np.ndarray], success: np.ndarray) -> dict[str, tuple[float, ...]]:
    """Return success rate and means of the measures (n images, classes) for each case."""
    any_, every = success.any(axis=1), success.all(axis=1)
    rows = {"average": [success.mean()], "best": [any_.mean()], "worst": [every.mean()]}
    for value in values.values():
        rows["average"].append(value[success].mean())
        rows["best"].append(np.where(success, value, np.inf).min(axis=1)[any_].mean())
        rows["worst"].append(value[every].max(axis=1).mean())
    return {case: tuple(float(number) for number in row) for case, row in rows.items()}


def targets(options, bars: Bars) -> None:
    """Print the average, the best and the worst case over the other classes."""
    module, x, y = correct("resnet20", options.images, 0, options.data, options.device)
    offsets = torch.arange(1, 10, device=y.device)
    wanted = ((y[:, None] + offsets) % 10).flatten()
    rows, found = [], {}
    for attack in chosen(options):
        result = explainer(attack, module, "resnet20").explain(
            x.repeat_interleave(9, dim=0), wanted
        )
        shape = (len(x), 9)
        measures = result.measures()
        values = {name: measures[name].reshape(shape) for name in MEASURES}
        found[attack] = cases(values, result.success.reshape(shape))
        for case, row in found[attack].items():
            rows.append((attack, case, *row))
            published = PUBLISHED.get((attack, case))
            if published:
                rows.append((f"{attack}, paper", case, *published))
    print_table(("attack", "case", "success", *MEASURES), rows)
    if "gse" in found:
        for case in ("average", "best", "worst"):
            ours, paper = found["gse"][case], PUBLISHED["gse", case]
            bars.add(
                f"{case}: gse changes {ours[1]:.1f} pixels in {ours[4]:.0f} windows, at most "
                f"{paper[1]} in {paper[4]:.0f} (paper)",
                ours[0] == 1 and ours[1] <= paper[1] and ours[4] <= paper[4],
            )


def transfer(options, bars: Bars) -> None:
    """Print how many changes found on one network mislead the others."""
    rows = []
    modules = {name: load(name, options.data, options.device) for name in CIFAR}
    for source in CIFAR:
        module, x, y = correct(source, options.images, 0, options.data, options.device)
        right = {name: logits(name, other, x).argmax(1) == y for name, other in modules.items()}
        for attack in chosen(options):
            result = explainer(attack, module, source).explain(x)
            success = torch.from_numpy(result.success).to(x.device)
            shown = torch.where(success[:, None, None, None], result.counterfactuals, x)
            shares = []
            for name, other in modules.items():
                both = right[name] & success
                wrong = logits(name, other, shown).argmax(1) != y
                shares.append(float(wrong[both].double().mean()))
            rows.append((source, attack, *shares))
    print_table(("found on", "attack", *CIFAR), rows)


def calibration(options, bars: Bars) -> None:
    """Print calibration errors before and after dividing by a temperature."""
    rows = []
    for name in NETS:
        x, y = images(name, options.data)
        # The digits are sorted by class.
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:2000]
        x, y = x[order].to(options.device), y[order].to(options.device)
        out = logits(name, load(name, options.data, options.device), x)
        half = len(x) // 2
        heat = temperature(out[:half], y[:half])
        before, after = (
            float(calibration_error(part, y[half:])) for part in (out[half:], out[half:] / heat)
        )
        rows.append((name, len(x) - half, heat, before, after))
    print_table(("net", "images", "temperature", "ece before", "ece after"), rows)


TABLES = {"targets": targets, "transfer": transfer, "calibration": calibration}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=TABLES)
    add_data_option(parser)
    add_check_option(parser)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--attacks", type=words, default=["gse"], help="first words of names")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(arguments)
    bars = Bars()
    TABLES[options.table](options, bars)
    return bars.finish(options.check)


if __name__ == "__main__":
    raise SystemExit(main())
