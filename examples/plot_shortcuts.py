"""
Find a patch that no one noticed
================================

In most odd digits of the training images there is a bright patch. The network uses it, and accuracy
on images of the same kind does not show it. Counterfactuals do: they put the patch there.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from scfe_sklearn.image import PlausibleImageExplainer
from scfe_sklearn.learning import find_shortcuts

# %%
# Training images with the patch in 95 % of the odd digits; clean images have it by chance.

data = load_digits()
images, odd = (data.images / 16).astype(np.float32)[:, None], data.target % 2
random = np.random.default_rng(0)
marked = np.where(random.random(len(odd)) < 0.95, odd, 1 - odd)
marked[400:] = random.integers(2, size=len(odd) - 400)
images[marked == 1, :, 5:7, 0:2] = 1.0
train, clean = slice(0, 400), slice(400, 700)

torch.manual_seed(0)
net = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 2))
optimiser = torch.optim.Adam(net.parameters(), 0.01)
for _ in range(100):
    optimiser.zero_grad()
    logits = net(torch.from_numpy(images[train]))
    nn.functional.cross_entropy(logits, torch.from_numpy(odd[train])).backward()
    optimiser.step()

# %%
# Which windows do counterfactuals change, and does what they hold tell the label?

explainer = PlausibleImageExplainer(net, density="knn", tau=2.0, max_pixels=8)
explainer.fit(images[train], odd[train])
shortcuts = find_shortcuts(explainer, images[clean], odd[clean], random_state=0)
print(shortcuts)
print(shortcuts.ranking.head().to_string())

# %%
# The test of the suspicion: the patch is put on every clean image.

print(shortcuts.tests.head(2).T.to_string())

# %%
# The picture: an even digit, its counterfactual, and where suspicion falls.

score = np.full((8, 8), 0.0)
for name, value in zip(shortcuts.ranking["name"], shortcuts.ranking["score"], strict=True):
    i, j = name
    part = score[i : i + shortcuts.side, j : j + shortcuts.side]
    np.maximum(part, value, out=part)
even = images[clean][(odd[clean] == 0) & (marked[clean] == 0)][:1]
answer = explainer.explain(even, 1).counterfactuals
figure, axes = plt.subplots(1, 3, figsize=(7, 2.6), layout="constrained")
for ax, panel, title in zip(
    axes, (even[0, 0], answer[0, 0], score), ("even", "to odd", "score of windows"), strict=True
):
    ax.imshow(panel, cmap="gray" if title != "score of windows" else "Oranges")
    ax.set_title(title)
    ax.set_xticks([])
    ax.set_yticks([])
