"""Models are compiled in `fit`, rules parsed once a call, and the result built once."""

import copy
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from scfe_sklearn import CounterfactualExplainer, Probability, Relative, Rules
from scfe_sklearn.explanation import result as results
from scfe_sklearn.recourse.preparation import score_functions

READERS = ("as_torch", "BlackBox", "read_trees", "read_linear")


def data(seed=0):
    X, y = make_classification(200, 4, n_redundant=0, random_state=seed)
    return pd.DataFrame(X, columns=list("abcd")), y


def explainer_of(model, X, y, **options):
    return CounterfactualExplainer(FrozenEstimator(model), **options).fit(X, y)


def logistic(X, y):
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)


def forest(X, y):
    return RandomForestClassifier(5, max_depth=3, random_state=0).fit(X, y)


def counted(monkeypatch, module, names):
    """Count the calls of functions of a module."""
    calls = dict.fromkeys(names, 0)

    def spy(name, function):
        def call(*args, **kwargs):
            calls[name] += 1
            return function(*args, **kwargs)

        return call

    for name in names:
        monkeypatch.setattr(module, name, spy(name, getattr(module, name)))
    return calls


@pytest.mark.parametrize(
    ("family", "options", "read"),
    [
        (logistic, {}, "as_torch"),
        (logistic, {"ensemble": 2}, "as_torch"),
        (forest, {}, "BlackBox"),
        (forest, {"solver": "milp"}, "read_trees"),
    ],
)
def test_explain_compiles_nothing_after_fit(monkeypatch, family, options, read):
    X, y = data()
    calls = counted(monkeypatch, score_functions, READERS)
    model = family(X, y)
    explainer = explainer_of(model, X, y, **options)
    assert calls[read] >= 1
    rows = X[explainer.estimator_.predict(X) == 0][:3]
    before = dict(calls)
    first, second = explainer.explain(rows, target=1), explainer.explain(rows, target=1)
    assert {name: calls[name] - before[name] for name in READERS if name != "read_linear"} == {
        "as_torch": 0,
        "BlackBox": 0,
        "read_trees": 0,
    }
    pd.testing.assert_frame_equal(first.counterfactuals, second.counterfactuals)


def test_a_probability_and_a_proof_compile_once(monkeypatch):
    X, y = data()
    explainer = explainer_of(forest(X, y), X, y)
    calls = counted(monkeypatch, score_functions, READERS)
    for _ in range(2):
        explainer.explain(X[:2], target=Probability(1, at_least=0.7))
    assert calls["BlackBox"] <= 1
    explainer = explainer_of(logistic(X, y), X, y, ranges={name: Relative(0, 0.01) for name in X})
    calls = counted(monkeypatch, score_functions, READERS)
    rows = X[explainer.estimator_.predict_proba(X)[:, 1] < 0.2][:2]
    for _ in range(2):
        with pytest.warns(UserWarning, match="have no counterfactual"):
            assert all("proved" in why for why in explainer.explain(rows, target=1).reason)
    assert calls["read_linear"] == 1


def test_a_second_fit_compiles_anew():
    X, y = data()
    model = logistic(X, y)
    explainer = explainer_of(model, X, y)
    explainer.explain(X[:2])
    model[-1].coef_ = -model[-1].coef_
    again, fresh = explainer.fit(X, y), explainer_of(model, X, y)
    rows = X[model.predict(X) == 0][:5]
    result = again.explain(rows, target=1)
    assert result.success.all()
    assert (model.predict(result.counterfactuals) == 1).all()
    pd.testing.assert_frame_equal(
        result.counterfactuals, fresh.explain(rows, target=1).counterfactuals
    )


@pytest.mark.parametrize("family", [logistic, forest])
def test_copies_are_compiled_again_and_answer_alike(family):
    X, y = data()
    model = family(X, y)
    explainer = explainer_of(model, X, y)
    rows = X[model.predict(X) == 0][:4]
    expected = explainer.explain(rows, target=1).counterfactuals
    for twin in (pickle.loads(pickle.dumps(explainer)), copy.deepcopy(explainer)):
        assert "_compiled_models" not in vars(twin)
        pd.testing.assert_frame_equal(twin.explain(rows, target=1).counterfactuals, expected)
    pd.testing.assert_frame_equal(
        clone(explainer).fit(X, y).explain(rows, target=1).counterfactuals, expected
    )
    parts = joblib.Parallel(n_jobs=2)(
        joblib.delayed(explainer.explain)(rows[k : k + 2], target=1) for k in (0, 2)
    )
    pd.testing.assert_frame_equal(pd.concat([part.counterfactuals for part in parts]), expected)


@pytest.mark.parametrize("chunk_size", [256, 2])
def test_rules_are_parsed_and_the_result_aligned_once_a_call(monkeypatch, chunk_size):
    X, y = data()
    model = logistic(X, y)
    explainer = explainer_of(model, X, y, increasing=["a"], chunk_size=chunk_size)
    parsed = counted(monkeypatch, Rules, ["parsed"])
    built = counted(monkeypatch, results, ["aligned"])
    rows = X[model.predict(X) == 0][:5]
    result = explainer.explain(
        rows, target=1, rules=Rules(immutable={"b": np.arange(5) % 2 == 0}, strict=True)
    )
    assert parsed == {"parsed": 1}
    assert built == {"aligned": 1}
    moved = result.counterfactuals["b"] != rows["b"]
    assert result.success.all() and not moved[::2].any()
    assert (result.counterfactuals["a"] >= rows["a"]).all()
    assert result.background is not None
