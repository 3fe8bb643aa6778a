"""The loan desk of ``python -m scfe_sklearn``: a model, the people it refuses, a judgement.

Everything is generated, so nothing is downloaded. The judgement uses the model, the raw values
and `scfe_sklearn.metrics`, never what the solver computed about its own answers.
"""

from __future__ import annotations

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
from scfe_sklearn._utils import ignore_warnings
from scfe_sklearn.datasets import make_loan_applications
from scfe_sklearn.explainer import CounterfactualExplainer
from scfe_sklearn.explanation import Explanation
from scfe_sklearn.rules import Relative, Rules

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LoanDesk", "Quality", "judge_answers", "open_loan_desk"]

TARGET, REFUSED = "approved", "refused"


@dataclass(frozen=True, eq=False)
class LoanDesk:
    """Generated applications, split in two, and a model trained on the first part."""

    X_train: pd.DataFrame
    y_train: pd.Series
    X_test: pd.DataFrame
    y_test: pd.Series
    model: Pipeline

    def explainer(self) -> CounterfactualExplainer:
        """An explainer of the model, not fitted, with what people can do within two years."""
        return CounterfactualExplainer(
            FrozenEstimator(self.model),
            immutable=["sex", "purpose", "housing"],
            increasing=["age", "education", "employment_years"],
            decreasing=["late_payments", "loan_amount"],
            ranges={
                "age": Relative(high=2),
                "employment_years": Relative(high=2),
                "income": Relative(1, 1.25, factor=True),
                "savings": Relative(0, 10_000),
                "credit_score": Relative(-80, 80),
                "debt_ratio": Relative(-0.2, 0),
            },
            steps={"income": 100, "savings": 100, "loan_amount": 500, "loan_term": 12},
        )

    def decided(self, X: pd.DataFrame, decision: str) -> pd.DataFrame:
        """The rows for which the model decides so."""
        return X[self.model.predict(X) == decision]


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
        (32,), alpha=0.3, learning_rate_init=0.005, max_iter=300, random_state=random_state
    )
    model = make_pipeline(prepare, network)
    with ignore_warnings(ConvergenceWarning):
        model.fit(X_train, y_train)
    return LoanDesk(X_train, y_train, X_test, y_test, model)


@dataclass(frozen=True)
class Quality:
    """Scores of the answers to all rows of a query; means over the rows that have one.

    The plausibility scores compare with the training rows that the model approves, and come in
    threes: of the answers, of the same people as they are, and of the approved people of the
    test part.
    """

    rows: int
    answers: int
    valid: int
    rule_violations: int
    changes: float
    distance: float
    minimal: float
    local_outlier_factor: tuple[float, float, float]
    neighbour_distance: tuple[float, float, float]
    density_quantile: tuple[float, float, float]

    @property
    def sound(self) -> bool:
        """Whether every answer is approved by the model and within the rules."""
        return self.valid == self.answers and self.rule_violations == 0


def judge_answers(
    desk: LoanDesk, explainer: CounterfactualExplainer, result: Explanation
) -> Quality:
    """Score counterfactuals by the model, the raw values and the training rows.

    Parameters
    ----------
    desk : LoanDesk
        The model and its data.
    explainer : CounterfactualExplainer
        Only its coordinates (standard deviations and levels) and its rules are used.
    result : Explanation
        Only its factuals and counterfactuals are used.

    Returns
    -------
    Quality

    Examples
    --------
    >>> desk = open_loan_desk(400)
    >>> explainer = desk.explainer().fit(desk.X_train, desk.y_train)
    >>> refused = desk.decided(desk.X_test, "refused")[:2]
    >>> judge_answers(desk, explainer, explainer.explain(refused, target="approved")).sound
    True
    """
    found = metrics.coverage(result.counterfactuals) == 1
    before = result.factual[found]
    # A row without an answer widens whole numbers; without these rows they fit again.
    after = result.counterfactuals[found].astype(before.dtypes.to_dict())
    space, model = explainer.space_, desk.model
    change = space.encode(after) - space.encode(before)
    valid = metrics.validity(model.predict(after), TARGET) if len(after) else np.zeros(0)
    rules = Rules(
        immutable=explainer.immutable,
        increasing=explainer.increasing,
        decreasing=explainer.decreasing,
        ranges=explainer.ranges,
    )
    broken = metrics.rule_violations(rules.violations(space, before, after))
    needed = metrics.minimality(model.predict, before, after, TARGET)

    approved = space.encode(desk.decided(desk.X_train, TARGET))
    others = space.encode(desk.decided(desk.X_test, TARGET))
    kernel = KernelDensity(bandwidth="scott").fit(approved)
    held_out = kernel.score_samples(others)
    outlying, apart, usual = [], [], []
    for group in (space.encode(after), space.encode(before), others):
        outlying.append(_mean(metrics.local_outlier_factor(group, approved)))
        apart.append(_mean(metrics.knn_distance(group, approved)))
        log_prob = kernel.score_samples(group) if len(group) else np.zeros(0)
        usual.append(_mean(metrics.log_density_quantile(log_prob, held_out)))
    return Quality(
        rows=len(found),
        answers=int(found.sum()),
        valid=int(valid.sum()),
        rule_violations=int(broken.sum()),
        changes=_mean(metrics.l0(change, space.groups_)),
        distance=_mean(metrics.l2(change)),
        minimal=_mean(needed),
        local_outlier_factor=(outlying[0], outlying[1], outlying[2]),
        neighbour_distance=(apart[0], apart[1], apart[2]),
        density_quantile=(usual[0], usual[1], usual[2]),
    )


def _mean(values: Any) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
