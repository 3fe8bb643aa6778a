"""Models that fail for some rows, time limits inside a chunk: what can be answered is answered."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from scfe_sklearn import CounterfactualExplainer, Status, progress
from scfe_sklearn.recourse import model_calls

pytestmark = pytest.mark.filterwarnings("ignore:.*rows have no counterfactual")
RANDOM = np.random.default_rng(0)
X = pd.DataFrame(RANDOM.normal(size=(200, 3)), columns=list("abc"))
Y = (X["a"] + X["b"] > 0).to_numpy().astype(int)
LIMIT = 1.2


class Clock:
    """A clock that only calls of the model move."""

    def __init__(self):
        self.now, self.longest = 100.0, 0.0

    def __call__(self):
        return self.now

    def pass_by(self, seconds):
        self.now += seconds
        self.longest = max(self.longest, seconds)


CLOCK = Clock()


@pytest.fixture
def clock(monkeypatch):
    for module in (progress, model_calls):
        monkeypatch.setattr(module, "monotonic", CLOCK)
    CLOCK.longest = 0.0
    return CLOCK


class Fragile(ClassifierMixin, BaseEstimator):
    """A logistic model that, once ``how`` is set, fails for rows with a > LIMIT.

    How it behaves is kept by the class, since explainers may call a copy of a model.
    """

    how, seconds = None, 0.0

    def fit(self, X, y):
        self.model_ = LogisticRegression().fit(X, y)
        self.classes_ = self.model_.classes_
        return self

    def predict(self, X):
        return self._answer("predict", X)

    def predict_proba(self, X):
        return self._answer("predict_proba", X)

    def _answer(self, name, X):
        CLOCK.pass_by(self.seconds * len(X))
        bad = np.asarray(X)[:, 0] > LIMIT
        out = getattr(self.model_, name)(X)
        if self.how == "raises" and bad.any():
            raise RuntimeError("a is out of order\nand more")
        if self.how == "drops" and bad.any():
            return out[~bad]
        if self.how == "nan" and name == "predict_proba":
            out = np.where(bad[:, None], np.nan, out)
        return out


def explainer_of(model, **parameters):
    return CounterfactualExplainer(FrozenEstimator(model.fit(X, Y)), **parameters).fit(X, Y)


@pytest.mark.parametrize("how", ["raises", "drops", "nan"])
def test_a_failing_model_costs_the_failing_rows_only(how, monkeypatch):
    model = Fragile()
    explainer = explainer_of(model)
    query = X[:30]
    bad = query["a"].to_numpy() > LIMIT
    assert 0 < bad.sum() < 8
    plain = explainer.explain(query)
    monkeypatch.setattr(Fragile, "how", how)
    result = explainer.explain(query)
    assert (result.status[bad] == Status.MODEL_FAILED).all()
    assert result.success[~bad].all() and plain.success.all()
    assert (result.counterfactuals["a"][~bad] <= LIMIT).all()
    expected = {
        "raises": "the model raises RuntimeError: a is out of order",
        "drops": "must have one prediction for each row. Got an array of shape (0,) for 1 rows",
        "nan": "the model has no finite output here",
    }[how]
    assert all(expected in reason for reason in result.reason[bad])
    # A row is answered as it is alone, and the model agrees with every answer.
    for row in (int(np.flatnonzero(bad)[0]), int(np.flatnonzero(~bad)[0])):
        alone = explainer.explain(query[row : row + 1])
        assert alone.sentences() == result[[row]].sentences()
        assert alone.reason[0] == result.reason[row]
    assert (model.predict(result.counterfactuals[~bad]) != model.predict(query[~bad])).all()


class Brittle(torch.nn.Module):
    """A differentiable model that raises for a batch with a > 5."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 2).double()
        with torch.no_grad():
            self.linear.weight[:] = torch.tensor([[-1.0, -1.0, 0.0], [1.0, 1.0, 0.0]])
            self.linear.bias[:] = 0.0

    def forward(self, x):
        if bool((x[:, 0] > 5).any()):
            raise ArithmeticError("too large")
        return self.linear(x.double())


def test_a_module_that_raises_costs_its_rows_only():
    explainer = CounterfactualExplainer(Brittle(), increasing=["a"]).fit(X.astype(np.float32), Y)
    query = X[:12].astype(np.float32)
    query.iloc[3, 0] = 7.0
    result = explainer.explain(query, target=1)
    assert result.status[3] == Status.MODEL_FAILED
    assert result.reason[3] == "the model raises ArithmeticError: too large"
    rest = np.arange(12) != 3
    assert set(result.status[rest]) <= {Status.FOUND, Status.ALREADY_TARGET}


@pytest.mark.parametrize("limit", [3.0, 6.0, 30.0])
def test_a_time_limit_ends_inside_a_chunk_with_what_was_found(clock, monkeypatch, limit):
    explainer = explainer_of(Fragile())
    monkeypatch.setattr(Fragile, "seconds", 0.005)
    start = clock.now
    result = explainer.explain(X[:120], time_limit=limit)
    assert clock.now - start <= 1.1 * limit + clock.longest
    assert clock.longest <= 0.2 * limit
    late = result.reason == "time limit"
    assert late.any() and (result.status[late] == Status.NOT_FOUND).all()
    found = result.success
    assert (found == ~late).all() and found.any()
    monkeypatch.undo()
    model = explainer.estimator_
    assert (model.predict(result.counterfactuals[found]) != model.predict(X[:120][found])).all()
    cut = result.reason[found] == progress.CUT_SHORT
    whole = explainer.explain(X[:120])
    pd.testing.assert_frame_equal(
        result.counterfactuals[found][~cut], whole.counterfactuals[found][~cut], check_dtype=False
    )


def test_rows_that_were_not_reached_cost_no_call_of_the_model(clock, monkeypatch):
    explainer = explainer_of(Fragile())
    monkeypatch.setattr(Fragile, "seconds", 1.0)
    start = clock.now
    result = explainer.explain(X[:50], time_limit=0.5)
    assert (result.reason == "time limit").all() and not result.success.any()
    assert len(result) == 50 and clock.now - start <= 8.0  # one call, of the first slice


@pytest.mark.parametrize("limit", [0.3, 8.0])
def test_a_time_limit_ends_inside_a_front(clock, monkeypatch, limit):
    explainer = explainer_of(Fragile())
    monkeypatch.setattr(Fragile, "seconds", 0.005)
    start = clock.now
    result = explainer.pareto(X[:20], time_limit=limit)
    assert clock.now - start <= 1.1 * limit + clock.longest
    found = result.success
    assert (result.reason[~found] == "time limit").all()
    assert found.any() == (limit > 1)
    assert set(result.index) == set(X[:20].index)
    monkeypatch.undo()
    after = result.counterfactuals[found].astype(X.dtypes)
    if len(after):
        assert (explainer.estimator_.predict(after) == result.target[found]).all()
