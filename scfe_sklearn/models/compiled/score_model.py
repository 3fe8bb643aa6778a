"""The torch version of a fitted estimator, and the function that builds it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from scfe_sklearn.data import Column
from scfe_sklearn.models.compiled.dispatch import Head, classify
from scfe_sklearn.models.compiled.frame import Frame
from scfe_sklearn.models.compiled.nodes import Input, Memo, UnsupportedModelError
from scfe_sklearn.models.compiled.pipelines import unwrap


class ScoreModel(nn.Module):
    """A fitted classifier as a differentiable function of column space.

    Its constants are buffers (``model.to(device)`` moves them) and no parameter of it is
    trained. It is built by `as_torch`.

    Attributes
    ----------
    n_classes : int
        Number of classes ``C``, in the order of the estimator's ``classes_``.
    response_method : str
        ``"predict_proba"`` or ``"decision_function"``: what `response` reproduces.
    surrogate : bool
        True where `scores` only guide a search (isotonic calibration): their largest column
        can differ from the predicted class, while `response` stays exact.
    dtype : torch.dtype
        Type in which the model computes.
    single_precision : bool
        True where some part of it computes in float32, by `dtype` or inside a torch module.
    jumps : bool
        True where some part of it jumps at values of the data (quantiles at ties): numbers that
        are rounding off them have another response.
    """

    def __init__(self, head: Head, source: Input, dtype: torch.dtype) -> None:
        super().__init__()
        self.head = head
        self.source = source
        self.dtype = dtype
        self.n_classes = head.n_classes
        self.response_method = head.link.response_method
        self.surrogate = head.surrogate
        self.single_precision = head.single_precision or dtype != torch.float64
        self.jumps = any(getattr(part, "jumps", False) for part in self.modules())

    def scores(self, u: Tensor) -> Tensor:
        """Score of every class; the largest is the predicted one.

        For a binary decision ``f`` they are ``(-f/2, f/2)``; for a model with probabilities
        their softmax is ``predict_proba``.

        Parameters
        ----------
        u : Tensor of shape (n, U)
            Rows of column space.

        Returns
        -------
        Tensor of shape (n, C)
            Differentiable scores.
        """
        return self.head.scores({self.source: self._rows(u)})

    def response(self, u: Tensor) -> Tensor:
        """Return what the estimator's `response_method` returns.

        Parameters
        ----------
        u : Tensor of shape (n, U)
            Rows of column space.

        Returns
        -------
        Tensor of shape (n,) or (n, C)
            Probabilities or decisions.
        """
        memo: Memo = {self.source: self._rows(u)}
        if self.response_method == "predict_proba":
            return self.head.log_proba(memo).exp()
        return self.head.decision(memo)

    def forward(self, u: Tensor) -> Tensor:
        """Return `scores`."""
        return self.scores(u)

    def _rows(self, u: Tensor) -> Tensor:
        if u.ndim != 2 or u.shape[1] != self.source.width:
            raise ValueError(
                f"The rows must have shape (n, {self.source.width}). Got {tuple(u.shape)} instead."
            )
        return u.to(self.dtype)


def as_torch(
    estimator: Any, columns: Sequence[Column], dtype: torch.dtype = torch.float64
) -> ScoreModel:
    """Exact differentiable version of a fitted classifier or pipeline.

    Parameters
    ----------
    estimator : fitted classifier or Pipeline
        FrozenEstimator and hyper-parameter searches are unwrapped wherever they stand.
    columns : sequence of Column
        Layout of column space: the raw columns that the estimator reads, in the order of the
        rows' coordinates. An estimator fitted on named columns picks them by name.
    dtype : torch.dtype, default=torch.float64
        Type of the computation.

    Returns
    -------
    ScoreModel
        The function; compare it with the estimator by `verify`.

    Raises
    ------
    UnsupportedModelError
        The estimator, or a step of it, has no exact differentiable version.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from sklearn.linear_model import LogisticRegression
    >>> from scfe_sklearn.data import Column
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), [0, 0, 1, 1]
    >>> model = as_torch(LogisticRegression().fit(X, y), [Column(0, None)])
    >>> model.scores(torch.tensor(X)).argmax(1).tolist()
    [0, 0, 1, 1]
    """
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise TypeError(
            f"The 'dtype' parameter of as_torch must be a floating torch.dtype. Got {dtype!r} "
            "instead."
        )
    inner = unwrap(estimator)
    if not hasattr(inner, "fit"):
        raise UnsupportedModelError(
            f"{type(inner).__name__} is no estimator of scikit-learn: its gradient is not known."
        )
    check_is_fitted(inner)
    frame = input_frame(inner, columns, dtype)
    return ScoreModel(classify(inner, frame), frame.source, dtype).requires_grad_(False)


def input_frame(
    estimator: Any, columns: Sequence[Column], dtype: torch.dtype = torch.float64
) -> Frame:
    """Return the columns that an estimator reads: by name where it knows names, else all."""
    frame, names = Frame.from_columns(columns, dtype), [column.name for column in columns]
    expected = getattr(estimator, "feature_names_in_", None)
    if expected is None or names == list(expected):
        return frame
    position = {name: k for k, name in enumerate(names)}
    if any(name in position for name in expected):
        missing = [name for name in expected if name not in position]
        if missing:
            raise UnsupportedModelError(
                f"{type(estimator).__name__} reads the columns {missing!r}, "
                "which the data do not have."
            )
        return frame.take(np.array([position[name] for name in expected], dtype=int))
    return frame
