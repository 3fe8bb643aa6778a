"""Provably cheapest counterfactuals of tree ensembles, and proofs that there is none.

Everything here works on column space and on raw units. It sees a tree ensemble or the weights
of a linear model as plain arrays, never the estimator.
"""

from scfe_sklearn.exact.cheapest import ExactAnswer, cheapest
from scfe_sklearn.exact.linear import (
    LinearReach,
    fewest_linear,
    linear_reach,
    prove_linear,
    prove_linear_jointly,
)
from scfe_sklearn.exact.options import Options, row_options
from scfe_sklearn.exact.requirements import (
    Requirement,
    all_of,
    class_wins,
    probability_between,
    value_between,
)

__all__ = [
    "ExactAnswer",
    "LinearReach",
    "Options",
    "Requirement",
    "all_of",
    "cheapest",
    "class_wins",
    "fewest_linear",
    "linear_reach",
    "probability_between",
    "prove_linear",
    "prove_linear_jointly",
    "row_options",
    "value_between",
]
