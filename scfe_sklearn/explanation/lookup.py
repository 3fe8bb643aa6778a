"""Rows of an explanation by their labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from scfe_sklearn.explanation.result import Explanation


class ByLabel:
    """``explanation.loc``: labels are looked up by the rules of pandas.

    Parameters
    ----------
    explanation : Explanation
        Its ``index`` holds the labels.
    """

    def __init__(self, explanation: Explanation) -> None:
        self._explanation = explanation

    def __getitem__(self, labels: Any) -> Explanation:
        """Return the entries of a label, a list or a slice of labels, or a mask."""
        import pandas as pd

        index = self._explanation.index
        if isinstance(labels, tuple) and index.nlevels == 1:
            raise TypeError(
                "Explanation.loc must be given labels of rows only: a label, a list, a slice or a "
                f"mask. Got {labels!r} instead."
            )
        places = pd.Series(np.arange(len(index)), index=index).loc[labels]
        return self._explanation[np.atleast_1d(np.asarray(places, dtype=np.intp))]
