"""Very many columns or levels: memory is bounded, and parts give what the whole gives."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator

from scfe_sklearn import CounterfactualExplainer
from scfe_sklearn.models import BlackBox
from scfe_sklearn.recourse import engine
from scfe_sklearn.solvers.problem import Moves, moves
from scfe_sklearn.solvers.starts import anchors, beams, climbing


@pytest.fixture(scope="module")
def levels():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "code": rng.choice([f"C{i}" for i in range(60)], 400),
            "spend": rng.gamma(2, 50, 400).round(2),
            "visits": rng.poisson(4, 400),
        }
    )

    def model(rows):
        odd = rows["code"].str[1:].astype(int) % 7 == 0
        return (rows["spend"] / 60 + rows["visits"] * 0.1 + odd > 2.2).astype(int).to_numpy()

    return model, X


def test_pieces_give_what_the_whole_gives(levels, monkeypatch):
    model, X = levels
    query = X[model(X) == 0][:20]
    explainer = CounterfactualExplainer(model).fit(X, model(X))
    whole = explainer.explain(query, 1)
    for module, name in (
        (engine, "AT_ONCE"),
        (beams, "AT_ONCE"),
        (anchors, "UNDONE"),
        (climbing, "PUSHED"),
    ):
        monkeypatch.setattr(module, name, 2000)
    parts = explainer.explain(query, 1)
    pd.testing.assert_frame_equal(whole.counterfactuals, parts.counterfactuals)
    np.testing.assert_allclose(whole.log_density, parts.log_density)
    assert whole.success.all() and (model(parts.counterfactuals) == 1).all()


def test_rows_are_solved_together_as_memory_permits(levels):
    model, X = levels
    explainer = CounterfactualExplainer(model).fit(X, model(X))
    search = explainer._prepared(X[:1], 1, None, 1)[0]
    codes = np.array([1])
    assert search._rows_together(codes) == search.chunk_size
    # Tables of 2 GiB for this many moves leave room for one row.
    many = len(search._moves(1))
    search.alphabets[1] = search._moves(1).subset(torch.arange(many).repeat(4000))
    assert search._rows_together(codes) < 10


def test_table_of_moves_is_bounded(monkeypatch):
    """Of too many levels those that most samples have are listed."""
    rng = np.random.default_rng(0)
    code = rng.zipf(1.3, 500) % 40
    samples = torch.zeros(500, 41, dtype=torch.float64)
    samples[torch.arange(500), torch.from_numpy(code)] = 0.5**0.5
    samples[:, 40] = torch.from_numpy(rng.normal(size=500))
    groups = torch.tensor([0] * 40 + [1])
    scalar = torch.tensor([False] * 40 + [True])
    every = Moves.from_samples(samples, groups, scalar, 5)
    assert int((every.group == 0).sum()) == len(np.unique(code))
    monkeypatch.setattr(moves, "LARGEST", 41 * 15)
    some = Moves.from_samples(samples, groups, scalar, 5)
    levels = some.coordinate[some.group == 0].tolist()
    count = np.bincount(code, minlength=40)
    assert len(levels) == 10 and int((some.group == 1).sum()) == 5
    assert count[levels].min() >= np.delete(count, levels).max()


def greedy(model, X, row, budget):
    """A row after the best single quantile of all columns, again and again; None if refused."""
    values = np.quantile(X, np.linspace(0, 1, 9), axis=0).T.ravel()
    columns = np.repeat(np.arange(X.shape[1]), 9)
    here = row
    for _ in range(budget):
        tried = np.repeat(here[None], len(columns), axis=0)
        tried[np.arange(len(columns)), columns] = values
        p = model.predict_proba(pd.DataFrame(tried, columns=X.columns))[:, 1]
        here = tried[p.argmax()]
        if p.max() > 0.5:
            return here
    return None


@pytest.mark.parametrize(("width", "seed"), [(260, 0), (200, 1), (200, 2)])
def test_forest_of_many_columns_needs_no_more_changes_than_greedy_moves(width, seed):
    """It is answered as often, with as few changes, and nearer."""
    X, y = make_classification(
        300, width, n_informative=12, n_redundant=8, class_sep=0.6, random_state=seed
    )
    X = pd.DataFrame(X, columns=[f"g{i}" for i in range(width)])
    model = RandomForestClassifier(20, random_state=0).fit(X, y)
    query = X[model.predict(X) == 0][:8]
    explainer = CounterfactualExplainer(FrozenEstimator(model), max_changes=4).fit(X, y)
    result = explainer.explain(query, 1)
    scale, met = X.std(ddof=0).to_numpy(), []
    for i, row in enumerate(query.to_numpy()):
        there = greedy(model, X, row, 4)
        if there is not None:
            met.append(int((there != row).sum()))
            assert result.success[i] and result.n_changes[i] <= met[-1]
            assert result.distance[i] < np.linalg.norm((there - row) / scale)
    assert len(met) >= 5 and max(met) >= 3
    good = result.counterfactuals[result.success]
    assert (model.predict(good) == 1).all()
    alone = explainer.explain(query[1:2], 1)
    pd.testing.assert_frame_equal(alone.counterfactuals, result[1:2].counterfactuals)


def test_black_box_of_many_columns_walks_the_trees():
    """It gives the probabilities of the forest, whichever way is taken."""
    X, y = make_classification(300, 260, n_informative=12, n_redundant=8, random_state=0)
    forest = RandomForestClassifier(20, random_state=0).fit(X, y)
    explainer = CounterfactualExplainer(FrozenEstimator(forest)).fit(X, y)
    box = BlackBox(forest, explainer.space_.columns_, X[:100])
    assert box.fast and box._trees is not None and box._trees.slower_than_walking
    got = box.scores(torch.from_numpy(X)).softmax(1).numpy()
    np.testing.assert_allclose(got, forest.predict_proba(X), atol=2e-9)
    after = box.scores_after(torch.from_numpy(X[:2]), torch.from_numpy(X[2:5]), np.array([3, 9, 3]))
    moved = np.repeat(X[:2], 3, axis=0)
    for k, column in enumerate((3, 9, 3)):
        moved[[k, 3 + k], column] = X[2 + k, column]
    expected = forest.predict_proba(moved).reshape(2, 3, 2)
    np.testing.assert_allclose(after.softmax(2).numpy(), expected, atol=2e-9)
