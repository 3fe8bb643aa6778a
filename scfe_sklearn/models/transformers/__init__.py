"""Adapters of transformers and pipelines; importing it registers them."""

from scfe_sklearn.models.transformers import (  # noqa: F401
    blocks,
    encoders,
    nonlinear,
    pipeline,
    scalers,
    selection,
)
from scfe_sklearn.models.transformers.encoders import is_missing
from scfe_sklearn.models.transformers.pipeline import column_positions

__all__ = ["column_positions", "is_missing"]
