"""
Which pixels make a digit another one?
======================================

A small network learns the digits of scikit-learn. Then a few pixels, close together, change its
answer (`GroupSparseExplainer`), and `AutoFrankWolfe` draws the most convincing other digit within
a ball whose norm and radius are yours to move.

Run with ``--save FILE`` to keep the picture, and with ``--page FILE`` to keep the page.
"""

import argparse
from math import inf

import matplotlib.pyplot as plt
import pandas as pd
import torch
from sklearn.datasets import load_digits
from torch import nn

from scfe_sklearn.image import AutoFrankWolfe, GroupSparseExplainer, visual_paths
from scfe_sklearn.image.pictures import plot_panels

parser = argparse.ArgumentParser(description="Counterfactual digits.")
parser.add_argument("--save", metavar="FILE", help="where to write the picture")
parser.add_argument("--page", metavar="FILE", help="where to write the page")
options = parser.parse_args()

# %%
# A small convolutional network.

data = load_digits()
images = torch.from_numpy(data.images / 16).float()[:, None]
labels = torch.from_numpy(data.target)
torch.manual_seed(0)
net = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(),
    nn.Flatten(), nn.Linear(16 * 36, 10),
)  # fmt: skip
optimiser = torch.optim.Adam(net.parameters(), 0.003)
for _ in range(60):
    optimiser.zero_grad()
    nn.functional.cross_entropy(net(images[:1200]), labels[:1200]).backward()
    optimiser.step()
right = (net(images[1200:]).argmax(1) == labels[1200:]).float().mean()
print(f"accuracy on digits not seen: {right:.3f}")

# %%
# Few pixels that stay together. The digits are 8 x 8, so windows of 3 x 3 are counted.

chosen = images[1200:1205]
result = GroupSparseExplainer(net, patch=3, pixel_price=0.05).explain(chosen)
print(result)
plot_panels(result)
if options.save:
    plt.savefig(options.save)

# %%
# The most convincing other digit within a ball, for several norms and radii. People should move
# both themselves: ``--page`` writes a page for that.

explainer = AutoFrankWolfe(net, n_iter=40, n_restarts=2)
balls = {1: [1, 1.8, 3], 1.5: [0.5, 0.8, 1.2], 2: [0.3, 0.5, 0.8], inf: [0.06, 0.1, 0.15]}
paths = visual_paths(explainer, chosen, balls)
rows = [
    {"p": p, "radius": radius, "mean confidence": confidence}
    for p, radii in paths.radii.items()
    for radius, confidence in zip(radii, paths.confidence(p).mean(axis=1), strict=True)
]
print(pd.DataFrame(rows).round(2).to_string(index=False))
if options.page:
    paths.to_html(options.page, "Other digits", [f"digit {k}" for k in range(10)])
