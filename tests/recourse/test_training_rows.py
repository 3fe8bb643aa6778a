"""Training rows as answers of last resort."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge

from scfe_sklearn.explainer import CounterfactualExplainer
from scfe_sklearn.recourse import answers, reference_data
from scfe_sklearn.recourse.engine import Engine
from scfe_sklearn.recourse.judge import Rows
from scfe_sklearn.recourse.reference_data import training_rows
from scfe_sklearn.rules import Rules
from scfe_sklearn.targets import ClassTarget


def explained(budget=None, n_classes=3):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(150, 3)), columns=list("abc"))
    y = np.digitize(X["a"] + 0.5 * X["b"], [-0.5, 0.5][: n_classes - 1])
    model = LogisticRegression().fit(X, y)
    return CounterfactualExplainer(FrozenEstimator(model), max_changes=budget).fit(X, y), X


def engine_of(explainer):
    targets = ClassTarget.of_predictions(np.ones((0, 3), dtype=bool))
    return explainer._engine(explainer._score_functions(None, None), targets, 1)


@pytest.mark.parametrize("budget", [None, 3, 1])
def test_only_what_the_rules_permit_nearest_first(budget):
    """Against a loop over rows, classes and anchors with the raw rules."""
    explainer, X = explained(budget)
    engine, space = engine_of(explainer), explainer.space_
    query = X.iloc[:8]
    rules = Rules(increasing=["a"], ranges={"b": (-1.0, 1.0)}, immutable=[])
    Z = space.encode(query)
    wanted = np.ones((8, 3), dtype=bool)
    wanted[::2, 0] = False
    bounds, missing = rules.bind(space, query, Z), np.zeros(Z.shape, dtype=bool)
    got = training_rows(
        engine, Rows(Z, missing, bounds, ClassTarget.of_predictions(wanted)), count=5
    )
    # Those that have the class and get it, and those that only get it.
    assert sum(len(part) for part in engine.extra_reference_rows) > 0
    points = [
        np.concatenate(pair)
        for pair in zip(engine.reference_rows, engine.extra_reference_rows, strict=True)
    ]
    given = explainer.estimator_.predict(X)
    assert [len(part) for part in points] == np.bincount(given, minlength=3).tolist()
    anchors = [pd.DataFrame(space.center_ + space.scale_ * A, columns=list("abc")) for A in points]
    for i in range(8):
        costs = []
        for code in np.flatnonzero(wanted[i]):
            before = pd.concat([query.iloc[i : i + 1]] * len(anchors[code]), ignore_index=True)
            broken = rules.violations(space, before, anchors[code]).any(axis=1)
            gap = ((points[code] - Z[i]) ** 2).sum(axis=1)
            changes = (abs(points[code] - Z[i]) > 1e-9).sum(axis=1)
            fits = ~broken & (changes > 0) & (changes <= (budget or 3))
            costs += (gap + engine.beta * changes)[fits].tolist()
        found = got.cost[i][np.isfinite(got.cost[i])]
        np.testing.assert_allclose(found, sorted(costs)[:5])


def test_an_answer_where_scores_and_predictions_disagree(monkeypatch):
    """The search finds nothing that the model agrees with; training rows are left."""
    explainer, X = explained(n_classes=2)
    search = Engine.search

    def astray(self, rows, floor):
        found = search(self, rows, floor)
        return replace(found, z=np.repeat(rows.Z[:, None], found.z.shape[1], axis=1) + 1e-6)

    monkeypatch.setattr(answers.Engine, "search", astray)
    query = X[explainer.estimator_.predict(X) == 0].iloc[:10]
    result = explainer.explain(query, target=1)
    assert result.success.all()
    kept = explainer.space_.encode(result.counterfactuals)
    for z in kept:
        known = np.concatenate([explainer.reference_rows_[1], explainer.extra_reference_rows_[1]])
        # Its numbers are shortened.
        assert abs(known - z).max(axis=1).min() < 5e-3


@pytest.mark.parametrize("regressor", [False, True])
def test_large_training_sets_are_read_in_parts_and_thinned(regressor, monkeypatch):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(400, 3)), columns=list("abc"))
    X.iloc[5, 1] = np.nan  # a row that the model refuses
    score = X["a"] + 0.5 * X["b"].fillna(0)
    y = score if regressor else (score > 0.3).astype(int)
    model = (Ridge() if regressor else LogisticRegression()).fit(
        X.dropna(), y[X.notna().all(axis=1)]
    )
    target = (1.0, np.inf) if regressor else 1
    query = X[score < 0].dropna()[:20]

    def fitted(reference, together):
        monkeypatch.setattr(reference_data, "REFERENCE", reference)
        monkeypatch.setattr(reference_data, "TOGETHER", together)
        return CounterfactualExplainer(FrozenEstimator(model)).fit(X, y)

    def kept(explainer):
        if regressor:
            return [explainer.training_rows_]
        return [*explainer.reference_rows_, *explainer.extra_reference_rows_]

    whole, parts, thin = fitted(10**6, 10**6), fitted(10**6, 7), fitted(40, 7)
    assert sum(map(len, kept(whole))) == 399
    for one, other in zip(kept(whole), kept(parts), strict=True):
        np.testing.assert_array_equal(one, other)
    for few, every in zip(kept(thin), kept(whole), strict=True):
        assert len(few) == min(40, len(every))
        assert set(map(tuple, few)) <= set(map(tuple, every))
    if regressor:
        raw = pd.DataFrame(
            whole.space_.center_ + whole.space_.scale_ * thin.training_rows_, columns=X.columns
        )
        np.testing.assert_allclose(model.predict(raw), thin.training_values_)
    result = thin.explain(query, target)
    assert result.success.all()
    after = model.predict(result.counterfactuals)
    assert (after >= 1.0).all() if regressor else (after == 1).all()
