"""Sparse explanations of image classifiers: changes of few, gathered pixels, and visual ones."""

from scfe_sklearn.image.attacks.nuclear_frank_wolfe import NuclearFrankWolfe
from scfe_sklearn.image.attacks.pgd0 import PGD0
from scfe_sklearn.image.attacks.projected import FastGradientSign, ProjectedGradient
from scfe_sklearn.image.attacks.proximal_attack import ProximalAttack
from scfe_sklearn.image.attacks.random_search import SparseRandomSearch
from scfe_sklearn.image.attacks.reparameterized import ReparameterizedAttack
from scfe_sklearn.image.attacks.sigma_zero import SigmaZero
from scfe_sklearn.image.attacks.sparse_auto import SparseAutoAttack
from scfe_sklearn.image.attacks.sparse_projected import SparsePGD
from scfe_sklearn.image.attacks.structured import StrAttack
from scfe_sklearn.image.ensemble import MeanProbability
from scfe_sklearn.image.explanation import ImageExplanation
from scfe_sklearn.image.group_sparse.explainer import GroupSparseExplainer, gse_parameters
from scfe_sklearn.image.noise import NoiseScores, noise_scores
from scfe_sklearn.image.plausible.autoencoder import AutoencoderDensity
from scfe_sklearn.image.plausible.explainer import PlausibleImageExplainer
from scfe_sklearn.image.visual.explainer import AutoFrankWolfe
from scfe_sklearn.image.visual.paths import VisualPaths, visual_paths

__all__ = [
    "PGD0",
    "AutoFrankWolfe",
    "AutoencoderDensity",
    "FastGradientSign",
    "GroupSparseExplainer",
    "ImageExplanation",
    "MeanProbability",
    "NoiseScores",
    "NuclearFrankWolfe",
    "PlausibleImageExplainer",
    "ProjectedGradient",
    "ProximalAttack",
    "ReparameterizedAttack",
    "SigmaZero",
    "SparseAutoAttack",
    "SparsePGD",
    "SparseRandomSearch",
    "StrAttack",
    "VisualPaths",
    "noise_scores",
    "gse_parameters",
    "visual_paths",
]
