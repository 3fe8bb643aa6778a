"""Whoever does exactly what a sentence says gets the target: numbers are judged as written."""

import re
import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from scfe_sklearn import CounterfactualExplainer, Interval, Probability
from scfe_sklearn.recourse.judge import Judge
from scfe_sklearn.recourse.ladders import LEVELS, ladder
from scfe_sklearn.recourse.short_points import ALLOWANCE
from scfe_sklearn.rules import Rules

VERB = "(?:increase|decrease|change)"
STEP = re.compile(rf"{VERB} (\w+) from (\S+?) to (\S+?)(?=,? (?:and )?{VERB}|\.$)", re.IGNORECASE)


def incomes(n=900, seed=0):
    """Loans with numbers of many digits and of several sizes."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "utilisation": rng.beta(1, 3, n),
            "income": rng.lognormal(8, 0.7, n),
            "ratio": np.exp(rng.normal(-1, 2.5, n)),
            "late": rng.poisson(0.5, n),
        }
    )
    signal = np.log(X.income) - 3 * X.utilisation - X.late - 0.3 * np.log(X.ratio)
    y = np.where(signal + rng.normal(0, 0.5, n) > 6.5, "good", "bad")
    return X, y


def linear():
    return make_pipeline(StandardScaler(), LogisticRegression())


def boosting():
    return HistGradientBoostingClassifier(max_iter=30, random_state=0)


def followed(query, explanation):
    """Rows after exactly what their sentences say, and which sentences say something."""
    rows, told = query.copy(), np.zeros(len(query), dtype=bool)
    for i, text in enumerate(explanation.sentences()):
        if not explanation.success[i]:
            continue
        steps = STEP.findall(text)
        assert len(steps) == explanation.n_changes[i], text
        for name, before, after in steps:
            assert before != after
            column = rows[name]
            kind = getattr(column.dtype, "numpy_dtype", column.dtype).type
            now, new = (kind(float(t.replace(",", ""))) for t in (before, after))
            assert now == query[name].iloc[i], text
            rows.iloc[i, rows.columns.get_loc(name)] = new
        told[i] = True
    return rows, told


def check_letters(query, explanation, model, good):
    rows, told = followed(query, explanation)
    assert told.any()
    answers = explanation.counterfactuals[told]
    pd.testing.assert_frame_equal(rows[told], answers, check_exact=True, check_dtype=False)
    assert good(model, rows[told]).all()
    # One at a time, as a customer comes.
    assert all(good(model, rows[told].iloc[[i]]).all() for i in range(min(told.sum(), 20)))


@pytest.mark.parametrize("budget", [1, None, "fewest"])
@pytest.mark.parametrize("make", [linear, boosting])
def test_sentences_followed_to_the_letter_get_the_target(make, budget):
    X, y = incomes()
    model = make().fit(X, y)
    query = X[model.predict(X) == "bad"][:40]
    explainer = CounterfactualExplainer(FrozenEstimator(model), max_changes=budget).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        result = explainer.explain(query, "good")
    check_letters(query, result, model, lambda model, rows: model.predict(rows) == "good")


@pytest.mark.parametrize("target", [Probability("good", at_least=0.8), {"good"}])
def test_sentences_keep_the_probability_of_the_target(target):
    X, y = incomes()
    model = linear().fit(X, y)
    query = X[model.predict_proba(X)[:, 1] < 0.5][:40]
    result = CounterfactualExplainer(FrozenEstimator(model)).fit(X, y).explain(query, target)
    least = 0.8 if isinstance(target, Probability) else 0.5
    check_letters(
        query, result, model, lambda model, rows: model.predict_proba(rows)[:, 1] >= least
    )


@pytest.mark.parametrize("width", [20.0, 0.01])
def test_sentences_keep_an_interval(width):
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    X = X.drop(columns="sex")
    model = LinearRegression().fit(X, y)
    query = X[model.predict(X) > 170][:25]
    explainer = CounterfactualExplainer(FrozenEstimator(model), immutable=["age"]).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        result = explainer.explain(query, Interval(140, 140 + width))

    def inside(model, rows):
        return (model.predict(rows) >= 140) & (model.predict(rows) <= 140 + width)

    check_letters(query, result, model, inside)


@pytest.mark.parametrize("dtype", ["float32", "Float64", "Float32"])
def test_sentences_are_written_in_the_precision_of_the_column(dtype):
    X, y = incomes(500)
    X = X.astype({"utilisation": dtype, "income": dtype, "ratio": dtype, "late": "Int64"})
    plain = X.astype(float)
    model = boosting().fit(plain, y)

    class Reads:
        """Passes nullable columns on as plain numbers."""

        classes_ = model.classes_
        _estimator_type = "classifier"

        def predict(self, rows):
            return model.predict(rows.astype(float))

        def predict_proba(self, rows):
            return model.predict_proba(rows.astype(float))

    reader = model if dtype == "float32" else Reads()
    if dtype == "float32":
        X = X.astype({"late": int})
    query = X[model.predict(plain) == "bad"][:20]
    result = CounterfactualExplainer(FrozenEstimator(reader)).fit(X, y).explain(query, "good")
    rows, told = followed(query, result)
    assert told.all()
    assert (model.predict(rows.astype(float)) == "good").all()


def test_rules_budgets_and_prices_survive_the_rounding():
    X, y = incomes()
    model = linear().fit(X, y)
    query = X[model.predict(X) == "bad"][:40]
    rules = Rules(ranges={"income": (0, 7000.123456789)}, relations=["utilisation <= 0.87654321"])
    explainer = CounterfactualExplainer(
        FrozenEstimator(model), max_changes=2, increasing=["ratio"], tau=0.0, min_plausibility=0
    ).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        result = explainer.explain(query, "good", rules=rules)
    after = result.counterfactuals[result.success]
    assert result.success.sum() > 10
    assert (after.income <= 7000.123456789).all()
    assert (after.ratio >= query.ratio[result.success]).all()
    assert (result.n_changes[result.success] <= 2).all()
    same = ~result.changed[result.success]
    before = query[result.success].to_numpy(float)
    assert (after.to_numpy(float)[same] == before[same]).all()


def test_the_objective_grows_by_at_most_a_thousandth(monkeypatch):
    X, y = incomes()
    model = linear().fit(X, y)
    query = X[model.predict(X) == "bad"][:60]
    explainer = CounterfactualExplainer(FrozenEstimator(model), tau=0.0).fit(X, y)
    short = explainer.explain(query, "good")
    monkeypatch.setattr(
        "scfe_sklearn.recourse.answers.shorten_points",
        lambda engine, query, rows, code, Z: (Z, np.zeros(len(Z), dtype=bool)),
    )
    long = explainer.explain(query, "good")
    assert (short.n_changes == long.n_changes).all()
    assert (short.distance**2 <= long.distance**2 * (1 + ALLOWANCE) + 1e-9).all()
    digits = [
        [len(Decimal(repr(float(v))).normalize().as_tuple().digits) for v in result.changes["to"]]
        for result in (short, long)
    ]
    assert np.median(digits[0]) <= 4 < 8 <= np.median(digits[1])
    # What is reported is that of the moved answer.
    space = explainer.space_
    gap = space.encode(short.counterfactuals) - space.encode(query)
    np.testing.assert_allclose(short.distance, np.sqrt((gap**2).sum(axis=1)))
    chance = model.predict_proba(short.counterfactuals)[:, 1]
    np.testing.assert_allclose(short.probability_after, chance)


@pytest.mark.parametrize("make", [linear, boosting])
def test_shortening_batch_equals_rows(make):
    X, y = incomes(500)
    model = make().fit(X, y)
    query = X[model.predict(X) == "bad"][:8]
    explainer = CounterfactualExplainer(FrozenEstimator(model)).fit(X, y)
    together = explainer.explain(query, "good").counterfactuals
    for i in range(len(query)):
        alone = explainer.explain(query.iloc[[i]], "good").counterfactuals
        pd.testing.assert_frame_equal(alone, together.iloc[[i]], check_exact=True)


def test_options_and_fronts_are_written_as_judged():
    X, y = incomes(500)
    model = boosting().fit(X, y)
    query = X[model.predict(X) == "bad"][:5]
    explainer = CounterfactualExplainer(FrozenEstimator(model)).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        several = explainer.explain(query, "good", n_counterfactuals=3)
    front = explainer.pareto(query, "good", factors=[0, 1], budgets=[1, None])

    def good(model, rows):
        return model.predict(rows) == "good"

    for result in (several, front):
        check_letters(result.factual, result, model, good)
        answers = result.counterfactuals[result.success]
        assert not answers.reset_index().duplicated().any()


def test_proved_answers_keep_all_their_digits():
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    X = X.iloc[:, :4]
    X.columns = ["a", "b", "c", "d"]
    model = RandomForestClassifier(5, max_depth=3, random_state=0).fit(X, y)
    query = X[model.predict(X) == 0][:6]
    explainer = CounterfactualExplainer(FrozenEstimator(model), solver="milp", tau=0.0).fit(X, y)
    result = explainer.explain(query, 1)
    assert (result.gap == 0).all()
    check_letters(query, result, model, lambda model, rows: model.predict(rows) == 1)


@pytest.mark.parametrize("tau", [0.0, 2.0])
def test_shortened_numbers_stay_within_the_training_range(tau):
    rng = np.random.default_rng(1)
    X = pd.DataFrame(
        {"tiny": np.exp(rng.normal(-18, 2, 600)), "b": rng.uniform(0.0123456789, 1, 600)}
    )
    score = -(np.log(X.tiny) + 18) - 4 * X.b
    y = np.where(score > np.quantile(score, 0.9), "good", "bad")
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1000)).fit(X, y)
    query = X[model.predict(X) == "bad"][:300]
    explainer = CounterfactualExplainer(FrozenEstimator(model), tau=tau, max_changes=1).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        result = explainer.explain(query, "good")
    answers = result.counterfactuals[result.success]
    changed = answers != query[result.success]
    assert changed.sum().min() > 50
    assert ((answers >= X.min()) & (answers <= X.max()) | ~changed).all(axis=None)
    # A logarithm is among what a model may compute: 0 was never seen.
    assert (answers.tiny > 0).all()


def test_small_numbers_are_never_written_as_zero():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"ratio": np.exp(rng.normal(0, 3, 600)), "age": rng.integers(20, 70, 600)})
    y = np.where(np.log(X.ratio) + X.age / 20 + rng.normal(0, 0.5, 600) > 3, "yes", "no")
    model = boosting().fit(X, y)
    query = X[model.predict(X) == "no"]
    explainer = CounterfactualExplainer(FrozenEstimator(model), immutable=["age"]).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        result = explainer.explain(query, "yes")
    for text, before in zip(result.sentences(), query.ratio, strict=True):
        if text.startswith("Increase"):
            assert float(STEP.findall(text)[0][1].replace(",", "")) == before
    page, table = result.to_html(), result[:10]._repr_html_()
    for _, line in result.changes[:10].iterrows():
        assert f"{line['from']!r}" in page
        assert f"{line['from']!r}" in table


def test_ladder_numbers_are_within_the_tolerance_and_on_their_grids():
    rng = np.random.default_rng(0)
    value = rng.normal(size=(400, 2)) * 10.0 ** rng.integers(-12, 12, (400, 2))
    value[::7] = np.round(value[::7], 2)
    tolerance = np.maximum(np.abs(value), 1e-9) * 10.0 ** rng.uniform(-8, -1, value.shape)
    upward = rng.random(value.shape) < 0.5
    found = ladder(value, tolerance, upward)
    assert found.number.shape == (LEVELS, 400, 2)
    assert (np.abs(found.number - value) <= tolerance).all()
    assert ((found.number >= value) | ~upward).all()
    assert ((found.number <= value) | upward).all()
    assert (found.exponent[1:] <= found.exponent[:-1]).all()
    for number, exponent in zip(found.number.ravel(), found.exponent.ravel(), strict=True):
        if np.isfinite(exponent):
            assert Decimal(repr(float(number))) % Decimal(10) ** int(exponent) == 0
    # Two grids above the coarsest that always has a number, unless the value is on one.
    assert (found.exponent[2] == np.floor(np.log10(tolerance))).mean() > 0.4


def test_answers_stay_valid_where_the_judge_refuses_the_short_numbers(monkeypatch):
    X, y = incomes()
    model = linear().fit(X, y)
    query = X[model.predict(X) == "bad"][:40]
    explainer = CounterfactualExplainer(FrozenEstimator(model), tau=0.0).fit(X, y)
    expected = explainer.explain(query, "good")
    # Numbers on the wrong side of the border reach the judge.
    monkeypatch.setattr(
        "scfe_sklearn.recourse.short_points.Block._sure",
        lambda self, owner, Z: np.ones(len(owner), dtype=bool),
    )
    refused = []
    original = Judge.__call__

    def judged(self, *args, **kwargs):
        verdict = original(self, *args, **kwargs)
        refused.append(int((~verdict.good).sum()))
        return verdict

    monkeypatch.setattr(Judge, "__call__", judged)
    result = explainer.explain(query, "good")
    assert result.success.all()
    assert sum(refused) > 10
    assert (result.n_changes == expected.n_changes).all()
    check_letters(query, result, model, lambda model, rows: model.predict(rows) == "good")
