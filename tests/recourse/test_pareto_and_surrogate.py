"""The front of a question, and starts from a fitted network."""

import numpy as np
import pytest
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state

from scfe_sklearn import CounterfactualExplainer, Status
from scfe_sklearn.recourse.preparation.training import fit_surrogate

X, Y = load_wine(return_X_y=True, as_frame=True)
MODELS = {
    "apg": make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y),
    "search": RandomForestClassifier(15, random_state=0).fit(X, Y),
}


@pytest.mark.parametrize("solver", MODELS)
def test_no_answer_of_a_front_beats_another(solver):
    explainer = CounterfactualExplainer(FrozenEstimator(MODELS[solver])).fit(X, Y)
    query = X[Y == 0][:6]
    front = explainer.pareto(query, target=1)
    assert front.success.all() and front.solver == solver
    assert set(front.index) == set(query.index)
    assert (MODELS[solver].predict(front.counterfactuals) == 1).all()
    price = np.column_stack([front.n_changes, front.distance, -front.density_quantile])
    for label in query.index:
        own = np.flatnonzero(front.index == label)
        assert front.option[own].tolist() == list(range(len(own)))
        assert (np.diff(front.n_changes[own]) >= 0).all()
        for i in own:
            for j in own:
                if i != j:
                    assert not (price[i] <= price[j] + 1e-12).all()
    assert max(np.bincount(front.option)) == len(query) < len(front)
    alone = explainer.pareto(query.iloc[[2]], target=1)
    np.testing.assert_allclose(alone.distance, front.distance[front.index == query.index[2]])
    # The plain answer is not beaten by less than the front offers.
    plain = explainer.explain(query, target=1)
    for i, label in enumerate(query.index):
        own = price[front.index == label]
        mine = np.array([plain.n_changes[i], plain.distance[i], -plain.density_quantile[i]])
        assert (own <= mine + 1e-6).all(axis=1).any()


def test_a_front_is_told_of_and_stopped():
    explainer = CounterfactualExplainer(FrozenEstimator(MODELS["apg"]), chunk_size=3).fit(X, Y)
    query, told = X[Y == 0][:7], []
    whole = explainer.pareto(query, target=1)

    def stop(progress):
        told.append((progress.done, progress.total))
        return True

    part = explainer.pareto(query, target=1, callback=stop)
    assert told == [(3, 7)]
    assert list(dict.fromkeys(part.index)) == query.index.tolist()
    left = np.isin(part.index, query.index[3:])
    assert (part.status[left] == Status.NOT_FOUND).all() and part.success[~left].all()
    np.testing.assert_array_equal(
        part.distance[~left], whole.distance[np.isin(whole.index, query.index[:3])]
    )
    with pytest.raises(ValueError, match="'time_limit' parameter"):
        explainer.pareto(query, target=1, time_limit=-1)


def test_fronts_of_rows_without_answers_and_wrong_parameters():
    explainer = CounterfactualExplainer(FrozenEstimator(MODELS["search"])).fit(X, Y)
    explainer.set_params(immutable=list(X.columns))
    front = explainer.pareto(X[:2], target=1)
    assert not front.success.any() and len(front) == 2
    for name, value in (("factors", [-1.0]), ("factors", []), ("budgets", [0]), ("budgets", [])):
        with pytest.raises(ValueError, match=f"'{name}' parameter of pareto"):
            explainer.pareto(X[:2], target=1, **{name: value})


@pytest.mark.parametrize("model", [RidgeClassifier(), RandomForestRegressor(5)])
def test_fronts_and_answers_of_no_rows_are_empty(model):
    data = load_wine(return_X_y=True)
    explainer = CounterfactualExplainer(model).fit(*data)
    target = 1 if isinstance(model, RidgeClassifier) else (1, None)
    none = np.empty((0, 13))
    for result in (explainer.pareto(none, target), explainer.explain(none, target)):
        assert len(result) == 0 and result.counterfactuals.shape == (0, 13)
        assert result.to_frame().empty and result.sentences() == []


def test_a_network_learns_the_scores():
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(800, 4))
    weight = rng.normal(size=(4, 3))

    def scores(z):
        return z.sin() @ z.new_tensor(weight)

    slices = [slice(k, k + 1) for k in range(4)]
    learned = fit_surrogate(scores, Z, slices, check_random_state(0)).scores()
    import torch

    test = torch.from_numpy(rng.normal(size=(500, 4)))
    wanted = scores(test)
    wanted = wanted - wanted.mean(dim=1, keepdim=True)
    error = (learned(test) - wanted).var(dim=0) / wanted.var(dim=0)
    assert bool((error < 0.3).all())


@pytest.mark.parametrize("values", [False, True])
def test_starts_of_a_network_do_no_harm(values):
    target = X["proline"] if values else Y
    features = X.drop(columns="proline")
    model = (RandomForestRegressor if values else RandomForestClassifier)(15, random_state=0)
    model.fit(features, target)
    wanted = (900, None) if values else 1
    query = features[:40]
    results = []
    for surrogate in (False, True):
        explainer = CounterfactualExplainer(
            FrozenEstimator(model), tau=0.0, surrogate=surrogate, random_state=0
        ).fit(features, target)
        results.append(explainer.explain(query, target=wanted))
    plain, guided = results
    np.testing.assert_array_equal(plain.success, guided.success)
    good = plain.success
    cost = [r.distance[good] ** 2 + 4 * r.n_changes[good] for r in results]
    assert cost[1].mean() <= cost[0].mean() * 1.01
    again = explainer.explain(query, target=wanted)
    np.testing.assert_array_equal(again.distance, guided.distance)
