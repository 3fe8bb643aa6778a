"""Coordinates of rows: encode, snap and decode by the layout of fitted features."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from scfe_sklearn.data.column_space import Column, exact_columns, lay_out_columns
from scfe_sklearn.data.domains import VERTEX, Lattice, level_codes, match_levels, vertices
from scfe_sklearn.data.features import Feature
from scfe_sklearn.data.frames import open_table
from scfe_sklearn.data.table import Edit, Table

if TYPE_CHECKING:
    import torch

SAME = 1e-9  # coordinates that differ by less are the same, in standard deviations


class Coding:
    """The maps between raw rows and solver coordinates; `FeatureSpace` learns the features."""

    n_features_in_: int
    names_: tuple[Hashable, ...]
    labelled_: bool
    features_: tuple[Feature, ...]

    def _lay_out(self, features: list[Feature]) -> None:
        """Set the fitted arrays, per feature and per coordinate."""

        def each(field: str) -> np.ndarray:
            return np.array([getattr(f, field) for f in features], dtype=np.float64)

        self.kinds_ = tuple(f.kind for f in features)
        self.levels_ = tuple(f.levels for f in features)
        self.columns_ = tuple(
            Column(name, f.levels, held=f.kind == "held")
            for name, f in zip(self.names_, features, strict=True)
        )
        self.center_, self.scale_ = each("center"), each("scale")
        self.min_, self.max_ = each("low"), each("high")
        self.step_, self.offset_ = each("step"), each("offset")
        self.constant_ = each("constant").astype(bool)
        widths = [len(f.levels) if f.kind == "categorical" else 1 for f in features]  # type: ignore[arg-type]
        ends = np.cumsum(widths)
        self.slices_ = [slice(int(e - w), int(e)) for e, w in zip(ends, widths, strict=True)]
        self.groups_ = np.repeat(np.arange(len(features)), widths)
        one_hot = np.array([f.kind == "categorical" for f in features])
        # Coordinates that are numbers (or ranks), and the features that they belong to.
        self.number_features_ = np.flatnonzero(~one_hot)
        self.number_coordinates_ = np.array(
            [self.slices_[j].start for j in self.number_features_], dtype=np.intp
        )
        self.z_step_ = np.where(one_hot, 0.0, self.step_ / self.scale_)[self.groups_]
        anchor = np.where(self.step_ > 0, (self.offset_ - self.center_) / self.scale_, 0.0)
        self.z_offset_ = np.where(one_hot, 0.0, anchor)[self.groups_]
        self.lattice_ = Lattice(
            step=self.step_,
            offset=self.offset_,
            decimals=each("decimals").astype(np.int64),
            low=each("floor"),
            high=each("ceiling"),
            bits=each("bits").astype(np.int64),
        )
        self.column_map_ = lay_out_columns(features, self.slices_)

    @property
    def stand_in_(self) -> np.ndarray:
        """Coordinates (D,) in place of missing numbers and unseen levels.

        A number stands at its mean, and an unseen level as far from every known one as any two
        of these are from each other.
        """
        width = np.bincount(self.groups_)
        one_hot = np.array([kind == "categorical" for kind in self.kinds_])
        apart = (np.sqrt(2.0) - np.sqrt(2.0 + 2.0 * width)) / (2.0 * width)
        return np.asarray(np.where(one_hot, apart, 0.0)[self.groups_])

    @property
    def plain_features_(self) -> np.ndarray:
        """Positions of the features that are numbers as they are, without levels."""
        return np.flatnonzero([kind in ("numeric", "integer") for kind in self.kinds_])

    @property
    def holds_(self) -> bool:
        """Whether a column is held as it is."""
        return "held" in self.kinds_

    def filled(self, Z: np.ndarray) -> np.ndarray:
        """Points (n, D) with stand-ins where they have no finite coordinate."""
        return np.where(np.isfinite(Z), Z, self.stand_in_)

    @property
    def n_coordinates_(self) -> int:
        """Number of solver coordinates, D."""
        self._check_fitted()
        return len(self.groups_)

    def lattice(self, features: np.ndarray | None = None) -> Lattice:
        """The representable raw values of numeric and ordinal features (default: all such)."""
        self._check_fitted()
        return self.lattice_.take(self.number_features_ if features is None else features)

    # ------------------------------------------------------------------ raw -> solver

    def align(self, X: Any) -> tuple[Table, list[int]]:
        """Open a container and find the fitted columns in it, by label or else by position.

        Raises
        ------
        ValueError
            If columns are missing or unknown.
        """
        self._check_fitted()
        table = open_table(X)
        return table, self._find_columns(table)

    def _find_columns(self, table: Table) -> list[int]:
        """Return the positions of the fitted columns: by label, or by position if one has none."""
        if not (table.labelled and self.labelled_):
            if len(table.names) != self.n_features_in_:
                raise ValueError(
                    f"X has {len(table.names)} features, but FeatureSpace is expecting "
                    f"{self.n_features_in_} features as input. X must have the "
                    f"{self.n_features_in_} columns that FeatureSpace was fitted on. "
                    f"Got {len(table.names)} instead."
                )
            return list(range(self.n_features_in_))
        where = {name: j for j, name in enumerate(table.names)}
        missing = [name for name in self.names_ if name not in where]
        known = set(self.names_)
        unknown = [name for name in table.names if name not in known]
        if missing or unknown:
            raise ValueError(
                "X must have the columns that FeatureSpace was fitted on. "
                f"Got missing columns {missing} and unknown columns {unknown}."
            )
        return [where[name] for name in self.names_]

    def encode(self, X: Any) -> np.ndarray:
        """Solver coordinates of raw rows.

        Parameters
        ----------
        X : DataFrame or ndarray of shape (n, d)
            Rows; columns of a data frame may stand in any order.

        Returns
        -------
        ndarray of shape (n, D)
            Coordinates. A missing number or rank is NaN, and so are all coordinates of a
            category that training did not show; an infinite number stays infinite.

        Raises
        ------
        ValueError
            If columns are missing or unknown, or a numeric column holds something else.
        """
        return self._encode(*self.align(X))

    def _encode(self, table: Table, order: list[int]) -> np.ndarray:
        """Coordinates (n, D) of the rows; column ``order[j]`` of the table is feature ``j``."""
        Z = np.zeros((table.n_rows, len(self.groups_)))
        plain = self.plain_features_
        at = [self.slices_[j].start for j in plain]
        values = table.matrix([order[j] for j in plain])
        Z[:, at] = (values - self.center_[plain]) / self.scale_[plain]
        for j, feature in enumerate(self.features_):
            if feature.levels is None:
                continue
            block = self.slices_[j]
            codes = level_codes(table, order[j], feature.levels, feature.missing_level)
            known = codes >= 0
            if feature.kind == "ordinal":
                z = (codes - feature.center) / feature.scale
                Z[:, block.start] = np.where(known, z, np.nan)
            else:
                Z[np.flatnonzero(known), block.start + codes[known]] = VERTEX
                Z[~known, block] = np.nan
        return Z

    def ranks(self, Z: np.ndarray) -> np.ndarray:
        """One number per raw feature: raw numbers, and ranks of levels.

        Parameters
        ----------
        Z : ndarray of shape (n, D)
            Points.

        Returns
        -------
        ndarray of shape (n, d)
            Positions in `levels_` for ordinal and categorical features; NaN where the point
            has NaN.
        """
        Z = self._points(Z)
        values = np.empty((len(Z), self.n_features_in_))
        at = self.number_features_
        values[:, at] = self.center_[at] + self.scale_[at] * Z[:, self.number_coordinates_]
        for j, kind in enumerate(self.kinds_):
            if kind == "categorical":
                block = Z[:, self.slices_[j]]
                values[:, j] = np.where(np.isnan(block).any(axis=1), np.nan, block.argmax(axis=1))
            elif kind == "ordinal":
                values[:, j] = np.rint(values[:, j])
        return values

    def input_problems(self, X: Any, *, missing: bool = True) -> np.ndarray:
        """Why rows cannot be explained, if they cannot.

        Parameters
        ----------
        X : DataFrame or ndarray of shape (n, d)
            Rows.
        missing : bool, default=True
            Whether a missing number is a problem.

        Returns
        -------
        ndarray of shape (n,), object
            None, or a reason such as "missing value in 'age'" (the first, by column).
        """
        table, order = self.align(X)
        reasons = np.full(table.n_rows, None, dtype=object)
        for j in reversed(range(self.n_features_in_)):
            name, feature = self.names_[j], self.features_[j]
            if feature.kind == "held":
                continue
            if feature.levels is None:
                values = table.numbers(order[j])
                if missing:
                    reasons[np.isnan(values)] = f"missing value in {name!r}"
                reasons[np.isinf(values)] = f"infinite value in {name!r}"
                continue
            codes, distinct = table.factorize(order[j])
            if feature.missing_level < 0:
                reasons[codes < 0] = f"missing value in {name!r}"
            texts = np.array([f"unseen category {v!r} in {name!r}" for v in distinct], dtype=object)
            unseen = match_levels(feature.levels, distinct) < 0
            # Categories that no row has are listed among the distinct values too.
            odd = np.flatnonzero((codes >= 0) & np.append(unseen, False)[codes])
            reasons[odd] = texts[codes[odd]]
        return reasons

    # ------------------------------------------------------------------ solver -> raw

    def snap(self, Z: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """The nearest points that rows of the data can have.

        Parameters
        ----------
        Z : ndarray of shape (n, D)
            Points.
        reference : ndarray of shape (n, D)
            Coordinates of the factual rows: features that have not moved keep these exactly.

        Returns
        -------
        ndarray of shape (n, D)
            Numbers on their lattice, categories at a vertex, ordinal levels at a whole rank:
            exactly the coordinates of the decoded row. ``snap(snap(Z)) == snap(Z)``.
        """
        Z, reference = self._points(Z), self._points(reference)
        out = Z.copy()
        at = self.number_coordinates_
        if len(at):
            center = self.center_[self.number_features_]
            scale = self.scale_[self.number_features_]
            with np.errstate(invalid="ignore"):
                out[:, at] = (self.lattice().nearest(center + scale * Z[:, at]) - center) / scale
        for j, kind in enumerate(self.kinds_):
            if kind == "categorical":
                block = self.slices_[j]
                out[:, block] = vertices(Z[:, block])
        moved = self.changed(Z, reference)[:, self.groups_]
        with np.errstate(invalid="ignore"):  # infinity that stays
            same = np.abs(out - reference) <= SAME
        return np.where(~moved | same, reference, out)

    def decode(
        self,
        Z: np.ndarray,
        like: Any,
        rows: np.ndarray | None = None,
        *,
        reference: np.ndarray | None = None,
    ) -> Any:
        """Raw rows of solver coordinates, in the form of the factual rows.

        Parameters
        ----------
        Z : ndarray of shape (m, D)
            Points; they are snapped, as by `snap`.
        like : DataFrame or ndarray of shape (n, d)
            The factual rows, which give container, index, order of columns, dtypes and
            categories, and the values of all features that have not moved, bit for bit.
        rows : ndarray of shape (m,), int, default=None
            Point ``i`` belongs to row ``rows[i]`` of ``like``; default: to row ``i``.
        reference : ndarray of shape (m, D), default=None
            ``encode`` of these rows, if it is known already.

        Returns
        -------
        DataFrame or ndarray of shape (m, d)
            The rows. A feature with a NaN coordinate that its factual row does not have, and
            every feature of a point that is all NaN, is missing. The dtype changes only where
            it cannot hold the values: pandas integers and booleans turn nullable for missing
            values, integer and boolean arrays turn float (text arrays: object), integers turn
            float for new values that are not whole, and categories gain a new level at the end.
        """
        Z = self._points(Z)
        table, order = self.align(like)
        if rows is not None:
            table = table.take(np.asarray(rows))
        if table.n_rows != len(Z):
            raise ValueError(
                "Z must have one row for each row of 'like' (or of 'rows'). "
                f"Got {len(Z)} and {table.n_rows}."
            )
        if reference is None:
            reference = self._encode(table, order)
        edits = self._find_edits(Z, reference)
        return table.write({order[j]: edit for j, edit in edits.items()})

    def _find_edits(self, Z: np.ndarray, reference: np.ndarray) -> dict[int, Edit]:
        """The edits, by raw feature, that turn factual rows into the decoded points.

        Parameters
        ----------
        Z, reference : ndarray of shape (n, D)
            Points, and the coordinates of the factual rows.

        Returns
        -------
        dict from int to Edit
            New raw values; features and rows that stay are not named.
        """
        moved = self.changed(Z, reference)
        empty = np.isnan(Z)
        # A coordinate that is NaN in the factual row too is a value left alone, not a lost one.
        gone = (self.any_coordinate(empty) & moved) | empty.all(axis=1, keepdims=True)
        moved &= ~gone
        edits: dict[int, Edit] = {}
        raw, new = self._new_numbers(moved, Z, reference)
        for j in np.flatnonzero(moved.any(axis=0) | gone.any(axis=0)).tolist():
            blank, at = np.flatnonzero(gone[:, j]), np.flatnonzero(moved[:, j])
            if self.kinds_[j] == "categorical":
                at, values = self._new_levels(j, at, Z, reference)
            else:
                at = np.flatnonzero(new[:, j])
                values = raw[at, j]
            missing_level = self.features_[j].missing_level
            if missing_level >= 0 and len(at):
                lost = values == missing_level
                blank, at, values = np.concatenate([blank, at[lost]]), at[~lost], values[~lost]
            levels = self.levels_[j]
            if levels is not None:
                values = levels[values.astype(np.intp)]
            if len(at) or len(blank):
                edits[j] = Edit(at, values, blank)
        return edits

    def _new_numbers(
        self, moved: np.ndarray, Z: np.ndarray, reference: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Raw numbers and ranks (n, d) after snapping, and where they are new."""
        raw, new = np.zeros(moved.shape), np.zeros(moved.shape, dtype=bool)
        some = moved[:, self.number_features_].any(axis=0)
        features, at = self.number_features_[some], self.number_coordinates_[some]
        if len(features):
            center, scale = self.center_[features], self.scale_[features]
            with np.errstate(invalid="ignore"):
                raw[:, features] = self.lattice(features).nearest(center + scale * Z[:, at])
                near = np.abs((raw[:, features] - center) / scale - reference[:, at]) <= SAME
            new[:, features] = moved[:, features] & ~near
        return raw, new

    def _new_levels(
        self, j: int, rows: np.ndarray, Z: np.ndarray, reference: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows whose categorical feature ``j`` is new, and the new codes."""
        block = self.slices_[j]
        codes = Z[rows, block].argmax(axis=1)
        new = ~(reference[rows, block.start + codes] > VERTEX / 2)
        return rows[new], codes[new]

    def changed(self, Z: np.ndarray, reference: np.ndarray, tol: float = SAME) -> np.ndarray:
        """Return which raw features differ between two sets of points.

        Parameters
        ----------
        Z, reference : ndarray of shape (n, D)
            Points.
        tol : float, default=1e-9
            Coordinates that differ by no more are the same.

        Returns
        -------
        ndarray of shape (n, d), bool
            True where a coordinate of the feature differs. NaN equals NaN only.
        """
        Z, reference = self._points(Z), self._points(reference)
        if Z.shape != reference.shape:
            raise ValueError(
                f"Z and reference must have the same shape. Got {Z.shape} and {reference.shape}."
            )
        same = reference == Z
        with np.errstate(invalid="ignore"):
            same |= np.abs(Z - reference) <= tol
        return self.any_coordinate(~same & ~(np.isnan(Z) & np.isnan(reference)))

    def exact_columns(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """The map from points (n, D) to exactly the raw values that they decode to, (n, U)."""
        return exact_columns(self.features_, self.slices_, self.column_map_, self.lattice())

    def any_coordinate(self, coordinates: np.ndarray) -> np.ndarray:
        """(n, D) flags to (n, d): whether any coordinate of the feature has the flag."""
        starts = [block.start for block in self.slices_]
        return np.logical_or.reduceat(coordinates, starts, axis=1)

    def _check_fitted(self) -> None:
        if not hasattr(self, "groups_"):
            check_is_fitted(self, "groups_")

    def _points(self, Z: np.ndarray) -> np.ndarray:
        self._check_fitted()
        Z = np.asarray(Z, dtype=np.float64)
        if Z.ndim != 2 or Z.shape[1] != len(self.groups_):
            raise ValueError(f"Z must have shape (n, {len(self.groups_)}). Got {Z.shape} instead.")
        return Z
