"""Several answers, fewest changes, models that agree, changes left undone, plausible enough."""

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from scfe_sklearn import CounterfactualExplainer, Probability
from scfe_sklearn.densities import GaussianKDE
from scfe_sklearn.status import Status

NUMBERS = ["a", "b", "c", "d"]


def world(n=160, seed=0):
    """Four numbers; the label is yes where a weighted sum with an interaction is large."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, 4)), columns=NUMBERS)
    score = X["a"] + 0.8 * X["b"] + 0.6 * X["c"] * (X["d"] > 0) + 0.3 * rng.normal(size=n)
    return X, np.where(score > 0.5, "yes", "no")


MODELS = {
    "logistic": lambda: make_pipeline(StandardScaler(), LogisticRegression()),
    "forest": lambda: RandomForestClassifier(9, max_depth=4, random_state=0),
    "tree": lambda: DecisionTreeClassifier(max_depth=4, random_state=0),
}


def fitted(kind, X, y, **options):
    model = MODELS[kind]().fit(X, y)
    return CounterfactualExplainer(FrozenEstimator(model), **options).fit(X, y), model


def explained(explainer, query, target=None, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return explainer.explain(query, target, **options)


# --------------------------------------------------------------------- several answers


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("k", [2, 4])
def test_several_answers_per_row(kind, k):
    X, y = world()
    explainer, model = fitted(kind, X, y, immutable=["d"], min_plausibility=0.0)
    query = X[model.predict(X) == "no"][:7]
    result = explained(explainer, query, "yes", n_counterfactuals=k)
    assert len(result) == k * len(query)
    assert result.option.tolist() == list(range(k)) * len(query)
    assert result.index.tolist() == np.repeat(query.index, k).tolist()
    quartile, median = np.quantile(explainer.density_.reference_log_prob_[1], [0.25, 0.5])
    several = 0
    for i in range(len(query)):
        own = np.arange(i * k, i * k + k)
        found = own[result.success[own]]
        assert result.success[own[0]]
        # What is left without an answer comes last, and says so.
        assert found.tolist() == own[: len(found)].tolist()
        assert set(result.reason[own[len(found) :]]) <= {"no further distinct answer was found"}
        after = result.counterfactuals.iloc[found].astype(float)
        assert (model.predict(after) == "yes").all()
        assert (after["d"] == query["d"].iloc[i]).all()
        assert not after.duplicated().any()
        supports = [tuple(row) for row in result.changed[found]]
        distinct = len(set(supports))
        # Every set of features once before any comes again.
        assert len(set(supports[:distinct])) == distinct
        several += distinct > 1
        # The objective by its definition: a unit of tau is worth the way from the lower quartile
        # to the median of the log-densities of the class.
        cost = result.distance[found] ** 2 + explainer.beta * result.n_changes[found]
        cost -= explainer.tau / (median - quartile) * result.log_density[found]
        assert cost[0] == cost[:distinct].min()
        assert (np.diff(cost[:distinct]) >= -1e-9).all()
        assert (np.diff(cost[distinct:]) >= -1e-9).all()
    assert several >= 6


def test_several_answers_of_a_batch_are_those_of_its_rows():
    X, y = world()
    explainer, model = fitted("forest", X, y)
    query = X[model.predict(X) == "no"][:5]
    whole = explained(explainer, query, "yes", n_counterfactuals=3)
    for i in (0, 3):
        part = explained(explainer, query[i : i + 1], "yes", n_counterfactuals=3)
        pd.testing.assert_frame_equal(
            part.counterfactuals, whole.counterfactuals[3 * i : 3 * i + 3], check_exact=True
        )


@pytest.mark.parametrize("count", [0, -1, 1.0, True, None, "2"])
def test_counts_that_are_none(count):
    X, y = world()
    explainer, _ = fitted("tree", X, y)
    with pytest.raises(ValueError, match=r"'n_counterfactuals' parameter of explain must be an in"):
        explainer.explain(X[:2], n_counterfactuals=count)


def test_rows_without_answers_have_as_many_entries():
    X, y = world()
    explainer, model = fitted("tree", X, y, immutable=NUMBERS[:3])
    query = pd.concat([X[model.predict(X) == "no"][:3], X[model.predict(X) == "yes"][:1]])
    result = explained(explainer, query, "yes", n_counterfactuals=2)
    assert len(result) == 8
    assert result.status[6:].tolist() == [Status.ALREADY_TARGET] * 2
    assert not result.success[6:].any()


# --------------------------------------------------------------------- as few as possible


def grid_world(seed):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.integers(0, 4, (150, 4)), columns=NUMBERS)
    score = X.to_numpy() @ rng.uniform(0.3, 1.0, 4) + 0.5 * rng.normal(size=150)
    return X, (score > np.quantile(score, 0.7)).astype(int)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("seed", range(3))
def test_fewest_changes_against_all_points_of_a_grid(kind, seed):
    X, y = grid_world(seed)
    explainer, model = fitted(kind, X, y, max_changes="fewest", increasing=["a"])
    query = X[model.predict(X) == 0][:12]
    ranges = dict.fromkeys(NUMBERS, (0, 3))
    explainer.set_params(ranges=ranges).fit(X, y)
    result = explained(explainer, query, 1)
    grid = pd.DataFrame(list(itertools.product(range(4), repeat=4)), columns=NUMBERS)
    good = grid[model.predict(grid) == 1].to_numpy()
    fewest = []
    for row in query.to_numpy():
        lawful = good[good[:, 0] >= row[0]]
        fewest.append((lawful != row).sum(axis=1).min())
    assert result.success.all()
    np.testing.assert_array_equal(result.n_changes, fewest)
    assert len(set(fewest)) > 1
    assert (model.predict(result.counterfactuals) == 1).all()


def test_fewest_changes_with_several_answers():
    X, y = grid_world(0)
    explainer, model = fitted("forest", X, y, max_changes="fewest")
    query = X[model.predict(X) == 0][:6]
    one = explained(explainer, query, 1)
    result = explained(explainer, query, 1, n_counterfactuals=3)
    np.testing.assert_array_equal(result.n_changes[::3], one.n_changes)
    found = result.success
    assert (model.predict(result.counterfactuals[found].astype(int)) == 1).all()


# --------------------------------------------------------------------- models that agree


@pytest.mark.parametrize("kind", ["logistic", "forest"])
def test_clones_on_resampled_rows_agree(kind):
    X, y = world()
    explainer, model = fitted(kind, X, y, ensemble=3, random_state=0)
    assert len(explainer.ensemble_) == 3
    said = [other.predict(X) for other in explainer.ensemble_]
    assert all((a != b).any() for a, b in itertools.combinations(said, 2))
    query = X[model.predict(X) == "no"][:8]
    result = explained(explainer, query, "yes")
    assert result.success.sum() >= 7
    found = result.counterfactuals[result.success]
    for voice in (model, *explainer.ensemble_):
        assert (voice.predict(found) == "yes").all()
    again, _ = fitted(kind, X, y, ensemble=3, random_state=0)
    pd.testing.assert_frame_equal(
        explained(again, query, "yes").counterfactuals, result.counterfactuals
    )
    other, _ = fitted(kind, X, y, ensemble=3, random_state=1)
    assert any(
        (a.predict(X) != b.predict(X)).any()
        for a, b in zip(other.ensemble_, explainer.ensemble_, strict=True)
    )
    alone, _ = fitted(kind, X, y)
    plain = explained(alone, query, "yes")
    lost = [
        (voice.predict(plain.counterfactuals[plain.success]) != "yes").any()
        for voice in explainer.ensemble_
    ]
    assert any(lost)  # without the wish they do not all agree


def test_given_models_agree():
    """Of several kinds, with and without a gradient: then all of them are only asked."""
    X, y = world()
    others = [FrozenEstimator(MODELS["forest"]().fit(X, y)), MODELS["tree"]().fit(X, y)]
    explainer, model = fitted("logistic", X, y, ensemble=others)
    assert explainer.solver_ == "search"
    query = X[(model.predict(X) == "no") & (others[1].predict(X) == "no")][:8]
    result = explained(explainer, query, "yes")
    found = result.counterfactuals[result.success]
    assert len(found) >= 7
    for voice in (model, *others):
        assert (voice.predict(found) == "yes").all()
    sure = explained(explainer, query, Probability("yes", 0.7))
    found = sure.counterfactuals[sure.success]
    assert len(found) >= 5
    for voice in (model, *others):
        assert (voice.predict_proba(found)[:, 1] >= 0.7).all()


def test_a_row_that_some_model_refuses_is_no_answer_yet():
    X, y = world()
    strict = MODELS["forest"]().fit(X, np.where(X["a"] > 1, "yes", "no"))
    explainer, model = fitted("logistic", X, y, ensemble=[FrozenEstimator(strict)])
    given = X[model.predict(X) == "yes"]
    result = explained(explainer, given, "yes")
    np.testing.assert_array_equal(
        result.status == Status.ALREADY_TARGET, strict.predict(given) == "yes"
    )
    assert (strict.predict(result.counterfactuals[result.success]) == "yes").all()
    assert result.success.any()


def test_models_with_other_classes_are_refused():
    X, y = world()
    other = MODELS["tree"]().fit(X, y == "yes")
    with pytest.raises(
        ValueError, match=r"'ensemble' parameter .* with the classes \['no', 'yes'\]"
    ):
        fitted("logistic", X, y, ensemble=[FrozenEstimator(other)])


# --------------------------------------------------------------------- a share left undone


@pytest.mark.parametrize("kind", ["logistic", "forest", "tree"])
@pytest.mark.parametrize("shortfall", [0.1, 0.3])
def test_an_answer_survives_a_change_left_undone_in_part(kind, shortfall):
    X, y = world()
    explainer, model = fitted(kind, X, y, shortfall=shortfall)
    query = X[model.predict(X) == "no"][:10]
    result = explained(explainer, query, "yes")
    assert result.success.sum() >= 9
    asked = query[result.success].to_numpy()
    done = result.counterfactuals[result.success].to_numpy(dtype=float)
    nearly = pd.DataFrame(done + shortfall * (asked - done), columns=NUMBERS)
    assert (model.predict(pd.DataFrame(done, columns=NUMBERS)) == "yes").all()
    assert (model.predict(nearly) == "yes").all()
    plain, _ = fitted(kind, X, y)
    done = explained(plain, query, "yes").counterfactuals.to_numpy(dtype=float)
    nearly = pd.DataFrame(done + shortfall * (query.to_numpy() - done), columns=NUMBERS)
    assert (model.predict(nearly.dropna()) != "yes").any()


def test_whole_numbers_left_undone_in_part_are_rounded_as_the_data_are():
    X, y = grid_world(1)
    explainer, model = fitted("forest", X, y, shortfall=0.4)
    query = X[model.predict(X) == 0][:10]
    result = explained(explainer, query, 1)
    found = result.success
    done, asked = result.counterfactuals[found].to_numpy(dtype=float), query[found].to_numpy()
    way = done + 0.4 * (asked - done)
    nearly = pd.DataFrame(np.rint(way), columns=NUMBERS)
    assert found.sum() >= 5
    assert (model.predict(nearly) == 1).all()


# --------------------------------------------------------------------- plausible enough


@pytest.mark.parametrize("kind", ["logistic", "forest"])
@pytest.mark.parametrize("least", [0.2, 0.4])
def test_a_limit_of_plausibility_is_kept(kind, least):
    """The quantile by scikit-learn's kernel density, among the rows of the class without one."""
    X, y = world()
    options = {"density": GaussianKDE(0.5), "tau": 0.0}
    explainer, model = fitted(kind, X, y, min_plausibility=least, **options)
    query = X[model.predict(X) == "no"][:10]
    result = explained(explainer, query, "yes")
    assert result.success.sum() >= 8
    assert (result.density_quantile[result.success] >= least).all()
    free, _ = fitted(kind, X, y, **options)
    other = explained(free, query, "yes")
    assert (other.density_quantile[other.success] < least).any()
    center, scale = X.mean(), X.std(ddof=0)
    own = ((X - center) / scale)[(y == "yes") & (model.predict(X) == "yes")].to_numpy()
    every = np.arange(len(own))
    others = [KernelDensity(bandwidth=0.5).fit(own[every != i]) for i in every]
    reference = np.array([kernel.score_samples(own[[i]])[0] for i, kernel in enumerate(others)])
    answers = ((result.counterfactuals[result.success] - center) / scale).to_numpy(dtype=float)
    dense = KernelDensity(bandwidth=0.5).fit(own).score_samples(answers)
    share = (reference[None] <= dense[:, None]).mean(axis=1)
    np.testing.assert_allclose(result.density_quantile[result.success], share, atol=1.5 / len(own))
    assert (share >= least - 1e-9).all()


def test_a_limit_holds_for_several_answers_too():
    X, y = world()
    explainer, model = fitted("forest", X, y, min_plausibility=0.25)
    query = X[model.predict(X) == "no"][:5]
    result = explained(explainer, query, "yes", n_counterfactuals=3)
    assert result.success.sum() >= 10
    assert (result.density_quantile[result.success] >= 0.25).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_plausibility", 1.0),
        ("min_plausibility", -0.1),
        ("shortfall", 1),
        ("shortfall", -0.1),
        ("ensemble", 0),
        ("ensemble", "3"),
        ("max_changes", "least"),
        ("solver", "milp?"),
    ],
)
def test_parameters_out_of_range(name, value):
    X, y = world()
    with pytest.raises(ValueError, match=rf"The '{name}' parameter of CounterfactualExplainer"):
        fitted("tree", X, y, **{name: value})


def test_all_at_once():
    """Every wish of this file in one explainer."""
    X, y = world()
    model = HistGradientBoostingClassifier(max_iter=10, random_state=0).fit(X, y)
    explainer = CounterfactualExplainer(
        FrozenEstimator(model),
        ensemble=2,
        shortfall=0.1,
        min_plausibility=0.05,
        max_changes=3,
        immutable=["d"],
        random_state=0,
    ).fit(X, y)
    query = X[model.predict(X) == "no"][:8]
    result = explained(explainer, query, Probability("yes", 0.55), n_counterfactuals=2)
    found = result.success
    assert found.sum() >= 8
    done = result.counterfactuals[found].astype(float)
    asked = query.loc[result.index[found]]
    nearly = done + 0.1 * (asked.to_numpy() - done)
    for voice in (model, *explainer.ensemble_):
        for rows in (done, nearly):
            assert (voice.predict_proba(rows)[:, 1] >= 0.55).all()
    assert (result.density_quantile[found] >= 0.05).all()
    assert (result.n_changes[found] <= 3).all()
    assert (done["d"].to_numpy() == asked["d"].to_numpy()).all()
