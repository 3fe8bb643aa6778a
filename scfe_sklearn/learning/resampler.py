"""CounterfactualResampler: training rows perturbed towards other classes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, OneToOneFeatureMixin
from sklearn.preprocessing import label_binarize
from sklearn.utils import InputTags, Tags, check_random_state
from sklearn.utils.multiclass import check_classification_targets

from scfe_sklearn._utils import Documented, HasMethods, Integral, Interval, Real, StrOptions
from scfe_sklearn.data import as_table, note_columns, open_table
from scfe_sklearn.explanation.containers import is_polars, take_rows
from scfe_sklearn.image.explainer import ImageExplainer
from scfe_sklearn.learning.perturbations import (
    PERTURBATIONS,
    Perturbed,
    attacked_rows,
    counterfactual_rows,
    nearest,
    plausible,
)


def dense(X: Any) -> Any:
    """Return a pandas frame with its sparse columns as dense ones, and anything else as it is."""
    if not hasattr(X, "iloc") or not hasattr(X, "dtypes"):
        return X
    sparse = {name: kind.subtype for name, kind in X.dtypes.items() if _is_sparse(kind)}
    return X.astype(sparse) if sparse else X


def _is_sparse(dtype: Any) -> bool:
    import pandas as pd

    return isinstance(dtype, pd.SparseDtype)


def stacked(first: Any, second: Any) -> Any:
    """Return the rows of two containers of the same kind, one after the other."""
    if is_polars(first):
        import polars as pl

        return pl.concat([first, second], how="vertical_relaxed")
    if hasattr(first, "iloc"):
        import pandas as pd

        return pd.concat([first, second], ignore_index=True)
    if hasattr(first, "new_tensor"):
        import torch

        return torch.cat([first, second.to(first)])
    return np.concatenate([first, second])


def returned_as(rows: Any, given: Any) -> Any:
    """Return rows in the container and, if they fit, the types of the input."""
    if isinstance(given, list):
        return rows.tolist()
    if hasattr(given, "iloc"):
        rows = rows.reset_index(drop=True)
        changed = {
            name: dtype
            for name, dtype in given.dtypes.items()
            if _is_sparse(dtype) and rows[name].dtype != dtype
        }
        return rows.astype(changed) if changed else rows
    if isinstance(given, np.ndarray) and given.dtype.kind == "f":
        return rows.astype(given.dtype, copy=False)
    return rows


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of training rows, and the container of the input.

    Parameters
    ----------
    values : ndarray of shape (n,)
        One label per row.
    given : array-like of shape (n,) or (n, 1), or indicators of shape (n, C)
        What the user passed.
    """

    values: np.ndarray
    given: Any

    @classmethod
    def read(cls, y: Any) -> Labels:
        """Read labels; raise unless they are classes of one output."""
        check_classification_targets(y)
        values = np.asarray(y)
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        elif values.ndim == 2:
            if not (np.isin(values, (0, 1)).all() and (values.sum(axis=1) == 1).all()):
                raise ValueError("Multilabel and multioutput targets are not supported.")
            values = values.argmax(axis=1)
        if len(np.unique(values)) < 2:
            raise ValueError(
                "y must have at least two classes for CounterfactualResampler. "
                f"Got {len(np.unique(values))} class instead."
            )
        return cls(values, y)

    def returned(self, values: np.ndarray) -> Any:
        """Return labels in the container of the input."""
        given = self.given
        if isinstance(given, list):
            return values.tolist()
        if is_polars(given) or type(given).__module__.startswith("polars"):
            return type(given)(values)
        if hasattr(given, "iloc"):
            import pandas as pd

            if given.ndim == 1:
                return pd.Series(values, name=given.name, dtype=given.dtype)
            return pd.DataFrame(values, columns=given.columns).astype(given.dtypes.to_dict())
        if hasattr(given, "new_tensor"):
            return given.new_tensor(values.tolist())
        shape = np.asarray(given).shape
        if len(shape) == 2 and shape[1] > 1:
            return label_binarize(values, classes=np.arange(shape[1]))
        return values


# ------------------------------------------------------------------------------------- resampler


@dataclass(slots=True)
class SamplerTags:
    """Tags of a sampler, for imbalanced-learn."""

    sample_indices: bool = True


@dataclass(slots=True)
class SamplerInputTags(InputTags):
    """Tags of a sampler's input, for imbalanced-learn."""

    dataframe: bool = True


@dataclass(slots=True)
class ResamplerTags(Tags):
    """Tags of scikit-learn, with those that imbalanced-learn adds."""

    sampler_tags: SamplerTags | None = None


class CounterfactualResampler(Documented, OneToOneFeatureMixin, MetaEstimatorMixin, BaseEstimator):
    r"""Training rows perturbed towards other classes, by the convention of imbalanced-learn.

    For every row :math:`x_i` with label :math:`y_i` a label :math:`\tilde y_i \neq y_i` is drawn,
    the row is perturbed until a standard model predicts :math:`\tilde y_i`, and the pair
    :math:`(\tilde x_i, \tilde y_i)` becomes a training row of a new model. Features that the
    row keeps no longer correlate with the label: this breaks shortcuts that the perturbation does
    not change.

    Parameters
    ----------
    explainer : CounterfactualExplainer or image explainer
        Cloned and fitted on the rows, with its model: the standard model. Image explainers hold a
        trained module.
    perturbation : {"p-cfe", "cfe-l2", "pgd-l2", "pgd-linf"}, default="p-cfe"
        "p-cfe": the plausible counterfactuals of the explainer. "cfe-l2": its nearest
        counterfactuals, without density, price or budget of changes. "pgd-l2" and "pgd-linf":
        Auto-PGD within a ball around the row; it needs the gradient of the model.
    tau : float or None, default=50.0
        Weight of plausibility of "p-cfe", in place of the explainer's; None keeps it.
    beta : float or None, default=0.0
        Price of a changed feature of "p-cfe", in place of the explainer's; None keeps it.
    append : bool, default=True
        Whether the training rows are returned as well, in front of the perturbed ones.
    targets : dict or None, default=None
        ``{class: class to reach}``; None draws uniformly among the other classes.
    failed : {"drop", "keep"}, default="drop"
        Treatment of rows that are not perturbed, because no perturbation is found or the model
        predicts the class to reach already: "drop" leaves them out of the perturbed rows, "keep"
        includes them unchanged, with their own label.
    radius : float or "auto", default="auto"
        Radius of the ball of "pgd-l2" and "pgd-linf", in training standard deviations; in the unit
        of the pixels for images. "auto" is doubled until nine of ten rows are perturbed.
    n_iter : int, default=40
        Steps of "pgd-l2" and "pgd-linf".
    random_state : int, RandomState or None, default=None
        Seed of the drawn classes.

    Attributes
    ----------
    explainer_ : CounterfactualExplainer or image explainer
        Fitted; its model is the standard model.
    classes_ : ndarray of shape (C,)
        Labels.
    targets_ : ndarray of shape (n,)
        The class to reach of each training row.
    success_ : ndarray of shape (n,), bool
        Whether the training row was perturbed.
    sample_indices_ : ndarray of shape (m,)
        For each returned row the training row that it comes from.
    perturbed_ : ndarray of shape (m,), bool
        Whether the returned row is a perturbed one.
    radius_ : float or None
        Radius that was used; None for counterfactuals.
    sampling_strategy_ : dict
        For each class the number of training rows with this class to reach.
    n_features_in_ : int
        Number of columns; not for images of four dimensions.
    feature_names_in_ : ndarray of shape (d,)
        Column names, where X had names.

    Notes
    -----
    Columns of data frames keep their dtypes. Rules of the explainer bind every perturbation.
    Parameters that an explainer does not have, such as the `tau` of a `GroupSparseExplainer`, are
    left out. The defaults of `tau`, `beta` and `append` were chosen on validation rows of
    ``benchmarks.learning``: sparse counterfactuals change only the shortcut, and a model
    trained on them learns the shortcut again.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from scfe_sklearn import CounterfactualExplainer
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> model = make_pipeline(StandardScaler(), LogisticRegression())
    >>> resampler = CounterfactualResampler(CounterfactualExplainer(model), random_state=0)
    >>> X_resampled, y_resampled = resampler.fit_resample(X, y)
    >>> len(X), len(X_resampled) - len(X) == int(resampler.success_.sum())
    (178, True)
    """

    _estimator_type = "sampler"
    _parameter_constraints: dict[str, Any] = {
        "explainer": [HasMethods(["explain"])],
        "perturbation": [StrOptions(set(PERTURBATIONS))],
        "tau": [Interval(Real, 0, None, closed="left"), None],
        "beta": [Interval(Real, 0, None, closed="left"), None],
        "append": ["boolean"],
        "targets": [dict, None],
        "failed": [StrOptions({"drop", "keep"})],
        "radius": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "n_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        explainer: Any,
        *,
        perturbation: str = "p-cfe",
        tau: float | None = 50.0,
        beta: float | None = 0.0,
        append: bool = True,
        targets: Mapping[Any, Any] | None = None,
        failed: str = "drop",
        radius: float | str = "auto",
        n_iter: int = 40,
        random_state: Any = None,
    ) -> None:
        self.explainer = explainer
        self.perturbation = perturbation
        self.tau = tau
        self.beta = beta
        self.append = append
        self.targets = targets
        self.failed = failed
        self.radius = radius
        self.n_iter = n_iter
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        """Return tags of a sampler, as imbalanced-learn reads them."""
        tags = super().__sklearn_tags__()
        known = {name: getattr(tags, name) for name in Tags.__dataclass_fields__}
        known |= {"estimator_type": "sampler", "input_tags": SamplerInputTags()}
        known["target_tags"].required = True
        return ResamplerTags(**known, sampler_tags=SamplerTags())

    def fit(self, X: Any, y: Any) -> CounterfactualResampler:
        """Fit the standard model and the explainer, and draw the classes to reach.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, d), or images of shape (n, C, H, W)
            Training rows.
        y : array-like of shape (n,)
            Their labels; positions among the model's outputs for images.

        Returns
        -------
        CounterfactualResampler
            Self.
        """
        self._fitted(X, y)
        return self

    def fit_resample(self, X: Any, y: Any) -> tuple[Any, Any]:
        """Perturb training rows.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, d), or images of shape (n, C, H, W)
            Training rows.
        y : array-like of shape (n,)
            Their labels; positions among the model's outputs for images.

        Returns
        -------
        X_resampled : DataFrame, ndarray, Tensor or list of m rows
            In the container of X.
        y_resampled : array-like of shape (m,)
            In the container of y.

        Raises
        ------
        ValueError
            If y has less than two classes, a parameter is invalid, or no row is left.
        """
        rows, labels = self._fitted(X, y)
        found = self._perturbed(rows)
        good = np.flatnonzero(found.success)
        self.success_, self.radius_ = found.success, found.radius
        parts, values, origin = found.rows, self.targets_[good], good
        if self.failed == "keep":
            bad = np.flatnonzero(~found.success)
            order = np.argsort(np.concatenate([good, bad]))
            parts = take_rows(stacked(parts, take_rows(rows, bad)), order)
            values = np.concatenate([values, labels.values[bad]])[order]
            origin, moved = np.concatenate([good, bad])[order], found.success.copy()
        else:
            moved = np.ones(len(good), dtype=bool)
        if self.append:
            parts, n = stacked(rows, parts), len(labels.values)
            values = np.concatenate([labels.values, values])
            origin = np.concatenate([np.arange(n), origin])
            moved = np.concatenate([np.zeros(n, dtype=bool), moved])
        if len(origin) == 0:
            raise ValueError(
                "CounterfactualResampler must perturb at least one row if it does not append. "
                "Got no perturbed row instead."
            )
        self.sample_indices_, self.perturbed_ = origin, moved
        return returned_as(parts, X), labels.returned(values)

    def _fitted(self, X: Any, y: Any) -> tuple[Any, Labels]:
        """Fit the explainer and draw the classes; return the rows and their labels."""
        self._validate_params()
        labels = Labels.read(y)
        images = isinstance(self.explainer, ImageExplainer)
        rows = X if images else as_table(dense(X))
        if not images or getattr(rows, "ndim", 2) == 2:
            note_columns(self, open_table(rows))
        if self.perturbation == "cfe-l2":
            explainer = nearest(self.explainer)
        else:
            explainer = plausible(self.explainer, tau=self.tau, beta=self.beta)
        self.explainer_ = explainer
        if hasattr(explainer, "fit"):
            explainer.fit(rows, labels.values)
        if self.perturbation.startswith("pgd") and getattr(explainer, "solver_", "apg") != "apg":
            raise ValueError(
                "The 'perturbation' parameter of CounterfactualResampler must be 'cfe-l2' or "
                "'p-cfe' for a model without a gradient. "
                f"Got {self.perturbation!r} instead."
            )
        self.classes_, code = np.unique(labels.values, return_inverse=True)
        self.targets_ = self._draw(code.reshape(-1))
        reached, counts = np.unique(self.targets_, return_counts=True)
        self.sampling_strategy_ = dict(zip(reached.tolist(), counts.tolist(), strict=True))
        return rows, labels

    def _draw(self, code: np.ndarray) -> np.ndarray:
        """Return the class to reach of each row, from the position of its own."""
        classes = self.classes_
        if self.targets is None:
            random = check_random_state(self.random_state)
            shift = random.randint(1, len(classes), len(code))
            return np.asarray(classes[(code + shift) % len(classes)])
        known = classes.tolist()
        wrong = [
            label
            for label in known
            if self.targets.get(label) not in known or self.targets[label] == label
        ]
        if wrong:
            raise ValueError(
                "The 'targets' parameter of CounterfactualResampler must give another class for "
                f"each of {known}. Got {self.targets!r} instead, which has none for {wrong[0]!r}."
            )
        return np.asarray(classes[[known.index(self.targets[label]) for label in known]])[code]

    def _perturbed(self, rows: Any) -> Perturbed:
        if not self.perturbation.startswith("pgd"):
            return counterfactual_rows(self.explainer_, rows, self.targets_)
        p = 2.0 if self.perturbation == "pgd-l2" else math.inf
        return attacked_rows(self.explainer_, rows, self.targets_, p, self.radius, self.n_iter)
