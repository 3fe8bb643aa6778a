"""A model that writes into the rows that it is given changes nobody else's."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from scfe_sklearn import CounterfactualExplainer, Rules
from scfe_sklearn.models import handed

RNG = np.random.default_rng(0)
X = pd.DataFrame({"a": RNG.normal(size=200), "b": RNG.integers(0, 20, 200)})
Y = (X["a"] + X["b"] / 10 > 1.5).astype(int).to_numpy()


def probabilities(rows):
    score = np.asarray(rows["a"], dtype=float) + np.asarray(rows["b"], dtype=float) / 10 - 1.5
    return np.column_stack([1 / (1 + np.exp(score)), 1 / (1 + np.exp(-score))])


def spoil(rows):
    """Write into rows, after they were read."""
    if isinstance(rows, pl.DataFrame):
        rows[0, "a"] = 0.0
        rows.replace_column(0, pl.Series("a", np.zeros(len(rows))))
    else:
        rows.loc[:, "a"] = 0.0


class Spoiling(ClassifierMixin, BaseEstimator):
    """Its probabilities and its labels come from the same rows, and both are spoilt."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        spoil(X)
        return self

    def predict_proba(self, X):
        out = probabilities(X)
        spoil(X)
        return out

    def predict(self, X):
        out = self.classes_[probabilities(X).argmax(axis=1)]
        spoil(X)
        return out


def spoiling_function(rows):
    out = probabilities(rows)
    spoil(rows)
    return out


@pytest.mark.parametrize("form", [lambda X: X.copy(), pl.from_pandas], ids=["pandas", "polars"])
@pytest.mark.parametrize("model", [Spoiling(), spoiling_function], ids=["estimator", "function"])
def test_rows_of_the_caller_stay(model, form):
    training, query = form(X), form(X[Y == 0][:10])
    explainer = CounterfactualExplainer(model).fit(training, Y)
    result = explainer.explain(query, 1, rules=Rules(increasing=["b"]), n_counterfactuals=2)
    assert result.success[::2].all()
    for kept, before in ((training, form(X)), (query, form(X[Y == 0][:10]))):
        assert kept.equals(before)
    first = result[::2]
    assert first.factual.equals(query)
    # Judged on the rows themselves, by a model that writes nothing.
    assert (probabilities(first.counterfactuals).argmax(axis=1) == 1).all()
    np.testing.assert_allclose(first.probability_after, probabilities(first.counterfactuals)[:, 1])
    np.testing.assert_allclose(first.probability_before, probabilities(query)[:, 1])


def test_arrays_of_the_caller_stay():
    def model(rows):
        out = (rows[:, 0] + rows[:, 1] / 10 > 1.5).astype(int)
        rows[:] = 0.0
        return out

    training = X.to_numpy(dtype=float)
    query = training[Y == 0][:10].copy()
    before = training.copy(), query.copy()
    result = CounterfactualExplainer(model).fit(training, Y).explain(query, 1)
    np.testing.assert_array_equal(training, before[0])
    np.testing.assert_array_equal(query, before[1])
    np.testing.assert_array_equal(result.factual, before[1])
    assert result.success.all() and (model(result.counterfactuals.copy()) == 1).all()


def test_handed_keeps_what_it_is_given():
    for rows in (X, X.to_numpy(), pl.from_pandas(X)):
        copy = handed(rows)
        assert type(copy) is type(rows) and copy is not rows
        assert pd.DataFrame(np.asarray(copy)).equals(pd.DataFrame(np.asarray(rows)))
