"""Transformers of numbers: scalers and projections, powers, quantiles, polynomials, functions."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from torch import Tensor, nn

from scfe_sklearn.models.compiled import (
    Frame,
    UnsupportedModelError,
    as_constant,
    compile_transformer,
)


class Clip(nn.Module):
    """Clip every column into one interval."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low = low
        self.high = high

    def forward(self, rows: Tensor) -> Tensor:
        """Clip the rows."""
        return torch.clamp(rows, self.low, self.high)


def _centered(frame: Frame, estimator: Any, center: Any, scale: Any) -> Frame:
    """(x - center) / scale, either of which may be None."""
    frame.require_numbers(estimator)
    center = np.zeros(frame.width) if center is None else np.asarray(center, dtype=float)
    scale = np.ones(frame.width) if scale is None else np.asarray(scale, dtype=float)
    return frame.scale_shift(1.0 / scale, -center / scale)


@compile_transformer.register(StandardScaler)
def _standard(estimator: Any, frame: Frame) -> Frame:
    mean = estimator.mean_ if estimator.with_mean else None
    return _centered(frame, estimator, mean, estimator.scale_ if estimator.with_std else None)


@compile_transformer.register(RobustScaler)
def _robust(estimator: Any, frame: Frame) -> Frame:
    center = estimator.center_ if estimator.with_centering else None
    return _centered(frame, estimator, center, estimator.scale_ if estimator.with_scaling else None)


@compile_transformer.register(MinMaxScaler)
def _min_max(estimator: Any, frame: Frame) -> Frame:
    frame.require_numbers(estimator)
    out = frame.scale_shift(estimator.scale_, estimator.min_)
    return out.apply(Clip(*estimator.feature_range), out.width) if estimator.clip else out


@compile_transformer.register(MaxAbsScaler)
def _max_abs(estimator: Any, frame: Frame) -> Frame:
    out = _centered(frame, estimator, None, estimator.scale_)
    clip = getattr(estimator, "clip", False)  # since scikit-learn 1.8
    return out.apply(Clip(-1.0, 1.0), out.width) if clip else out


@compile_transformer.register(PCA)
@compile_transformer.register(IncrementalPCA)
def _pca(estimator: Any, frame: Frame) -> Frame:
    frame.require_numbers(estimator)
    weight = estimator.components_.T
    if estimator.whiten:
        deviation = np.sqrt(estimator.explained_variance_)
        weight = weight / np.maximum(deviation, np.finfo(deviation.dtype).eps)
    # two steps, so that the mean becomes the center of the coordinates
    return frame.scale_shift(1.0, -estimator.mean_).project(weight, 0.0)


@compile_transformer.register(TruncatedSVD)
def _svd(estimator: Any, frame: Frame) -> Frame:
    frame.require_numbers(estimator)
    return frame.project(estimator.components_.T, 0.0)


# ------------------------------------------------------------------------------------ not affine


_QUANTILE_BOUND = 1e-7  # scikit-learn's threshold around the outer quantiles

_FUNCTIONS = {
    np.log1p: torch.log1p,
    np.log: torch.log,
    np.log2: torch.log2,
    np.log10: torch.log10,
    np.sqrt: torch.sqrt,
    np.exp: torch.exp,
    np.expm1: torch.expm1,
    np.square: torch.square,
    np.abs: torch.abs,
    np.tanh: torch.tanh,
    np.sin: torch.sin,
    np.cos: torch.cos,
    np.arcsinh: torch.arcsinh,
}


class Elementwise(nn.Module):
    """A torch function of every entry."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, rows: Tensor) -> Tensor:
        """Apply the function."""
        return cast(Tensor, self.function(rows))


class BoxCox(nn.Module):
    """(x^lambda - 1) / lambda, log(x) where lambda is 0 (Box and Cox 1964); x > 0."""

    lambdas: Tensor
    flat: Tensor

    def __init__(self, lambdas: np.ndarray, dtype: torch.dtype) -> None:
        super().__init__()
        flat = np.abs(lambdas) < np.spacing(1.0)
        self.register_buffer("lambdas", as_constant(np.where(flat, 1.0, lambdas), dtype))
        self.register_buffer("flat", torch.as_tensor(flat))

    def forward(self, rows: Tensor) -> Tensor:
        """Transform rows; entries that are not positive count as the smallest number."""
        return self.of_log(torch.log(rows.clamp(min=torch.finfo(rows.dtype).tiny)))

    def of_log(self, logs: Tensor) -> Tensor:
        """Transform exp(logs)."""
        lambdas = self.lambdas
        return torch.where(self.flat, logs, torch.expm1(lambdas * logs) / lambdas)


class YeoJohnson(nn.Module):
    """Box-Cox of 1 + x above zero, minus that of 1 - x with 2 - lambda below.

    Source: Yeo and Johnson 2000.
    """

    def __init__(self, lambdas: np.ndarray, dtype: torch.dtype) -> None:
        super().__init__()
        self.above = BoxCox(lambdas, dtype)
        self.below = BoxCox(2.0 - lambdas, dtype)

    def forward(self, rows: Tensor) -> Tensor:
        """Transform rows."""
        # clamp has slope 1 at zero and relu slope 0, so the sum has the right slope there
        above = self.above.of_log(torch.log1p(rows.clamp(min=0)))
        return above - self.below.of_log(torch.log1p(torch.relu(-rows)))


class Quantiles(nn.Module):
    """Piecewise linear ranks, averaged over both directions as scikit-learn does for ties.

    They jump at tied quantiles, so the numbers have to be the exact ones of the data.
    """

    jumps = True
    ranks: Tensor
    grid: Tensor

    def __init__(self, estimator: QuantileTransformer, dtype: torch.dtype) -> None:
        super().__init__()
        self.normal = estimator.output_distribution == "normal"
        self.register_buffer("grid", as_constant(estimator.quantiles_.T, dtype).contiguous())
        self.register_buffer("ranks", as_constant(estimator.references_, dtype))

    def forward(self, rows: Tensor) -> Tensor:
        """Transform rows."""
        grid = self.grid
        x = rows.T.contiguous()
        low, high = grid[:, :1], grid[:, -1:]
        inside = torch.minimum(torch.maximum(x, low), high)
        out = 0.5 * (self._interpolate(inside, True) + self._interpolate(inside, False))
        bound = _QUANTILE_BOUND if self.normal else 0.0
        if self.normal:
            top, bottom = x + bound > high, x - bound < low
        else:
            top, bottom = x >= high, x <= low
        out = out.masked_fill(top, 1.0).masked_fill(bottom, 0.0)
        if self.normal:
            edge = bound - np.spacing(1.0)
            out = torch.special.ndtri(out.clamp(edge, 1 - edge))
        return out.T

    def _interpolate(self, x: Tensor, right: bool) -> Tensor:
        """numpy.interp per feature; `right` chooses among tied quantiles."""
        grid, ranks = self.grid, self.ranks
        with torch.no_grad():
            after = torch.searchsorted(grid, x.detach(), right=right)
            after = after.clamp(1, max(grid.shape[1] - 1, 1))
            before = after - 1
            after = after.clamp(max=grid.shape[1] - 1)
            start, width = grid.gather(1, before), grid.gather(1, after)
            width = width - start
            slope = (ranks[after] - ranks[before]) / torch.where(width > 0, width, 1.0)
            base = ranks[before]
        return base + (x - start) * slope


class Polynomials(nn.Module):
    """Products of columns, one gather and product per degree."""

    factors: Tensor

    def __init__(self, powers: np.ndarray) -> None:
        super().__init__()
        degree, width = int(powers.sum(axis=1).max(initial=0)), powers.shape[1]
        factors = np.full((len(powers), degree), width)  # column `width` is all ones
        for row, exponents in enumerate(powers):
            named = np.repeat(np.arange(width), exponents)
            factors[row, : len(named)] = named
        self.degree = degree
        self.register_buffer("factors", torch.as_tensor(factors))

    def forward(self, rows: Tensor) -> Tensor:
        """Products of the rows' entries."""
        factors = self.factors
        if not self.degree:
            return rows.new_ones(len(rows), len(factors))
        padded = torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)
        out = padded.index_select(1, factors[:, 0])
        for k in range(1, self.degree):
            out = out * padded.index_select(1, factors[:, k])
        return out


class RowNorm(nn.Module):
    """Rows divided by their norm; rows of zeros stay."""

    def __init__(self, norm: str) -> None:
        super().__init__()
        self.order = {"l1": 1.0, "l2": 2.0, "max": float("inf")}[norm]

    def forward(self, rows: Tensor) -> Tensor:
        """Normalised rows."""
        norms = torch.linalg.vector_norm(rows, ord=self.order, dim=1, keepdim=True)
        return rows / torch.where(norms == 0, 1.0, norms)


@compile_transformer.register(PowerTransformer)
def _power(estimator: Any, frame: Frame) -> Frame:
    frame.require_numbers(estimator)
    kind = BoxCox if estimator.method == "box-cox" else YeoJohnson
    out = frame.apply(kind(np.asarray(estimator.lambdas_, dtype=float), frame.dtype), frame.width)
    if not estimator.standardize:
        return out
    scaler = estimator._scaler  # scikit-learn has no public name for it; `verify` guards it
    return out.scale_shift(1.0 / scaler.scale_, -scaler.mean_ / scaler.scale_)


@compile_transformer.register(QuantileTransformer)
def _quantile(estimator: Any, frame: Frame) -> Frame:
    frame.require_numbers(estimator)
    return frame.apply(Quantiles(estimator, frame.dtype), frame.width)


@compile_transformer.register(PolynomialFeatures)
def _polynomial(estimator: Any, frame: Frame) -> Frame:
    frame.require_numbers(estimator)
    powers = estimator.powers_
    return frame.apply(Polynomials(powers), len(powers))


@compile_transformer.register(Normalizer)
def _normalizer(estimator: Any, frame: Frame) -> Frame:
    frame.require_numbers(estimator)
    return frame.apply(RowNorm(estimator.norm), frame.width)


@compile_transformer.register(FunctionTransformer)
def _function(estimator: Any, frame: Frame) -> Frame:
    if estimator.func is None:
        return frame
    known = next((f for g, f in _FUNCTIONS.items() if g is estimator.func), None)
    if known is None or estimator.kw_args:
        name = getattr(estimator.func, "__name__", repr(estimator.func))
        names = ", ".join(sorted(function.__name__ for function in _FUNCTIONS))
        raise UnsupportedModelError(
            f"FunctionTransformer({name}) has no differentiable version. Supported: func=None "
            f"and, without keyword arguments, numpy's {names}."
        )
    frame.require_numbers(estimator)
    return frame.apply(Elementwise(known), frame.width)
