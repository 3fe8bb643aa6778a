"""Cost of the group-wise sparse solver beside the network's own passes.

Random images and an untrained ResNet-20 that nothing can fool, so that every image runs to its
limit: only time is measured. The share is (run - evaluations alone) / run.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import nn

from benchmarks.image_nets import ResNet20
from benchmarks.reporting import Bars, add_check_option, print_table
from scfe_sklearn.image.group_sparse.search import GroupSparseSettings, group_sparse
from scfe_sklearn.image.margins import Goal
from scfe_sklearn.image.model import ImageModel


class Stubborn(nn.Module):
    """A network whose first class always wins, by a margin that still has a gradient."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x):
        out = self.net(x)
        return torch.cat([out[:, :1] + 1e3, out[:, 1:]], dim=1)


def seconds(device, work):
    """Time of a piece of work: of the process on a CPU, with the device waited for elsewhere."""
    if device == "cpu":
        begin = time.process_time()
        work()
        return time.process_time() - begin
    torch.cuda.synchronize()
    begin = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - begin


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_check_option(parser)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    net = Stubborn(ResNet20()).eval().requires_grad_(False).to(options.device)
    x = torch.rand(options.batch, 3, 32, 32, device=options.device)
    model = ImageModel(net)
    goal = Goal(torch.zeros(len(x), dtype=torch.long, device=x.device), False)
    # The default, but for a single run of all its iterations.
    settings = GroupSparseSettings(max_iter=options.iterations, n_searches=1)
    zero = torch.zeros_like(x)

    def passes():
        for _ in range(options.iterations + 1):
            image = x.detach().requires_grad_(True)
            torch.autograd.grad(net(image).sum(), image)

    def run():
        changes = group_sparse(model, x, goal, settings)
        assert int(changes.n_evaluations.min()) == options.iterations + 1

    model.with_gradient(x, zero, goal.margin_loss)  # everything is compiled and cached
    bare, whole = (min(seconds(options.device, work) for _ in range(2)) for work in (passes, run))
    share = (whole - bare) / whole
    print_table(
        ("device", "batch", "passes s", "run s", "share"),
        [(options.device, options.batch, bare, whole, share)],
    )
    bars = Bars()
    bars.add(f"share of the solver {100 * share:.1f} % below 15 %", share < 0.15)
    return bars.finish(options.check)


if __name__ == "__main__":
    raise SystemExit(main())
