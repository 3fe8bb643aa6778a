"""PlausibleImageExplainer: few pixels, and an image that looks like one of the wanted class."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.utils import Tags
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from scfe_sklearn._utils import Integral, Interval, Real
from scfe_sklearn.densities import ClassConditionalDensity
from scfe_sklearn.image.batches import (
    channels_first,
    check_bounds,
    check_normalization,
    read_images,
    read_labels,
)
from scfe_sklearn.image.explainer import ImageExplainer, Proposal
from scfe_sklearn.image.margins import Goal
from scfe_sklearn.image.model import ImageModel
from scfe_sklearn.image.plausible.pixel_problem import PixelRows, image_shape, pixel_problem
from scfe_sklearn.models.classifiers import as_constant_function
from scfe_sklearn.objective import PlausibilityTerm
from scfe_sklearn.solvers.descent import GradientSettings
from scfe_sklearn.solvers.gradient_solver import improve_by_gradient
from scfe_sklearn.solvers.problem import Pool
from scfe_sklearn.solvers.starts import WideSettings, descend_wide

POOL = 2
SETTLING = 100
"""Steps inside of the changed pixels."""

SWAPPED = 1024
"""Values of an image up to which single swaps of them are tried."""


@dataclass(eq=False, repr=False, kw_only=True)
class PlausibleImageExplainer(ImageExplainer):
    r"""Sparse and plausible counterfactual images: S-CFE [1]_ with pixels as features.

    .. math:: \min_{x'} \; \|x' - x\|_2^2 - \tau \log q(x' \mid t) + \beta \,\#\{\text{pixels}\}
              \quad \text{s.t.} \quad f(x') = t, \; \#\{\text{changed pixels}\} \le m

    over the range of the pixels, by the solver of :class:`scfe_sklearn.CounterfactualExplainer`.
    All channels of a pixel are one change. Lengths are in units in which the range of the pixels
    is 2 wide. The density of each class is fitted on images; for large ones
    :class:`AutoencoderDensity` is the reconstruction error of a variational autoencoder.

    Parameters
    ----------
    density : "kde", "gmm", "knn", "lof" or Density, default="gmm"
        Fitted anew on the images of each class, as rows of pixels from -1 to 1.
    tau : float in [0, inf), default=20.0
        Weight of plausibility. One unit buys, with a squared length of 1, the step from the lower
        quartile of the class's images, by log-density, to their median.
    max_pixels : int in [1, inf) or None, default=None
        Budget m of changed pixels; None for no limit.
    beta : float in [0, inf), default=0.0
        Price of a changed pixel, in squared lengths.
    n_strides : int in [1, inf), default=60
        Length of the search.
    batch_size : int in [1, inf), default=64
        Images at a time.

    Attributes
    ----------
    density_ : ClassConditionalDensity
        Of rows of pixels; None where ``tau`` is 0.
    classes_ : int array of shape (n_classes,)
        Classes of the fitted images: the possible targets.
    image_shape_ : (C, H, W)
    n_features_in_ : int
        C * H * W.

    Notes
    -----
    Rows (n, D), as scikit-learn has them, are images of one line, (n, 1, 1, D).

    Without a target, the target is the most likely class of ``classes_`` other than the
    predicted one.

    References
    ----------
    .. [1] Sadiku, Wagner, Nagarajan, Pokutta, "S-CFE: simple counterfactual explanations",
       AISTATS 2025.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    >>> images = 2 * torch.rand(60, 1, 4, 4) - 1
    >>> explainer = PlausibleImageExplainer(net, bounds=(-1, 1), max_pixels=6, density="kde")
    >>> explainer = explainer.fit(images, net(images).argmax(1))
    >>> explanation = explainer.explain(images[:2])
    >>> explanation.status.tolist(), bool((explanation.measures()["pixels"] <= 6).all())
    (['found', 'found'], True)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **ImageExplainer._parameter_constraints,
        "density": "no_validation",
        "tau": [Interval(Real, 0, None, closed="left")],
        "max_pixels": [Interval(Integral, 1, None, closed="left"), None],
        "beta": [Interval(Real, 0, None, closed="left")],
        "n_strides": [Interval(Integral, 1, None, closed="left")],
    }

    density: Any = "gmm"
    tau: float = 20.0
    max_pixels: int | None = None
    beta: float = 0.0
    n_strides: int = 60
    batch_size: int = 64

    def fit(self, images: Any, y: Any) -> Self:
        """Fit the density of each class, and keep the images that the model agrees about.

        Parameters
        ----------
        images : array or Tensor of shape (n, channels, height, width), or rows (n, D)
            Within ``bounds``.
        y : array of shape (n,)
            Classes, as positions in the model's logits.

        Returns
        -------
        self
        """
        self._validate_params()
        who = type(self).__name__
        bounds = check_bounds(self.bounds, who)
        if y is None:
            raise ValueError(f"{who}.fit requires y to be passed, but the target y is None.")
        images = self._lines(images, reset=True)
        given = read_images(images, bounds, who)
        if len(given) == 0:
            raise ValueError(f"The images of {who}.fit must be at least one. Got none.")
        check_normalization(self.normalization, given, who)
        model = self._image_model(bounds)
        dtype, device = model.place(given)
        with as_constant_function(self.model), torch.no_grad(), channels_first(given, who):
            parts = [
                model.logits(part.to(device, dtype)).cpu() for part in given.split(self.batch_size)
            ]
        logits = torch.cat(parts)
        labels = read_labels(_whole(y), len(given), logits.shape[1], who, "y")
        shape = image_shape(given)
        self.image_shape_ = shape
        self.n_features_in_ = given[0].numel()
        rows = PixelRows(shape, bounds).rows(given.cpu())
        self.density_ = None
        if self.tau > 0:
            self.density_ = ClassConditionalDensity(self.density).fit(rows.numpy(), labels.numpy())
        self.classes_ = np.unique(labels.numpy())
        agreed = logits.argmax(1) == labels
        self.reference_rows_ = [rows[agreed & (labels == label)].numpy() for label in self.classes_]
        return self

    def explain(self, images: Any, target: Any = None, region: Any = None) -> Any:
        """Change images so that the model answers differently; see :class:`ImageExplainer`."""
        check_is_fitted(self)
        images = self._lines(images, reset=False)
        shape = getattr(images, "shape", None)
        if shape is not None and len(shape) == 4 and tuple(shape[1:]) != self.image_shape_:
            raise ValueError(
                f"The images of {type(self).__name__} must have the shape (n, *{self.image_shape_})"
                f" that was fitted. Got {tuple(shape)} instead."
            )
        return super().explain(images, target, region)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.positive_only = True
        return tags

    def _lines(self, images: Any, *, reset: bool) -> Any:
        """Return rows as images of one line, and images as they are."""
        if isinstance(images, (np.ndarray, Tensor)) and images.ndim == 4:
            return images
        if not isinstance(images, Tensor):
            images = validate_data(self, images, reset=reset)
        return images[:, None, None] if images.ndim == 2 else images

    def _chooses_target(self) -> bool:
        return True

    def _labels(self, model: ImageModel, x: Tensor, target: Any, who: str) -> Tensor | None:
        if target is None and len(x):
            # The density knows the fitted classes only.
            known = torch.from_numpy(self.classes_)
            _, device = model.place(x)
            chosen = []
            with torch.no_grad():
                for part in x.split(self.batch_size):
                    logits = model.logits(part.to(device)).cpu()
                    own = logits.argmax(1)
                    others = logits[:, known].masked_fill(known == own[:, None], -torch.inf)
                    chosen.append(known[others.argmax(1)])
            target = torch.cat(chosen)
        labels = super()._labels(model, x, target, who)
        if labels is not None:
            unknown = np.setdiff1d(labels.cpu().numpy(), self.classes_)
            if len(unknown):
                raise ValueError(
                    f"The 'target' of {who} must be classes that were fitted, "
                    f"{self.classes_.tolist()}. Got {unknown.tolist()} as well."
                )
        return labels

    def _search(self, model: ImageModel, x: Tensor, goal: Goal, indices: Tensor) -> Proposal:
        pixels = PixelRows(image_shape(x), check_bounds(self.bounds, type(self).__name__))
        # The solver works on the processor, in double precision, which not every device has.
        rows, label = pixels.rows(x.cpu()), goal.label.cpu()
        owner = torch.searchsorted(torch.from_numpy(self.classes_), label)
        counts = torch.zeros(2, len(x), dtype=torch.long)
        parts = [self._plausible(kind) for kind in range(len(self.classes_))]
        problem = pixel_problem(
            model, pixels, rows, label, parts, owner, self.max_pixels, float(self.beta), counts,
            goal.region,
        )  # fmt: skip
        search = WideSettings()
        search = replace(
            search,
            first=replace(search.first, count=self.n_strides),
            # Every swap of a large image would be a picture for each of its values.
            reach=search.reach if rows.shape[1] <= SWAPPED else replace(search.reach, swaps=0),
        )
        pool = Pool.empty(problem, POOL)
        for kind in owner.unique().tolist():
            own = (owner == kind).nonzero()[:, 0]
            anchors = torch.from_numpy(self.reference_rows_[kind])
            pool = pool.scattered(own, descend_wide(problem.take(own), anchors, search, POOL))
        # Single steps of thousands of values would each be a picture.
        settled = GradientSettings(settled=1, settling=SETTLING, polishing=0)
        pool = improve_by_gradient(problem, pool, settled)
        found = pool.best < torch.inf
        w = torch.where(found[:, None], pool.z[:, 0] - rows, torch.zeros_like(rows))
        n_forward, n_backward = counts.to(x.device)
        return Proposal(pixels.square(w).to(x), n_forward, n_backward)

    def _plausible(self, kind: int) -> PlausibilityTerm:
        """Return the plausibility term of a class."""
        if self.density_ is None:
            return PlausibilityTerm(None, 0.0, 0.0)
        return PlausibilityTerm.of_class(self.density_, kind, float(self.tau))


def _whole(y: Any) -> Any:
    """Return whole numbers that are stored as floats as ints, and anything else as it is."""
    if isinstance(y, Tensor):
        return y
    array = np.asarray(y)
    if array.dtype.kind == "O":
        type_of_target(array, input_name="y", raise_unknown=True)
    whole = array.dtype.kind == "f" and bool((array % 1 == 0).all())
    return array.astype(np.int64) if whole else array
