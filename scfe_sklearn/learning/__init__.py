"""Learning from counterfactuals: resampling, group scores, learned shortcuts."""

from scfe_sklearn.learning.groups import group_report, load_group_images, worst_group_score
from scfe_sklearn.learning.perturbations import attack_angles
from scfe_sklearn.learning.resampler import CounterfactualResampler
from scfe_sklearn.learning.shortcuts import Shortcuts, find_shortcuts

__all__ = [
    "CounterfactualResampler",
    "Shortcuts",
    "attack_angles",
    "find_shortcuts",
    "group_report",
    "load_group_images",
    "worst_group_score",
]
