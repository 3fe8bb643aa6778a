"""Stability: how far an answer moves when its factual row is disturbed."""

from __future__ import annotations

from typing import Any

import numpy as np

from scfe_sklearn.metrics.sizes import l2
from scfe_sklearn.metrics.tables import as_rows


def stability(
    Z_factual: Any, Z_noisy: Any, Z_counterfactual: Any, Z_noisy_counterfactual: Any
) -> np.ndarray:
    """Distance between the answers to two nearby queries, per distance between the queries.

    ``||z' - z~'|| / ||z - z~||`` with z~ a factual under noise and z' , z~' the counterfactuals
    of both: an empirical Lipschitz constant of the explainer; small is stable.

    Parameters
    ----------
    Z_factual, Z_noisy : array-like of shape (n, D)
        Factuals and the same under noise, in solver space.
    Z_counterfactual, Z_noisy_counterfactual : array-like of shape (n, D)
        Their counterfactuals.

    Returns
    -------
    ndarray of shape (n,)
        NaN where an answer is missing, or where nothing was disturbed and nothing moved; inf
        where equal factuals have different answers.

    References
    ----------
    Alvarez-Melis and Jaakkola, "On the robustness of interpretability methods", 2018.

    Examples
    --------
    >>> stability([[0.0]], [[0.1]], [[1.0]], [[1.2]]).round(6)
    array([2.])
    """
    moved = l2(as_rows(Z_noisy_counterfactual) - as_rows(Z_counterfactual))
    disturbed = l2(as_rows(Z_noisy) - as_rows(Z_factual))
    with np.errstate(divide="ignore", invalid="ignore"):
        return moved / disturbed
