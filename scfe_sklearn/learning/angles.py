"""Angles between attacks and plausible counterfactuals of the same rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from scfe_sklearn.data import as_table
from scfe_sklearn.explanation.containers import take_rows
from scfe_sklearn.image.explainer import ImageExplainer
from scfe_sklearn.learning.perturbations import attacked_rows, counterfactual_rows


def attack_angles(
    explainer: Any, X: Any, target: Any, *, radius: float | str = "auto", n_iter: int = 40
) -> np.ndarray:
    r"""Angle between the attack of each row and its counterfactual, in degrees.

    .. math:: \arccos \frac{\langle w_{attack}, w_{cf} \rangle}
                           {\|w_{attack}\| \, \|w_{cf}\|}

    in training standard deviations, or in pixels. The attack is Auto-PGD in a 2-ball. Small angles
    mean that attacks look like counterfactuals.

    Parameters
    ----------
    explainer : CounterfactualExplainer or image explainer
        Fitted, of a model with a gradient.
    X : DataFrame or array-like of shape (n, d), or images of shape (n, C, H, W)
        Rows.
    target : label or array-like of shape (n,)
        Classes to reach.
    radius : float or "auto", default="auto"
        Radius of the ball; "auto" is doubled until nine of ten attacks reach their class.
    n_iter : int, default=40
        Steps of the attack.

    Returns
    -------
    ndarray of shape (n,)
        From 0 to 180; NaN without an attack or a counterfactual.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from scfe_sklearn import CounterfactualExplainer
    >>> X, y = load_wine(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), LogisticRegression())
    >>> explainer = CounterfactualExplainer(model, beta=0.0).fit(X, y)
    >>> angles = attack_angles(explainer, X[:5], target=1)
    >>> bool((angles > 0).all() and (angles < 90).all())
    True
    """
    images = isinstance(explainer, ImageExplainer)
    rows = X if images else as_table(X)
    labels = np.asarray(target)
    if labels.ndim == 0:
        labels = np.full(len(rows), target)
    attack = attacked_rows(explainer, rows, labels, 2.0, radius, n_iter)
    answer = counterfactual_rows(explainer, rows, labels)
    out = np.full(len(rows), np.nan)
    both = attack.success & answer.success
    if not both.any():
        return out

    def points(part: Any) -> np.ndarray:
        if images:
            return torch.as_tensor(part).detach().cpu().double().flatten(1).numpy()
        space = explainer.space_
        return np.asarray(space.filled(space.encode(explainer.inputs_.to_search(part))))

    start = points(take_rows(rows, np.flatnonzero(both)))
    u, v = (
        points(take_rows(part.rows, np.flatnonzero(both[part.success]))) - start
        for part in (attack, answer)
    )
    cosine = (u * v).sum(axis=1) / (np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1))
    out[both] = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return out
