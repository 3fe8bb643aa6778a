"""Three roads through a pipeline under every setting of scikit-learn's output container."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.fixes import parse_version

from scfe_sklearn import CounterfactualExplainer, CounterfactualTransformer, RecoursePipeline
from scfe_sklearn.datasets import make_loan_applications

LOANS, Y = make_loan_applications(150, random_state=0)
LOANS = LOANS[["age", "income", "credit_score", "debt_ratio", "housing"]].astype({"housing": str})
OUTPUTS = ["default", "pandas", "polars"]
# The ColumnTransformer of scikit-learn 1.6 fails where polars output is asked of it: its own
# setting keeps the global one away, which works in every version.
OWN_SETTING = [True] if parse_version(sklearn.__version__) < parse_version("1.7") else [True, False]


def frames(library, X):
    if library == "pandas":
        return X
    return pytest.importorskip("polars").DataFrame({name: X[name].tolist() for name in X})


def kind_of(library):
    return {"pandas": pd.DataFrame}.get(library) or pytest.importorskip("polars").DataFrame


def columns(own_setting):
    # Positions, since scikit-learn 1.6 finds no columns of polars frames by name.
    step = make_column_transformer(
        (StandardScaler(), [0, 1, 2, 3]), (OneHotEncoder(sparse_output=False), [4])
    )
    return step.set_output(transform="default") if own_setting else step


def explainer(model):
    return CounterfactualExplainer(model, immutable=["age"], max_changes=2)


pytestmark = [
    pytest.mark.filterwarnings("ignore:.*rows have no counterfactual"),
    pytest.mark.parametrize("output", OUTPUTS),
    pytest.mark.parametrize("library", ["pandas", "polars"]),
    pytest.mark.parametrize("own_setting", OWN_SETTING),
]


def answers_of(fitted, X):
    """Answers as plain values, after a look at their container."""
    answers = fitted.explain(X[:8], "approved").counterfactuals
    assert type(answers) is type(X)
    assert list(answers.columns) == list(LOANS.columns)
    return [list(answers[name]) for name in LOANS.columns]


def same(one, other):
    pd.testing.assert_frame_equal(pd.DataFrame(one), pd.DataFrame(other))


def test_around_a_frozen_pipeline_and_a_pipeline_that_explains(output, library, own_setting):
    if output == "polars":
        kind_of("polars")
    X = frames(library, LOANS)

    def roads():
        model = make_pipeline(columns(own_setting), LogisticRegression())
        inner = ("explain", explainer(LogisticRegression()))
        return [
            explainer(model).fit(X, Y),
            explainer(FrozenEstimator(clone(model).fit(X, Y))).fit(X, Y),
            RecoursePipeline([("columns", columns(own_setting)), inner]).fit(X, Y),
        ]

    usual = [answers_of(road, X) for road in roads()]
    with sklearn.config_context(transform_output=output):
        for road, expected in zip(roads(), usual, strict=True):
            same(answers_of(road, X), expected)


def test_as_a_last_step(output, library, own_setting):
    X = frames(library, LOANS)
    step = CounterfactualTransformer(
        explainer(make_pipeline(columns(own_setting), LogisticRegression())), "approved"
    )
    wanted = kind_of(library if output == "default" else output)
    with sklearn.config_context(transform_output=output):
        by_config = clone(step).fit(X, Y).transform(X[:8])
    by_method = clone(step).set_output(transform=output).fit(X, Y).transform(X[:8])
    through = make_pipeline("passthrough", clone(step)).set_output(transform=output)
    by_pipeline = through.fit(X, Y).transform(X[:8])
    usual = clone(step).fit(X, Y).transform(X[:8])
    for answers in (by_config, by_method, by_pipeline):
        assert isinstance(answers, wanted)
        assert list(answers.columns) == list(through.get_feature_names_out())
        assert list(answers.columns) == list(LOANS.columns)
        for name in LOANS.columns:
            np.testing.assert_array_equal(np.asarray(answers[name]), np.asarray(usual[name]))


def test_as_a_last_step_behind_a_column_transformer(output, library, own_setting):
    wanted = np.ndarray if output == "default" else kind_of(output)
    X = frames(library, LOANS)
    # Fitted apart: whichever container its answers have, the last step sees its columns.
    before = columns(own_setting)
    step = CounterfactualTransformer(
        CounterfactualExplainer(LogisticRegression(), max_changes=2), "approved"
    )
    usual = np.asarray(make_pipeline(clone(before), clone(step)).fit(X, Y).transform(X[:8]))
    with sklearn.config_context(transform_output=output):
        answers = make_pipeline(clone(before), clone(step)).fit(X, Y).transform(X[:8])
    assert isinstance(answers, wanted)
    np.testing.assert_array_equal(np.asarray(answers), usual)
