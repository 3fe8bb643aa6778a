"""Sparse explanations of image classifiers: changes of few, gathered pixels, and visual ones."""

from scfe_sklearn.image.explanation import ImageExplanation
from scfe_sklearn.image.group_sparse_explainer import GroupSparseExplainer, published
from scfe_sklearn.image.random_search import SparseRandomSearch
from scfe_sklearn.image.sigma_zero import SigmaZero
from scfe_sklearn.image.visual import AutoFrankWolfe

__all__ = [
    "AutoFrankWolfe",
    "GroupSparseExplainer",
    "ImageExplanation",
    "SigmaZero",
    "SparseRandomSearch",
    "published",
]
