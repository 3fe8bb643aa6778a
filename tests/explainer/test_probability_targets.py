"""Probability targets: the probability of a class decides alone, whatever is predicted."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from scfe_sklearn import (
    CounterfactualExplainer,
    CounterfactualTransformer,
    Explanation,
    Interval,
    Probability,
    Status,
)
from scfe_sklearn.robustness import survival_under_noise
from scfe_sklearn.scoring import RecourseScorer
from scfe_sklearn.serving.what_if import WhatIf

RNG = np.random.default_rng(4)
N = 600
X = pd.DataFrame({"spend": RNG.gamma(2, 50, N).round(1), "visits": RNG.poisson(3, N)})
ODDS = X.spend / 60 - X.visits * 0.3 - 2
Y = np.where(RNG.random(N) < 1 / (1 + np.exp(-ODDS)), "buys", "no")
LOGISTIC = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
P = LOGISTIC.predict_proba(X)[:, 0]


class Bank(ClassifierMixin, BaseEstimator):
    """A wrapper with a threshold of its own."""

    def __init__(self, threshold=0.3):
        self.threshold = threshold

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.inner_ = LogisticRegression().fit(X, y)
        return self

    def predict(self, X):
        sure = self.inner_.predict_proba(X)[:, 0] >= self.threshold
        return np.where(sure, *self.classes_)

    def predict_proba(self, X):
        return self.inner_.predict_proba(X)


MODELS = {
    "logistic": LogisticRegression(),
    "bayes": GaussianNB(),
    "huber": SGDClassifier(loss="modified_huber", random_state=0),
    "isotonic": CalibratedClassifierCV(LogisticRegression(), method="isotonic", cv=2),
    "neighbours": KNeighborsClassifier(10),
    "forest": RandomForestClassifier(10, max_depth=4, random_state=0),
    "boosting": HistGradientBoostingClassifier(max_iter=10, random_state=0),
    "fixed": FixedThresholdClassifier(LogisticRegression(), threshold=0.3, pos_label="buys"),
    "bank": Bank(0.3),
    "strict bank": Bank(0.8),
}
LIMITS = [(0.2, None), (0.8, None), (None, 0.3), (0.25, 0.45)]


@pytest.fixture(scope="module", params=MODELS)
def explainer(request):
    model = MODELS[request.param]
    model = model if request.param == "isotonic" else make_pipeline(StandardScaler(), model)
    return CounterfactualExplainer(model).fit(X, Y)


@pytest.mark.parametrize(("low", "high"), LIMITS)
@pytest.mark.parametrize("code", [0, 1])
def test_answers_have_the_probability_and_rows_that_have_it_stay(explainer, low, high, code):
    model, label = explainer.estimator_, explainer.classes_[code]
    before = model.predict_proba(X)[:, code]
    least, most = 0 if low is None else low, 1 if high is None else high
    rows = X.iloc[:: N // 24]
    has = ((before >= least) & (before <= most))[:: N // 24]
    result = explainer._explain(rows, Probability(label, low, high))
    np.testing.assert_array_equal(result.status == Status.ALREADY_TARGET, has)
    np.testing.assert_allclose(result.probability_before, before[:: N // 24])
    # No rule forbids to become a training row.
    assert result.success[~has].all() or not ((before >= least) & (before <= most)).any()
    if not result.success.any():
        return
    answers = result.counterfactuals[result.success].astype(X.dtypes.to_dict())
    after = model.predict_proba(answers)[:, code]
    assert (after >= least).all() and (after <= most).all()
    np.testing.assert_allclose(result.probability_after[result.success], after)
    assert result.prediction_after[result.success].tolist() == model.predict(answers).tolist()
    told = "has the target probability"
    disagree = (model.predict(answers) == label) == (low is None)
    assert not any("np." in one for one in result.reason)
    assert [told in one for one in result.reason[result.success]] == disagree.tolist()
    assert (result.target[~has & result.success] == (None if low is None else label)).all()


def test_a_cut_off_is_as_cheap_as_the_same_value_of_a_regressor():
    explainer = CounterfactualExplainer(FrozenEstimator(LOGISTIC)).fit(X, Y)
    score = CounterfactualExplainer(lambda rows: LOGISTIC.predict_proba(rows)[:, 0]).fit(X, P)
    rows = X[P < 0.1][:20]
    for limits in ({"at_least": 0.2}, {"at_least": 0.7}):
        sure = explainer._explain(rows, Probability("buys", **limits))
        value = score._explain(rows, Interval(**limits))
        assert sure.success.all() and sure.distance.mean() < 1.05 * value.distance.mean()
    label = explainer._explain(rows, "buys")
    cut_off = explainer._explain(rows, Probability("buys", 0.2))
    assert cut_off.distance.mean() < 0.8 * label.distance.mean()


def test_a_batch_with_other_targets_equals_its_rows():
    explainer = CounterfactualExplainer(FrozenEstimator(LOGISTIC)).fit(X, Y)
    rows = X[P < 0.1][:6]
    targets = [
        Probability("buys", 0.2),
        "buys",
        Probability("buys", 0.2),
        Probability("no", 0.1, 0.3),
    ]
    targets += [{Probability("buys", 0.25), "buys"}, Probability("no", at_most=0.6)]
    batch = explainer._explain(rows, targets)
    assert batch.success.all()
    for k, wish in enumerate(targets):
        alone = explainer._explain(rows[k : k + 1], wish)
        pd.testing.assert_frame_equal(alone.counterfactuals, batch.counterfactuals[k : k + 1])
        np.testing.assert_array_equal(alone.log_density, batch.log_density[k : k + 1])


def test_several_classes():
    y = np.where(X.spend > 130, "high", np.where(X.visits > 3, "mid", "low"))
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    explainer = CounterfactualExplainer(FrozenEstimator(model)).fit(X, y)
    table, rows = model.predict_proba(X), X[::30]
    for code, label in enumerate(model.classes_):
        for limits in ((0.25, None), (None, 0.2), (0.2, 0.3)):
            result = explainer._explain(rows, Probability(label, *limits))
            open_ = result.status != Status.ALREADY_TARGET
            good = result.counterfactuals[result.success].astype(X.dtypes.to_dict())
            p = model.predict_proba(good)[:, code]
            assert result.success[open_].all()
            assert (p >= (limits[0] or 0)).all() and (p <= (limits[1] or 1)).all()
            before = table[::30, code]
            has = (before >= (limits[0] or 0)) & (before <= (limits[1] or 1))
            np.testing.assert_array_equal(~open_, has)


@pytest.mark.parametrize(("low", "cap"), [(0.2, 60.0), (0.8, 150.0)])
def test_unreachable_is_proved_by_the_probability(low, cap):
    """Of one column that may move, the rows that reach the cut-off are known."""
    explainer = CounterfactualExplainer(
        FrozenEstimator(LOGISTIC), immutable=["visits"], ranges={"spend": (0, cap)}
    ).fit(X, Y)
    rows = X[(low > P) & (X.spend <= cap)][::4]
    best = LOGISTIC.predict_proba(rows.assign(spend=cap))[:, 0]
    result = explainer._explain(rows, Probability("buys", low))
    np.testing.assert_array_equal(result.success, best >= low)
    assert (result.status[best < low] == Status.UNREACHABLE).all() and (best < low).any()
    under = [{"spend": (0, cap)}, {"visits": (0, 100)}]
    relation = explainer.set_params(implications=[tuple(under)]).fit(X, Y)
    result = relation._explain(rows, Probability("buys", low))
    np.testing.assert_array_equal(result.success, best >= low)


@pytest.mark.parametrize(("low", "high"), LIMITS)
def test_exact_answers_are_the_cheapest_with_the_probability(low, high):
    """Against all points of a small grid."""
    grid = pd.DataFrame([(a, b) for a in range(6) for b in range(6)], columns=["a", "b"])
    y = (grid.a * 2 + grid.b + RNG.integers(0, 5, 36) > 8).astype(int)
    forest = RandomForestClassifier(5, max_depth=3, random_state=0).fit(grid, y)
    explainer = CounterfactualExplainer(
        FrozenEstimator(forest), solver="milp", beta=0.1, ranges={"a": (0, 5), "b": (0, 5)}
    ).fit(grid, y)
    p = forest.predict_proba(grid)[:, 1]
    good = (p >= (low or 0)) & (p <= (1 if high is None else high))
    Z = explainer.space_.encode(grid)
    result = explainer._explain(grid, Probability(1, low, high))
    np.testing.assert_array_equal(result.status == Status.ALREADY_TARGET, good)
    for k in np.flatnonzero(~good):
        cost = ((Z[good] - Z[k]) ** 2).sum(1) + 0.1 * (Z[good] != Z[k]).sum(1)
        if len(cost) == 0:
            assert result.status[k] == Status.UNREACHABLE
            continue
        assert result.success[k] and result.gap[k] == 0
        own = result.distance[k] ** 2 + 0.1 * result.n_changes[k]
        assert own == pytest.approx(cost.min())


@pytest.mark.parametrize("level", [0.25, 0.5, 0.75])
def test_a_probability_equal_to_its_limit_is_found(level):
    """A leaf has exactly the probability that is asked for; all others have less."""
    x = np.repeat([0.0, 1.0, 2.0, 3.0], 8)[:, None]
    y = np.concatenate([np.zeros(24), np.arange(8) < 8 * level]).astype(int)
    tree = DecisionTreeClassifier(min_samples_leaf=8).fit(x, y)
    assert tree.predict_proba([[3.0]])[0, 1] == level
    explainer = CounterfactualExplainer(FrozenEstimator(tree), ranges={0: (0, 3)}).fit(x, y)
    result = explainer._explain(x[:1], Probability(1, level))
    assert result.success.all() and result.probability_after[0] == level


def test_ensembles_and_shortfall_count_by_the_probability():
    explainer = CounterfactualExplainer(
        FrozenEstimator(LOGISTIC), ensemble=[FrozenEstimator(Bank(0.9).fit(X, Y))], shortfall=0.1
    ).fit(X, Y)
    rows = X[P < 0.1][:6]
    result = explainer._explain(rows, Probability("buys", 0.2))
    assert result.success.all()
    answers = result.counterfactuals.astype(float)
    other = explainer.ensemble_[0]
    assert (other.predict_proba(answers)[:, 0] >= 0.2).all() and (
        other.predict(answers) == "no"
    ).all()
    nearly = rows + 0.9 * (answers - rows)
    assert (LOGISTIC.predict_proba(nearly)[:, 0] >= 0.2 - 1e-3).all()


def test_what_is_told_of_answers_by_probability():
    explainer = CounterfactualExplainer(FrozenEstimator(LOGISTIC)).fit(X, Y)
    rows = pd.concat([X[P < 0.1][:3], X[(P > 0.3) & (P < 0.45)][:1], X[P > 0.6][:1]])
    result = explainer._explain(rows, Probability("buys", 0.2))
    assert result.success.tolist() == [True, True, True, False, False]
    assert result.prediction_after[:3].tolist() == ["no"] * 3
    sentences = result.sentences()
    assert sentences[3].startswith("No change needed: the probability of 'buys' is already 0.")
    assert sentences[4] == "No change needed: the prediction is already 'buys'."
    assert result.summary()["validity"][0] == 1.0
    back = Explanation.from_json(result.to_json())
    assert back.reason.tolist() == result.reason.tolist()
    assert np.isnan(survival_under_noise(result, LOGISTIC, random_state=0)).all()
    less = explainer._explain(X[P > 0.6][:3], Probability("buys", at_most=0.3))
    assert less.success.all() and (less.probability_after <= 0.3).all()
    assert less.target.tolist() == [None] * 3 and "buys" in less.to_html()
    already = explainer._explain(rows[:1], Probability("buys", at_most=0.3))
    assert "the probability of 'buys' is already" in already.sentences()[0]


def test_scorer_transformer_server_and_copies():
    explainer = CounterfactualExplainer(FrozenEstimator(LOGISTIC)).fit(X, Y)
    rows = X[P < 0.1][:4].reset_index(drop=True)
    for target in (Probability("buys", 0.2), Probability("no", at_most=0.7)):
        values = RecourseScorer(["validity", "recourse"], target=target)(explainer, rows)
        assert values["validity"] == 1.0 and 0 < values["recourse"] < 1
    step = CounterfactualTransformer(explainer, target=Probability("buys", 0.2)).fit(X, Y)
    assert (LOGISTIC.predict_proba(step.transform(rows).astype(float))[:, 0] >= 0.2).all()
    page = WhatIf(explainer, rows, Probability("buys", 0.2))
    found = page.recourse(0, page.person(0)["values"])
    assert found["found"] and found["prediction"] == "no" and found["probability"] >= 0.2
    assert page.answer(0, found["values"])["reached"]
    assert not page.answer(0, page.person(0)["values"])["reached"]
    assert json.dumps(found)


def test_front_and_options():
    explainer = CounterfactualExplainer(FrozenEstimator(LOGISTIC)).fit(X, Y)
    rows = X[P < 0.1][:2]
    for result in (
        explainer.pareto(rows, Probability("buys", 0.2), factors=[1], budgets=[1, None]),
        explainer._explain(rows, Probability("buys", 0.2), n_counterfactuals=2),
        explainer._explain(rows, Probability("buys", 0.2), best_effort=True),
    ):
        good = result.counterfactuals[result.success].astype(float)
        p = LOGISTIC.predict_proba(good)[:, 0]
        assert (p >= 0.2).all() and result.success[result.option == 0].all()
        np.testing.assert_allclose(result.probability_after[result.success], p)
