"""Refusals name what is wrong and the remedy, and what can be read in one way only is read."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_wine, make_multilabel_classification
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import DataConversionWarning
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from scfe_sklearn import CounterfactualExplainer

X, Y = make_multilabel_classification(120, 5, n_classes=3, random_state=0)
FRAME = pd.DataFrame(X, columns=list("abcde"))
y = Y[:, 0]
MODEL = LogisticRegression().fit(FRAME, y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "model",
    [
        MultiOutputClassifier(LogisticRegression()),
        ClassifierChain(LogisticRegression()),
        RandomForestClassifier(3, random_state=0),
        KNeighborsClassifier(),
        MLPClassifier(max_iter=5, random_state=0),
        LinearRegression(),
    ],
    ids=lambda model: type(model).__name__,
)
def test_several_outputs_are_explained_one_at_a_time(model):
    model.fit(X, Y)
    message = r"must have one output. Got several from .* lambda X: model.predict\(X\)\[:, k\]"
    with pytest.raises(ValueError, match=message):
        CounterfactualExplainer(FrozenEstimator(model)).fit(X, y)
    with pytest.raises(ValueError, match=r"Got shape \(120, 3\) .* Explain one output at a time"):
        CounterfactualExplainer(model).fit(X, Y)


def test_several_outputs_remedy_works():
    model = MultiOutputClassifier(LogisticRegression()).fit(X, Y)
    query = X[model.predict(X)[:, 2] == 0][:3]
    for one in (FrozenEstimator(model.estimators_[2]), lambda rows: model.predict(rows)[:, 2]):
        result = CounterfactualExplainer(one).fit(X, Y[:, 2]).explain(query, target=1)
        assert result.success.all()
        assert (model.predict(result.counterfactuals)[:, 2] == 1).all()


@pytest.mark.parametrize("form", [lambda y: pd.DataFrame({"y": y}), lambda y: y[:, None]])
def test_column_of_labels_is_read_with_a_warning(form):
    with pytest.warns(DataConversionWarning, match="column-vector y"):
        explainer = CounterfactualExplainer(LogisticRegression()).fit(FRAME, form(y))
    np.testing.assert_array_equal(explainer.estimator_.coef_, MODEL.coef_)


def test_sample_weight_reaches_the_fit_of_the_model():
    weight = np.where(y, 1.0, 9.0)
    explainer = CounterfactualExplainer(LogisticRegression()).fit(FRAME, y, sample_weight=weight)
    expected = LogisticRegression().fit(FRAME, y, sample_weight=weight)
    np.testing.assert_allclose(explainer.estimator_.coef_, expected.coef_)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    explainer = CounterfactualExplainer(pipeline, ensemble=2, random_state=0)
    explainer.fit(FRAME, y, sample_weight=weight)
    pipeline.fit(FRAME, y, logisticregression__sample_weight=weight)
    np.testing.assert_allclose(explainer.estimator_[-1].coef_, pipeline[-1].coef_)


@pytest.mark.parametrize(
    ("model", "weight", "message"),
    [
        (FrozenEstimator(MODEL), np.ones(120), "trained already, such as FrozenEstimator"),
        (MODEL.predict, np.ones(120), "trained already, such as"),
        (KNeighborsClassifier(), np.ones(120), r"takes no weights. Got weights for KNeighbors"),
        (LogisticRegression(), np.ones(3), r"each of the 120 rows. Got shape \(3,\)"),
        (LogisticRegression(), -np.ones(120), "one number of at least 0"),
        (LogisticRegression(), np.full(120, np.nan), "one number of at least 0"),
    ],
)
def test_sample_weight_that_cannot_be_used_is_refused(model, weight, message):
    with pytest.raises(ValueError, match=f"The 'sample_weight' parameter of fit .*{message}"):
        CounterfactualExplainer(model).fit(FRAME, y, sample_weight=weight)


def test_one_labelled_row_leads_to_a_data_frame():
    """The code in the message gives a frame that is explained."""
    explainer = CounterfactualExplainer(FrozenEstimator(MODEL)).fit(FRAME, y)
    row = FRAME.iloc[0]
    for given in (row, row.to_dict(), [row.to_dict()]):
        with pytest.raises(ValueError, match=r"also for one row. Got a .*pandas.DataFrame\(") as e:
            explainer.explain(given, target=1)
        code = str(e.value).split("; ")[1].split(" is a data frame")[0]
        names = {"pandas": pd, "row": given, "rows": given}
        frame = eval(code, names)
        assert len(explainer.explain(frame, target=None)) == 1


def test_blocks_that_are_not_one_hot_are_named():
    kind = np.where(y, "u", np.where(X[:, 1] > X[:, 1].mean(), "v", "w"))
    D = pd.get_dummies(pd.DataFrame({"n": X[:, 0], "c": kind}), dtype=int)
    model = FrozenEstimator(LogisticRegression().fit(D, y))
    explainer = CounterfactualExplainer(model, blocks={"c": ["c_u", "c_v", "c_w"]}).fit(D, y)
    query = D[y == 0][:4].copy()
    columns = ["c_u", "c_v", "c_w"]
    query.iloc[0, 1:], query.iloc[1, 1:] = 0, [1, 1, 0]
    with pytest.warns(UserWarning, match="2 of 4 rows"):
        result = explainer.explain(query, target=1)
    assert result.reason[0].startswith(f"no 1 in the columns of 'c', {columns}: exactly one")
    assert "by {level: None}" in result.reason[0]
    assert result.reason[1].startswith(f"more than one 1 in the columns of 'c', {columns}")
    assert result.success.tolist() == [False, False, True, True]


def test_missing_numbers_are_the_reason_that_nothing_may_change():
    rng = np.random.default_rng(0)
    data = pd.DataFrame(rng.normal(size=(200, 3)), columns=list("abc"))
    labels = (data["a"] + data["b"] > 0).astype(int)
    data[rng.random(data.shape) < 0.2] = np.nan
    model = HistGradientBoostingClassifier(max_iter=10).fit(data, labels)
    explainer = CounterfactualExplainer(FrozenEstimator(model), immutable=["c"]).fit(data, labels)
    row = pd.DataFrame({"a": [np.nan], "b": [np.nan], "c": [np.nan]})
    target = 1 - model.predict(row)[0]
    with pytest.warns(UserWarning, match="1 of 1 rows"):
        result = explainer.explain(row, target)
    assert result.reason[0] == (
        "no feature may change: missing values in 'a', 'b' stay missing unless the 'fillable' "
        "parameter names these columns"
    )


@pytest.mark.parametrize("form", [lambda X: X, lambda X: X.to_numpy()], ids=["frame", "array"])
def test_whole_numbers_stay_whole_where_no_row_is_missing(form):
    """A row that has the target already has no counterfactual; others keep their dtype."""
    X, y = load_wine(return_X_y=True, as_frame=True)
    X = X[["proline", "magnesium"]].astype(int)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(form(X), y)
    result = CounterfactualExplainer(FrozenEstimator(model)).fit(form(X), y).explain(form(X), 1)
    assert (result.status == "already has the target").any()
    answered = result[result.success]
    assert not result.success.all() and len(answered)
    frame = pd.DataFrame(answered.counterfactuals)
    assert (frame.dtypes == np.int64).all()
    assert frame.notna().all(axis=None)
    assert (model.predict(answered.counterfactuals) == 1).all()
