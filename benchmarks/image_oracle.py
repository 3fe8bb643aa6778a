"""Time of the linear oracle of lp-ball and box beside a backward pass of a ResNet-50.

Eight random images of 3 x 224 x 224 and an untrained network: only time is measured. The backward
pass is that of the same eight images, down to the images and without gradients of parameters, as
the explainers need it; the pass of one image alone is shown beside it. Radii are the ones that
are common for such images.
"""

from __future__ import annotations

import argparse
import math

import torch

from benchmarks.image_nets import resnet50
from benchmarks.image_share import seconds
from benchmarks.reporting import Bars, add_check_option, print_table
from scfe_sklearn.proximal.balls import lmo_ball_box

RADII = {1.0: 400.0, 1.1: 300.0, 1.5: 50.0, 2.0: 12.0, 3.0: 5.0, math.inf: 0.1}


def backward(net, x, device, repeats):
    """Least seconds of a backward pass alone."""
    found = math.inf
    for _ in range(repeats + 1):
        image = x.detach().requires_grad_(True)
        value = net(image)[:, 0].sum()
        found = min(
            found,
            seconds(device, lambda: torch.autograd.grad(value, image)),  # noqa: B023
        )
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_check_option(parser)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    device = options.device
    net = resnet50().eval().requires_grad_(False).to(device)
    x = torch.rand(options.images, 3, options.side, options.side).to(device)
    passes = backward(net, x, device, options.repeats)
    one = backward(net, x[:1], device, options.repeats)
    c, lower, upper = torch.randn(x.shape).to(device).flatten(1), -x.flatten(1), 1 - x.flatten(1)
    rows, bars = [], Bars()
    for p, radius in RADII.items():

        def call(p=p, radius=radius):
            lmo_ball_box(c, p, radius, lower, upper)

        call()
        took = min(seconds(device, call) for _ in range(options.repeats))
        rows.append((p, radius, took, passes, took / passes, one))
        bars.add(f"p = {p}: {took / passes:.2f} of a backward pass", took < passes)
    print_table(("p", "radius", "oracle s", "backward s", "ratio", "backward of one image s"), rows)
    return bars.finish(options.check)


if __name__ == "__main__":
    raise SystemExit(main())
