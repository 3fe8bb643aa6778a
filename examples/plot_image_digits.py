"""
Which pixels make a digit another one?
======================================

A small network learns the digits of scikit-learn. Then a few pixels, close together, change its
answer (`GroupSparseExplainer`), and `AutoFrankWolfe` draws the most convincing other digit within
a ball whose radius a slider moves.

Run with ``--save FILE`` to keep the picture, and with ``--page FILE`` to keep the page.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import nn

from scfe_sklearn.image import AutoFrankWolfe, GroupSparseExplainer
from scfe_sklearn.image.pictures import plot_panels, radius_page

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

asked = images[1200:1205]
result = GroupSparseExplainer(net, patch=3).explain(asked)
print(result)
plot_panels(result)
if options.save:
    plt.savefig(options.save)

# %%
# The nearest other digit, at three radii.

radii = [0.5, 1.0, 2.0]
pages = [AutoFrankWolfe(net, radius=radius).explain(asked) for radius in radii]
for radius, page in zip(radii, pages, strict=True):
    print(f"radius {radius}: mean confidence {page.confidence_after.mean():.3f}")
if options.page:
    Path(options.page).write_text(radius_page(pages, radii, "Other digits"), encoding="utf-8")
