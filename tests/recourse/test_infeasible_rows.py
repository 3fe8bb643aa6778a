"""Rows of linear models that no change can answer are proved hopeless, not searched."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from scfe_sklearn import CounterfactualExplainer
from scfe_sklearn.recourse.engine import Engine


@pytest.mark.parametrize("best_effort", [False, True])
def test_only_rows_with_an_answer_are_searched(monkeypatch, best_effort):
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(X, y)
    query = X[model.predict(X) == 0][:80]
    # One change of a linear model does most at an end of the training range.
    reachable = np.zeros(len(query), dtype=bool)
    for name in X:
        for end in (X[name].min(), X[name].max()):
            reachable |= model.predict(query.assign(**{name: end})) == 1
    assert 10 < reachable.sum() < 70
    searched = {"search": [], "fall_back": []}
    for step, rows_of in searched.items():
        original = getattr(Engine, step)

        def counted(self, rows, floor, original=original, rows_of=rows_of):
            rows_of.append(len(rows))
            return original(self, rows, floor)

        monkeypatch.setattr(Engine, step, counted)
    explainer = CounterfactualExplainer(FrozenEstimator(model), max_changes=1).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        result = explainer.explain(query, 1, best_effort=best_effort)
    np.testing.assert_array_equal(result.success, reachable)
    if best_effort:
        assert (result.status[~reachable] == "closest, but not valid").all()
        assert searched["fall_back"]
    else:
        assert (result.status[~reachable] == "not reachable under these rules").all()
        assert searched["search"][0] == reachable.sum()
        assert not searched["fall_back"]
