"""sigma-zero on ResNet-20: how many values of an image have to change?"""

from __future__ import annotations

import argparse
import time

import torch

from benchmarks.datasets import add_data_option
from benchmarks.image_nets import NETS, correct
from benchmarks.reporting import Bars, add_check_option, print_table
from scfe_sklearn.image import SigmaZero


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_data_option(parser)
    add_check_option(parser)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(arguments)
    module, x, _ = correct("resnet20", options.images, 0, options.data, options.device)
    rows, best = [], float("inf")
    for dynamic in (True, False):
        explainer = SigmaZero(
            module, normalization=NETS["resnet20"].normalization, dynamic_threshold=dynamic
        )
        begin = time.process_time()
        result = explainer.explain(x)
        seconds = (time.process_time() - begin) / len(x)
        values = float((result.changes != 0).flatten(1).sum(1).float().mean())
        best = min(best, values) if result.success.all() else best
        found = result.summary()
        rows.append((
            "dynamic" if dynamic else "static", found["success"], values, found["pixels"],
            found["clusters"], found["patches"], seconds,
        ))  # fmt: skip
    header = ("threshold", "success", "values", "pixels", "clusters", "patches", "s/image")
    print_table(header, rows)
    bars = Bars()
    bars.add(f"{best:.2f} values, at most 8, with success rate 1", best <= 8)
    return bars.finish(options.check)


if __name__ == "__main__":
    raise SystemExit(main())
