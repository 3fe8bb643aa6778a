"""Counterfactual explanations and recourse for scikit-learn classifiers."""

from scfe_sklearn.explainer import CounterfactualExplainer
from scfe_sklearn.explanation import Explanation
from scfe_sklearn.models import TorchClassifier
from scfe_sklearn.persistence import load, save
from scfe_sklearn.pipeline import RecoursePipeline
from scfe_sklearn.rules import Linear, Relative, Rules
from scfe_sklearn.scoring import RecourseScorer, SparsestValid
from scfe_sklearn.status import Status
from scfe_sklearn.targets import Interval, Probability
from scfe_sklearn.transformer import CounterfactualTransformer

__all__ = [
    "CounterfactualExplainer",
    "CounterfactualTransformer",
    "Explanation",
    "Interval",
    "Linear",
    "Probability",
    "RecoursePipeline",
    "RecourseScorer",
    "Relative",
    "Rules",
    "SparsestValid",
    "Status",
    "TorchClassifier",
    "load",
    "save",
]

__version__ = "0.1.0.dev0"
