"""Three roads through a pipeline: a frozen one explained, a last step, and one that explains."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import SelectKBest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    StandardScaler,
)

from scfe_sklearn import (
    CounterfactualExplainer,
    CounterfactualTransformer,
    Interval,
    RecoursePipeline,
    Status,
)
from scfe_sklearn.datasets import make_loan_applications

pytestmark = pytest.mark.filterwarnings("ignore:.*rows have no counterfactual")
X, Y = make_loan_applications(200, random_state=0)
RULES = {
    "immutable": ["sex", "purpose"],
    "increasing": ["age", "education"],
    "steps": {"income": 100},
    "ranges": {"income": (0, 90_000)},
    "max_changes": 2,
}


def plain():
    return make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (OneHotEncoder(), make_column_selector(dtype_exclude="number")),
    )


def nested():
    """Columns in another order, some left out, a pipeline inside, and one whole column as is."""
    return make_column_transformer(
        (make_pipeline(OrdinalEncoder(), StandardScaler()), ["education"]),
        (OneHotEncoder(drop="first", sparse_output=False), ["housing", "sex"]),
        ("passthrough", ["late_payments"]),
        (MinMaxScaler(), ["income", "age", "savings", "debt_ratio", "credit_score"]),
        remainder="drop",
    )


def same(one, two):
    pd.testing.assert_frame_equal(one.to_frame(), two.to_frame(), check_exact=True)


def recourse_pipeline(before, model=None, **parameters):
    explainer = CounterfactualExplainer(model or LogisticRegression(max_iter=500), **parameters)
    return RecoursePipeline([*before, ("explain", explainer)])


STEPS = {
    "plain": lambda: [("columns", plain())],
    "nested": lambda: [("columns", nested())],
    "several": lambda: [("columns", plain()), ("best", SelectKBest(k=12))],
    # No known gradient: the pipeline is only asked.
    "asked": lambda: [("columns", nested()), ("power", PowerTransformer())],
    "none": lambda: [("columns", plain()), ("nothing", "passthrough")],
}


@pytest.mark.parametrize("name", STEPS)
def test_a_recourse_pipeline_answers_as_the_explainer_around_a_frozen_one(name):
    pipeline = recourse_pipeline(STEPS[name](), **RULES).fit(X, Y)
    trained = Pipeline([*STEPS[name](), ("model", LogisticRegression(max_iter=500))]).fit(X, Y)
    around = CounterfactualExplainer(FrozenEstimator(trained), **RULES).fit(X, Y)
    refused = X[trained.predict(X) == "refused"][:12]
    result = pipeline.explain(refused, "approved")
    same(result, around.explain(refused, "approved"))
    assert result.success.any()
    np.testing.assert_array_equal(pipeline.predict_proba(X), trained.predict_proba(X))


@pytest.mark.parametrize("name", ["plain", "nested"])
def test_rules_changes_and_answers_are_in_raw_columns(name):
    pipeline = recourse_pipeline(STEPS[name](), **RULES).fit(X, Y)
    refused = X[pipeline.predict(X) == "refused"][:20]
    result = pipeline.explain(refused, "approved")
    answers, before = (frame[result.success] for frame in (result.counterfactuals, result.factual))
    answers = answers.astype(X.dtypes)
    assert list(answers.columns) == list(X.columns)
    assert (pipeline.predict(answers) == "approved").all()
    count = np.zeros(len(answers), dtype=int)
    for name in X.columns:
        count += (answers[name].to_numpy() != before[name].to_numpy()).astype(int)
    assert (count == result.n_changes[result.success]).all()
    assert (count <= 2).all()
    for fixed in ("sex", "purpose"):
        assert (answers[fixed] == before[fixed]).all()
    assert (answers["age"] >= before["age"]).all()
    changed = answers["income"] != before["income"]
    assert (answers["income"][changed] <= 90_000).all()
    assert (answers["income"][changed] % 100 == 0).all()


def test_a_pipeline_of_the_explainer_alone_is_the_explainer():
    alone = recourse_pipeline([], make_pipeline(plain(), LogisticRegression()), **RULES)
    explainer = CounterfactualExplainer(make_pipeline(plain(), LogisticRegression()), **RULES)
    same(alone.fit(X, Y).explain(X[:8]), explainer.fit(X, Y).explain(X[:8]))


def test_a_regressor_in_a_recourse_pipeline():
    rows = X[["age", "income", "credit_score"]]
    pipeline = recourse_pipeline([("scale", StandardScaler())], LinearRegression())
    pipeline.fit(rows, X["savings"])
    wanted = Interval(at_least=float(X["savings"].mean()) + 5000)
    result = pipeline.explain(rows[:6], wanted)
    assert result.success.any()
    reached = pipeline.predict(result.counterfactuals[result.success].astype(rows.dtypes))
    assert (reached >= wanted.at_least).all()


def test_steps_stay_as_they_are_and_fitted_ones_are_at_hand():
    pipeline = recourse_pipeline(STEPS["plain"]())
    given = pipeline.steps[0][1]
    before = dict(vars(pipeline.steps[-1][1]))
    assert pipeline["columns"] is given
    pipeline.fit(X, Y)
    assert pipeline.steps[0][1] is given
    assert not hasattr(given, "transformers_")
    assert vars(pipeline.steps[-1][1]) == before
    by_hand = plain().fit(X)
    for columns in (pipeline["columns"], pipeline[0], pipeline.named_steps.columns, pipeline[:-1]):
        np.testing.assert_array_equal(columns.transform(X), by_hand.transform(X))
    assert pipeline[-1] is pipeline.explainer_
    assert type(pipeline[:-1]) is Pipeline
    assert pipeline.classes_.tolist() == ["approved", "refused"]
    assert pipeline.n_features_in_ == X.shape[1]
    assert pipeline.feature_names_in_.tolist() == list(X.columns)


def test_parameters_of_fit_go_to_the_steps():
    weight = np.where(Y == "approved", 5.0, 1.0)
    pipeline = recourse_pipeline(STEPS["plain"]()).fit(X, Y, explain__sample_weight=weight)
    model = LogisticRegression(max_iter=500)
    trained = Pipeline([*STEPS["plain"](), ("explain", model)])
    trained.fit(X, Y, explain__sample_weight=weight)
    np.testing.assert_array_equal(pipeline.predict_proba(X), trained.predict_proba(X))
    unweighted = recourse_pipeline(STEPS["plain"]()).fit(X, Y)
    assert not np.allclose(pipeline.predict_proba(X), unweighted.predict_proba(X))


def test_a_memory_keeps_the_transformers(tmp_path):
    pipeline = recourse_pipeline(STEPS["plain"]())
    kept = clone(pipeline).set_params(memory=str(tmp_path)).fit(X, Y)
    assert any(tmp_path.rglob("*.pkl"))
    same(kept.explain(X[:4]), pipeline.fit(X, Y).explain(X[:4]))


def test_it_has_what_the_model_has():
    pipeline = recourse_pipeline(STEPS["plain"](), RidgeClassifier()).fit(X, Y)
    assert not hasattr(pipeline, "predict_proba")
    assert not hasattr(pipeline, "transform")
    assert pipeline.decision_function(X).shape == (len(X),)
    assert pipeline.score(X[:10], Y[:10]) == pipeline.explainer_.score(X[:10])


def test_before_fit_it_says_so():
    pipeline = recourse_pipeline(STEPS["plain"]())
    for ask in (pipeline.explain, pipeline.predict, pipeline.predict_proba, pipeline.score):
        with pytest.raises(NotFittedError, match="RecoursePipeline"):
            ask(X)


@pytest.mark.parametrize(
    ("last", "match"),
    [
        (LogisticRegression(), "'steps' parameter of RecoursePipeline must end with a Counterf"),
        (CounterfactualExplainer(len), "must end with an explainer of an estimator, or of a froz"),
    ],
)
def test_other_last_steps_are_refused(last, match):
    with pytest.raises(ValueError, match=match):
        RecoursePipeline([("scale", StandardScaler()), ("last", last)]).fit(X[["age"]], Y)


# ------------------------------------------------------------------- an explainer as a last step


def test_the_transformer_answers_in_the_columns_before_it():
    columns = plain().set_params(onehotencoder__sparse_output=False)
    columns.set_output(transform="pandas")
    explainer = CounterfactualExplainer(LogisticRegression(max_iter=500), max_changes=3)
    pipeline = make_pipeline(columns, CounterfactualTransformer(explainer, "approved")).fit(X, Y)
    fitted = pipeline[-1].explainer_
    inner = pipeline[:-1].transform(X[:30])
    answers = pipeline.transform(X[:30])
    result = fitted.explain(inner, "approved")
    assert list(answers.columns) == list(inner.columns) == list(pipeline.get_feature_names_out())
    kept, found = result.status == Status.ALREADY_TARGET, result.success
    assert kept.any()
    assert found.any()
    pd.testing.assert_frame_equal(answers[kept], inner[kept], check_dtype=False)
    pd.testing.assert_frame_equal(
        answers[found], result.counterfactuals[found], check_dtype=False, check_exact=True
    )
    assert answers[~kept & ~found].isna().all(axis=None)
    assert (fitted.estimator_.predict(answers[kept | found]) == "approved").all()
    assert answers.index.equals(inner.index)


@pytest.mark.parametrize("container", ["pandas", "numpy", "polars"])
def test_containers_of_the_transformer(container):
    rows = X[["age", "income", "credit_score"]].astype(float)
    if container == "numpy":
        rows = rows.to_numpy()
    elif container == "polars":
        rows = pytest.importorskip("polars").DataFrame(rows.to_dict("list"))
    model = make_pipeline(StandardScaler(), LogisticRegression())
    explainer = CounterfactualExplainer(model)
    transformer = CounterfactualTransformer(explainer, "approved").fit(rows, Y)
    answers = transformer.transform(rows[:20])
    assert type(answers) is type(rows)
    assert answers.shape == (20, 3)
    kept = transformer.explainer_.estimator_.predict(rows[:20]) == "approved"
    assert 0 < kept.sum() < 20
    np.testing.assert_array_equal(np.asarray(answers)[kept], np.asarray(rows[:20])[kept])
    alone = [np.asarray(transformer.transform(rows[i : i + 1]))[0] for i in (0, 7, 19)]
    np.testing.assert_array_equal(np.asarray(answers)[[0, 7, 19]], alone)
    every = (
        transformer.transform(rows[:20][np.flatnonzero(kept).tolist()])
        if (container != "pandas")
        else transformer.transform(rows[:20][kept])
    )
    np.testing.assert_array_equal(np.asarray(every), np.asarray(rows[:20])[kept])


def test_the_transformer_refuses_rows_that_the_model_cannot_read():
    rows = X[["age", "income"]].astype(float)
    transformer = CounterfactualTransformer(CounterfactualExplainer(LogisticRegression()))
    transformer.fit(rows, Y)
    broken = rows[:4].copy()
    broken.iloc[2, 1] = np.nan
    with pytest.raises(ValueError, match=r"no NaN, inf .* Got missing value in 'income' in row 2"):
        transformer.transform(broken)


def test_a_parameter_of_fit_that_no_step_takes_is_refused():
    pipeline = RecoursePipeline([("explain", CounterfactualExplainer(LogisticRegression()))])
    rows = X[["age", "income", "savings"]]
    weights = np.where(np.arange(len(rows)) % 2, 1.0, 0.0)
    with pytest.raises(ValueError, match="does not accept the sample_weight parameter"):
        pipeline.fit(rows, Y, sample_weight=weights)
    weighted = pipeline.fit(rows, Y, explain__sample_weight=weights).explainer_.estimator_
    expected = LogisticRegression().fit(rows, Y, sample_weight=weights)
    np.testing.assert_allclose(weighted.coef_, expected.coef_)
