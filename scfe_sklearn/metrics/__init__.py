"""Scores of counterfactuals: arrays in, one value per row out.

Nothing here calls an explainer. A row without an answer (missing values) scores NaN, never 0,
so that a mean over the rows has to handle it; `coverage` counts such rows.

"Solver space" has one coordinate per numeric feature in units of its standard deviation, and
one per level of a categorical feature, one-hot divided by sqrt(2), so that a changed category
adds exactly 1 to a squared distance. `groups` names the raw feature of each coordinate.
"""

from scfe_sklearn.metrics.changes import (
    l0,
    l1,
    l2,
    linf,
    minimality,
    redundant_changes,
    rule_violations,
    stability,
)
from scfe_sklearn.metrics.outcomes import (
    coverage,
    knn_distance,
    local_outlier_factor,
    log_density_quantile,
    validity,
)

__all__ = [
    "coverage",
    "knn_distance",
    "l0",
    "l1",
    "l2",
    "linf",
    "local_outlier_factor",
    "log_density_quantile",
    "minimality",
    "redundant_changes",
    "rule_violations",
    "stability",
    "validity",
]
