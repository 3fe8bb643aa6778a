"""The border between raw rows and solver coordinates, both ways."""

from scfe_sklearn.features.space.exact import exact_columns
from scfe_sklearn.features.space.space import FeatureSpace

__all__ = ["FeatureSpace", "exact_columns"]
