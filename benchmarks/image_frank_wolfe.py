"""Auto-Frank-Wolfe against plain Frank-Wolfe on an adversarially trained CIFAR-10 network.

Mean log-probability of the second most likely class within lp-ball and box, 75 iterations, the
same random starts for all. "ball, then clip" uses the oracle of the ball alone and clips, as a
solver without the oracle of the intersection has to. Then the oracle's own time.
"""

from __future__ import annotations

import argparse
import time

import torch

from benchmarks.datasets import add_data_option
from benchmarks.image_nets import NETS, images, load
from benchmarks.reporting import Bars, add_check_option, print_table
from scfe_sklearn.image import AutoFrankWolfe
from scfe_sklearn.image.margins import Goal
from scfe_sklearn.image.metrics import lengths
from scfe_sklearn.image.model import ImageModel
from scfe_sklearn.proximal.balls import lmo_ball, lmo_ball_box
from scfe_sklearn.solvers.gradients.frank_wolfe import auto_frank_wolfe

SETTINGS = ((1.5, 6.0), (1.5, 1.5), (2.0, 2.5))
SCHEDULES = {
    "fixed 0.1": lambda k: 0.1,
    "fixed 0.5": lambda k: 0.5,
    "2 / (k + 2)": lambda k: 2 / (k + 2),
    "10 / (10 + k)": lambda k: 10 / (10 + k),
}
N_ITER = 75


def plain(evaluate, lmo, start, schedule):
    """Frank-Wolfe with a step that depends on the iteration; the best value of each row."""
    u = start
    best, gradient = evaluate(u)
    for k in range(N_ITER):
        u = (1 - schedule(k)) * u + schedule(k) * lmo(gradient)
        value, gradient = evaluate(u)
        best = torch.maximum(best, value)
    return best


def compare(options, p, radius, bars):
    """Return a row per method: name, p, radius, mean log-probability."""
    name = "cnn"
    module = load(name, options.data, options.device).requires_grad_(False)
    x = images(name, options.data)[0][: options.images].to(options.device)
    model = ImageModel(module, (0.0, 1.0), NETS[name].normalization, unit=1.0)
    with torch.no_grad():
        goal = Goal(model.logits(x).topk(2).indices[:, 1], True)
    lower, upper = (bound.flatten(1) for bound in model.perturbation_box(x))
    excess = [0.0]

    def evaluate(u):
        size = lengths(u.double(), p).max() / radius - 1
        outside = torch.maximum(lower - u, u - upper).max()
        excess.append(max(float(size), float(outside)))
        _, value, gradient = model.with_gradient(x, u.reshape(x.shape), goal.log_probability)
        return value, gradient.flatten(1)

    def lmo(c):
        return lmo_ball_box(c, p, radius, lower, upper)

    def clipped(c):
        return lmo_ball(c, p, radius).clamp(lower, upper)

    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(x.flatten(1).shape, generator=generator).to(x.device)
    start = lmo(noise)
    found = {"AFW": auto_frank_wolfe(evaluate, lmo, start, N_ITER).value}
    worst = max(excess)
    many = AutoFrankWolfe(module, normalization=NETS[name].normalization, p=p, radius=radius)
    result = many.explain(x, goal.label)
    found["AFW, 5 restarts"] = torch.from_numpy(result.confidence_after).log()
    found["ball, then clip"] = auto_frank_wolfe(evaluate, clipped, clipped(noise), N_ITER).value
    for title, schedule in SCHEDULES.items():
        found[title] = plain(evaluate, lmo, start, schedule)
    means = {title: float(value.mean()) for title, value in found.items()}
    rivals = [title for title in means if not title.startswith("AFW")]
    best = max(means[title] for title in rivals)
    bars.add(f"p = {p}, radius {radius}: AFW {means['AFW']:.4f} above {best:.4f}",
             means["AFW"] > best)  # fmt: skip
    bars.add(f"p = {p}, radius {radius}: outside by at most {worst:.1e}", worst <= 1e-6)
    return [(title, p, radius, f"{value:.4f}") for title, value in means.items()]


def oracle_seconds(device):
    """Time of one oracle call for 8 images of 224 x 224 x 3, and of the largest matrix product."""
    generator = torch.Generator().manual_seed(0)
    c = torch.randn(8, 3 * 224 * 224, generator=generator).to(device)
    lower, upper = -torch.rand(c.shape, generator=generator).to(device), torch.ones_like(c)
    lmo_ball_box(c[:1], 1.5, 50.0, lower[:1], upper[:1])
    begin = time.perf_counter()
    answer = lmo_ball_box(c, 1.5, 50.0, lower, upper)
    float(answer.sum())
    return time.perf_counter() - begin


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_data_option(parser)
    add_check_option(parser)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(arguments)
    bars, rows = Bars(), []
    for p, radius in SETTINGS:
        rows += compare(options, p, radius, bars)
    print_table(("method", "p", "radius", "mean log-probability"), rows)
    print(f"oracle, 8 images of 3 x 224 x 224, p = 1.5: {oracle_seconds(options.device):.3f} s")
    return bars.finish(options.check)


if __name__ == "__main__":
    raise SystemExit(main())
