"""Names and number of the fitted columns, as scikit-learn expects them of an estimator."""

from __future__ import annotations

from typing import Any

import numpy as np

from scfe_sklearn.features.frames.table import Table


def note_columns(estimator: Any, table: Table) -> None:
    """Set ``n_features_in_``, and ``feature_names_in_`` where all columns have texts as names."""
    estimator.n_features_in_ = len(table.names)
    if table.labelled and all(isinstance(name, str) for name in table.names):
        estimator.feature_names_in_ = np.array(table.names, dtype=object)
    elif hasattr(estimator, "feature_names_in_"):
        del estimator.feature_names_in_
