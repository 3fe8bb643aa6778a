"""Adapters of transformers and pipelines; importing it registers them."""

from scfe_sklearn.models.transformers import encoders, numeric, pipeline  # noqa: F401
from scfe_sklearn.models.transformers.encoders import is_missing

__all__ = ["is_missing"]
