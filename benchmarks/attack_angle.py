"""The angle between attacks and plausible counterfactuals, for a plain and a robust network.

The thesis finds that targeted attacks on robust networks are close to plausible counterfactuals.
Digits (scikit-learn's) are moved to the next digit by Auto-PGD in a 2-ball and by plausible
counterfactuals of several tau; 90 degrees is no relation. The robust network is trained on attacked
images. ``--save FILE`` draws digits with both changes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from benchmarks.reporting import Bars, add_check_option, numbers, print_table
from scfe_sklearn.image import PlausibleImageExplainer, ProjectedGradient
from scfe_sklearn.learning import attack_angles

RADIUS = 1.0
"""Radius of the attacks of the training, in pixels from 0 to 1."""

N_TRAIN = 1200


def network(
    images: torch.Tensor, labels: torch.Tensor, robust: bool, seed: int, epochs: int
) -> nn.Module:
    """Train a small convolutional network, on attacked images where it shall be robust."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(16 * 36, 10),
    )  # fmt: skip
    optimiser = torch.optim.Adam(net.parameters(), 0.003)
    for epoch in range(epochs):
        for batch in torch.randperm(len(images)).split(128):
            x = images[batch]
            if robust:
                attack = ProjectedGradient(
                    net, p=2, radius=RADIUS, step=RADIUS / 3, n_iter=6, random_state=epoch
                )
                changed = attack.explain(x)
                x = torch.where(torch.isnan(changed.counterfactuals), x, changed.counterfactuals)
            optimiser.zero_grad()
            functional.cross_entropy(net(x), labels[batch]).backward()
            optimiser.step()
    return net


def draw(
    found: dict[str, tuple[nn.Module, PlausibleImageExplainer]],
    asked: torch.Tensor,
    target: np.ndarray,
    path: str,
) -> None:
    """Draw digits, their attacks and their counterfactuals."""
    import matplotlib.pyplot as plt

    titles = ["digit", *(f"{word}, {name}" for name in found for word in ("attack", "plausible"))]
    figure, axes = plt.subplots(len(asked), 5, figsize=(8, 1.7 * len(asked)), layout="constrained")
    panels = [asked]
    for net, explainer in found.values():
        attack = ProjectedGradient(net, p=2, radius=3.0)
        panels += [one.explain(asked, target).counterfactuals for one in (attack, explainer)]
    for column, (title, images) in enumerate(zip(titles, panels, strict=True)):
        axes[0, column].set_title(title, fontsize=9)
        for row, image in enumerate(images):
            axes[row, column].imshow(np.nan_to_num(image[0].numpy()), cmap="gray", vmin=0, vmax=1)
            axes[row, column].set_axis_off()
    figure.savefig(path)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=numbers, default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--tau", type=numbers, default=[0.0, 5.0, 20.0, 50.0])
    parser.add_argument("--epochs", type=int, default=40, help="of the training")
    parser.add_argument("--save", metavar="FILE", help="where to draw digits with their changes")
    add_check_option(parser)
    options = parser.parse_args(arguments)
    data = load_digits()
    images, labels = (
        torch.from_numpy(data.images / 16).float()[:, None],
        torch.from_numpy(data.target),
    )
    train, test = slice(0, N_TRAIN), slice(N_TRAIN, N_TRAIN + options.images)
    rows, means, kept = [], {}, {}
    for name in ("plain", "robust"):
        for seed in map(int, options.seeds):
            net = network(
                images[train], labels[train], name == "robust", seed, options.epochs
            ).eval()
            with torch.no_grad():
                accuracy = float(
                    (net(images[N_TRAIN:]).argmax(1) == labels[N_TRAIN:]).float().mean()
                )
            target = (labels[test].numpy() + 1) % 10
            for tau in options.tau:
                explainer = PlausibleImageExplainer(net, tau=tau).fit(images[train], labels[train])
                angles = attack_angles(explainer, images[test], target)
                rows.append(
                    [name, seed, accuracy, tau, float(np.nanmean(angles)), float(np.nanstd(angles))]
                )
                means.setdefault((name, tau), []).append(rows[-1][-2])
            kept[name] = net, explainer
    print_table(["network", "seed", "accuracy", "tau", "angle", "deviation"], rows)
    bars = Bars()
    for tau in options.tau:
        plain, robust = (float(np.mean(means[name, tau])) for name in ("plain", "robust"))
        bars.add(
            f"tau {tau:g}: angle of robust networks {robust:.1f}, below {plain:.1f} of plain ones",
            robust < plain,
        )
    if options.save:
        draw(kept, images[test][:4], target[:4], options.save)
    return bars.finish(options.check)


if __name__ == "__main__":
    raise SystemExit(main())
