"""The proof that a torch version is the estimator: compare them on rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from scfe_sklearn.models.compiled import ScoreModel, unwrap
from scfe_sklearn.models.errors import AdapterMismatchError
from scfe_sklearn.models.responses import handed

_SINGLE_PRECISION_TOLERANCE = 1e-3


def verify(
    model: ScoreModel, estimator: Any, X_raw: Any, u: Tensor | np.ndarray, tol: float = 1e-6
) -> None:
    """Compare a torch version with its estimator on rows.

    Probabilities may differ by `tol`, decisions by ``tol * (1 + |decision|)``, and the largest
    score must be the predicted class wherever it leads by more than that. Where a part of the
    model computes in float32, `tol` is at least 1e-3: the inputs alone are rounded to seven
    digits.

    Parameters
    ----------
    model : ScoreModel
        From `as_torch`.
    estimator : fitted classifier or Pipeline
        What it stands for.
    X_raw : DataFrame or array of shape (n, d)
        Rows as the estimator reads them.
    u : Tensor or ndarray of shape (n, U)
        The same rows in column space.
    tol : float, default=1e-6
        Largest difference.

    Raises
    ------
    AdapterMismatchError
        They differ, or the torch version returns NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from scfe_sklearn.data import Column
    >>> from scfe_sklearn.models import as_torch
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), [0, 0, 1, 1]
    >>> estimator = GaussianNB().fit(X, y)
    >>> verify(as_torch(estimator, [Column(0, None)]), estimator, X, X)
    """
    name = type(unwrap(estimator)).__name__
    tol = max(tol, _SINGLE_PRECISION_TOLERANCE) if model.single_precision else tol
    rows = _as_rows(model, u)
    with torch.no_grad():
        got = model.response(rows).double().cpu().numpy()
        scores = model.scores(rows).double().cpu().numpy()
    expected = np.asarray(getattr(estimator, model.response_method)(handed(X_raw)), dtype=float)
    if got.shape != expected.shape:
        raise AdapterMismatchError(
            f"The torch version of {name} returns an array of shape {got.shape}, "
            f"its {model.response_method} one of shape {expected.shape}."
        )
    bad = np.isnan(got).reshape(len(got), -1).any(axis=1) | np.isnan(scores).any(axis=1)
    if bad.any():
        raise AdapterMismatchError(
            f"The torch version of {name} returns NaN for {int(bad.sum())} of {len(bad)} rows; "
            f"the first is row {int(np.argmax(bad))}."
        )
    allowed = tol if model.response_method == "predict_proba" else tol * (1 + np.abs(expected))
    gap = np.abs(got - expected)
    if not np.all(gap <= allowed):  # a NaN of the estimator is a mismatch as well
        raise AdapterMismatchError(
            f"The torch version of {name} differs from its {model.response_method} by up to "
            f"{np.max(gap):.3g} on {len(got)} rows (tolerance {tol:.3g})."
        )
    if not model.surrogate:
        _compare_predictions(scores, estimator, X_raw, name, tol)


def _compare_predictions(
    scores: np.ndarray, estimator: Any, X_raw: Any, name: str, tol: float
) -> None:
    """Refuse another predicted class where the scores are clear about it."""
    classes = np.asarray(estimator.classes_)
    predicted = np.asarray(estimator.predict(handed(X_raw)))
    codes = np.argmax(predicted[:, None] == classes[None, :], axis=1)
    best = scores.max(axis=1)
    lead = best - np.take_along_axis(scores, codes[:, None], axis=1)[:, 0]
    wrong = lead > tol * (1 + np.abs(best))
    if wrong.any():
        raise AdapterMismatchError(
            f"The torch version of {name} prefers another class than its predict for "
            f"{int(wrong.sum())} of {len(wrong)} rows; the first is row {int(np.argmax(wrong))}."
        )


def _as_rows(model: ScoreModel, u: Tensor | np.ndarray) -> Tensor:
    constant = next(iter(model.buffers()), torch.empty(0))
    return torch.as_tensor(u, dtype=model.dtype, device=constant.device)
