"""
Digits that become other digits, with few pixels
================================================

The nearest image that a network calls the next digit is an adversarial example: nobody would call
it that. Plausibility makes the difference. `PlausibleImageExplainer` changes at most a few pixels,
or as many as it likes, such that the image looks like one of the wanted digit.

Run with ``--save FILE`` to keep the picture.
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import LocalOutlierFactor
from torch import nn

from scfe_sklearn.image import AutoencoderDensity, PlausibleImageExplainer

parser = argparse.ArgumentParser(description="Plausible counterfactual digits.")
parser.add_argument("--save", metavar="FILE", help="where to write the picture")
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
for _ in range(100):
    optimiser.zero_grad()
    nn.functional.cross_entropy(net(images[:1200]), labels[:1200]).backward()
    optimiser.step()

# %%
# Each digit should become the next one: without regard to plausibility, with at most 12 pixels, and
# with the densities of neighbours and of an autoencoder.

chosen = images[1200:1206]
target = (net(chosen).argmax(1) + 1) % 10
explainers = {
    "the nearest": {"tau": 0.0},
    "12 pixels": {"density": "knn", "max_pixels": 12},
    "neighbours": {"density": "knn"},
    "autoencoder": {"density": AutoencoderDensity((1, 8, 8), epochs=80), "tau": 5.0},
}
found = {}
for name, parameters in explainers.items():
    explainer = PlausibleImageExplainer(net, **parameters).fit(images[:1200], labels[:1200])
    found[name] = explainer.explain(chosen, target)

# %%
# How unlike training images of the wanted digit are the answers? (1 is ordinary.)

rows = images[:1200].flatten(1).numpy()
factors = {
    digit: LocalOutlierFactor(20, novelty=True).fit(rows[labels[:1200] == digit])
    for digit in target.unique().tolist()
}
for name, result in found.items():
    scores = [
        -factors[int(digit)].score_samples(image.reshape(1, -1).numpy())[0]
        for digit, image in zip(target, result.counterfactuals, strict=True)
        if not torch.isnan(image).any()
    ]
    pixels = np.nanmean(result.measures()["pixels"])
    print(f"{name}: {result.success.sum()} found, {pixels:.1f} pixels, outlier factor "
          f"{np.mean(scores):.2f}")  # fmt: skip

# %%
# The picture.

figure, axes = plt.subplots(len(chosen), 1 + len(found), figsize=(7, 8), layout="constrained")
for row, axs in enumerate(axes):
    shown = [chosen[row], *(result.counterfactuals[row] for result in found.values())]
    titles = ["image", *found]
    for axis, image, title in zip(axs, shown, titles, strict=True):
        axis.imshow(torch.nan_to_num(image[0]), cmap="gray", vmin=0, vmax=1)
        axis.set_xticks([])
        axis.set_yticks([])
        if row == 0:
            axis.set_title(title)
    axs[0].set_ylabel(f"to {int(target[row])}", rotation=0, labelpad=20)
if options.save:
    plt.savefig(options.save)
