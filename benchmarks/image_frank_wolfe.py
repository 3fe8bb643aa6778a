"""Auto-Frank-Wolfe against plain Frank-Wolfe and Auto-PGD on an adversarially trained network.

Mean log-probability of the second most likely class of CIFAR-10 images within lp-ball and box, 75
iterations, the same random starts for all. "ball, then clip" uses the oracle of the ball alone and
clips, as a solver without the oracle of the intersection has to. "APGD" projects exactly, for p = 1
and 2; "APGD, scale and clip" scales to the ball and then clips, as the published code does for p =
2. --save draws the best value so far over the iterations. Then the oracle's own time.
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
from scfe_sklearn.proximal.balls import lmo_ball, lmo_ball_box, norm_p, project_ball_box
from scfe_sklearn.solvers.gradients import auto_frank_wolfe, auto_projected_gradient

SETTINGS = ((1.0, 20.0), (1.5, 6.0), (1.5, 1.5), (2.0, 2.5))
SCHEDULES = {
    "fixed 0.1": lambda k: 0.1,
    "fixed 0.25": lambda k: 0.25,
    "fixed 0.5": lambda k: 0.5,
    "fixed 0.75": lambda k: 0.75,
    "2 / (k + 2)": lambda k: 2 / (k + 2),
    "10 / (10 + k)": lambda k: 10 / (10 + k),
}
NAMES = ("AFW", "ball, then clip", "APGD", "APGD, scale and clip", *SCHEDULES)
N_ITER = 75


class Problem:
    """Raise the log-probability of the second class; remember the best values so far."""

    def __init__(self, options, p, radius):
        module = load("cnn", options.data, options.device).requires_grad_(False)
        self.module, self.p, self.radius = module, p, radius
        self.x = images("cnn", options.data)[0][: options.images].to(options.device)
        self.model = ImageModel(module, (0.0, 1.0), NETS["cnn"].normalization, unit=1.0)
        with torch.no_grad():
            self.goal = Goal(self.model.logits(self.x).topk(2).indices[:, 1], True)
        box = self.model.perturbation_box(self.x)
        self.lower, self.upper = (bound.flatten(1) for bound in box)
        self.excess, self.best, self.curve, self.ends = 0.0, None, [], {}

    def evaluate(self, u):
        """Values and gradients at points (n, D)."""
        size = lengths(u.double(), self.p).max() / self.radius - 1
        outside = torch.maximum(self.lower - u, u - self.upper).max()
        self.excess = max(self.excess, float(size), float(outside))
        _, value, gradient = self.model.with_gradient(
            self.x, u.reshape(self.x.shape), self.goal.log_probability
        )
        self.best = value if self.best is None else torch.maximum(self.best, value)
        self.curve.append(float(self.best.mean()))
        return value, gradient.flatten(1)

    def lmo(self, c):
        """Oracle of ball and box."""
        return lmo_ball_box(c, self.p, self.radius, self.lower, self.upper)

    def clipped(self, c):
        """Oracle of the ball, clipped to the box."""
        return lmo_ball(c, self.p, self.radius).clamp(self.lower, self.upper)

    def project(self, v):
        """Nearest points of ball and box."""
        return project_ball_box(v, self.p, self.radius, self.lower, self.upper)

    def scale(self, v):
        """Points scaled to the ball, then clipped to the box."""
        return (v * (self.radius / norm_p(v, self.p)).clamp(max=1)).clamp(self.lower, self.upper)

    def run(self, name, ascend):
        """Return the curve of mean best values of a method; keep its mean end probability."""
        self.best, self.curve = None, []
        ascend()
        self.ends[name] = float(self.best.exp().mean())
        return self.curve


def plain(problem, start, schedule):
    """Frank-Wolfe with a step that depends on the iteration."""
    u = start
    _, gradient = problem.evaluate(u)
    for k in range(N_ITER):
        u = (1 - schedule(k)) * u + schedule(k) * problem.lmo(gradient)
        _, gradient = problem.evaluate(u)


def compare(options, p, radius, bars):
    """Return the curve of each method, the final mean of five restarts, and end probabilities."""
    problem = Problem(options, p, radius)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(problem.x.flatten(1).shape, generator=generator).to(problem.x.device)
    start, clipped = problem.lmo(noise), problem.clipped(noise)
    evaluate = problem.evaluate
    curves = {
        "AFW": problem.run("AFW", lambda: auto_frank_wolfe(evaluate, problem.lmo, start, N_ITER)),
        "ball, then clip": problem.run(
            "ball, then clip",
            lambda: auto_frank_wolfe(evaluate, problem.clipped, clipped, N_ITER),
        ),
    }
    for name, project in (("APGD", problem.project), ("APGD, scale and clip", problem.scale)):
        if p == 2 or (p == 1 and name == "APGD"):
            curves[name] = problem.run(
                name,
                lambda project=project: auto_projected_gradient(
                    evaluate, project, start, p, radius, N_ITER
                ),
            )
    for name, schedule in SCHEDULES.items():
        curves[name] = problem.run(name, lambda schedule=schedule: plain(problem, start, schedule))
    many = AutoFrankWolfe(problem.module, normalization=NETS["cnn"].normalization, p=p,
                          radius=radius)  # fmt: skip
    restarts = many.explain(problem.x, problem.goal.label).confidence_after
    ours = curves["AFW"][-1]
    best = max(
        curve[-1] for name, curve in curves.items() if name in (*SCHEDULES, "ball, then clip")
    )
    text = f"p = {p}, radius {radius}: AFW {ours:.4f} above Frank-Wolfe {best:.4f}"
    bars.add(text, ours > best)
    text = f"p = {p}, radius {radius}: outside by at most {problem.excess:.1e}"
    bars.add(text, problem.excess <= 1e-6)
    restarts = torch.from_numpy(restarts)
    problem.ends["AFW, 5 restarts"] = float(restarts.mean())
    return curves, float(restarts.log().mean()), problem.ends


def draw(found, file):
    """Draw one panel per setting: mean best value over iterations."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, len(found), figsize=(5 * len(found), 4), squeeze=False, layout="constrained"
    )
    for axis, ((p, radius), curves) in zip(axes[0], found.items(), strict=True):
        for name, curve in curves.items():
            # A method has the same colour in all panels.
            axis.plot(
                curve, f"C{NAMES.index(name)}", label=name, linewidth=2.5 if name == "AFW" else 1
            )
        axis.set_title(f"p = {p}, radius {radius}")
        axis.set_xlabel("iteration")
        top = max(curve[-1] for curve in curves.values())
        axis.set_ylim(4 * top, top / 2)
    axes[0, 0].set_ylabel("mean log-probability, best so far")
    axes[0, -1].legend()
    figure.savefig(file)
    plt.close(figure)


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
    parser.add_argument("--save", metavar="FILE", help="where to write the curves")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(arguments)
    bars, rows, found = Bars(), [], {}
    for p, radius in SETTINGS:
        curves, restarts, shares = compare(options, p, radius, bars)
        found[p, radius] = curves
        ends = {name: curve[-1] for name, curve in curves.items()}
        ends["AFW, 5 restarts"] = restarts
        rows += [
            (name, p, radius, f"{end:.4f}", f"{shares[name]:.4f}") for name, end in ends.items()
        ]
    print_table(("method", "p", "radius", "mean log-probability", "probability"), rows)
    if options.save:
        draw(found, options.save)
    print(f"oracle, 8 images of 3 x 224 x 224, p = 1.5: {oracle_seconds(options.device):.3f} s")
    return bars.finish(options.check)


if __name__ == "__main__":
    raise SystemExit(main())
