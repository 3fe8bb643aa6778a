"""Numbers that are missing in the rows asked about: kept, unless the model cannot read them."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from scfe_sklearn import CounterfactualExplainer
from scfe_sklearn.status import Status

NUMBERS = ["age", "pay", "debt"]


def world(seed=0, n=240, holes=0.15):
    """Rows with a share of missing numbers; missing debt speaks against a person."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "age": rng.integers(20, 60, n).astype(float),
            "pay": rng.normal(3, 1, n),
            "debt": rng.exponential(1, n),
            "job": rng.choice(["clerk", "cook", "pilot"], n),
        }
    )
    score = X["pay"] - X["debt"] + 0.02 * X["age"] + (X["job"] == "pilot") + rng.normal(0, 0.3, n)
    for name in NUMBERS:
        gone = rng.random(n) < holes
        X.loc[gone, name] = np.nan
        score -= gone * (name == "debt")
    return X, np.where(score > 2.5, "yes", "no")


def boosting():
    encode = make_column_transformer((OrdinalEncoder(), ["job"]), remainder="passthrough")
    return make_pipeline(encode, HistGradientBoostingClassifier(max_iter=15, random_state=0))


def imputed(classifier):
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    encode = make_column_transformer((numbers, NUMBERS), (OneHotEncoder(), ["job"]))
    return make_pipeline(encode, classifier)


MODELS = {
    "boosting": boosting,
    "imputed logistic": lambda: imputed(LogisticRegression()),
    "imputed forest": lambda: imputed(RandomForestClassifier(9, max_depth=5, random_state=0)),
}


def explained(explainer, query, target=None, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return explainer.explain(query, target, **options)


@pytest.fixture(scope="module", params=MODELS)
def case(request):
    X, y = world()
    model = MODELS[request.param]().fit(X, y)
    explainer = CounterfactualExplainer(FrozenEstimator(model), increasing=["age"]).fit(X, y)
    refused = X[model.predict(X) == "no"]
    holed = refused[refused[NUMBERS].isna().any(axis=1)][:8]
    whole = refused[refused[NUMBERS].notna().all(axis=1)][:4]
    return explainer, model, pd.concat([holed, whole])


def test_what_is_missing_stays_missing(case):
    explainer, model, query = case
    result = explained(explainer, query, "yes")
    found = result.success
    assert found.sum() >= len(query) - 2 and found[:8].sum() >= 6
    after, before = result.counterfactuals[found], query[found]
    assert (model.predict(after) == "yes").all()
    np.testing.assert_array_equal(after[NUMBERS].isna(), before[NUMBERS].isna())
    assert not (after["age"] < before["age"]).any()
    # By hand: what differs, and by how much of a training standard deviation.
    gap = ((after[NUMBERS] - before[NUMBERS]) / world()[0][NUMBERS].std(ddof=0)).fillna(0.0)
    moved = after["job"] != before["job"]
    np.testing.assert_array_equal(result.changed[found][:, 3], moved)
    np.testing.assert_array_equal(result.changed[found][:, :3], gap.to_numpy() != 0)
    distance = np.sqrt((gap**2).sum(axis=1) + moved)
    np.testing.assert_allclose(result.distance[found], distance, rtol=1e-6)


def test_a_batch_with_holes_equals_its_rows(case):
    explainer, _, query = case
    whole = explained(explainer, query, "yes")
    for i in (0, 5, 9):
        part = explained(explainer, query[i : i + 1], "yes")
        pd.testing.assert_frame_equal(
            part.counterfactuals, whole.counterfactuals[i : i + 1], check_exact=True
        )


def test_several_answers_keep_the_holes(case):
    explainer, model, query = case
    result = explained(explainer, query[:3], "yes", n_counterfactuals=3)
    found = result.success
    assert found.sum() >= 6
    after = result.counterfactuals[found]
    assert (model.predict(after) == "yes").all()
    before = query.loc[after.index]
    np.testing.assert_array_equal(after[NUMBERS].isna(), before[NUMBERS].isna())
    assert len(set(map(tuple, after.assign(row=after.index).fillna(-1).to_numpy()))) == len(after)


def test_a_hole_counts_as_no_change_of_a_row_that_has_the_target(case):
    explainer, model, _ = case
    X, _ = world(1)
    given = X[(model.predict(X) == "yes") & X[NUMBERS].isna().any(axis=1).to_numpy()][:4]
    result = explained(explainer, given, "yes")
    assert (result.status == Status.ALREADY_TARGET).all()


def test_a_model_that_refuses_missing_numbers_names_the_first():
    X, y = world(holes=0.0)
    encode = make_column_transformer(
        (StandardScaler(), NUMBERS), (OneHotEncoder(), ["job"]), remainder="drop"
    )
    model = make_pipeline(encode, LogisticRegression()).fit(X, y)
    explainer = CounterfactualExplainer(FrozenEstimator(model)).fit(X, y)
    query = X[model.predict(X) == "no"][:4].copy()
    query.iloc[0, 0] = np.nan
    query.iloc[2, [1, 2]] = np.nan
    result = explained(explainer, query, "yes")
    assert result.status.tolist() == [Status.INVALID_INPUT, Status.FOUND] * 2
    assert result.reason.tolist() == ["missing value in 'age'", "", "missing value in 'pay'", ""]
    alone = explained(explainer, query[2:3], "yes")
    assert alone.reason.tolist() == ["missing value in 'pay'"]


def test_training_rows_that_the_model_refuses_are_left_out():
    X, y = world()
    kept = X.notna().all(axis=1).to_numpy()
    model = imputed(LogisticRegression())
    model.steps[0][1].transformers[0] = ("numbers", StandardScaler(), NUMBERS)
    model.fit(X[kept], y[kept])

    def refusing(rows):
        if rows[NUMBERS].isna().any(axis=None):
            raise ValueError("missing")
        return model.predict_proba(rows)

    explainer = CounterfactualExplainer(refusing).fit(X, y)
    only = CounterfactualExplainer(refusing).fit(X[kept], y[kept])
    assert (
        sum(map(len, explainer.reference_rows_))
        == sum(map(len, only.reference_rows_))
        < kept.sum() + 1
    )
    query = X[kept][model.predict(X[kept]) == "no"][:4]
    assert explained(explainer, query, "yes").success.all()


@pytest.mark.parametrize("shortfall", [0.0, 0.1])
@pytest.mark.parametrize("dtype", ["Int64", "UInt8", "int64[pyarrow]", "uint16[pyarrow]"])
def test_nullable_whole_numbers_may_be_missing(dtype, shortfall):
    """A model that is asked row by row gets them back in a dtype that holds what is tried."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"age": rng.integers(18, 80, 200), "x": rng.normal(size=200)})
    y = (X["age"] / 40 + X["x"] > 1.2).astype(int).to_numpy()
    X["age"] = X["age"].astype(dtype)
    X.loc[::7, "age"] = pd.NA

    def numbers(rows):
        return rows.astype(float).to_numpy(dtype=float, na_value=np.nan)

    inner = HistGradientBoostingClassifier(max_iter=10).fit(numbers(X), y)
    explainer = CounterfactualExplainer(lambda rows: inner.predict(numbers(rows)))
    query = X[inner.predict(numbers(X)) == 0][:14]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a missing age cannot help
        result = explainer.set_params(shortfall=shortfall).fit(X, y).explain(query, target=1)
    assert result.counterfactuals["age"].dtype == X["age"].dtype
    found = result[result.success]
    assert len(found) > 4 and (inner.predict(numbers(found.counterfactuals)) == 1).all()
    assert "invalid input" not in result.status.tolist()
