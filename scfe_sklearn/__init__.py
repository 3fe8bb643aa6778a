"""Counterfactual explanations and recourse for scikit-learn classifiers."""

from scfe_sklearn.explainer import CounterfactualExplainer
from scfe_sklearn.explanation import Explanation
from scfe_sklearn.features import Linear, Relative, Rules
from scfe_sklearn.models import TorchClassifier
from scfe_sklearn.status import Status
from scfe_sklearn.targets import Interval, Probability

__all__ = [
    "CounterfactualExplainer",
    "Explanation",
    "Interval",
    "Linear",
    "Probability",
    "Relative",
    "Rules",
    "Status",
    "TorchClassifier",
]

__version__ = "0.1.0.dev0"
