"""The loan desk of ``python -m scfe_sklearn``: a model, the people it refuses, a judgement.

Everything is generated, so nothing is downloaded. The judgement uses the model, the raw values
and `scfe_sklearn.metrics`, never what the solver says about its own answers.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.compose import make_column_transformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KernelDensity
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from scfe_sklearn import metrics
from scfe_sklearn.datasets import make_loan_applications
from scfe_sklearn.explainer import CounterfactualExplainer
from scfe_sklearn.explanation import Explanation
from scfe_sklearn.features import Relative, Rules

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LoanDesk", "advise", "loan_explainer", "loan_rules", "open_loan_desk", "quality"]

TARGET = "approved"
REFUSED = "refused"


@dataclass(frozen=True, eq=False)
class LoanDesk:
    """Generated applications, split in two, and a model trained on the first part."""

    X_train: pd.DataFrame
    y_train: pd.Series
    X_test: pd.DataFrame
    y_test: pd.Series
    model: Pipeline

    @property
    def refused(self) -> pd.DataFrame:
        """Rows of the test part that the model refuses."""
        return self.X_test[self.model.predict(self.X_test) == REFUSED]


def open_loan_desk(n_samples: int = 4000, *, random_state: int = 0) -> LoanDesk:
    """Generate applications and train a pipeline on three quarters of them.

    Parameters
    ----------
    n_samples : int, default=4000
        Number of applications.
    random_state : int, default=0
        Draws the applications, the split and the weights of the network.

    Returns
    -------
    LoanDesk

    Examples
    --------
    >>> desk = open_loan_desk(400)
    >>> len(desk.X_train), len(desk.X_test), bool(desk.model.score(desk.X_test, desk.y_test) > 0.7)
    (300, 100, True)
    """
    X, y = make_loan_applications(n_samples, random_state=random_state)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.25, stratify=y, random_state=random_state
    )
    order = [list(X["education"].cat.categories)]
    prepare = make_column_transformer(
        (OrdinalEncoder(categories=order), ["education"]),
        (OneHotEncoder(handle_unknown="ignore"), ["sex", "purpose", "housing", "has_cosigner"]),
        remainder=StandardScaler(),
    )
    network = MLPClassifier(
        (32,),
        learning_rate_init=0.005,
        early_stopping=True,
        max_iter=300,
        random_state=random_state,
    )
    model = make_pipeline(prepare, network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X_train, y_train)
    return LoanDesk(X_train, y_train, X_test, y_test, model)


def loan_rules() -> dict[str, Any]:
    """What an applicant can do within about two years, as parameters of the explainer.

    Returns
    -------
    dict
        Names and values of ``immutable``, ``increasing``, ``decreasing`` and ``ranges``.

    Examples
    --------
    >>> loan_rules()["increasing"]
    ['age', 'education', 'employment_years']
    """
    return {
        "immutable": ["sex", "purpose", "housing"],
        "increasing": ["age", "education", "employment_years"],
        "decreasing": ["late_payments", "loan_amount"],
        "ranges": {
            "age": Relative(high=2),
            "employment_years": Relative(high=2),
            "income": Relative(1, 1.25, factor=True),
            "savings": Relative(0, 10_000),
            "credit_score": Relative(-80, 80),
            "debt_ratio": Relative(-0.2, 0),
        },
    }


def loan_explainer(desk: LoanDesk, **parameters: Any) -> CounterfactualExplainer:
    """Fit an explainer of the desk's model, with `loan_rules` and round amounts."""


def advise(explainer: CounterfactualExplainer, refused: Any) -> tuple[Explanation, float]:
    """Explain refused applicants; return the answers and the seconds that they took."""


def quality() -> None: ...
