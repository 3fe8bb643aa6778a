"""The border between the user's data and the solver: encode, decode, snap."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sklearn.base import BaseEstimator

from scfe_sklearn._utils import Documented, KeepsLists
from scfe_sklearn.data.coding import Coding
from scfe_sklearn.data.features import learn, resolve
from scfe_sklearn.data.frames import as_table, check_size, note_columns, open_table

if TYPE_CHECKING:
    import torch


class FeatureSpace(Coding, KeepsLists, Documented, BaseEstimator):
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
    >>> from scfe_sklearn.data import FeatureSpace
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
