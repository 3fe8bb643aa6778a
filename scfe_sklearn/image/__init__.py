"""Sparse explanations of image classifiers: changes of few, gathered pixels, and visual ones."""

from scfe_sklearn.image.autoencoder import AutoencoderDensity
from scfe_sklearn.image.explanation import ImageExplanation
from scfe_sklearn.image.group_sparse_explainer import GroupSparseExplainer, published
from scfe_sklearn.image.noise import NoiseScores, noise_scores
from scfe_sklearn.image.nuclear_frank_wolfe import NuclearFrankWolfe
from scfe_sklearn.image.paths import VisualPaths, visual_paths
from scfe_sklearn.image.pgd0 import PGD0
from scfe_sklearn.image.plausible import PlausibleImageExplainer
from scfe_sklearn.image.projected import FastGradientSign, ProjectedGradient
from scfe_sklearn.image.random_search import SparseRandomSearch
from scfe_sklearn.image.reparameterized import ReparameterizedAttack
from scfe_sklearn.image.sigma_zero import SigmaZero
from scfe_sklearn.image.sparse_auto import SparseAutoAttack
from scfe_sklearn.image.sparse_projected import SparsePGD
from scfe_sklearn.image.structured import StrAttack
from scfe_sklearn.image.visual import AutoFrankWolfe

__all__ = [
    "PGD0",
    "AutoFrankWolfe",
    "AutoencoderDensity",
    "FastGradientSign",
    "GroupSparseExplainer",
    "ImageExplanation",
    "NoiseScores",
    "NuclearFrankWolfe",
    "PlausibleImageExplainer",
    "ProjectedGradient",
    "ReparameterizedAttack",
    "SigmaZero",
    "SparseAutoAttack",
    "SparsePGD",
    "SparseRandomSearch",
    "StrAttack",
    "VisualPaths",
    "noise_scores",
    "published",
    "visual_paths",
]
