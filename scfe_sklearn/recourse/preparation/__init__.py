"""Preparation of a search: checks of the input, models and score functions."""

from scfe_sklearn.recourse.preparation.checks import (
    check_best_effort,
    check_count,
    check_finite,
    check_probabilities,
    check_rules,
    read_classes,
    read_outcomes,
    read_values,
    read_weights,
    several_outputs,
)
from scfe_sklearn.recourse.preparation.choice import EXPONENTS, choose_solver, exponent_of
from scfe_sklearn.recourse.preparation.score_functions import (
    CompiledModels,
    ScoreFunction,
    black_box_scores,
    whole_row_scores,
)
from scfe_sklearn.recourse.preparation.training import fit_surrogate, trained, trained_others

__all__ = [
    "EXPONENTS",
    "CompiledModels",
    "ScoreFunction",
    "black_box_scores",
    "check_best_effort",
    "check_count",
    "check_finite",
    "check_probabilities",
    "check_rules",
    "choose_solver",
    "exponent_of",
    "fit_surrogate",
    "read_classes",
    "read_outcomes",
    "read_values",
    "read_weights",
    "several_outputs",
    "trained",
    "trained_others",
    "whole_row_scores",
]
