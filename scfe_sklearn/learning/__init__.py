"""Learning from counterfactuals: resampling, group scores, learned shortcuts."""

from scfe_sklearn.learning.groups import group_report, worst_group_score
from scfe_sklearn.learning.resampler import CounterfactualResampler

__all__ = ["CounterfactualResampler", "group_report", "worst_group_score"]
