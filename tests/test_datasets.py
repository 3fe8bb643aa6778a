"""The loan applications: types, ranges, determinism and the promised dependencies."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from scfe_sklearn.datasets import make_loan_applications


@pytest.fixture(scope="module")
def loans():
    return make_loan_applications(6000, random_state=0)


def test_types(loans):
    X, y = loans
    whole = X.select_dtypes("integer").columns
    assert whole.tolist() == [
        "age",
        "employment_years",
        "income",
        "savings",
        "credit_score",
        "late_payments",
        "loan_amount",
        "loan_term",
    ]
    assert X["education"].cat.ordered
    assert not X["purpose"].cat.ordered
    assert X["has_cosigner"].dtype == bool
    assert pd.api.types.is_string_dtype(X["sex"])
    assert X["debt_ratio"].dtype == float
    assert X.shape == (6000, 14)
    assert not X.isna().any(axis=None)
    assert set(y) == {"approved", "refused"}
    assert y.index.equals(X.index)
    assert y.name == "decision"


def test_ranges(loans):
    X, _ = loans
    assert X["age"].between(18, 80).all()
    assert X["credit_score"].between(300, 850).all()
    assert X["debt_ratio"].between(0, 0.9).all()
    assert (X["debt_ratio"] == X["debt_ratio"].round(2)).all()
    assert X["late_payments"].between(0, 9).all()
    assert X["employment_years"].between(0, X["age"] - 16).all()
    assert (X["income"] > 0).all()
    assert (X[["income", "savings"]] % 100 == 0).all(axis=None)
    assert (X["loan_amount"] % 500 == 0).all()
    assert set(X["loan_term"]) == {12, 24, 36, 48, 60, 72}
    assert not ((X["education"] == "doctorate") & (X["age"] < 28)).any()


def test_dependencies(loans):
    X, y = loans
    approved = y == "approved"
    numbers = X.assign(education=X["education"].cat.codes, approved=approved)
    ranks = numbers.select_dtypes(["number", "bool"]).astype(float).corr("spearman")
    assert ranks.loc["income", "education"] > 0.3
    assert ranks.loc["income", "age"] > 0.2
    assert ranks.loc["credit_score", "employment_years"] > 0.2
    assert ranks.loc["credit_score", "late_payments"] < -0.3
    assert ranks.loc["approved", "credit_score"] > 0.4
    assert ranks.loc["approved", "debt_ratio"] < -0.15
    assert approved.mean() == pytest.approx(0.65, abs=0.03)


def test_decision_can_be_learned_and_is_not_linear(loans):
    X, y = loans
    encode = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        remainder=OneHotEncoder(),
    )
    train, test = slice(0, 4500), slice(4500, None)

    def accuracy(model):
        pipeline = make_pipeline(encode, model).fit(X[train], y[train])
        return pipeline.score(X[test], y[test])

    linear = accuracy(LogisticRegression(max_iter=1000))
    boosted = accuracy(HistGradientBoostingClassifier(max_iter=150, random_state=0))
    assert accuracy(DummyClassifier()) + 0.2 < linear < boosted < 0.98


def test_deterministic():
    X, y = make_loan_applications(50, random_state=3)
    again, labels = make_loan_applications(50, random_state=np.random.RandomState(3))
    pd.testing.assert_frame_equal(X, again)
    pd.testing.assert_series_equal(y, labels)
    assert not X.equals(make_loan_applications(50, random_state=4)[0])
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    make_loan_applications(50)
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_arrays():
    X, y = make_loan_applications(30, as_frame=False)
    frame, labels = make_loan_applications(30)
    assert isinstance(X, np.ndarray)
    assert X.shape == (30, 14)
    assert X.tolist() == frame.astype(object).to_numpy().tolist()
    assert y.tolist() == labels.tolist()
    assert make_loan_applications(1)[0].shape == (1, 14)


@pytest.mark.parametrize("n_samples", [0, 2.5, True, "many"])
def test_refuses_other_sizes(n_samples):
    with pytest.raises(ValueError, match="The 'n_samples' parameter of make_loan_applications"):
        make_loan_applications(n_samples)
