"""Angles between attacks and counterfactuals."""

import numpy as np
import torch
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from scfe_sklearn import CounterfactualExplainer
from scfe_sklearn.image import PlausibleImageExplainer
from scfe_sklearn.learning import attack_angles


def test_nearest_counterfactuals_of_a_linear_model_lie_along_its_attacks():
    X, y = load_wine(return_X_y=True)
    # Full precision: nothing is rounded to decimals.
    X = StandardScaler().fit_transform(X)[y < 2] + 1e-9 * np.pi
    y = y[y < 2]
    explainer = CounterfactualExplainer(
        LogisticRegression(),
        tau=0.0,
        beta=0.0,
        density="knn",
        ranges=dict.fromkeys(range(13), (-99, 99)),
    ).fit(X, y)
    angles = attack_angles(explainer, X[:20], 1)
    assert np.isfinite(angles).sum() > 10
    # Answers move to short numbers nearby, which matters where the change is short.
    assert np.nanmedian(angles) < 0.1 and np.nanmax(angles) < 30
    plausible = explainer.set_params(tau=50.0)
    assert np.nanmin(attack_angles(plausible, X[:20], 1)) > 10


def test_angles_of_images_by_hand():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(9, 2))
    images = torch.rand(20, 1, 3, 3) * 0.2 + 0.4
    labels = net(images).argmax(1)
    explainer = PlausibleImageExplainer(net, tau=0.0).fit(images, labels)
    asked = images[labels == labels[0]]
    other = 1 - int(labels[0])
    assert (labels == other).any()
    angles = attack_angles(explainer, asked, other)
    assert np.nanmax(angles) < 10
    assert np.isnan(attack_angles(explainer, images[labels == other], other)).all()
