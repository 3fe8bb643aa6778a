"""Rows that break a rule already: what is said of them, and strict rules."""

import itertools
import json
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from scfe_sklearn import CounterfactualExplainer, Explanation, Linear, Relative, Rules
from scfe_sklearn.data import FeatureSpace

STAYS = "a value that breaks a rule already may stay as it is"
NOT_MORE = "a row that breaks a relation or an implication already must not break it more"
ENDS = "an answer must end within these rules, also where the row breaks one already"


def make(seed=0, n=250):
    """Small whole numbers and levels, so that every row can be listed."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "a": rng.integers(0, 8, n),
            "b": rng.integers(0, 8, n),
            "c": rng.integers(0, 6, n),
            "k": rng.choice(list("pqr"), n),
        }
    )
    score = X.a - X.b + 0.7 * X.c + 2 * (X.k == "q") + rng.normal(0, 1, n)
    return X, np.where(score > 3, "yes", "no")


GRID = pd.DataFrame(
    list(itertools.product(range(8), range(8), range(6), "pqr")), columns=list("abck")
)
RULES = {
    "range": ({"ranges": {"a": (None, 4)}}, lambda F: F.a <= 4),
    "ranges": (
        {"ranges": {"a": (None, 4), "b": (2, None), "c": (1, 3)}},
        lambda F: (F.a <= 4) & (F.b >= 2) & F.c.between(1, 3),
    ),
    "relation": ({"relations": ["a + c <= 7"]}, lambda F: F.a + F.c <= 7),
    "relations": (
        {"relations": ["a <= b", "b + c >= 5"]},
        lambda F: (F.a <= F.b) & (F.b + F.c >= 5),
    ),
    "implication": (
        {"implications": [({"k": "p"}, {"c": (3, None)})]},
        lambda F: (F.k != "p") | (F.c >= 3),
    ),
    "all": (
        {
            "ranges": {"a": (None, 5)},
            "relations": ["a + c <= 8"],
            "implications": [({"k": "p"}, {"c": (2, None)})],
            "immutable": ["b"],
        },
        lambda F: (F.a <= 5) & (F.a + F.c <= 8) & ((F.k != "p") | (F.c >= 2)),
    ),
    "levels of a row": ({}, lambda F: F.k != "p"),
}


def model_of(solver):
    columns = make_column_transformer((OneHotEncoder(), ["k"]), (StandardScaler(), ["a", "b", "c"]))
    tail = {
        "apg": LogisticRegression(),
        "search": RandomForestClassifier(10, random_state=0),
        "milp": RandomForestClassifier(5, max_depth=4, random_state=0),
    }[solver]
    X, y = make()
    return make_pipeline(columns, tail).fit(X, y)


def asked(model, X, count):
    """Refused rows, those that break many rules among them."""
    refused = X[model.predict(X) == "no"]
    return refused.sort_values(["a", "c"], ascending=False)[:count].sort_index()


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("budget", [None, 1, 2])
@pytest.mark.parametrize("solver", ["apg", "search", "milp"])
def test_strict_answers_end_within_the_rules_wherever_there_is_one(solver, budget, name):
    X, y = make()
    parameters, keeps = RULES[name]
    model = model_of(solver)
    rows = asked(model, X, 4 if solver == "milp" else 12)
    more = None
    if name == "levels of a row":
        more = Rules(transitions={"k": [["q", "r"]] * len(rows)}, strict=True)
    explainer = CounterfactualExplainer(
        FrozenEstimator(model), solver=solver, max_changes=budget, strict=True, **parameters
    ).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        result = explainer.explain(rows, "yes", rules=more)
    good = GRID[(model.predict(GRID) == "yes") & keeps(GRID)]
    for i in range(len(rows)):
        differs = good.ne(rows.iloc[i])
        kept = ~differs[parameters.get("immutable", [])].any(axis=1)
        possible = bool((kept & (differs.sum(axis=1) <= (budget or 4))).any())
        assert result.success[i] == possible, (i, result.status[i], result.reason[i])
        if not possible:
            assert result.status[i] == "not reachable under these rules"
            assert result.reason[i]
    answers = result.counterfactuals[result.success]
    if len(answers):
        assert keeps(answers.astype({"a": int, "b": int, "c": int})).all()
        assert (model.predict(answers) == "yes").all()
    assert not result.outside_rules.any()
    assert result.rules_text[-1] == ENDS


@pytest.mark.parametrize("name", ["range", "relation", "implication", "levels of a row"])
def test_answers_outside_of_the_rules_are_marked(name):
    X, y = make()
    parameters, keeps = RULES[name]
    model = model_of("apg")
    rows = asked(model, X, 25)
    more = None
    if name == "levels of a row":
        more = Rules(transitions={"k": [["q", "r"]] * len(rows)})
    explainer = CounterfactualExplainer(FrozenEstimator(model), **parameters).fit(X, y)
    result = explainer.explain(rows, "yes", rules=more)
    assert result.success.all()
    outside = ~keeps(result.counterfactuals)
    np.testing.assert_array_equal(result.outside_rules, outside)
    assert outside.any() and not (outside & keeps(rows)).any()
    np.testing.assert_array_equal(result.to_frame()["outside_rules"], outside)
    notes = ["breaks a rule already" in text for text in result.sentences()]
    np.testing.assert_array_equal(notes, outside)
    np.testing.assert_array_equal(result[::-1].outside_rules, outside[::-1])
    again = Explanation.from_json(result.to_json())
    np.testing.assert_array_equal(again.outside_rules, outside)
    assert "break a rule already" in result[np.flatnonzero(outside)[:3]]._repr_html_()
    assert STAYS in result.rules_text
    assert (NOT_MORE in result.rules_text) == (name in ("relation", "implication"))


def test_outside_rules_of_several_answers_belong_to_their_entry():
    X, y = make()
    model = model_of("apg")
    rows = asked(model, X, 10)
    explainer = CounterfactualExplainer(FrozenEstimator(model), ranges={"c": (None, 2)}).fit(X, y)
    result = explainer.explain(rows, "yes", n_counterfactuals=3)
    answers = result.counterfactuals
    np.testing.assert_array_equal(
        result.outside_rules[result.success], (answers.c > 2).to_numpy()[result.success]
    )
    assert not result.outside_rules[~result.success].any()


def test_page_says_that_an_answer_stays_outside_of_a_rule():
    pytest.importorskip("jinja2")
    X, y = make()
    model = model_of("apg")
    rows = asked(model, X, 6)
    explainer = CounterfactualExplainer(FrozenEstimator(model), ranges={"c": (None, 2)}).fit(X, y)
    result = explainer.explain(rows, "yes")
    one = result[np.flatnonzero(result.outside_rules)[:1]]
    page = one.to_html()
    assert "breaks a rule already" in page and STAYS in page and "every answer keeps" not in page


@pytest.mark.parametrize("where", ["explainer", "rules", "merged"])
def test_strict_may_be_said_of_the_explainer_or_of_rules(where):
    X, y = make()
    model = model_of("apg")
    rows = asked(model, X, 15)
    limits = {"ranges": {"a": (None, 4)}}
    own = {**limits, "strict": True} if where == "explainer" else limits
    explainer = CounterfactualExplainer(FrozenEstimator(model), **own).fit(X, y)
    rules = {
        "explainer": None,
        "rules": Rules(strict=True),
        "merged": Rules().merged(Rules(strict=True)),
    }[where]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        result = explainer.explain(rows, "yes", rules=rules)
    assert (rows.a > 4).any() and (result.counterfactuals.a[result.success] <= 4).all()


def test_row_that_has_the_target_but_is_outside_of_strict_rules_says_so():
    X, y = make()
    model = model_of("apg")
    rows = X[(model.predict(X) == "yes") & (X.a > 5)][:3]
    explainer = CounterfactualExplainer(
        FrozenEstimator(model), ranges={"a": (None, 5)}, strict=True
    ).fit(X, y)
    result = explainer.explain(rows, "yes")
    assert (result.status == "already has the target").all()
    assert (result.reason == "the row itself is outside of the rules of 'a'").all()
    assert not result.outside_rules.any()


def test_immutable_value_outside_of_a_strict_range_is_not_reachable_by_name():
    X, y = make()
    model = model_of("search")
    rows = asked(model, X[X.a > 4], 5)
    explainer = CounterfactualExplainer(
        FrozenEstimator(model), immutable=["a"], ranges={"a": (None, 4)}, strict=True
    ).fit(X, y)
    with pytest.warns(UserWarning, match="5 of 5 rows"):
        result = explainer.explain(rows, "yes")
    assert (result.status == "not reachable under these rules").all()
    assert (result.reason == "'a' cannot come within the rules").all()


def test_more_features_outside_than_the_budget_are_not_reachable():
    X, y = make()
    X = X.astype({"a": float}).assign(a=X.a + np.linspace(0, 0.5, len(X)))
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[["a", "b", "c"]], y)
    X = X[["a", "b", "c"]]
    rows = X[(model.predict(X) == "no") & (X.b < 3) & (X.c > 3)][:4]
    explainer = CounterfactualExplainer(
        FrozenEstimator(model), max_changes=1, ranges={"b": (3, None), "c": (None, 3)}, strict=True
    ).fit(X, y)
    with pytest.warns(UserWarning, match="rows have no counterfactual"):
        result = explainer.explain(rows, "yes")
    assert (result.reason == "more features are outside of the rules than may change").all()


def test_strict_leaves_rules_about_changes_alone():
    X, _ = make()
    space = FeatureSpace().fit(X)
    rules = Rules(
        ranges={"a": Relative(1, 3)},
        transitions={"k": {"p": ["q"]}},
        relations=[Linear({"c": 1}, at_most=0, of="change")],
        immutable=["b"],
        strict=True,
    )
    assert not rules.violations(space, X, X).any()
    assert ENDS not in rules.describe(space) and STAYS not in rules.describe(space)


def test_strict_violations_are_those_of_the_values():
    X, _ = make()
    space = FeatureSpace().fit(X)
    rules = Rules(ranges={"a": (None, 4)}, relations=["b + c >= 5"], strict=True)
    got = rules.violations(space, X, X)
    np.testing.assert_array_equal(got[:, 0], X.a > 4)
    for j in (1, 2):
        np.testing.assert_array_equal(got[:, j], X.b + X.c < 5)
    assert not Rules(ranges={"a": (None, 4)}).violations(space, X, X).any()


def test_strict_batch_equals_rows():
    X, y = make()
    model = model_of("apg")
    rows = asked(model, X, 8)
    explainer = CounterfactualExplainer(
        FrozenEstimator(model), ranges={"a": (None, 4)}, relations=["b + c >= 5"], strict=True
    ).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        together = explainer.explain(rows, "yes").counterfactuals
        alone = [explainer.explain(rows[i : i + 1], "yes").counterfactuals for i in range(8)]
    np.testing.assert_array_equal(
        together.astype(str).to_numpy(),
        pd.concat(alone).astype(str).to_numpy(),
    )


@pytest.mark.parametrize("value", [1, "yes", None])
def test_strict_that_is_no_bool_is_refused(value):
    X, _ = make()
    space = FeatureSpace().fit(X)
    with pytest.raises(ValueError, match="'strict' parameter of Rules must be a bool"):
        Rules(strict=value).violations(space, X, X)


def test_rule_file_may_be_strict(tmp_path):
    from scfe_sklearn.cli.messages import Refusal
    from scfe_sklearn.cli.rule_files import Columns, rule_parameters

    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"ranges": {"a": [0, 4]}, "strict": True}))
    columns = Columns(["a"], {})
    assert rule_parameters(columns, {}, str(file), False) == {
        "ranges": {"a": (0, 4)},
        "strict": True,
    }
    file.write_text(json.dumps({"strict": 1}))
    with pytest.raises(Refusal, match="must be true or false"):
        rule_parameters(columns, {}, str(file), False)
