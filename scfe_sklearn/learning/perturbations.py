"""Move training rows to other classes, by attacks or counterfactuals; angles between both."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from sklearn.base import clone

from scfe_sklearn.data import as_table
from scfe_sklearn.explanation.containers import columns_in_order, narrowed, take_rows
from scfe_sklearn.image import PlausibleImageExplainer, ProjectedGradient
from scfe_sklearn.image.explainer import ImageExplainer
from scfe_sklearn.proximal.balls import project_ball_box
from scfe_sklearn.recourse.threads import one_thread
from scfe_sklearn.solvers.gradients import auto_projected_gradient
from scfe_sklearn.status import Status

PERTURBATIONS = ("pgd-l2", "pgd-linf", "cfe-l2", "p-cfe")
"""Kinds of perturbations."""

ENOUGH = 0.9
"""Share of the rows that the radius "auto" must move to their class, if a larger one can."""

DOUBLINGS = 8
"""Most doublings of the radius "auto"."""

NEAREST: dict[str, Any] = {
    "tau": 0.0,
    "beta": 0.0,
    "penalty": "l0",
    "max_changes": None,
    "min_plausibility": 0.0,
}
"""Parameters of a tabular explainer of the nearest counterfactuals."""


@dataclass(frozen=True, eq=False)
class Perturbed:
    """Rows after a perturbation.

    Parameters
    ----------
    rows : DataFrame or ndarray of shape (m, ...)
        The rows that were moved to their class, in their order.
    success : ndarray of shape (n,), bool
        Which of all rows these are.
    radius : float or None
        Radius of the ball of projected gradients.
    """

    rows: Any
    success: np.ndarray
    radius: float | None = None


def nearest(explainer: Any) -> Any:
    """Return an explainer of the nearest counterfactuals, without density and sparsity."""
    if not isinstance(explainer, ImageExplainer):
        return clone(explainer).set_params(**NEAREST)
    return PlausibleImageExplainer(
        explainer.model,
        tau=0.0,
        bounds=explainer.bounds,
        normalization=explainer.normalization,
    )


def plausible(explainer: Any, **parameters: Any) -> Any:
    """Return a copy of an explainer with parameters that it has and that are not None."""
    copy = clone(explainer)
    known = copy.get_params(deep=False)
    return copy.set_params(
        **{name: value for name, value in parameters.items() if value is not None and name in known}
    )


def counterfactual_rows(explainer: Any, X: Any, target: np.ndarray) -> Perturbed:
    """Perturb rows by the counterfactuals of a fitted explainer."""
    with warnings.catch_warnings():
        # Rows without an answer are marked as such.
        warnings.filterwarnings("ignore", ".*no counterfactual", UserWarning)
        result = explainer.explain(X, target)
    success = np.asarray(result.status == Status.FOUND)
    rows = take_rows(result.counterfactuals, np.flatnonzero(success))
    if isinstance(explainer, ImageExplainer):
        return Perturbed(rows.reshape(len(rows), *X.shape[1:]), success)
    return Perturbed(narrowed(rows, like=X), success)


def attacked_rows(
    explainer: Any, X: Any, target: np.ndarray, p: float, radius: float | str, n_iter: int
) -> Perturbed:
    """Perturb rows by Auto-PGD within an lp-ball, against the model of an explainer.

    The radius "auto" is doubled until 9 of 10 rows that need it are moved to their class, or more
    do not help.
    """
    attack = _image_attack if isinstance(explainer, ImageExplainer) else _table_attack
    if radius != "auto":
        return attack(explainer, X, target, p, float(radius), n_iter)
    size = math.prod(X.shape[1:])
    smallest = 1 / 16 if math.isinf(p) else 0.25 * math.sqrt(min(size, 16) / 4)
    if isinstance(explainer, ImageExplainer):
        smallest *= (explainer.bounds[1] - explainer.bounds[0]) / 2
    best = None
    for k in range(DOUBLINGS + 1):
        found = attack(explainer, X, target, p, smallest * 2**k, n_iter)
        if best is None or found.success.sum() > best.success.sum():
            best = found
        if best.success.mean() >= ENOUGH:
            break
    assert best is not None
    return best


def _image_attack(
    explainer: Any, X: Any, target: np.ndarray, p: float, radius: float, n_iter: int
) -> Perturbed:
    attack = ProjectedGradient(
        explainer.model,
        p=p,
        radius=radius,
        n_iter=n_iter,
        bounds=explainer.bounds,
        normalization=explainer.normalization,
        batch_size=explainer.batch_size,
    )
    images = X[:, None, None] if X.ndim == 2 else X
    result = attack.explain(images, target)
    success = np.asarray(result.status == Status.FOUND)
    rows = result.counterfactuals[success]
    return Perturbed(rows.reshape(len(rows), *X.shape[1:]), success, radius)


def _table_attack(
    explainer: Any, X: Any, target: np.ndarray, p: float, radius: float, n_iter: int
) -> Perturbed:
    """Attack in solver units, within the rules of each row; the judge decides."""
    engine, judge, query = explainer._prepared(X, target, None, 1)
    open_rows = np.flatnonzero([status is None for status in query.status])
    rows = query.rows.take(open_rows)
    z, bounds = torch.from_numpy(rows.Z), rows.bounds
    labels = torch.from_numpy(np.searchsorted(explainer.classes_, target[open_rows]))
    free = torch.from_numpy(bounds.allowed & ~rows.missing)
    lower = (torch.from_numpy(bounds.lower) - z).clamp(max=0) * free
    upper = (torch.from_numpy(bounds.upper) - z).clamp(min=0) * free

    def evaluate(w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        point = (z + w).requires_grad_()
        with torch.enable_grad():
            loss = torch.nn.functional.cross_entropy(
                engine.models[0](point), labels, reduction="none"
            )
            (gradient,) = torch.autograd.grad(loss.sum(), point)
        return -loss.detach(), -gradient

    def project(w: torch.Tensor) -> torch.Tensor:
        return project_ball_box(w, p, radius, lower, upper)

    success = np.zeros(len(query.Z), dtype=bool)
    if len(open_rows) == 0:
        return Perturbed(take_rows(X, open_rows), success, radius)
    with one_thread():
        start = torch.zeros_like(z)
        found = auto_projected_gradient(evaluate, project, start, p, radius, n_iter)
    Z = np.where(rows.missing, query.Z[open_rows], (z + found.u).numpy())
    verdict = replace(judge, max_changes=None)(
        Z,
        query.Z[open_rows],
        take_rows(query.X, open_rows),
        open_rows,
        labels.numpy(),
        query.targets,
    )
    success[open_rows] = verdict.good
    good = take_rows(verdict.frame, np.flatnonzero(verdict.good))
    whole = columns_in_order(explainer.inputs_.to_user(good), getattr(X, "columns", ()))
    return Perturbed(narrowed(whole, like=X), success, radius)


# ---------------------------------------------------------------------------------------- angles


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
