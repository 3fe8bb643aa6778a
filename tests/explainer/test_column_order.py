"""Columns of a query in another order than in training: everything is paired by name."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from scfe_sklearn import CounterfactualExplainer, CounterfactualTransformer, Explanation
from scfe_sklearn.datasets import make_loan_applications
from scfe_sklearn.metrics import minimality, redundant_changes
from scfe_sklearn.robustness import survival_under_noise, survival_under_retraining
from scfe_sklearn.serving.what_if import WhatIf

pytestmark = pytest.mark.filterwarnings("ignore:.*rows have no counterfactual")
X, Y = make_loan_applications(400, random_state=0)
SHUFFLED = [X.columns[j] for j in np.random.RandomState(3).permutation(X.shape[1])]


@pytest.fixture(scope="module")
def model():
    columns = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (OneHotEncoder(), make_column_selector(dtype_exclude="number")),
    )
    return make_pipeline(columns, LogisticRegression()).fit(X, Y)


@pytest.fixture(scope="module")
def explainer(model):
    return CounterfactualExplainer(FrozenEstimator(model), immutable=["sex"]).fit(X, Y)


@pytest.fixture(scope="module")
def refused(model):
    return X[model.predict(X) == "refused"][:12]


@pytest.fixture(scope="module")
def expected(explainer, refused):
    return explainer.explain(refused, "approved")


@pytest.fixture(scope="module")
def shuffled(explainer, refused):
    return explainer.explain(refused[SHUFFLED], "approved")


def check_words(explanation, rows):
    """Compare words and tables with cells that are read by name."""
    answers = explanation.counterfactuals
    assert list(answers.columns) == list(explanation.factual.columns)
    lines = explanation.changes
    assert len(lines)
    for position, name, old, new in zip(
        lines.index, lines["feature"], lines["from"], lines["to"], strict=True
    ):
        assert old == rows[name].iloc[position]
        assert new == answers[name].iloc[position]
    for i in np.flatnonzero(explanation.success):
        names = {n for n in rows if rows[n].iloc[i] != answers[n].iloc[i]}
        assert set(np.array(explanation.feature_names)[explanation.changed[i]]) == names
        assert explanation.n_changes[i] == len(names)


def test_explanation_of_shuffled_columns_pairs_values_by_name(shuffled, expected, refused):
    check_words(shuffled, refused)
    assert shuffled.sentences() == expected.sentences()
    pd.testing.assert_frame_equal(shuffled.changes, expected.changes)
    assert list(shuffled.counterfactuals.columns) == SHUFFLED
    pd.testing.assert_frame_equal(
        shuffled.counterfactuals[list(X.columns)], expected.counterfactuals
    )
    pd.testing.assert_frame_equal(shuffled.summary(), expected.summary())
    pd.testing.assert_frame_equal(
        shuffled.to_frame()[list(expected.to_frame())], expected.to_frame()
    )


def test_options_and_closest_of_shuffled_columns_pair_values_by_name(explainer, refused):
    several = explainer.explain(refused[SHUFFLED], "approved", n_counterfactuals=2)
    check_words(several, refused.loc[several.index])
    none = explainer.set_params(max_changes=1)
    try:
        close = none.explain(refused[SHUFFLED], "approved", best_effort=True)
        straight = none.explain(refused, "approved", best_effort=True)
    finally:
        explainer.set_params(max_changes=None)
    assert close.sentences() == straight.sentences()
    front = explainer.pareto(refused[:2][SHUFFLED], "approved")
    check_words(front, refused.loc[front.index])


def test_parts_json_and_pickle_of_shuffled_columns_pair_values_by_name(shuffled, expected):
    again = Explanation.from_json(shuffled.to_json())
    assert again.sentences() == expected.sentences()
    assert shuffled[3:7].sentences() == expected[3:7].sentences()
    fields = json.loads(shuffled.to_json())["fields"]
    assert fields["seen"] is None  # the rows are written once


def test_page_and_notebook_of_shuffled_columns_are_those_of_training_order(shuffled, expected):
    pytest.importorskip("jinja2")
    assert shuffled._repr_html_() == expected._repr_html_()
    assert repr(shuffled) == repr(expected)
    assert shuffled.to_html() == expected.to_html()


def test_displays_of_shuffled_columns_are_those_of_training_order(shuffled, expected):
    plt = pytest.importorskip("matplotlib.pyplot")
    for kind in ("change", "options", "frequency"):
        for pair in ((shuffled, expected), (shuffled[2], expected[2])):
            texts = []
            for one in pair:
                figure = one.plot(kind).figure_
                texts.append(
                    [text.get_text() for text in figure.findobj(match=plt.Text) if text.get_text()]
                )
                plt.close(figure)
            assert texts[0] == texts[1]


def test_explanation_by_hand_pairs_columns_by_name():
    none = np.array([np.nan])
    explanation = Explanation(
        factual=pd.DataFrame({"b": [1], "a": [2]}),
        counterfactuals=pd.DataFrame({"a": [3], "b": [1]}),
        target=[1],
        prediction=[0],
        success=[True],
        status=["found"],
        reason=[""],
        probability_before=none,
        probability_after=none,
        n_changes=[1],
        distance=[1.0],
        log_density=none,
        density_quantile=none,
        changed=[[True, False]],
        feature_names=["a", "b"],
        kinds=["integer", "integer"],
    )
    assert explanation.sentences() == ["Increase a from 2 to 3."]


def test_polars_columns_are_paired_by_name(model, refused):
    pl = pytest.importorskip("polars")
    names = ["income", "savings", "credit_score", "late_payments"]
    rows = pl.DataFrame({name: X[name].tolist() for name in names})
    own = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, Y)
    explainer = CounterfactualExplainer(FrozenEstimator(own)).fit(rows, Y)
    query = rows.filter(pl.Series(own.predict(rows) == "refused"))[:6]
    straight = explainer.explain(query, "approved")
    turned = explainer.explain(query.select(names[::-1]), "approved")
    assert turned.sentences() == straight.sentences()
    assert turned.counterfactuals.columns == names[::-1]
    assert turned.counterfactuals.select(names).equals(straight.counterfactuals)
    scores = redundant_changes(
        own.predict, straight.factual, turned.counterfactuals, straight.target
    )
    np.testing.assert_array_equal(
        scores,
        redundant_changes(own.predict, straight.factual, straight.counterfactuals, straight.target),
    )


def test_array_explainer_reads_frames_by_position():
    rows = X[["income", "savings", "credit_score", "late_payments"]].to_numpy(float)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, Y)
    explainer = CounterfactualExplainer(FrozenEstimator(model)).fit(rows, Y)
    query = rows[model.predict(rows) == "refused"][:5]
    expected = explainer.explain(query, "approved").sentences()
    # Its names, but not as labels: such an explainer knows positions only.
    frame = pd.DataFrame(query, columns=[3, 2, 1, 0])
    assert explainer.explain(frame, "approved").sentences() == expected


@pytest.mark.parametrize("kind", ["derived", "blocks", "both"])
def test_blocks_and_derived_columns_are_paired_by_name(kind):
    random = np.random.RandomState(0)
    rows = pd.DataFrame(
        {"debt": random.uniform(0, 10, 300).round(1), "income": random.uniform(1, 10, 300).round(1)}
    )
    rows["ratio"] = rows["debt"] / rows["income"]
    region = random.randint(0, 3, 300)
    for k, name in enumerate("abc"):
        rows[f"region_{name}"] = (region == k).astype(int)
    labels = np.where(rows["ratio"] + 0.4 * rows["region_a"] < 1, "yes", "no")
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, labels)
    derived = {"ratio": lambda frame: frame["debt"] / frame["income"]}
    blocks = {"region": ["region_a", "region_b", "region_c"]}
    settings = {"derived": derived, "blocks": blocks}
    if kind != "both":
        settings = {kind: settings[kind]}
    explainer = CounterfactualExplainer(FrozenEstimator(model), **settings).fit(rows, labels)
    query = rows[model.predict(rows) == "no"][:5]
    turned = list(rows.columns[::-1])
    straight, other = explainer.explain(query, "yes"), explainer.explain(query[turned], "yes")
    assert list(other.counterfactuals.columns) == turned
    assert other.sentences() == straight.sentences()
    pd.testing.assert_frame_equal(
        other.counterfactuals[list(rows.columns)], straight.counterfactuals
    )
    pages = [WhatIf(explainer, people, "yes") for people in (query, query[turned])]
    assert pages[0].person(1) == pages[1].person(1)


def test_metrics_pair_columns_by_name(model, shuffled, expected):
    good = np.flatnonzero(expected.success)
    before, after = expected.factual.iloc[good], shuffled.counterfactuals.iloc[good]
    target = expected.target[good]
    straight = expected.counterfactuals.iloc[good]
    for metric in (redundant_changes, minimality):
        np.testing.assert_array_equal(
            metric(model.predict, before, after, target),
            metric(model.predict, before, straight, target),
        )
    with pytest.raises(ValueError, match="must have the same columns"):
        redundant_changes(model.predict, before, after.rename(columns={"age": "years"}), target)


def test_robustness_pairs_columns_by_name(model, shuffled, expected):
    for survival in (
        lambda result: survival_under_noise(result, model, n_samples=5, random_state=0),
        lambda result: survival_under_retraining(result, model, X, Y, n_models=2, random_state=0),
    ):
        np.testing.assert_array_equal(survival(shuffled), survival(expected))


@pytest.mark.parametrize("output", ["default", "pandas"])
@pytest.mark.parametrize("names", ["texts", "numbers"])
@pytest.mark.parametrize("target", ["approved", None])
def test_transformer_returns_columns_in_the_order_of_its_names(output, names, target):
    rows = X[["income", "savings", "credit_score", "late_payments"]]
    if names == "numbers":
        rows = rows.set_axis([7, 3, 1, 9], axis=1)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, Y)
    step = CounterfactualTransformer(CounterfactualExplainer(FrozenEstimator(model)), target)
    step.fit(rows, Y).set_output(transform=output)
    query = rows[:8]
    straight = step.transform(query)
    turned = step.transform(query[list(rows.columns[::-1])])
    pd.testing.assert_frame_equal(straight, turned)


def test_what_if_page_of_columns_named_by_numbers_pairs_by_name():
    rows = X[["income", "savings", "credit_score"]].set_axis([7, 3, 1], axis=1)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, Y)
    explainer = CounterfactualExplainer(FrozenEstimator(model)).fit(rows, Y)
    page = WhatIf(explainer, rows[[1, 3, 7]], "approved")
    assert page.person(4)["values"] == rows.iloc[4].tolist()


def test_a_repeated_column_is_refused_by_name(explainer, refused):
    twice = pd.concat([refused, refused[["age"]]], axis=1)
    with pytest.raises(ValueError, match=re.escape("unique column names. Got ['age']")):
        explainer.explain(twice, "approved")
