import dataclasses

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, bootstrap

from scfe_sklearn import Explanation
from scfe_sklearn.inspection import (
    ChangeDisplay,
    FrequencyDisplay,
    GroupCostDisplay,
    MapDisplay,
    OptionsDisplay,
    ParetoDisplay,
)
from scfe_sklearn.inspection.base import wrapped
from scfe_sklearn.inspection.changes import change_frequencies
from scfe_sklearn.inspection.groups import group_costs
from scfe_sklearn.inspection.strips import strip

EVIL = "$\\alpha_{1}$ <b>&amp;</b> {x} 50% \\frac"


def texts(ax):
    return [text.get_text() for text in ax.texts] + [
        label.get_text() for label in ax.get_xticklabels() + ax.get_yticklabels()
    ]


def every_display(explainer, refused, result):
    front = explainer.pareto(refused[:1], target="approved")
    several = explainer.explain(refused[:2], target="approved", n_counterfactuals=3)
    return [
        lambda ax: ChangeDisplay.from_explanation(result, row=1, ax=ax),
        lambda ax: FrequencyDisplay.from_explanation(result, ax=ax),
        lambda ax: OptionsDisplay.from_explanation(several, row=1, ax=ax),
        lambda ax: ParetoDisplay.from_explanation(front, ax=ax),
        lambda ax: GroupCostDisplay.from_explanation(result, "sex", ax=ax),
        lambda ax: MapDisplay.from_explanation(
            result, explainer, features=["credit_score", "debt_ratio"], ax=ax
        ),
    ]


def test_every_display_draws_where_it_is_told_and_again(explainer, refused, result):
    for build in every_display(explainer, refused, result):
        figure, ax = plt.subplots()
        display = build(ax)
        assert display.ax_ is ax and display.figure_ is figure
        assert len(ax.get_children()) > 12
        again = display.plot()
        assert again is display and display.ax_ is not ax
        assert display.figure_ is display.ax_.figure
        display.figure_.canvas.draw()
        plt.close("all")


def test_from_estimator_is_from_explanation(explainer, refused):
    one = ChangeDisplay.from_estimator(explainer, refused[:5], "approved")
    other = ChangeDisplay.from_explanation(explainer.explain(refused[:1], "approved"))
    assert one.title == other.title and one.changes == other.changes
    many = FrequencyDisplay.from_estimator(explainer, refused[:9], "approved")
    pd.testing.assert_frame_equal(
        many.shares, change_frequencies(explainer.explain(refused[:9], "approved"))
    )
    costs = GroupCostDisplay.from_estimator(explainer, refused[:9], "sex", "approved").costs
    assert costs["n"].sum() == 9
    pair = OptionsDisplay.from_estimator(explainer, refused[:1], "approved", n_options=2)
    assert pair.places.shape == (2, len(pair.features))


def test_the_change_display_shows_what_changes(result):
    for row in np.flatnonzero(result.success)[:6]:
        display = ChangeDisplay.from_explanation(result, row=row)
        lines = result[[row]].changes
        assert [change.feature for change in display.changes] == list(lines["feature"])
        assert str(result.index[row]) in display.title and "approved" in display.title
        for change, scale in zip(display.changes, display.strips, strict=True):
            start, end = scale.place(change.before), scale.place(change.after)
            assert 0 <= start <= 1 and 0 <= end <= 1
            if change.upward is not None:
                assert (end > start) == change.upward


def test_a_row_without_an_answer_says_so(result):
    failed = dataclasses.replace(
        result[0],
        success=[False],
        changed=np.zeros_like(result[0].changed),
        status=["budget exhausted"],
    )
    display = failed.plot()
    assert display.ax_.get_title(loc="left").startswith("No change found")


def test_a_strip_keeps_the_places_of_numbers_and_levels(result, explainer):
    space = explainer.space_
    income = list(space.names_).index("income")
    scale = strip(result, income, [0, 1e6], "approved")
    assert scale.own
    assert 0 < scale.place(0) < scale.place(5e5) < scale.place(1e6) < 1
    assert scale.place(5e5) == pytest.approx((scale.place(0) + scale.place(1e6)) / 2)
    purpose = list(space.names_).index("purpose")
    levels = strip(result, purpose, ["car", "debt"], "approved")
    assert levels.place("car") != levels.place("debt")
    assert np.isnan(levels.place("holiday"))
    assert levels.heights.sum() == pytest.approx(1)
    many = dataclasses.replace(
        result, levels=[np.arange(40).astype(str) if j == purpose else None for j in range(14)],
        background=None,
    )  # fmt: skip
    cut = strip(many, purpose, ["3", "39"], "approved")
    assert len(cut.levels) == 7 and {"3", "39"} <= set(cut.levels)


def test_frequencies_are_counted(result):
    table = change_frequencies(result).set_index("feature")
    lines = result.changes
    counts = lines["feature"].value_counts() / result.success.sum()
    assert table["any"].to_dict() == pytest.approx(counts.to_dict())
    score = lines[lines["feature"] == "credit_score"]
    raised = (score["to"].astype(float) > score["from"].astype(float)).sum()
    assert table.loc["credit_score", "raised"] == raised / result.success.sum()
    assert table["any"].is_monotonic_decreasing


@pytest.mark.parametrize("cost", ["distance", "n_changes"])
def test_group_costs_agree_with_scipy(result, cost):
    table = group_costs(result, "sex", cost=cost, n_bootstrap=4000).set_index("group")
    for sex in ("female", "male"):
        rows = np.asarray(result.factual["sex"] == sex)
        values = getattr(result, cost)[rows & result.success]
        line = table.loc[sex]
        assert line["n"] == rows.sum()
        assert line["cost"] == pytest.approx(values.mean())
        limits = bootstrap(
            (values,), np.mean, method="percentile", n_resamples=4000, rng=1
        ).confidence_interval
        width = limits.high - limits.low
        assert line["cost_low"] == pytest.approx(limits.low, abs=0.1 * width)
        assert line["cost_high"] == pytest.approx(limits.high, abs=0.1 * width)
        share = binomtest(int(result.success[rows].sum()), int(rows.sum()))
        wilson = share.proportion_ci(method="wilson")
        assert line["success_low"] == pytest.approx(wilson.low)
        assert line["success_high"] == pytest.approx(wilson.high)


def test_groups_by_a_column_or_by_values_in_the_order_of_levels(result):
    by_column = group_costs(result, "education")
    by_values = group_costs(result, result.factual["education"].tolist())
    pd.testing.assert_frame_equal(
        by_column.sort_values("group", ignore_index=True, key=lambda s: s.astype(str)),
        by_values.sort_values("group", ignore_index=True, key=lambda s: s.astype(str)),
    )
    levels = list(result.factual["education"].cat.categories)
    assert by_column["group"].tolist() == [x for x in levels if x in set(by_column["group"])]


def test_a_person_counts_once(options):
    assert group_costs(options, "sex")["n"].sum() == 3


def test_a_group_without_an_answer_has_no_cost(result):
    group = np.where(result.success, "answered", "not")
    group[0] = "not" if result.success[0] else group[0]
    none = dataclasses.replace(
        result[:2],
        success=[True, False],
        changed=np.array([result.changed[0], np.zeros(14, bool)]),
        status=["found", "budget exhausted"],
    )
    table = group_costs(none, ["a", "b"]).set_index("group")
    assert np.isnan(table.loc["b", ["cost", "cost_low", "cost_high"]].astype(float)).all()
    assert table.loc["b", "success"] == 0 and table.loc["b", "success_high"] > 0.5
    GroupCostDisplay.from_explanation(none, ["a", "b"]).figure_.canvas.draw()


def test_the_map_shows_the_decision_of_the_model(result, explainer, desk):
    row = int(np.flatnonzero(result.success)[0])
    display = MapDisplay.from_explanation(
        result, explainer, features=["credit_score", "debt_ratio"], row=row
    )
    x, y = display.grid
    person = result.factual.iloc[[row] * len(x)].copy()
    for i in (0, 37, 99):
        person["credit_score"] = np.rint(x).astype(person["credit_score"].dtype)
        person["debt_ratio"] = np.round(y[i], 2)
        expected = desk.model.predict(person) == "approved"
        np.testing.assert_array_equal(display.inside[i], expected)
    outside = result.changed.copy()
    outside[:, [list(result.feature_names).index(name) for name in display.features]] = False
    in_plane = np.flatnonzero(result.success & ~outside.any(axis=1))
    assert len(display.start) == min(len(set(in_plane) - {row}), 40) + 1


def test_the_options_start_from_one_person(options):
    display = OptionsDisplay.from_explanation(options, row=2)
    entries = np.arange(6, 9)
    found = entries[options.success[entries]]
    assert len(display.places) == len(found)
    for k, entry in enumerate(found):
        moved = [bool(text) for text in display.texts[k]]
        assert sum(moved) == options.n_changes[entry]
        still = ~np.array(moved)
        np.testing.assert_allclose(display.places[k][still], display.now[still])
        assert (np.abs(display.places[k] - display.now)[~still] > 0).all()


def test_the_shortcut_chooses_a_display(result, options):
    assert isinstance(result.plot(), FrequencyDisplay)
    assert isinstance(result[0].plot(), ChangeDisplay)
    assert isinstance(options[:3].plot(), OptionsDisplay)
    assert isinstance(options[:3].plot("pareto"), ParetoDisplay)
    with pytest.raises(ValueError, match=r"'kind' parameter of Explanation\.plot .* Got 'pie'"):
        result.plot("pie")


def test_displays_have_a_short_repr(explainer, refused, result):
    for build in every_display(explainer, refused, result):
        text = repr(build(None))
        assert text.startswith("<") and "Display: " in text
        assert len(text) < 120 and "\n" not in text and "array" not in text


def test_a_front_is_plotted_as_a_front(explainer, refused, options):
    front = explainer.pareto(refused[:2], target="approved")
    assert front.front and not options.front
    for one in (front, front[:1], Explanation.from_json(front.to_json())):
        display = one.plot()
        assert isinstance(display, ParetoDisplay)
        own = one[np.asarray(one.index == one.index[0])]
        np.testing.assert_array_equal(display.distance, own.distance[own.success])
    assert isinstance(front[:1].plot("change"), ChangeDisplay)


def test_groups_of_many_numbers_are_ranges(result):
    ages = result.factual["age"].to_numpy()
    table = group_costs(result, "age")
    assert len(table) == 5 and table["n"].sum() == len(result)
    low, high = np.array([text.split(" to ") for text in table["group"]], dtype=int).T
    assert (low[1:] > high[:-1]).all() and (low[0], high[-1]) == (ages.min(), ages.max())
    for line in table.itertuples():
        first, last = map(int, line.group.split(" to "))
        here = (ages >= first) & (ages <= last)
        assert line.n == here.sum()
        assert line.cost == pytest.approx(result.distance[here & result.success].mean())
    own = group_costs(result, "age", bins=None)
    assert own["group"].tolist() == sorted(set(ages))
    by_values = group_costs(result, [None, *ages[1:]], bins=2)
    assert len(by_values) == 3 and by_values["group"].isna().tolist() == [False, False, True]
    few = group_costs(result, ages // 20)  # few values stay as they are
    assert few["group"].tolist() == sorted(set(ages // 20))
    with pytest.raises(ValueError, match=r"'bins' parameter of group_costs .* Got 0"):
        group_costs(result, "age", bins=0)


def test_hollow_dots_are_explained(result, options):
    assert any("hollow dot" in text for text in texts(result[0].plot().ax_))
    legend = options[:3].plot().ax_.get_legend()
    assert any("hollow" in text.get_text() for text in legend.get_texts())
    few = GroupCostDisplay.from_explanation(result[:14], "sex")
    assert (few.costs["n"] < 10).any()
    assert any("hollow: fewer than" in text for text in texts(few.ax_))
    many = GroupCostDisplay.from_explanation(result, np.zeros(len(result)))
    assert not any("hollow" in text for text in texts(many.ax_))


@pytest.mark.parametrize(
    "name",
    ["number_of_late_payments_in_the_last_two_years", "od280/od315_of_diluted_wines", "x" * 40],
)
def test_names_of_options_are_wrapped_not_cut(name):
    lines = wrapped(name).split("\n")
    assert "".join(lines) == name and max(map(len, lines)) <= 16
    explanation = small([name, "b"], [[1.5, "u"], [2.5, "v"]])
    assert wrapped(name) in texts(explanation.plot("options").ax_)
    assert wrapped("a " * 200).count("\n") == 3 and wrapped("a " * 200).endswith("\u2026")


def small(names, values, **changes):
    """An explanation of one row, with these names and values of two changed features."""
    fields = {
        "factual": pd.DataFrame([values[0]], columns=names),
        "counterfactuals": pd.DataFrame([values[1]], columns=names),
        "target": ["yes"], "prediction": ["no"], "prediction_after": ["yes"],
        "success": [True], "status": ["found"], "reason": [""],
        "probability_before": [0.1], "probability_after": [0.9], "n_changes": [2],
        "distance": [1.0], "log_density": [0.0], "density_quantile": [0.5],
        "changed": [[True, True]], "feature_names": names,
        "kinds": ["numeric", "categorical"],
    }  # fmt: skip
    return Explanation(**(fields | changes))


def test_names_and_values_are_drawn_as_they_are():
    explanation = small([EVIL, "b" * 200], [[1.5, EVIL], [2.5, "$x^2$"]])
    for kind in ("change", "options", "frequency", "pareto"):
        display = explanation.plot(kind)
        display.figure_.canvas.draw()  # a formula that is none would be refused here
    shown = texts(explanation.plot("change").ax_)
    assert any(text.startswith("\\$\\alpha") for text in shown)
    assert max(map(len, shown)) < 80


def test_missing_and_equal_values_have_a_picture():
    explanation = small(["a", "b"], [[np.nan, None], [2.5, "x"]])
    explanation.plot("change").figure_.canvas.draw()
    explanation.plot("options").figure_.canvas.draw()
    flat = small(["a", "b"], [[7.0, "x"], [7.0, "y"]])
    flat.plot("change").figure_.canvas.draw()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda r, e: ChangeDisplay.from_explanation(r, row=999), ValueError, "'row' parameter"),
        (lambda r, e: ChangeDisplay.from_explanation(r, row=1.0), ValueError, "Got 1.0 instead"),
        (lambda r, e: FrequencyDisplay.from_explanation("no"), TypeError, "be an Explanation"),
        (lambda r, e: FrequencyDisplay.from_explanation(r[:0]), ValueError, "at least one row"),
        (lambda r, e: group_costs(r, "planet"), ValueError, "Got 'planet', which is no column"),
        (lambda r, e: group_costs(r, ["a"]), ValueError, "one value for each of"),
        (lambda r, e: group_costs(r, "sex", cost="time"), ValueError, "'cost' parameter"),
        (lambda r, e: group_costs(r, "sex", level=1), ValueError, "'level' parameter"),
        (lambda r, e: group_costs(r, "sex", n_bootstrap=0), ValueError, "'n_bootstrap' param"),
        (
            lambda r, e: MapDisplay.from_explanation(r, e, features=["income", "sex"]),
            ValueError,
            "Got 'sex', which is categorical",
        ),
        (
            lambda r, e: MapDisplay.from_explanation(r, e, features=["income", "income"]),
            ValueError,
            "two different columns",
        ),
    ],
)
def test_bad_input_is_refused(result, explainer, call, error, message):
    with pytest.raises(error, match=message):
        call(result, explainer)
