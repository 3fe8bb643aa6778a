"""Answers that a systematic search finds where the solvers stop without one."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeClassifier

from scfe_sklearn import CounterfactualExplainer, Interval, Linear, Probability, Rules
from scfe_sklearn.status import Status


def explained(explainer, *args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return explainer.explain(*args, **options)


# ------------------------------------------------------------------- targets with two sides


def houses(n=400):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "size": rng.uniform(20, 200, n).round(2),
            "rooms": rng.integers(1, 9, n),
            "age": rng.uniform(0, 80, n).round(2),
        }
    )
    price = 1000 * X["size"] + 5000 * X["rooms"] - 500 * X["age"] + rng.normal(0, 3000, n)
    return X, price.to_numpy()


@pytest.mark.parametrize("budget", [1, "fewest"])
@pytest.mark.parametrize("width", [1000, 100])
def test_interval_of_a_linear_model_is_reached_by_one_change(budget, width):
    X, price = houses()
    model = LinearRegression().fit(X, price)
    before = model.predict(X)
    query = X[(before > 90_000) & (before < 110_000)][:20]
    explainer = CounterfactualExplainer(FrozenEstimator(model), max_changes=budget)
    explainer.fit(X, price)
    result = explainer.explain(query, Interval(150_000, 150_000 + width), best_effort=True)
    after = model.predict(result.counterfactuals)
    assert result.success.all() and (result.n_changes == 1).all()
    assert ((after >= 150_000) & (after <= 150_000 + width)).all()


def test_interval_within_a_step_of_a_column_stays_without_an_answer():
    X, price = houses()
    X = X[["rooms"]]
    model = LinearRegression().fit(X, price)
    value = model.predict(X)
    rooms = X["rooms"].to_numpy()
    low = value[rooms == 4][0] + 1
    high = value[rooms == 5][0] - 1
    explainer = CounterfactualExplainer(FrozenEstimator(model)).fit(X, price)
    result = explained(explainer, X[:5], Interval(low, high), best_effort=True)
    assert not result.success.any()
    # The closest whole number is one of the two beside the interval.
    shown = result.status == Status.CLOSEST
    assert set(np.asarray(result.counterfactuals)[shown, 0]) <= {4, 5}


@pytest.mark.parametrize("kind", ["smooth", "steps"])
def test_narrow_interval_matches_a_grid_over_two_columns(kind):
    rng = np.random.default_rng(0)
    n = 300
    X = pd.DataFrame(
        {
            "size": rng.uniform(20, 200, n).round(1),
            "age": rng.uniform(0, 80, n).round(1),
            "dist": rng.gamma(2, 4, n).round(2),
        }
    )
    y = 50 + X["size"] * 2 - X["age"] + 30 * np.sin(X["dist"] / 2) + rng.normal(0, 5, n)
    if kind == "smooth":
        model = make_pipeline(StandardScaler(), SVR(C=300)).fit(X, y)
    else:
        model = HistGradientBoostingRegressor(max_iter=60).fit(X, y)
    value = model.predict(X)
    query = X[(value > 240) & (value < 310)][:12]
    explainer = CounterfactualExplainer(FrozenEstimator(model), immutable=["size"]).fit(X, y)
    result = explained(explainer, query, Interval(330, 331))
    age = np.linspace(X["age"].min(), X["age"].max(), 101).round(1)
    dist = np.linspace(X["dist"].min(), X["dist"].max(), 101).round(2)
    for k in np.flatnonzero(~result.success):
        row = query.iloc[k]
        grid = pd.DataFrame(
            {
                "size": row["size"],
                "age": np.repeat([row["age"], *age], len(dist) + 1),
                "dist": np.tile([row["dist"], *dist], len(age) + 1),
            }
        )
        got = model.predict(grid)
        assert not ((got >= 330) & (got <= 331)).any()


def bands(kind, n=300):
    """Three classes along x; the middle one is a band that few training rows lie in."""
    rng = np.random.default_rng(1)
    X = pd.DataFrame({"x": rng.uniform(-3, 3, n), "u": rng.normal(size=n)})
    low, high = (0.4, 0.42) if kind == "ordered" else (-0.8, -0.78)
    y = np.where(X["x"] < low, "a", np.where(X["x"] > high, "c", "b"))
    y[:6] = "b"
    X.loc[:5, "x"] = np.linspace(low, high, 6)
    return X, y, low, high


@pytest.mark.parametrize("solver", ["apg", "search"])
@pytest.mark.parametrize("kind", ["ordered", "unordered"])
def test_narrow_middle_class_is_reached(kind, solver):
    X, y, low, high = bands(kind)
    model = LogisticRegression().fit(X, y)
    # Class b wins between low and high: three lines of which the middle one is level.
    model.coef_ = np.array([[-20.0, 0.0], [0.0, 0.0], [20.0, 0.0]])
    model.intercept_ = np.array([20 * low, 0.0, -20 * high])
    explainer = CounterfactualExplainer(FrozenEstimator(model), max_changes=1, solver=solver)
    explainer.fit(X, y)
    # The training rows of the class are out of reach: only values between them will do.
    rules = Rules(ranges={"x": (low + 0.0007, None)})
    query = X[X["x"] > high + 0.5][:10]
    result = explainer.explain(query, "b", rules=rules)
    x = np.asarray(result.counterfactuals["x"], dtype=float)
    assert result.success.all() and ((x >= low) & (x <= high)).all()


def test_inner_optimum_of_a_column_is_found():
    rng = np.random.default_rng(2)
    X = pd.DataFrame(rng.uniform(-3, 3, size=(150, 2)), columns=["x", "y"])
    value = np.exp(-(((X["x"] - 0.37) / 0.3) ** 2))
    model = make_pipeline(
        FunctionTransformer(lambda Z: np.exp(-(((np.asarray(Z)[:, :1] - 0.37) / 0.3) ** 2))),
        LinearRegression(),
    ).fit(X, value)
    explainer = CounterfactualExplainer(FrozenEstimator(model), max_changes=1).fit(X, value)
    result = explainer.explain(X[value < 0.1][:10], Interval(0.9999999, None))
    assert result.success.all()
    assert np.allclose(result.counterfactuals["x"], 0.37, atol=1e-3)


def test_best_effort_closes_in_on_an_interval_out_of_reach():
    X, price = houses()
    model = LinearRegression().fit(X, price)
    before = model.predict(X)
    query = X[(before > 90_000) & (before < 110_000)][:10]
    explainer = CounterfactualExplainer(
        FrozenEstimator(model), immutable=["size"], max_changes=1
    ).fit(X, price)
    result = explained(explainer, query, Interval(200_000, 201_000), best_effort=True)
    assert (result.status == Status.CLOSEST).all()
    # All rooms or no age, whichever does more.
    slope = model.coef_
    rooms = slope[1] * (X["rooms"].max() - query["rooms"])
    age = slope[2] * (X["age"].min() - query["age"])
    best = model.predict(query) + np.maximum(rooms, age)
    assert np.allclose(result.prediction_after.astype(float), best, atol=1.0)


# ----------------------------------------------------------- given up with an answer there


def mixed(seed, n=150):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "a": rng.normal(size=n),
            "b": rng.integers(0, 12, n),
            "c": rng.gamma(1, 10, n).round(1),
            "d": rng.normal(size=n),
        }
    )
    score = X["a"] * np.sign(X["b"] - 5.5) + 0.3 * rng.normal(size=n)
    return X, (score > np.quantile(score, 0.6)).astype(int)


CLASSIFIERS = {
    "neighbours": lambda: make_pipeline(StandardScaler(), KNeighborsClassifier(10)),
    "boosting": lambda: GradientBoostingClassifier(n_estimators=20, random_state=0),
    "forest": lambda: RandomForestClassifier(10, random_state=0),
    "tree": lambda: DecisionTreeClassifier(random_state=0),
    "kernel": lambda: make_pipeline(StandardScaler(), SVC()),
    "logistic": lambda: make_pipeline(StandardScaler(), LogisticRegression()),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("budget", [None, 1, 2])
@pytest.mark.parametrize(
    ("kind", "level"),
    [
        (kind, level)
        for kind in CLASSIFIERS
        for level in (None, 0.9, 1.0)
        if kind != "kernel" or level is None  # it has no probabilities
    ],
)
def test_no_row_is_given_up_that_one_change_or_a_training_row_answers(kind, level, budget, seed):
    X, y = mixed(seed)
    model = CLASSIFIERS[kind]().fit(X, y)
    target = 1 if level is None else Probability(1, level)

    def meets(rows):
        good = model.predict(rows) == 1
        return good if level is None else good & (model.predict_proba(rows)[:, 1] >= level)

    query = X[~meets(X)][:15]
    explainer = CounterfactualExplainer(FrozenEstimator(model), max_changes=budget).fit(X, y)
    result = explained(explainer, query, target)
    whole = X[meets(X)]
    for k in np.flatnonzero(result.status == Status.NOT_FOUND):
        row = query.iloc[[k]]
        for name in X.columns:
            values = X[name].unique()
            single = row.loc[row.index.repeat(len(values))].assign(**{name: values})
            assert not meets(single).any()
        changes = (whole.to_numpy() != row.to_numpy()).sum(axis=1)
        assert not ((changes > 0) & (changes <= (budget or 4))).any()


def test_probability_that_is_met_exactly_is_found():
    X = pd.DataFrame({"x": np.arange(40.0), "u": np.tile([0.0, 1.0], 20)})
    y = np.where(X["x"] >= 20, 1, 0)
    y[[25, 35]] = 0  # no ten neighbours are all of class 1
    model = KNeighborsClassifier(10).fit(X, y)
    assert model.predict_proba(X)[:, 1].max() == 0.9
    explainer = CounterfactualExplainer(FrozenEstimator(model)).fit(X, y)
    result = explainer.explain(X[:10], Probability(1, 0.9))
    assert result.success.all()
    assert (model.predict_proba(result.counterfactuals)[:, 1] >= 0.9).all()


def test_value_that_is_met_exactly_is_found():
    X = pd.DataFrame({"x": np.arange(20.0), "u": np.zeros(20)})
    y = np.repeat([0.0, 1.0], 10)
    model = KNeighborsRegressor(2).fit(X, y)
    explainer = CounterfactualExplainer(FrozenEstimator(model)).fit(X, y)
    result = explainer.explain(X[:5], Interval(0.5, 0.6))
    assert result.success.all() and (model.predict(result.counterfactuals) == 0.5).all()


@pytest.mark.parametrize("kind", ["forest", "kernel"])
def test_fallback_of_a_batch_is_that_of_its_rows(kind):
    X, y = mixed(3)
    model = CLASSIFIERS[kind]().fit(X, y)
    explainer = CounterfactualExplainer(FrozenEstimator(model), max_changes=1).fit(X, y)
    rules = Rules(immutable=["d"])
    query = X[model.predict(X) == 0][:12]
    together = explained(explainer, query, 1, rules=rules, best_effort=True)
    for k in range(len(query)):
        alone = explained(explainer, query.iloc[[k]], 1, rules=rules, best_effort=True)
        assert alone.status[0] == together.status[k]
        pd.testing.assert_frame_equal(
            alone.counterfactuals, together.counterfactuals.iloc[[k]], check_dtype=False
        )


# ------------------------------------------------------------- what is shown has been judged


@pytest.mark.parametrize("seed", [3, 21, 40, 58])
def test_no_closest_point_is_valid(seed):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(200, 3)).round(1), columns=list("abc"))
    y = (X["a"] * X["b"] + X["c"] > 0.3).astype(int)
    model = RandomForestClassifier(10, max_depth=5, random_state=0).fit(X, y)
    query = X[model.predict(X) == 0][:30]
    low, width = rng.uniform(-0.5, 0.5), rng.uniform(0, 0.3)
    rules = Rules(
        relations=[
            Linear({"a": 1, "b": -1}, at_least=low, at_most=low + width),
            Linear({"a": 1, "c": 1}, at_least=-0.2, at_most=0.1),
        ]
    )
    explainer = CounterfactualExplainer(FrozenEstimator(model)).fit(X, y)
    shown = explained(explainer, query, 1, rules=rules, best_effort=True)
    closest = shown.status == Status.CLOSEST
    assert (np.asarray(shown.prediction_after)[closest] == 0).all()
    plain = explained(explainer, query, 1, rules=rules)
    assert (plain.success == shown.success).all()


# -------------------------------------------------------------------- one number that is free


@pytest.mark.parametrize("settings", [{}, {"density": "kde"}, {"tau": 0}])
@pytest.mark.parametrize("budget", [1, 2, 3, None])
def test_rules_may_leave_one_number_free(settings, budget):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(200, 3)), columns=list("abc"))
    y = (X.sum(axis=1) + rng.normal(0, 0.5, 200) > 0).astype(int)
    explainer = CounterfactualExplainer(LogisticRegression(), max_changes=budget, **settings)
    explainer.fit(X, y)
    model = explainer.estimator_
    query = X[model.predict(X) == 0][:20]
    result = explained(explainer, query, 1, rules=Rules(immutable=["b", "c"]))
    top = model.predict(query.assign(a=X["a"].max())) == 1
    assert (result.success == top).all()


def test_fallback_evaluates_a_bounded_number_of_points_per_row():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 150))
    y = (X[:, :20].sum(axis=1) > 0).astype(int)

    class Counted(ClassifierMixin, BaseEstimator):
        points = 0

        def fit(self, X, y):
            self.classes_ = np.unique(y)
            return self

        def predict_proba(self, X):
            type(self).points += len(X)
            return np.tile([0.9, 0.1], (len(X), 1))

        def predict(self, X):
            return self.classes_[self.predict_proba(X).argmax(axis=1)]

    model = Counted().fit(X, y)
    explainer = CounterfactualExplainer(FrozenEstimator(model), max_changes=1).fit(X, y)
    Counted.points = 0
    result = explained(explainer, X[:3], 1)
    assert not result.success.any()
    assert 3 * 1000 < Counted.points < 3 * 60_000
