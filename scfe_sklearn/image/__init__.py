"""Sparse explanations of image classifiers: changes of few, gathered pixels, and visual ones."""

from scfe_sklearn.image.explanation import ImageExplanation
from scfe_sklearn.image.group_sparse_explainer import GroupSparseExplainer, published

__all__ = ["GroupSparseExplainer", "ImageExplanation", "published"]
