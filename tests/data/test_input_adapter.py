"""One-hot blocks of the user move as one feature; derived columns follow."""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from scfe_sklearn import CounterfactualExplainer, Rules

JOBS = ["job_a", "job_b", "job_c"]
BLOCKS = {"job": JOBS}
DERIVED = {"ratio": lambda rows: rows["debt"] / rows["income"]}


def make(n=250, seed=0):
    rng = np.random.default_rng(seed)
    job = rng.integers(0, 3, n)
    frame = pd.DataFrame({"debt": rng.integers(0, 100, n) * 1.0})
    for k, name in enumerate(JOBS):
        frame[name] = (job == k).astype(int)
    frame["income"] = rng.integers(20, 120, n) * 1.0
    frame["ratio"] = frame["debt"] / frame["income"]
    label = ((frame["ratio"] < 0.8) & (job != 1)) | (frame["income"] > 100)
    return frame, np.where(label, "yes", "no")


MODELS = {
    "forest": RandomForestClassifier(20, random_state=0),
    "logistic": make_pipeline(StandardScaler(), LogisticRegression()),
}


@pytest.mark.parametrize("blocks", [None, BLOCKS])
@pytest.mark.parametrize("derived", [None, DERIVED])
@pytest.mark.parametrize("name", MODELS)
def test_answers_are_rows_of_the_user(name, blocks, derived):
    X, y = make()
    explainer = CounterfactualExplainer(MODELS[name], blocks=blocks, derived=derived).fit(X, y)
    query = X[explainer.estimator_.predict(X) == "no"][:25]
    result = explainer.explain(query, target="yes")
    after = result.counterfactuals
    assert result.success.all()
    assert list(after.columns) == list(X.columns) and (after.dtypes == X.dtypes).all()
    assert after.index.equals(query.index)
    assert (explainer.estimator_.predict(after) == "yes").all()
    if blocks:
        assert (after[JOBS].sum(axis=1) == 1).all()
    if derived:
        np.testing.assert_allclose(after["ratio"], after["debt"] / after["income"])
        assert "ratio" not in set(result.changes["feature"])
    # Every change that is told is real, and the block counts once.
    told = result.changes
    assert len(told) == result.changed.sum() == result.n_changes.sum()
    features = result.feature_names.tolist()
    assert ("job" in features) == bool(blocks) and ("ratio" in features) == (not derived)
    moved = (after[JOBS].to_numpy() != query[JOBS].to_numpy()).any(axis=1)
    if blocks:
        np.testing.assert_array_equal(result.changed[:, features.index("job")], moved)
    # One by one, and several: the same rows.
    one = explainer.explain(query.iloc[[3]], target="yes").counterfactuals
    pd.testing.assert_frame_equal(one, after.iloc[[3]])
    several = explainer.explain(query[:4], target="yes", n_counterfactuals=2)
    assert several.index.tolist() == np.repeat(query.index[:4], 2).tolist()
    good = several.success
    assert good[::2].all()
    assert (explainer.estimator_.predict(several.counterfactuals[good]) == "yes").all()
    assert len(result.to_frame()) == 25 and "<table" in result._repr_html_()


def test_gradient_of_a_model_behind_blocks():
    X, y = make()
    explainer = CounterfactualExplainer(MODELS["logistic"], blocks=BLOCKS).fit(X, y)
    assert explainer.solver_ == "apg"
    assert (
        CounterfactualExplainer(MODELS["logistic"], derived=DERIVED).fit(X, y).solver_ == "search"
    )


def test_rules_speak_of_blocks():
    X, y = make()
    rules = Rules(transitions={"job": {"b": []}}, immutable=["income"])
    explainer = CounterfactualExplainer(MODELS["forest"], blocks=BLOCKS, derived=DERIVED).fit(X, y)
    query = X[(explainer.estimator_.predict(X) == "no") & (X["job_b"] == 1)][:20]
    with pytest.warns(UserWarning, match="have no counterfactual"):
        result = explainer.explain(query, target="yes", rules=rules)
    after = result.counterfactuals[result.success]
    assert (after["job_b"] == 1).all()
    assert (after["income"] == query["income"][result.success]).all()


def test_what_does_not_fit_is_refused():
    X, y = make()
    with pytest.raises(ValueError, match="need X as a pandas data frame"):
        CounterfactualExplainer(MODELS["forest"], blocks={0: [1, 2]}).fit(X.to_numpy(), y)
    with pytest.raises(ValueError, match="must give the columns of the training data"):
        CounterfactualExplainer(MODELS["forest"], derived={"ratio": lambda rows: rows.debt}).fit(
            X, y
        )
    explainer = CounterfactualExplainer(MODELS["forest"], blocks=BLOCKS, derived=DERIVED).fit(X, y)
    with pytest.raises(ValueError, match="missing columns"):
        explainer.explain(X.drop(columns="ratio")[:2])
    broken = X[:2].assign(job_a=1, job_b=1)
    with pytest.warns(UserWarning, match="have no counterfactual"):
        result = explainer.explain(broken, target="yes")
    assert (result.status == "invalid input").all()


def test_stale_derived_value_of_a_query_is_invalid_input():
    X, y = make()
    explainer = CounterfactualExplainer(MODELS["forest"], derived=DERIVED).fit(X, y)
    query = X[explainer.estimator_.predict(X) == "no"][:6].copy()
    fresh = explainer.explain(query, target="yes")
    stale = query.copy()
    stale.loc[query.index[2], "ratio"] += 0.5
    with pytest.warns(UserWarning, match="1 of 6 rows have no counterfactual"):
        result = explainer.explain(stale, target="yes")
    assert result.status[2] == "invalid input"
    assert result.reason[2].startswith("'ratio' is ") and "function gives" in result.reason[2]
    others = [0, 1, 3, 4, 5]
    pd.testing.assert_frame_equal(
        result[others].counterfactuals, fresh[others].counterfactuals, check_dtype=False
    )


def test_row_that_a_derived_function_cannot_read_is_invalid_input():
    def ratio(rows):
        if (rows["income"] > 1000).any():
            raise RuntimeError("too rich")
        return rows["debt"] / rows["income"]

    X, y = make()
    explainer = CounterfactualExplainer(MODELS["forest"], derived={"ratio": ratio}).fit(X, y)
    query = X[explainer.estimator_.predict(X) == "no"][:5].copy()
    query.loc[query.index[1], "income"] = 2000.0
    with pytest.warns(UserWarning, match="1 of 5 rows"):
        result = explainer.explain(query, target="yes")
    assert result.status[1] == "invalid input" and "too rich" in result.reason[1]
    assert result.success[[0, 2, 3, 4]].all()


@pytest.mark.parametrize("turned", [False, True])
def test_derived_columns_of_derived_columns_hold_in_answers(turned):
    X, y = make()
    X["double"] = 2 * X["ratio"]
    functions = {**DERIVED, "double": lambda rows: 2 * rows["ratio"]}
    if turned:
        functions = dict(reversed(functions.items()))
    explainer = CounterfactualExplainer(MODELS["forest"], derived=functions).fit(X, y)
    query = X[explainer.estimator_.predict(X) == "no"][:25]
    result = explainer.explain(query, target="yes")
    after = result.counterfactuals
    assert result.success.all() and (explainer.estimator_.predict(after) == "yes").all()
    np.testing.assert_allclose(after["double"], 2 * after["debt"] / after["income"])


@pytest.mark.parametrize(
    "function",
    [3, len, lambda X: X["income"] * 3, lambda X: X["ratio"]],
    ids=["no function", "shape", "other values", "own column"],
)
def test_derived_error_names_the_parameter_of_the_explainer(function):
    X = pd.DataFrame({"debt": [1.0, 2.0, 3.0], "income": [2.0, 2.0, 4.0]})
    X["ratio"] = X["debt"] / X["income"]
    explainer = CounterfactualExplainer(MODELS["logistic"], derived={"ratio": function})
    start = "The 'derived' parameter of CounterfactualExplainer must "
    with pytest.raises(ValueError, match=start):
        explainer.fit(X, [0, 1, 0])
