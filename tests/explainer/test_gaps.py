"""Transitions of an ordinal column that leave gaps between the levels which a row may take."""

import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder
from sklearn.tree import DecisionTreeClassifier

from scfe_sklearn import CounterfactualExplainer, Rules, Status

LEVELS = ["none", "low", "mid", "high", "top"]
NUMBERS = range(4)


def table(rows):
    frame = pd.DataFrame(rows, columns=["level", "number"])
    return frame.assign(level=pd.Categorical(frame["level"], LEVELS, ordered=True))


EVERY = table(list(itertools.product(LEVELS, NUMBERS)))


def model(kind, yes):
    """A model of the level alone that says yes to some levels, and no to others."""
    if kind == "logistic":
        encoder = make_column_transformer((OneHotEncoder(), ["level"]), remainder="drop")
        last = LogisticRegression(C=1e4)
    else:
        encoder = make_column_transformer((OrdinalEncoder(categories=[LEVELS]), ["level"]))
        last = {
            "tree": DecisionTreeClassifier(random_state=0),
            "forest": RandomForestClassifier(5, bootstrap=False, random_state=0),
        }[kind]
    return make_pipeline(encoder, last).fit(EVERY, EVERY["level"].isin(yes).astype(int))


@pytest.mark.parametrize(
    ("kind", "solver"), [("logistic", "auto"), ("tree", "auto"), ("forest", "milp")]
)
@pytest.mark.parametrize("rule", ["by level", "by row"])
def test_the_farther_run_is_reached_and_what_lies_between_is_not(kind, solver, rule):
    told = {"none": ["mid", "top"], "low": ["none", "mid"], "high": ["none", "low"]}
    moves = told if rule == "by level" else None
    settings = {"transitions": {"level": moves}} if moves else {}
    explainer = CounterfactualExplainer(
        FrozenEstimator(model(kind, {"high", "top"})), solver=solver, **settings
    )
    explainer.fit(EVERY, explainer.estimator.predict(EVERY))
    query = table([("none", 1), ("low", 2), ("none", 3)])
    rows = [["mid", "top"], ["none", "mid"], ["mid", "top"]]
    rules = Rules(transitions={"level": rows}) if moves is None else None
    with pytest.warns(UserWarning, match="have no counterfactual"):
        found = explainer.explain(query, target=1, rules=rules)
    assert found.status.tolist() == [Status.FOUND, Status.UNREACHABLE, Status.FOUND]
    assert found.counterfactuals["level"].tolist()[::2] == ["top", "top"]
    assert found.counterfactuals["number"].tolist()[::2] == [1, 3]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", ["logistic", "tree"])
def test_random_transitions_against_a_list(kind, seed):
    rng = np.random.default_rng(seed)
    yes = set(rng.choice(LEVELS, size=2, replace=False).tolist())
    told = {old: [new for new in LEVELS if rng.random() < 0.5] for old in LEVELS}
    explainer = CounterfactualExplainer(
        FrozenEstimator(model(kind, yes)), transitions={"level": told}
    )
    explainer.fit(EVERY, explainer.estimator.predict(EVERY))
    query = EVERY[~EVERY["level"].isin(yes)]
    reachable = np.array([bool(yes & set(told[old])) for old in query["level"]])
    if reachable.all():
        found = explainer.explain(query, target=1)
    else:
        with pytest.warns(UserWarning, match="have no counterfactual"):
            found = explainer.explain(query, target=1)
    assert (found.success == reachable).all()
    assert set(found.status[~reachable]) <= {Status.UNREACHABLE}
    pairs = zip(query["level"][reachable], found.counterfactuals["level"][reachable], strict=True)
    assert all(new in told[old] and new in yes for old, new in pairs)
