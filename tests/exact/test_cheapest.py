"""The exact method equals exhaustive search with the real model on every admissible row."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

from scfe_sklearn.data import Column
from scfe_sklearn.exact import (
    all_of,
    cheapest,
    class_wins,
    probability_between,
    row_options,
    value_between,
)
from scfe_sklearn.models import read_trees
from tests.exact.conftest import CLASSIFIERS, REGRESSORS, Tenths, make_case, to_raw

SEEDS = st.integers(0, 10**6)
FEW = settings(max_examples=12, deadline=None)


def check(case, requirement, good, objective="distance", beta=0.0, max_changes=None):
    """Compare with all admissible rows, which `good` judges by the real model."""
    answer = cheapest(
        case.ensemble,
        case.options(Tenths()),
        requirement,
        objective=objective,
        beta=beta,
        max_changes=max_changes,
    )
    rows = case.lattice_rows()
    cost, changes = case.costs(rows, beta)
    cost = changes.astype(float) if objective == "changes" else cost
    fine = good(rows) & (changes <= (4 if max_changes is None else max_changes))
    if not fine.any():
        assert answer.status == "unreachable"
        assert answer.u is None
        return answer
    assert answer.status == "optimal"
    assert answer.cost == pytest.approx(cost[fine].min(), abs=1e-9)
    assert answer.gap == 0
    found = to_raw(answer.u)
    at = np.flatnonzero((rows == found).all(axis=1))
    assert len(at) == 1
    assert fine[at[0]]
    assert answer.changes == changes[at[0]]
    assert answer.distance == pytest.approx(case.costs(rows, 0.0)[0][at[0]])
    if objective == "changes":
        nearest = case.costs(rows, 0.0)[0][fine & (cost == cost[fine].min())].min()
        assert answer.distance == pytest.approx(nearest)
    return answer


@pytest.mark.parametrize("name", CLASSIFIERS)
@FEW
@given(
    seed=SEEDS,
    n_classes=st.integers(2, 3),
    objective=st.sampled_from(["distance", "cost", "changes"]),
    max_changes=st.sampled_from([None, 1, 2, 3]),
)
def test_a_class_is_reached_as_cheaply_as_exhaustive_search_does(
    name, seed, n_classes, objective, max_changes
):
    case = make_case(CLASSIFIERS[name](), seed, n_classes)
    for code in range(n_classes):
        check(
            case,
            class_wins(case.ensemble, code),
            lambda rows, code=code: case.model.predict(rows) == code,
            objective,
            0.3 if objective == "cost" else 0.0,
            max_changes,
        )


@pytest.mark.parametrize("name", [name for name in CLASSIFIERS if name != "adaboost"])
@FEW
@given(seed=SEEDS, level=st.sampled_from([0.3, 0.5, 0.75, 0.9]))
def test_a_probability_is_reached(name, seed, level):
    case = make_case(CLASSIFIERS[name](), seed)
    for code in (0, 1):

        def good(rows, code=code):
            p = case.model.predict_proba(rows)[:, code]
            assert not np.any((p != level) & (np.abs(p - level) < 1e-12))
            return p >= level

        rows = case.lattice_rows()
        p = case.model.predict_proba(rows)[:, code]
        if np.any((p != level) & (np.abs(p - level) < 1e-12)):
            continue  # rounding decides: sigmoid and logit may differ in the last bit
        check(case, probability_between(case.ensemble, code, level), good)
        high = level + 0.08
        if np.any(np.abs(p - high) < 1e-12):
            continue
        below = probability_between(case.ensemble, code, high=high)
        sure = case.model.predict_proba
        check(case, below, lambda rows, k=code, h=high, p=sure: p(rows)[:, k] <= h)
        both = probability_between(case.ensemble, code, level, high)
        check(
            case,
            both,
            lambda rows, h=high, g=good, k=code: (
                g(rows) & (case.model.predict_proba(rows)[:, k] <= h)
            ),
        )


@pytest.mark.parametrize("name", REGRESSORS)
@FEW
@given(seed=SEEDS, low=st.sampled_from([-np.inf, -0.4, 0.0, 0.3]), width=st.floats(0.05, 1.0))
def test_an_interval_is_reached(name, seed, low, width):
    case = make_case(REGRESSORS[name](), seed, 0)
    high = low + width if np.isfinite(low) else 0.1

    def good(rows):
        value = case.model.predict(rows)
        return (value >= low) & (value <= high)

    check(case, value_between(case.ensemble, low, high), good)


@FEW
@given(seed=SEEDS)
def test_requirements_add_up(seed):
    case = make_case(CLASSIFIERS["forest"](), seed, 3)
    both = all_of([class_wins(case.ensemble, 2), probability_between(case.ensemble, 0, 0.15)])

    def good(rows):
        return (case.model.predict(rows) == 2) & (case.model.predict_proba(rows)[:, 0] >= 0.15)

    check(case, both, good)


def test_what_presolve_loses_is_found_again():
    """HiGHS 1.12 calls a dearer answer of this program optimal unless presolve is off."""
    case = make_case(CLASSIFIERS["pure forest"](), 241153, 3)
    want = class_wins(case.ensemble, 2)
    check(case, want, lambda rows: case.model.predict(rows) == 2, max_changes=1)


@FEW
@given(seed=SEEDS)
def test_a_known_cost_prunes_but_does_not_change_the_answer(seed):
    case = make_case(CLASSIFIERS["boosting"](), seed)
    want = class_wins(case.ensemble, 1)
    plain = cheapest(case.ensemble, case.options(), want)
    if plain.u is None or plain.cost < 1e-9:  # which is nothing to the solver
        return
    same = cheapest(case.ensemble, case.options(), want, at_most=plain.cost)
    assert same.status == "optimal"
    assert same.cost == plain.cost
    less = cheapest(case.ensemble, case.options(), want, at_most=0.99 * plain.cost)
    assert less.status == "unreachable"


def test_a_continuous_answer_lies_one_float_beyond_a_threshold():
    X = np.linspace(0, 1, 30)[:, None]
    model = RandomForestClassifier(3, random_state=0).fit(X, X[:, 0] > 0.5)
    ensemble = read_trees(model, [Column(0, None)], X)
    options = row_options(
        ensemble,
        np.array([0.1]),
        lower=np.array([0.0]),
        upper=np.array([1.0]),
        allowed=np.array([True]),
        unit=np.array([1.0]),
    )
    answer = cheapest(ensemble, options, class_wins(ensemble, 1))
    assert model.predict(answer.u[None])[0]
    assert not model.predict(np.nextafter(answer.u, 0.0)[None])[0]


def test_refused_answers_are_left_out_with_all_rows_of_the_same_leaves():
    case = make_case(CLASSIFIERS["forest"](), 3)
    want = class_wins(case.ensemble, int(case.model.predict(case.row[None])[0] == 0))
    refused, costs = [], []
    while True:
        answer = cheapest(case.ensemble, case.options(), want, refused=refused)
        if answer.u is None:
            break
        leaves = case.ensemble.leaves(answer.u[None])
        assert all((case.ensemble.leaves(u[None]) != leaves).any() for u in refused)
        refused.append(answer.u)
        costs.append(answer.cost)
    assert answer.status == "unreachable"
    assert len(costs) > 3
    assert costs == sorted(costs)


def test_refusing_the_only_row_that_can_be():
    case = make_case(CLASSIFIERS["forest"](), 3)
    case.allowed[:] = False
    code = int(case.model.predict(case.row[None])[0])
    options, want = case.options(), class_wins(case.ensemble, code)
    assert cheapest(case.ensemble, options, want).status == "optimal"
    answer = cheapest(case.ensemble, options, want, refused=[case.factual])
    assert answer.status == "unreachable"
    assert cheapest(case.ensemble, options, class_wins(case.ensemble, 1 - code)).u is None


def test_a_missing_number_stays_missing():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 2))
    X[rng.random(X.shape) < 0.2] = np.nan
    y = np.nan_to_num(X[:, 0], nan=1.0) + np.nan_to_num(X[:, 1], nan=-1.0) > 0
    model = HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=3).fit(X, y)
    ensemble = read_trees(model, [Column(0, None), Column(1, None)], X)
    for value in (-1.5, 1.5):
        row = np.array([value, np.nan])
        options = row_options(
            ensemble,
            row,
            lower=np.full(2, -2.0),
            upper=np.full(2, 2.0),
            allowed=np.array([True, False]),
            unit=np.ones(2),
        )
        grid = np.column_stack([np.linspace(-2, 2, 4001), np.full(4001, np.nan)])
        for code in (0, 1):
            answer = cheapest(ensemble, options, class_wins(ensemble, code))
            hit = model.predict(grid) == code
            assert (answer.u is not None) == hit.any()
            if answer.u is not None:
                assert np.isnan(answer.u[1])
                least = np.abs(grid[hit, 0] - value).min()
                assert least - 1e-3 <= np.sqrt(answer.distance) <= least + 1e-9


def test_without_time_the_answer_is_unknown_or_true():
    case = make_case(RandomForestClassifier(60, random_state=0), 1)
    code = 1 - int(case.model.predict(case.row[None])[0])
    answer = cheapest(
        case.ensemble, case.options(), class_wins(case.ensemble, code), time_limit=0.0
    )
    assert answer.status in ("unknown", "feasible", "optimal")
    if answer.u is not None:
        assert case.model.predict(to_raw(answer.u)[None])[0] == code
        assert answer.bound <= answer.cost
    else:
        assert answer.gap == np.inf


def test_near_ties_beyond_the_rounds_get_a_margin():
    """Two trees that disagree by rounding only: class 1 never wins, but nearly everywhere."""
    X = np.arange(12.0)[:, None]
    y = np.array([0, 1] * 6)
    model = RandomForestClassifier(2, random_state=0, bootstrap=False, max_depth=1).fit(X, y)
    for member in model.estimators_:
        value = member.tree_.value
        value[:, 0, 1] = 0.5
        value[:, 0, 0] = 0.5 + 1e-9 * (np.arange(len(value)) % 2)
    ensemble = read_trees(model, [Column(0, None)], X)
    options = row_options(
        ensemble,
        np.array([0.0]),
        lower=np.array([0.0]),
        upper=np.array([11.0]),
        allowed=np.array([True]),
        unit=np.array([1.0]),
    )
    want = class_wins(ensemble, 1)
    assert cheapest(ensemble, options, want).status == "unreachable"
    assert cheapest(ensemble, options, want, max_rounds=1).status == "unknown"


@pytest.mark.parametrize(
    ("parameter", "value", "words"),
    [
        ("objective", "price", "'objective' parameter of cheapest must be one of"),
        ("beta", -1.0, r"'beta' parameter of cheapest must be a float in \[0, inf\)"),
        ("beta", np.nan, "'beta' parameter"),
        ("max_changes", -1, "'max_changes' parameter"),
        ("max_changes", 1.5, "'max_changes' parameter"),
        ("at_most", -0.1, "'at_most' parameter"),
        ("time_limit", -1, "'time_limit' parameter"),
    ],
)
def test_parameters_are_checked(parameter, value, words):
    case = make_case(CLASSIFIERS["tree"](), 0)
    with pytest.raises(ValueError, match=words):
        cheapest(case.ensemble, case.options(), class_wins(case.ensemble, 1), **{parameter: value})


def test_requirements_are_checked():
    case = make_case(CLASSIFIERS["tree"](), 0)
    regressor = make_case(REGRESSORS["forest"](), 0, 0)
    with pytest.raises(ValueError, match="position among the 2 classes"):
        class_wins(case.ensemble, 2)
    for low, high in ((0.0, 1.0), (0.6, 0.5), (-0.1, 0.5), (0.5, 1.1)):
        with pytest.raises(ValueError, match="'low' and 'high' parameters of probability_between"):
            probability_between(case.ensemble, 1, low, high)
    with pytest.raises(ValueError, match="needs a regressor"):
        value_between(case.ensemble, 0.0, 1.0)
    with pytest.raises(ValueError, match="must not be above 'high'"):
        value_between(regressor.ensemble, 1.0, 0.0)
    with pytest.raises(ValueError, match="position among the 0 classes"):
        class_wins(regressor.ensemble, 0)


def test_probabilities_of_many_boosted_classes_are_not_supported():
    case = make_case(CLASSIFIERS["boosting"](), 0, 3)
    with pytest.raises(NotImplementedError, match="three or more classes"):
        probability_between(case.ensemble, 1, 0.5)
