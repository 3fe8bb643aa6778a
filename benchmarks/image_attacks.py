"""All image attacks side by side on one network: how often they succeed, what they change and cost.

"values" are changed entries, "clusters" connected regions, "patches" 8 x 8 windows that hold a
change, "length" the 2-norm in units in which pixels go from -1 to 1; means over the successes. The
name of an attack shows what limits it: a radius, a number of pixels, or nothing.
"""

from __future__ import annotations

import argparse
import math
import time

import torch

from benchmarks.datasets import add_data_option
from benchmarks.image_gradient_rivals import CarliniL0, GreedyFool, Homotopy, SparseFool
from benchmarks.image_nets import NETS, correct
from benchmarks.image_query_rivals import SAPF, CornerSearch, OnePixel
from benchmarks.reporting import Bars, add_check_option, print_table, words
from scfe_sklearn.image import (
    PGD0,
    AutoFrankWolfe,
    FastGradientSign,
    GroupSparseExplainer,
    NuclearFrankWolfe,
    ProjectedGradient,
    ProximalAttack,
    ReparameterizedAttack,
    SigmaZero,
    SparseAutoAttack,
    SparsePGD,
    SparseRandomSearch,
    StrAttack,
    gse_parameters,
    noise_scores,
)

PIXELS = 20
ATTACKS = {
    "fgsm, 8/255": (FastGradientSign, {}),
    "pgd, 8/255": (ProjectedGradient, {"step": 2 / 255}),
    "apgd, 8/255": (ProjectedGradient, {}),
    "pgd, l2 0.5": (ProjectedGradient, {"p": 2, "radius": 0.5, "step": 0.1}),
    "afw, l1.5 1.5": (AutoFrankWolfe, {"radius": 1.5, "n_restarts": 1}),
    "sparse-rs, 20 px": (SparseRandomSearch, {"n_pixels": PIXELS}),
    "pgd0, 20 px": (PGD0, {"n_pixels": PIXELS}),
    "sparse-pgd, 20 px": (SparsePGD, {"n_pixels": PIXELS}),
    "sparse-pgd projected, 20 px": (SparsePGD, {"n_pixels": PIXELS, "backward": "projected"}),
    "sparse-aa, 20 px": (SparseAutoAttack, {"n_pixels": PIXELS}),
    "sparse-pgd projected, 8 px": (SparsePGD, {"n_pixels": 8, "backward": "projected"}),
    "sparse-aa, 8 px": (SparseAutoAttack, {"n_pixels": 8}),
    "sigma-zero": (SigmaZero, {}),
    "reparameterized": (ReparameterizedAttack, {}),
    "reparameterized, script": (ReparameterizedAttack, {"mask": "tanh"}),
    "proximal, l1/2": (ProximalAttack, {}),
    "i-fgsm, 8/255": (ProjectedGradient, {"step": 1 / 255, "n_iter": 12, "random_start": False}),
    "strattack": (StrAttack, {}),
    "strattack, sliding": (StrAttack, {"stride": 1}),
    "fwnucl": (NuclearFrankWolfe, {}),
    "fwnucl, to the end": (NuclearFrankWolfe, {"stop_early": False}),
    "gse": (GroupSparseExplainer, {}),
    "gse, published": (GroupSparseExplainer, gse_parameters("cifar")),
}
# Written for this table, from their papers; run with --rivals, or by name.
RIVALS = {
    "sparsefool": (SparseFool, {}),
    "greedyfool": (GreedyFool, {}),
    "cw-l0": (CarliniL0, {}),
    "homotopy": (Homotopy, {}),
    "sapf, 40 px": (SAPF, {"n_pixels": 40}),
    "onepixel, 1 px": (OnePixel, {}),
    "onepixel, 5 px": (OnePixel, {"n_pixels": 5}),
    "cornersearch, 20 px": (CornerSearch, {}),
}
# One step, few queries, very few pixels, and a ball that is too small for some images.
MAY_FAIL = {
    "fgsm, 8/255", "sparse-rs, 20 px", "pgd0, 20 px", "sparse-pgd projected, 8 px",
    "sparse-aa, 8 px",
    "fwnucl", "fwnucl, to the end", *RIVALS,
}  # fmt: skip
KNOWN = {
    "reparameterized": "success 1, fewer than 10 pixels (paper)",
    "reparameterized, script": "36 to 49 pixels, patches 380 to 420 (61 of these images)",
    "strattack": "118 pixels, 7.5 clusters, length 1.02, patches 428 (paper of GSE)",
    "fwnucl, to the end": "success 0.946, 460 pixels, length 2.01, patches 594 (paper of GSE)",
    "sigma-zero": "7.5 to 9.7 pixels, patches 219 to 280 (these images)",
    "gse, published": "48.3 pixels, 1.86 clusters, length 0.910, patches 207 (these images)",
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_data_option(parser)
    add_check_option(parser)
    parser.add_argument("--net", choices=sorted(NETS), default="resnet20")
    parser.add_argument("--images", type=int, default=30)
    parser.add_argument("--targeted", action="store_true", help="towards the next class")
    parser.add_argument("--attacks", type=words, help="first words of names, all by default")
    parser.add_argument("--rivals", action="store_true", help="those written for this table, too")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(arguments)
    module, x, y = correct(options.net, options.images, 0, options.data, options.device)
    target = (y + 1) % 10 if options.targeted else None
    rows, results = [], {}
    for name, (kind, parameters) in _chosen(options).items():
        explainer = kind(module, normalization=NETS[options.net].normalization, **parameters)
        clock = time.process_time if options.device == "cpu" else time.perf_counter
        begin = clock()
        result = explainer.explain(x, target)
        seconds = (clock() - begin) / len(x)
        found = result.summary()
        values = (result.changes != 0).flatten(1).sum(1)[torch.from_numpy(result.success)]
        found["values"] = float(values.double().mean()) if len(values) else math.nan
        results[name] = found
        rows.append((
            name, found["success"], found["pixels"], found["values"], found["clusters"],
            found["length"], found["patches"], float(result.n_forward.mean()),
            float(result.n_backward.mean()), seconds,
        ))  # fmt: skip
        if kind is ReparameterizedAttack and result.success.any():
            _say_noise(name, module, options.net, result)
    header = (
        "attack", "success", "pixels", "values", "clusters", "length", "patches", "forward",
        "backward", "s/image",
    )  # fmt: skip
    print_table(header, rows)
    for name, text in KNOWN.items():
        if name in results and options.net == "resnet20" and not options.targeted:
            print(f"{name}: {text}")
    return _bars(results, options).finish(options.check)


def _chosen(options):
    """Return the chosen attacks."""
    if not options.attacks:
        return ATTACKS | RIVALS if options.rivals else ATTACKS
    return {
        name: attack
        for name, attack in (ATTACKS | RIVALS).items()
        if name.split(",")[0].split(" ")[0] in options.attacks
    }


def _say_noise(name, module, net, result):
    """Print which pixels hide the old class, and which lead to the new one."""
    mean, std = (
        torch.as_tensor(part).reshape(1, -1, 1, 1).to(result.images)
        for part in NETS[net].normalization or (0.0, 1.0)
    )
    keep = torch.from_numpy(result.success)
    x, changed = result.images[keep], result.counterfactuals[keep]
    before, after = (
        torch.from_numpy(part[result.success]).to(x.device)
        for part in (result.before, result.after)
    )
    scores = noise_scores(lambda image: module((image - mean) / std), x, changed, before, after)
    of = {key: value.double() for key, value in scores.summary().items()}
    print(
        f"{name}: {of['n_obscuring'].mean():.1f} pixels obscure, {of['n_leading'].mean():.1f} "
        f"lead; median ratio of their scores {of['ratio'].median():.2f}"
    )


def _bars(results, options):
    bars = Bars()
    for name, found in results.items():
        if " px" in name:
            most = int(name.split(" ")[-2])
            bars.add(f"{name}: at most {most} pixels", not found["pixels"] > most)
    if options.net != "resnet20" or options.targeted:
        return bars
    for name, found in results.items():
        if name not in MAY_FAIL:
            bars.add(f"{name}: success rate {found['success']:.3f} is 1", found["success"] == 1)
    if "reparameterized" in results:
        pixels = results["reparameterized"]["pixels"]
        bars.add(f"reparameterized: {pixels:.1f} pixels, fewer than 10", pixels < 10)
    if "sigma-zero" in results:
        values = results["sigma-zero"]["values"]
        bars.add(f"sigma-zero: {values:.2f} values, at most 8", values <= 8)
    ours = results.get("gse")
    for rival in ("strattack", "fwnucl", "fwnucl, to the end"):
        if ours and rival in results:
            for measure in ("pixels", "clusters", "patches"):
                bars.add(
                    f"gse has fewer {measure} than {rival}", ours[measure] < results[rival][measure]
                )
    return bars


if __name__ == "__main__":
    raise SystemExit(main())
