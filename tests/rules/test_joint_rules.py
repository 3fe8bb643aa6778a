"""Relations and implications against an oracle in exact fractions, over every point of a grid."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scfe_sklearn.data import FeatureSpace
from scfe_sklearn.rules import Linear, Relative, Rules
from scfe_sklearn.rules.linear import read_relation

DECLARED = ["p", "q", "r", "s"]
GRID = {
    "a": [0.0, 1.0, 2.0, 3.0],
    "b c": [-0.5, 0.0, 0.5, 1.0],
    "own": [False, True],
    "size": [1, 2, 5],
    "rank": ["p", "r", "s"],  # "q" is declared, and seen by nobody
    "job": ["x", "y", None],
}
NAMES = list(GRID)


def _frame(rows):
    frame = pd.DataFrame(rows, columns=NAMES)
    frame["rank"] = pd.Categorical(frame["rank"], categories=DECLARED, ordered=True)
    frame["job"] = frame["job"].astype(object)
    return frame.astype({"a": float, "b c": float, "own": bool, "size": int})


ALL = list(itertools.product(*GRID.values()))
SPACE = FeatureSpace(categorical=["size"], steps={"b c": 0.5}).fit(_frame(ALL))


# ------------------------------------------------------------------------------- the oracle


def _number(name, value):
    if value is None or value != value:
        return None
    if name == "rank":
        return Fraction(DECLARED.index(value))
    return Fraction(str(float(value)))


def _of_row(limit, i):
    limit = limit if limit is None or np.ndim(limit) == 0 else limit[i]
    return None if limit is None or limit != limit else Fraction(str(float(limit)))


def _sum(linear, row):
    numbers = [_number(name, row[NAMES.index(name)]) for name in linear.coefficients]
    if any(v is None for v in numbers):
        return None
    weights = [Fraction(str(c)) for c in linear.coefficients.values()]
    return sum(c * v for c, v in zip(weights, numbers, strict=True))


def _spent(linear, old, new):
    total = Fraction(0)
    for name, c in linear.coefficients.items():
        one, other = (row[NAMES.index(name)] for row in (old, new))
        if name in ("job", "own", "size"):
            total += Fraction(str(c)) * (one != other)
        elif _number(name, one) is not None and _number(name, other) is not None:
            total += Fraction(str(c)) * abs(_number(name, other) - _number(name, one))
    return total


def _keeps_relation(linear, old, new, i):
    low, high = _of_row(linear.at_least, i), _of_row(linear.at_most, i)
    if linear.of == "change":
        return high is None or _spent(linear, old, new) <= high
    before, after = _sum(linear, old), _sum(linear, new)
    if after is None:
        return True
    if before is not None:
        low = None if low is None else min(low, before)
        high = None if high is None else max(high, before)
    return (low is None or low <= after) and (high is None or after <= high)


def _fits(name, wanted, row, unknown, factual=None):
    """Whether the value of a row is as wanted, or between that and a factual one."""
    value = row[NAMES.index(name)]
    if isinstance(wanted, tuple):
        number = _number(name, value)
        if number is None:
            return unknown
        low, high = (None if v is None else _number(name, v) for v in wanted)
        if factual is not None and _number(name, factual[NAMES.index(name)]) is not None:
            there = _number(name, factual[NAMES.index(name)])
            low = None if low is None else min(low, there)
            high = None if high is None else max(high, there)
        return (low is None or low <= number) and (high is None or number <= high)
    return value in wanted or (factual is not None and value == factual[NAMES.index(name)])


def _keeps_implication(implication, old, new):
    condition, consequence = implication

    def under(row):
        return all(_fits(name, wanted, row, False) for name, wanted in condition.items())

    already = under(old) and not all(
        _fits(name, wanted, old, True) for name, wanted in consequence.items()
    )
    factual = old if already else None
    fulfilled = all(_fits(k, wanted, new, True, factual) for k, wanted in consequence.items())
    return not under(new) or fulfilled


def _broken(rules, old, new, i):
    """Names of the changed columns of broken relations and implications."""
    involved = set()
    for linear in rules.relations or ():
        if not _keeps_relation(linear, old, new, i):
            involved |= set(linear.coefficients)
    for implication in rules.implications or ():
        if not _keeps_implication(implication, old, new):
            involved |= {name for side in implication for name in side}
    return {name for name in involved if _differs(name, old, new)}


def _differs(name, old, new):
    one, other = old[NAMES.index(name)], new[NAMES.index(name)]
    return one != other and not (one != one and other != other)


# ----------------------------------------------------------------------------- random rules


def _some(rng, options, least=1, most=3):
    count = int(rng.integers(least, min(most, len(options)) + 1))
    return [options[k] for k in rng.choice(len(options), count, replace=False)]


def _limit(rng, n, shift):
    if rng.random() < 0.3:
        values = np.round(rng.normal(shift, 2, n), 1)
        values[rng.random(n) < 0.2] = np.nan
        return values
    return float(np.round(rng.normal(shift, 2), 1))


def _random_linear(rng, n):
    if rng.random() < 0.3:
        names = _some(rng, NAMES)
        weights = {name: float(rng.choice([0.5, 1, 2, 0.1])) for name in names}
        limit = _limit(rng, n, 1)
        return Linear(weights, at_most=np.abs(limit), of="change")
    names = _some(rng, [name for name in NAMES if name != "job"])
    weights = {name: float(rng.choice([-2, -1, -0.3, 0.1, 0.5, 1, 3])) for name in names}
    kind = rng.integers(4)
    if kind == 0:
        return Linear(weights, at_least=_limit(rng, n, -1))
    if kind == 1:
        return Linear(weights, at_most=_limit(rng, n, 1))
    low = float(np.round(rng.normal(), 1))
    return Linear(weights, at_least=low, at_most=round(low + 1.5 * (kind == 2), 1))


def _random_atom(rng, name):
    options = GRID[name]
    if name in ("a", "b c") or (name == "rank" and rng.random() < 0.5):
        options = DECLARED if name == "rank" else options
        low, high = sorted(int(k) for k in rng.integers(0, len(options), 2))
        ends = options[low], options[high]
        return (
            None if rng.random() < 0.4 else ends[0],
            None if rng.random() < 0.4 else ends[1],
        )
    return _some(rng, options, most=2)


def _random_rules(rng, n):
    def side():
        return {name: _random_atom(rng, name) for name in _some(rng, NAMES, most=2)}

    return Rules(
        relations=[_random_linear(rng, n) for _ in range(rng.integers(0, 3))],
        implications=[(side(), side()) for _ in range(rng.integers(0, 3))],
    )


def _random_rows(rng, n):
    rows = [list(ALL[k]) for k in rng.integers(0, len(ALL), n)]
    for row in rows:
        if rng.random() < 0.2:
            row[0] = np.nan
        elif rng.random() < 0.2:
            row[0] = float(rng.integers(-2, 7))  # outside of the training range
    return rows


def _basic_rules(rng):
    return Rules(
        immutable=_some(rng, NAMES, least=0, most=4) if rng.random() < 0.7 else None,
        fillable=["a"] if rng.random() < 0.5 else None,
        ranges={"a": (1, 3)} if rng.random() < 0.3 else None,
        transitions={"job": {"x": ["y", None]}} if rng.random() < 0.3 else None,
    )


def _reached(bounds, Z):
    """Points (m, D) of the grid that are within the bounds (1, D) of one row, cell by cell."""
    inside = np.ones((len(Z), len(NAMES)), dtype=bool)
    for j, block in enumerate(SPACE.slices_):
        if SPACE.kinds_[j] == "categorical":
            inside[:, j] = bounds.allowed[0, block][Z[:, block].argmax(axis=1)]
        else:
            z = Z[:, block.start]
            low, high = bounds.lower[0, block.start], bounds.upper[0, block.start]
            inside[:, j] = bounds.mutable[0, j] & (low - 1e-9 <= z) & (z <= high + 1e-9)
    return inside


OFFERED = {"job": {None: ["x", "y"]}}  # else a missing job stays missing


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_slack_violations_and_bounds_are_what_the_oracle_says(seed):
    rng = np.random.default_rng(seed)
    n = 3
    rows = _random_rows(rng, n)
    X = _frame(rows)
    Z = SPACE.encode(X)
    joint, basic = _random_rules(rng, n), _basic_rules(rng)
    plain = basic.bind(SPACE, X, Z)
    bounds = basic.merged(joint).bind(SPACE, X, Z)
    for i in range(n):
        old = rows[i]
        stay = [name for name in NAMES if rng.random() < 0.3]
        places = [NAMES.index(name) for name in stay]
        points = [list(point) for point in ALL]
        for point in points:
            for j in places:
                point[j] = old[j]
        points.append(list(old))
        after, before = _frame(points), _frame([old] * len(points))
        which = np.full(len(points), i)
        taken = Rules(
            relations=[
                Linear(
                    linear.coefficients,
                    *(
                        limit if limit is None or np.ndim(limit) == 0 else limit[which]
                        for limit in (linear.at_least, linear.at_most)
                    ),
                    of=linear.of,
                )
                for linear in joint.relations
            ],
            implications=joint.implications,
            fillable=["a"],
            transitions=OFFERED,
        )
        marked = taken.violations(SPACE, before, after)
        lost = after["a"].isna().to_numpy() & ~before["a"].isna().to_numpy()
        expected = [_broken(joint, old, point, i) for point in points]
        for k, names in enumerate(expected):
            assert {NAMES[j] for j in np.flatnonzero(marked[k])} - {"a"} == names - {"a"}
            assert lost[k] or marked[k, 0] == ("a" in names)

        good = np.array([not names for names in expected])
        encoded = SPACE.encode(after)
        unknown = np.isnan(encoded[:, 0]) | (np.isnan(Z[i, 0]) & ~bounds.allowed[i, 0])
        z, there = torch.from_numpy(encoded), torch.full((len(points),), i)
        slacks = [r.slack(z, there).numpy() for r in bounds.requirements]
        worst = np.min(slacks, axis=0) if slacks else np.ones(len(points))
        assert not np.isnan(worst).any()
        np.testing.assert_array_equal((worst >= 0)[~unknown], good[~unknown])
        assert not ((worst < 0) & (worst > -1e-9)).any()

        # Everything that the plain bounds offer and the oracle admits is still there.
        fine = ~np.isnan(encoded[:, 0])
        moved = np.array([[_differs(name, old, point) for name in NAMES] for point in points])
        open_before = (_reached(plain.take([i]), encoded) | ~moved).all(axis=1) & fine & good
        open_now = (_reached(bounds.take([i]), encoded) | ~moved).all(axis=1)
        assert open_now[open_before].all()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_bounds_are_exact_where_all_but_one_column_stay(seed):
    rng = np.random.default_rng(seed)
    rows = [list(ALL[k]) for k in rng.integers(0, len(ALL), 4)]
    X = _frame(rows)
    linear = _random_linear(rng, 4)
    name = _some(rng, list(linear.coefficients), most=1)[0]
    j = NAMES.index(name)
    rules = Rules(
        immutable=[k for k in NAMES if k != name], relations=[linear], transitions=OFFERED
    )
    Z = SPACE.encode(X)
    bounds = rules.bind(SPACE, X, Z)
    for i, old in enumerate(rows):
        points = [[*old[:j], value, *old[j + 1 :]] for value in GRID[name]]
        good = {
            point[j]
            for point in points
            if point[j] != old[j] and _keeps_relation(linear, old, point, i)
        } - {None}
        reached = _reached(bounds.take([i]), SPACE.encode(_frame(points)))[:, j]
        found = {point[j] for point, inside in zip(points, reached, strict=True) if inside}
        assert found - {old[j], None} == good
        assert name == "job" or bounds.mutable[i, j] == bool(good)


def test_slack_is_a_distance_with_a_gradient():
    X = pd.DataFrame({"x": [0.0, 3.1, 4.07], "y": [0.02, 2.0, 1.0], "own": [True, False, True]})
    space = FeatureSpace().fit(X)
    Z = space.encode(X)
    rules = Rules(relations=[Linear({"x": 1, "y": -2, "own": 0.5}, at_most=np.array([9, 1, 9.0]))])
    (requirement,) = rules.bind(space, X, Z).requirements
    rows = torch.tensor([2, 0, 1])
    z = torch.from_numpy(Z)[rows].requires_grad_()
    slack = requirement.slack(z, rows)
    norm = np.sqrt(space.scale_[0] ** 2 + 4 * space.scale_[1] ** 2 + 0.25)
    limits = np.array([9 - 4.07 + 2 - 0.5, 9 + 0.04 - 0.5, 1 - 3.1 + 4]) / norm
    np.testing.assert_allclose(slack.detach().numpy(), limits, atol=1e-12)
    (gradient,) = torch.autograd.grad(slack.sum(), z)
    # A step of the length of the slack, along the gradient of its sum, uses it up.
    np.testing.assert_allclose(gradient[:, 0].numpy(), -space.scale_[0] / norm)
    along = gradient.clone()
    along[:, 2:] -= along[:, 2:].mean(dim=1, keepdim=True)
    np.testing.assert_allclose(along.norm(dim=1).numpy(), 1.0, atol=1e-12)
    taken = requirement.take(np.array([1, 0]))
    np.testing.assert_array_equal(
        taken.slack(z[[2, 1]], torch.tensor([0, 1])).detach(), slack[[2, 1]].detach()
    )


@pytest.mark.parametrize("seed", range(3))
def test_a_row_is_bound_and_judged_alone(seed):
    rng = np.random.default_rng(seed)
    n = 40
    X = _frame(_random_rows(rng, n))
    Z = SPACE.encode(X)
    rules = Rules(
        relations=[Linear({"a": 1, "b c": -0.1, "size": 0.3}, at_most=rng.normal(2, 1, n))],
        implications=[({"job": "x"}, {"a": (None, 1)}), ({"own": True}, {"rank": ("q", None)})],
        costs={"a": rng.uniform(1, 2, n), "job": 3},
    )
    bounds = rules.bind(SPACE, X, Z)
    z = torch.from_numpy(np.nan_to_num(Z + rng.normal(0, 0.3, Z.shape)))
    together = [r.slack(z, torch.arange(n)) for r in bounds.requirements]
    few = bounds.take(np.array([7, 3, 7]))
    np.testing.assert_array_equal(few.cost, bounds.cost[[7, 3, 7]])
    for whole, part in zip(together, few.requirements, strict=True):
        alone = part.slack(z[[3]], torch.tensor([1]))
        torch.testing.assert_close(alone, whole[[3]], rtol=0, atol=1e-12)


def test_narrow_numbers_and_equal_limits():
    rng = np.random.default_rng(0)
    n = 400
    X = pd.DataFrame({"x": rng.normal(1e6, 1, n).astype(np.float32), "y": rng.normal(0, 1, n)})
    X["total"] = X["x"].astype(float) + X["y"]
    space = FeatureSpace(continuous=["x"]).fit(X)
    Z = space.encode(X)
    rules = Rules(relations=["total - x - y == 0"])
    bounds = rules.bind(space, X, Z)
    (requirement,) = bounds.requirements
    slack = requirement.slack(torch.from_numpy(Z), torch.arange(n))
    assert ((slack >= 0) & (slack < 1e-9)).all()
    assert not rules.violations(space, X, X.assign(x=X["x"])).any()
    moved = X.assign(y=X["y"] + 1.5)
    assert rules.violations(space, X, moved).tolist() == [[False, True, False]] * n
    assert (requirement.slack(torch.from_numpy(space.encode(moved)), torch.arange(n)) < -0.1).all()


def test_an_implication_narrows_bounds_where_its_condition_is_certain():
    X = pd.DataFrame({"job": ["s", "w", "s", "w"], "income": [10, 10, 50, 50]})
    space = FeatureSpace().fit(X)
    Z = space.encode(X)
    implied = Rules(implications=[({"job": "s"}, {"income": (None, 30)})])
    fixed = implied.merged(Rules(immutable=["job"])).bind(space, X, Z)
    top = space.decode(fixed.upper, like=X)["income"].tolist()
    assert top == [30, 50, 50, 50]  # the third breaks it already, and may stay
    rich = implied.merged(Rules(immutable=["income"])).bind(space, X, Z)
    assert rich.mutable[:, 0].tolist() == [True, True, True, False]


def test_missing_numbers_stay_missing_or_become_known():
    X = pd.DataFrame({"n": [1.0, 5.0, np.nan], "m": [1.0, 2.0, 3.0]})
    space = FeatureSpace(ordinal={"m": [1.0, 2.0, 3.0]}).fit(X)
    row = pd.DataFrame({"n": [np.nan, 2.0], "m": [2.0, np.nan]})
    Z = space.encode(row)
    kept = Rules(increasing=["n"]).bind(space, row, Z)
    assert kept.mutable.tolist() == [[False, True], [True, False]]
    rules = Rules(fillable=["n", "m"], increasing=["n"], ranges={"n": Relative(0, 1)})
    bounds = rules.merged(Rules(immutable=["m"])).bind(space, row, Z)
    assert bounds.mutable.tolist() == [[True, False], [True, False]]
    ends = space.center_[0] + space.scale_[0] * np.array([bounds.lower[0, 0], bounds.upper[0, 0]])
    np.testing.assert_allclose(ends, [1, 5])
    after = pd.DataFrame({"n": [3.0, np.nan], "m": [2.0, 1.0]})
    assert Rules().violations(space, row, after).tolist() == [[True, False], [True, True]]
    assert rules.violations(space, row, after).tolist() == [[False, False], [True, False]]
    immutable = Rules(immutable=["n"], fillable=["n"])
    assert immutable.violations(space, row, after).tolist() == [[True, False], [True, True]]


def test_costs_multiply():
    X = pd.DataFrame({"n": [1.0, 5.0], "m": [1.0, 2.0]})
    space = FeatureSpace().fit(X)
    assert Rules().bind(space, X, space.encode(X)).cost.tolist() == [[1, 1], [1, 1]]
    rules = Rules(costs={"n": 2}).merged(Rules(costs={"n": np.array([1.0, 3.0]), "m": 0.5}))
    assert rules.bind(space, X, space.encode(X)).cost.tolist() == [[2, 0.5], [6, 0.5]]


def test_conflicts_of_relations_are_reported():
    X = pd.DataFrame({"n": [1.0, 5.0], "m": [1.0, 2.0]})
    space = FeatureSpace().fit(X)
    rules = Rules(relations=[Linear({"n": 1, "m": 1}, np.array([1, 9.0]), 8)])
    assert rules.bind(space, X, space.encode(X)).conflict.tolist() == [
        None,
        "the limits of a relation between 'n', 'm' contradict each other (at least 9, at most 8)",
    ]


# ------------------------------------------------------------------------------- the wording


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a <= b", [({"a": 1, "b": -1}, None, 0)]),
        ("rent + 0.3*food<=1000", [({"rent": 1, "food": 0.3}, None, 1000)]),
        ("a - b == 0", [({"a": 1, "b": -1}, 0, 0)]),
        ("`net pay` >= 2 * a", [({"net pay": 1, "a": -2}, 0, None)]),
        ("-(a - 2*b)/4 + 1 >= a*-1", [({"a": 0.75, "b": 0.5}, -1, None)]),
        ("0 <= a - b <= 1e3", [({"a": -1, "b": 1}, None, 0), ({"a": 1, "b": -1}, None, 1000)]),
        ("`7` <= `c0_`", [({7: 1, "c0_": -1}, None, 0)]),
        ("a + b - b <= 2", [({"a": 1}, None, 2)]),
    ],
)
def test_texts_of_relations(text, expected):
    names = ["a", "b", "rent", "food", "net pay", 7, "c0_"]
    assert read_relation(text, names) == expected


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-9, 9)), min_size=1, max_size=6))
def test_texts_mean_what_python_means(terms):
    names = ["a", "b", "c"]
    text = " + ".join(f"({k} * {names[j]} - {k})" for j, k in terms) + " <= 3 * 2"
    values = {"a": 0.5, "b": -2.0, "c": 7.25}
    total = sum(k * values[names[j]] - k for j, k in terms)
    if not any(sum(k for at, k in terms if at == j) for j in range(3)):
        with pytest.raises(ValueError, match="names no column"):
            read_relation(text, names)
        return
    ((coefficients, low, high),) = read_relation(text, names)
    assert low is None
    left = sum(c * values[name] for name, c in coefficients.items())
    assert left - high == pytest.approx(total - 6)


def test_joint_rules_in_words():
    rules = Rules(
        relations=[
            "a + 0.3 * `b c` <= 1000",
            "a >= 2 * size + 10",
            "-a <= -5",
            "a == size",
            Linear({"a": 1, "size": -1}, -2, 3),
            Linear({"a": 1}, at_most=np.ones(2)),
            Linear({"a": 1, "job": 5}, at_most=1000, of="change"),
        ],
        implications=[
            ({"job": "x", "own": True}, {"a": (None, 30000), "rank": ("q", None)}),
            ({"rank": ["p", "q"]}, {"job": ("y", None), "b c": 2}),
        ],
        costs={"a": 3, "size": [1, 2]},
        fillable=["b c"],
    )
    assert rules.describe(SPACE) == [
        "a + 0.3 x b c must be at most 1,000",
        "a must be at least 2 x size + 10",
        "a must be at least 5",
        "a must equal size",
        "a - size must be between -2 and 3",
        "a must stay within limits given row by row",
        "the changes of a + 5 x job must add up to at most 1,000",
        "if job is 'x' and own is True, a must be at most 30,000 and rank must be at least 'q'",
        "changing a costs 3 times as much",
        "b c may be filled in where it is missing",
        "if rank is 'p' or 'q', job must be 'y' or missing and b c must be 2",
        "changing size costs differently much row by row",
        "a value that breaks a rule already may stay as it is",
        "a row that breaks a relation or an implication already must not break it more",
    ]


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"relations": "a <= 1"}, "must be a list of strings such as"),
        ({"relations": [("a", 1)]}, "must be a list of strings such as"),
        ({"relations": ["a < 1"]}, "another comparison sign than <=, >= or =="),
        ({"relations": ["a + 1"]}, "there is no comparison"),
        ({"relations": ["a <="]}, "it cannot be read"),
        ({"relations": ["a * size <= 1"]}, "may only be added"),
        ({"relations": ["1 / a <= 1"]}, "may only be added"),
        ({"relations": ["a / 0 <= 1"]}, "may only be added"),
        ({"relations": ["abs(a) <= 1"]}, "'abs\\(a\\)' is neither a column nor a number"),
        ({"relations": ["a <= True"]}, "'True' is neither"),
        ({"relations": ["1 <= 2"]}, "names no column"),
        ({"relations": ["a - a <= 2"]}, "names no column"),
        ({"relations": ["a <= 1e999"]}, "its numbers are too large"),
        ({"relations": ["(" * 500 + "a" + ")" * 500 + " <= 1"]}, "it cannot be read"),
        ({"relations": ["a\0 <= 1"]}, "it cannot be read"),
        ({"relations": ["nope <= 1"]}, "'relations' parameter of Rules must name columns of X"),
        ({"relations": ["job <= 1"]}, "Got 'job', which has levels such as 'x'"),
        ({"relations": [Linear({}, at_most=1)]}, "must be a dict from columns to numbers"),
        ({"relations": [Linear({"a": 0}, at_most=1)]}, "other than 0. Got 0 for 'a'"),
        ({"relations": [Linear({"a": True}, at_most=1)]}, "Got True for 'a'"),
        ({"relations": [Linear({"a": np.inf}, at_most=1)]}, "Got inf for 'a'"),
        ({"relations": [Linear({"a": 1}, at_most=np.nan)]}, "'at_most' parameter of Linear"),
        ({"relations": [Linear({"a": 1}, at_least="x")]}, "'at_least' parameter of Linear"),
        ({"relations": [Linear({"a": 1}, at_most=[1, 2])]}, "each of the 5 rows"),
        ({"relations": [Linear({"a": 1}, 2, 1)]}, "must have at_least <= at_most"),
        ({"relations": [Linear({"a": 1}, at_most=1, of="both")]}, "must be 'value' or 'change'"),
        ({"relations": [Linear({"a": 1}, 1, 2, of="change")]}, "not 'at_least'"),
        ({"relations": [Linear({"a": 1}, at_most=-1, of="change")]}, "is not negative"),
        ({"relations": [Linear({"a": -1}, at_most=1, of="change")]}, "positive for changes"),
        ({"implications": [({"a": 1},)]}, "must be a list of pairs"),
        ({"implications": {"a": 1}}, "must be a list of pairs"),
        ({"implications": [({}, {"a": 1})]}, "must be a list of pairs"),
        ({"implications": [({"nope": 1}, {"a": 1})]}, "must name columns of X"),
        ({"implications": [({"job": "w"}, {"a": 1})]}, "must use levels of 'job'.* Got 'w'"),
        ({"implications": [({"job": []}, {"a": 1})]}, "must have at least one level for 'job'"),
        ({"implications": [({"job": {"x": 1}}, {"a": 1})]}, "a level or a set of levels"),
        ({"implications": [({"job": "x"}, {"a": "1"})]}, r"a number or a pair \(low, high\)"),
        ({"implications": [({"job": "x"}, {"a": {1, 2}})]}, r"a number or a pair \(low, high\)"),
        ({"implications": [({"job": "x"}, {"a": (1, 2, 3)})]}, r"a number or a pair"),
        ({"implications": [({"job": "x"}, {"a": (3, 2)})]}, "must have low <= high for 'a'"),
        ({"implications": [({"job": "x"}, {"a": (np.ones(3), 2)})]}, "each of the 5 rows"),
        ({"implications": [({"job": "x"}, {"rank": ("z", "p")})]}, "must use levels of 'rank'"),
        ({"costs": ["a"]}, "must be a dict"),
        ({"costs": {"a": 0}}, "must give a positive number"),
        ({"costs": {"a": np.inf}}, "must give a positive number"),
        ({"costs": {"a": True}}, "must give a positive number"),
        ({"costs": {"a": "1"}}, "must give a positive number"),
        ({"costs": {"a": np.ones(4)}}, "each of the 5 rows"),
        ({"costs": {"nope": 1}}, "must name columns of X"),
        ({"fillable": ["job"]}, "Got 'job', which is categorical"),
        ({"fillable": "a"}, "must be a list of columns"),
    ],
)
def test_wrong_joint_rules(parameters, match):
    X = _frame(ALL[:5])
    with pytest.raises(ValueError, match=match):
        Rules(**parameters).bind(SPACE, X, SPACE.encode(X))
    with pytest.raises(ValueError, match=match):
        Rules(**parameters).violations(SPACE, X, X)


def test_ordinal_ends_of_an_implication_may_differ_row_by_row():
    X = pd.DataFrame({"o": list("abc"), "n": [1, 2, 3]})
    space = FeatureSpace(ordinal={"o": list("abc")}).fit(X)
    rules = Rules(implications=[({"n": (1, None)}, {"o": (np.array(["a", "b", "c"]), None)})])
    assert rules.violations(space, X, X.assign(o="b")).tolist() == [[0, 0], [0, 0], [1, 0]]
    bounds = rules.bind(space, X, space.encode(X))
    assert space.decode(bounds.lower, like=X)["o"].tolist() == ["a", "b", "c"]
    series = Rules(implications=[({"n": (1, None)}, {"o": (X["o"], None)})])
    assert series.violations(space, X, X.assign(o="b")).tolist() == [[0, 0], [0, 0], [1, 0]]
