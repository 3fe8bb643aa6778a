"""The border between the user's data and the solver: encode, decode, snap."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from scfe_sklearn.columns import Column
from scfe_sklearn.documentation import Documented
from scfe_sklearn.features.frames import Table, as_table, check_size, note_columns, open_table
from scfe_sklearn.features.kinds import Feature, Lattice, learn, resolve
from scfe_sklearn.features.space.coding import (
    SAME,
    encode_table,
    find_columns,
    find_edits,
    raw_ranks,
    snapped,
)
from scfe_sklearn.features.space.columns import lay_out_columns
from scfe_sklearn.features.space.problems import find_problems
from scfe_sklearn.row_values import KeepsLists

if TYPE_CHECKING:
    import torch


class FeatureSpace(KeepsLists, Documented, BaseEstimator):
    r"""Translate rows of a data frame or array to solver coordinates and back.

    A numeric value :math:`v` has the coordinate :math:`z = (v - \bar v) / s_v` with the mean
    and the population standard deviation of the training data; an ordinal level the same of
    its rank; a category the one-hot vector of its level divided by :math:`\sqrt 2`, so that a
    changed category adds exactly 1 to the squared distance.

    Parameters
    ----------
    categorical : list of columns, default=None
        Columns to read as unordered categories, besides those of object, string, categorical
        or boolean dtype, which always are.
    ordinal : dict or list of columns, default=None
        ``{column: [levels, lowest first]}``, or a list of columns whose dtype has ordered
        categories. Ordered pandas categoricals are ordinal without being named.
    integer : list of columns, default=None
        Numeric columns that take whole numbers only.
    continuous : list of columns, default=None
        Numeric columns that take any value, whatever the training data look like.
    steps : dict, default=None
        ``{column: step}``: values of the column are whole multiples of the step, shifted to
        the training data where all of these lie on one such lattice.
    scale : {"std", None}, default="std"
        What a numeric unit of distance is: the training standard deviation of the column, or
        (None) one unit of the data, for columns that are comparable as they are, such as pixels.

    Attributes
    ----------
    kinds_ : tuple of {"numeric", "integer", "ordinal", "categorical", "held"}
        What each raw feature is.
    columns_ : tuple of Column
        Layout of the column space, which model adapters read.
    levels_ : tuple of (ndarray or None)
        Raw values of the levels of each feature, a missing value last. Levels that no training
        row has are left out.
    names_ : tuple
        Column labels; positions if fitted on an array.
    feature_names_in_ : ndarray of shape (d,)
        Column labels, if all are strings.
    n_features_in_ : int
        Number of raw features, d.
    center_, scale_, min_, max_ : ndarray of shape (d,)
        Training mean, standard deviation and range in raw units (ranks if ordinal). A column
        that never varies has scale 1. Categorical: 0, 1, NaN and NaN.
    step_, offset_ : ndarray of shape (d,)
        Distance of neighbouring raw values (0 if continuous) and one of these values.
    constant_ : ndarray of shape (d,), bool
        Features with a single training value.
    groups_ : ndarray of shape (D,)
        The raw feature of each solver coordinate.
    slices_ : list of slice
        The solver coordinates of each raw feature.
    features_ : tuple of Feature
        All that is known of each raw feature.
    number_features_, number_coordinates_ : ndarray of shape (k,)
        Numeric and ordinal features, and the solver coordinate of each.
    z_step_, z_offset_ : ndarray of shape (D,)
        The lattice in solver coordinates; 0 where there is none.

    Notes
    -----
    An object column is numeric if it holds numbers only, and categorical otherwise.
    A float column is stepped if its training values are whole (step 1) or have at most four
    decimals. Missing values are left out of the statistics; in a categorical column "missing"
    is a level.

    Examples
    --------
    >>> import pandas as pd
    >>> from scfe_sklearn.features import FeatureSpace
    >>> X = pd.DataFrame({"age": [30, 40, 50], "job": ["a", "b", "a"]})
    >>> space = FeatureSpace().fit(X)
    >>> space.kinds_
    ('integer', 'categorical')
    >>> Z = space.encode(X)
    >>> Z[0, 0] += 0.7
    >>> space.decode(Z, like=X)
       age job
    0   36   a
    1   40   b
    2   50   a
    """

    def __init__(
        self,
        *,
        categorical: Sequence[Hashable] | None = None,
        ordinal: Mapping[Hashable, Sequence[Any]] | Sequence[Hashable] | None = None,
        integer: Sequence[Hashable] | None = None,
        continuous: Sequence[Hashable] | None = None,
        steps: Mapping[Hashable, float] | None = None,
        scale: str | None = "std",
    ) -> None:
        self.categorical = categorical
        self.ordinal = ordinal
        self.integer = integer
        self.continuous = continuous
        self.steps = steps
        self.scale = scale

    def __sklearn_tags__(self) -> Any:
        """Return tags: text, categories and missing values are read."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.input_tags.allow_nan = True
        return tags

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        categorical_hint: Iterable[Hashable] = (),
        immutable: Iterable[Hashable] = (),
    ) -> FeatureSpace:
        """Learn kinds, levels, scales and steps.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, d)
            Training data.
        y : None
            Ignored.
        categorical_hint : iterable of columns
            Numeric columns to read as categorical unless a parameter gives another kind, such as
            those that a model encodes as categories.
        immutable : iterable of columns
            Columns that never change. They may hold anything: one that is neither number nor
            level, has no finite range or has very many levels is of the kind "held".

        Returns
        -------
        FeatureSpace
            Self.

        Raises
        ------
        ValueError
            If parameters contradict each other or the data, or a column cannot be read.
        """
        table = open_table(as_table(X))
        check_size(table)
        overrides = resolve(self, table.names, categorical_hint, immutable)
        features = [learn(table, j, overrides) for j in range(len(table.names))]
        self.names_ = tuple(table.names)
        self.labelled_ = table.labelled
        note_columns(self, table)
        self.features_ = tuple(features)
        self._lay_out(features)
        return self

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
        return table, find_columns(self, table)

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
        return encode_table(self, *self.align(X))

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
        return raw_ranks(self, self._points(Z))

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
        return find_problems(self, X, missing)

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
        return snapped(self, self._points(Z), self._points(reference))

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
            reference = encode_table(self, table, order)
        edits = find_edits(self, Z, reference)
        return table.write({order[j]: edit for j, edit in edits.items()})

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

    def to_columns(self, z: torch.Tensor) -> torch.Tensor:
        """Column-space points that a model adapter reads; differentiable.

        Parameters
        ----------
        z : Tensor of shape (n, D)
            Solver coordinates.

        Returns
        -------
        Tensor of shape (n, U)
            Numbers in raw units; one weight per level otherwise, the one-hot row at a vertex
            or a whole rank. `columns_` has the layout.
        """
        self._check_fitted()
        return self.column_map_(z)

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
