"""The objective of raw rows, written from the mathematics and apart from any solver.

    squared distance + beta * changes - tau * log q / s

Distance is in training standard deviations, a changed category counts 1. q is the fitted density
of the target class and s the gap between the lower quartile and the median of its training rows.
`RawObjective` takes from the explainer its prices, the fitted density and the coordinates that
the density is fitted in. Validity is `predict` of the user's model; rules are those of the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch

from benchmarks.models import Case
from scfe_sklearn import CounterfactualExplainer
from scfe_sklearn.explanation import Explanation

SAME_NUMBER = 1e-6
"""A number that moves by less, in training standard deviations, has not changed."""
TOLERANCE = 1e-6
"""By how much reported figures may differ from those computed from the raw rows."""


@dataclass(frozen=True, eq=False)
class RawObjective:
    """Objective, validity and rules of raw rows that are coded as numbers (n, d).

    A category is coded by its position among the sorted levels of the training rows. Columns
    are numbers or unordered categories, without missing values.
    """

    case: Case
    explainer: CounterfactualExplainer

    def encode(self, X: pd.DataFrame) -> np.ndarray:
        """Return the codes (n, d) of rows."""
        coded = [
            np.searchsorted(self.levels[j], X[name].to_numpy()) if j in self.levels else X[name]
            for j, name in enumerate(self.case.X.columns)
        ]
        return np.column_stack([np.asarray(part, dtype=float) for part in coded])

    def frame(self, codes: np.ndarray) -> pd.DataFrame:
        """Return the rows of codes."""
        parts = {
            name: self.levels[j][codes[:, j].astype(int)] if j in self.levels else codes[:, j]
            for j, name in enumerate(self.case.X.columns)
        }
        return pd.DataFrame(parts).astype(self.case.X.dtypes.to_dict())

    def coordinates(self, codes: np.ndarray) -> np.ndarray:
        """Return the coordinates (n, D) that the density is fitted in."""
        space = self.explainer.space_
        out = np.zeros((len(codes), space.n_coordinates_))
        for j, place in enumerate(space.slices_):
            if j in self.levels:
                order = {level: k for k, level in enumerate(space.levels_[j].tolist())}
                position = np.array([order[level] for level in self.levels[j].tolist()])
                column = place.start + position[codes[:, j].astype(int)]
                out[np.arange(len(codes)), column] = np.sqrt(0.5)
            else:
                out[:, place.start] = (codes[:, j] - space.center_[j]) / space.scale_[j]
        return out

    def changed(self, codes: np.ndarray, factual: np.ndarray) -> np.ndarray:
        """Return which features (n, d) differ."""
        return np.abs(codes - factual) > SAME_NUMBER * self.spread

    def price(self, codes: np.ndarray, factual: np.ndarray) -> np.ndarray:
        """Return squared distance plus beta times changes (n,)."""
        changed = self.changed(codes, factual)
        squared = ((codes - factual) / self.spread) ** 2
        squared[:, self.categorical] = changed[:, self.categorical]
        return np.asarray(squared.sum(axis=1) + self.explainer.beta * changed.sum(axis=1))

    def log_density(self, codes: np.ndarray) -> np.ndarray:
        """Return log q (n,)."""
        z = torch.from_numpy(self.coordinates(codes))
        return np.asarray(self.explainer.density_.densities_[self.target].log_prob(z).numpy())

    def valid(self, codes: np.ndarray) -> np.ndarray:
        """Return whether the user's model gives the target."""
        return np.asarray(self.case.model.predict(self.frame(codes)) == self.case.loans.target)

    def admissible(self, codes: np.ndarray, factual: np.ndarray) -> np.ndarray:
        """Return whether rules and budget hold, within the training range, and a change is made."""
        changed = self.changed(codes, factual)
        count = changed.sum(axis=1)
        good = (count > 0) & ~changed[:, self.fixed].any(axis=1)
        good &= (codes >= np.minimum(self.low, factual)).all(axis=1)
        good &= (codes <= np.maximum(self.high, factual)).all(axis=1)
        good &= (codes[:, self.rising] >= factual[:, self.rising]).all(axis=1)
        if self.explainer.max_changes is not None:
            good &= count <= self.explainer.max_changes
        return np.asarray(good)

    def snapped(self, codes: np.ndarray) -> np.ndarray:
        """Return codes with every number at the nearest value that the column can have."""
        space = self.explainer.space_
        out = np.array(codes)
        out[:, space.number_features_] = space.lattice().nearest(codes[:, space.number_features_])
        return out

    def check(self, result: Explanation, codes: np.ndarray, factual: np.ndarray) -> None:
        """Raise if figures that the explainer reports are not those of its own raw rows."""
        price = result.distance**2 + self.explainer.beta * result.n_changes
        found = result.success
        for name, ours, theirs in (
            ("distance and changes", self.price(codes, factual), price[found]),
            ("log-density", self.log_density(codes), result.log_density[found]),
        ):
            if not np.allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE):
                worst = np.abs(ours - theirs).max()
                raise AssertionError(f"{name} differ from those reported by up to {worst:g}")

    @property
    def weight(self) -> float:
        """Price of one unit of log-density."""
        return float(self.explainer.tau / self.unit)

    @cached_property
    def levels(self) -> dict[int, np.ndarray]:
        """Sorted levels of the categorical columns."""
        names = list(self.case.X.columns)
        return {names.index(c): np.unique(self.case.X[c].to_numpy()) for c in self.case.categorical}

    @cached_property
    def categorical(self) -> np.ndarray:
        """Positions of the categorical columns."""
        return np.array(sorted(self.levels), dtype=int)

    @cached_property
    def training(self) -> np.ndarray:
        """Codes of the training rows."""
        return self.encode(self.case.X)

    @cached_property
    def spread(self) -> np.ndarray:
        """Training standard deviations; 1 for categories and constant columns."""
        spread = self.training.std(axis=0)
        spread[spread == 0] = 1
        spread[self.categorical] = 1
        return np.asarray(spread)

    @cached_property
    def low(self) -> np.ndarray:
        """Least training values."""
        return np.asarray(self.training.min(axis=0))

    @cached_property
    def high(self) -> np.ndarray:
        """Largest training values."""
        return np.asarray(self.training.max(axis=0))

    @cached_property
    def fixed(self) -> np.ndarray:
        """Positions of the columns that may not change."""
        return self._positions(self.case.loans.immutable)

    @cached_property
    def rising(self) -> np.ndarray:
        """Positions of the columns that may not fall."""
        return self._positions(self.case.loans.increasing)

    @cached_property
    def target(self) -> int:
        """Position of the target among the classes."""
        return list(self.explainer.classes_).index(self.case.loans.target)

    @cached_property
    def quartiles(self) -> tuple[float, float, float]:
        """Lower quartile, median and maximum of the log-densities of the target's rows."""
        reference = self.explainer.density_.reference_log_prob_[self.target]
        low, middle = np.quantile(reference, [0.25, 0.5])
        return float(low), float(middle), float(reference.max())

    @cached_property
    def unit(self) -> float:
        """Gap between the lower quartile and the median."""
        gap = self.quartiles[1] - self.quartiles[0]
        return gap if gap > 1e-9 else 1.0

    def _positions(self, names: tuple[str, ...]) -> np.ndarray:
        columns = list(self.case.X.columns)
        return np.array([columns.index(name) for name in names], dtype=int)
