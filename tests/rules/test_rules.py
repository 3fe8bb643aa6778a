"""Rules against a slow oracle in raw units and exact fractions, one cell at a time."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

from scfe_sklearn.data import FeatureSpace
from scfe_sklearn.rules import Relative, Rules

LEVELS = ["none", "low", "mid", "high", "top"]
JOBS = ["a", "b", "c", "d"]


def _frame(rng, n):
    return pd.DataFrame(
        {
            "age": rng.integers(18, 40, n),
            "debt": rng.integers(-20, 30, n).astype(np.int8),
            "rate": rng.integers(-15, 16, n) / 10,
            "job": rng.choice(np.array([*JOBS, None], dtype=object), n),
            "own": rng.random(n) < 0.5,
            "level": pd.Categorical(rng.choice(LEVELS, n), categories=LEVELS, ordered=True),
        },
        index=rng.integers(0, n, n),
    )


def _space(rng):
    frame = _frame(rng, 300)
    # All values of the lattice occur, so that the ends of the training range are known.
    frame["job"] = (JOBS + [None]) * 60
    return FeatureSpace().fit(frame)


# ------------------------------------------------------------------------- the oracle


def _exact(value):
    return Fraction(str(value))


def _flag(wanted, name, i):
    if not isinstance(wanted, dict):
        return name in (wanted or ())
    flag = wanted.get(name, False)
    return bool(flag if np.ndim(flag) == 0 else flag[i])


def _limit(value, i):
    value = value if value is None or np.ndim(value) == 0 else value[i]
    return None if value is None or (isinstance(value, float) and np.isnan(value)) else value


def _in_range(limits, i, old, new):
    relative = isinstance(limits, Relative)
    low, high = (limits.low, limits.high) if relative else limits
    low, high = _limit(low, i), _limit(high, i)
    low, high = (None if v is None else _exact(v) for v in (low, high))
    old, new = _exact(old), _exact(new)
    if relative and limits.factor and old < 0:
        low, high = high, low
    if relative:
        low, high = (
            None if v is None else (old * v if limits.factor else old + v) for v in (low, high)
        )
    return (low is None or new >= low) and (high is None or new <= high)


def _offers(rules, name, i):
    """Whether some rule says what a missing cell of a row may become."""
    moves = (rules.transitions or {}).get(name)
    moves = moves[i] if isinstance(moves, list) else moves
    own = isinstance(moves, list) or (isinstance(moves, dict) and None in moves)
    return own or any(_offers(other, name, i) for other in rules.also or ())


def _may_move(rules, name, i, old, new):
    """Whether the rules let a cell of a row go from one value to another."""
    old, new = (None if pd.isna(v) else v for v in (old, new))
    if old is None and new is not None and not _offers(rules, name, i):
        return False
    return _permits(rules, name, i, old, new)


def _permits(rules, name, i, old, new):
    """Whether no rule forbids it."""
    if old == new:
        return True
    if rules.also and not all(_permits(other, name, i, old, new) for other in rules.also):
        return False
    if _flag(rules.immutable, name, i):
        return False
    rank = LEVELS.index if name == "level" else (lambda v: v)
    if _flag(rules.increasing, name, i) and rank(new) < rank(old):
        return False
    if _flag(rules.decreasing, name, i) and rank(new) > rank(old):
        return False
    limits = (rules.ranges or {}).get(name)
    if limits is not None:
        if name == "level" and not isinstance(limits, Relative):
            limits = tuple(None if v is None else LEVELS.index(v) for v in limits)
        if not _in_range(limits, i, rank(old), rank(new)):
            return False
    moves = (rules.transitions or {}).get(name)
    if isinstance(moves, list):
        moves = moves[i]
        if isinstance(moves, list):
            return new in moves
    return new in moves.get(old, [new]) if moves else True


# ----------------------------------------------------------------------- random rules


def _maybe(rng, chance=0.5):
    return rng.random() < chance


def _random_flags(rng, names, n):
    chosen = [name for name in names if _maybe(rng, 0.25)]
    if _maybe(rng):
        return chosen
    return {name: rng.random(n) < 0.5 if _maybe(rng, 0.7) else True for name in chosen}


def _random_limits(rng, scale, digits, n):
    def one(low, high):
        if _maybe(rng, 0.2):
            return None
        if _maybe(rng, 0.4):
            values = np.round(rng.uniform(low, high, n), digits)
            values[rng.random(n) < 0.1] = np.nan
            return values
        return float(np.round(rng.uniform(low, high), digits))

    if _maybe(rng, 0.4):
        return Relative(one(-scale, 0.2 * scale), one(0.2 * scale, scale))
    if _maybe(rng, 0.3):
        return Relative(one(0.2, 1.1), one(1.1, 2.0), factor=True)
    return one(-scale, 0), one(0, scale)


def _random_moves(rng, levels, n):
    def some():
        return [v for v in levels if _maybe(rng)]

    def mapping():
        return {v: some() for v in levels if _maybe(rng)}

    if _maybe(rng):
        return mapping()
    items = [mapping(), mapping(), some(), None]
    return [items[k] for k in rng.integers(0, 4, n)]


def _random_rules(rng, n):
    ranges = {
        "age": _random_limits(rng, 45.0, 0, n),
        "debt": _random_limits(rng, 20.0, 1, n),
        "rate": _random_limits(rng, 1.5, int(rng.integers(1, 3)), n),
    }
    low, high = sorted(rng.integers(0, 5, 2))
    ranges["level"] = (
        (LEVELS[low], LEVELS[high] if _maybe(rng) else None)
        if _maybe(rng)
        else Relative(float(rng.integers(-3, 1)), float(rng.integers(0, 3)))
    )
    transitions = {
        "job": _random_moves(rng, [*JOBS, None], n),
        "own": _random_moves(rng, [False, True], n),
        "level": _random_moves(rng, LEVELS, n),
    }
    increasing = _random_flags(rng, ["age", "rate", "level"], n)
    decreasing = _random_flags(rng, ["debt"], n)
    return Rules(
        immutable=_random_flags(rng, ["age", "debt", "rate", "job", "own", "level"], n),
        increasing=increasing,
        decreasing=decreasing,
        ranges={k: v for k, v in ranges.items() if _maybe(rng, 0.6)},
        transitions={k: v for k, v in transitions.items() if _maybe(rng, 0.6)},
    )


# ------------------------------------------------------------------------------ tests


@pytest.mark.parametrize("seed", range(12))
def test_violations_agree_with_the_oracle(seed):
    rng = np.random.default_rng(seed)
    space, n = _space(rng), 400
    before, after = _frame(rng, n), _frame(rng, n)
    keep = rng.random((n, 6)) < 0.3
    for j, name in enumerate(before):
        values = np.where(keep[:, j], before[name].astype(object), after[name].astype(object))
        after[name] = pd.Series(values, index=after.index).astype(before[name].dtype)
    rules = _random_rules(rng, n)
    if seed % 3 == 0:
        rules = rules.merged(_random_rules(rng, n))
    expected = np.array(
        [
            [
                not _may_move(rules, name, i, before[name].iloc[i], after[name].iloc[i])
                for name in before
            ]
            for i in range(n)
        ]
    )
    np.testing.assert_array_equal(rules.violations(space, before, after), expected)
    assert not rules.violations(space, before, before).any()


def _candidates(name, space, j, old):
    """Every value in the training range, widened to the row's own value."""
    if name in ("job", "own", "level"):
        return [None if pd.isna(v) else v for v in space.levels_[j]]
    step = 0.1 if name == "rate" else 1.0
    low, high = min(space.min_[j], old), max(space.max_[j], old)
    points = np.round(np.arange(round(low / step), round(high / step) + 1) * step, 1)
    return [v if name == "rate" else int(v) for v in points.tolist()]


def _kept(bounds, points, rows):
    """Whether points (m, D) of some rows fulfil what is required beside the bounds."""
    z, rows = torch.from_numpy(points), torch.as_tensor(rows)
    kept = torch.ones(len(z), dtype=torch.bool)
    for requirement in bounds.requirements:
        kept &= requirement.slack(z, rows) >= 0
    return kept.numpy()


def _reachable(bounds, space, Z, j, i, name, candidates):
    """The candidates that the bounds let row i go to, apart from staying."""
    block = space.slices_[j]
    if name in ("job", "own"):
        return {v for v, ok in zip(candidates, bounds.allowed[i, block], strict=True) if ok}
    if not bounds.mutable[i, j]:
        return set()
    raw = [LEVELS.index(v) for v in candidates] if name == "level" else candidates
    z = (np.array(raw, dtype=float) - space.center_[j]) / space.scale_[j]
    inside = (bounds.lower[i, block] <= z) & (z <= bounds.upper[i, block])
    points = np.repeat(Z[i : i + 1], len(z), axis=0)
    points[:, block] = z[:, None]
    inside &= _kept(bounds, points, np.full(len(z), i))
    return {v for v, ok in zip(candidates, inside, strict=True) if ok}


def _check_row(space, rules, bounds, X, Z, i):
    conflict = False
    for j, name in enumerate(X):
        old = X[name].iloc[i]
        old = None if pd.isna(old) else old
        candidates = _candidates(name, space, j, old)
        expected = {
            v
            for v in candidates
            # To become missing takes a rule that offers it, so it has a test of its own.
            if v is not None and v != old and _may_move(rules, name, i, old, v)
        }
        found = _reachable(bounds, space, Z, j, i, name, candidates) - {old, None}
        if bounds.conflict[i] is not None and f"{name!r}" in bounds.conflict[i]:
            conflict = True
            assert not found and not expected
        else:
            assert found == expected, (name, old, i)
        if name != "job":
            assert bounds.mutable[i, j] == bool(expected)
        block = space.slices_[j]
        if name in ("job", "own"):
            assert bounds.allowed[i, block][Z[i, block].argmax()]
        else:
            assert bounds.allowed[i, block].all() == bounds.mutable[i, j]
            if not bounds.mutable[i, j]:
                assert bounds.lower[i, block] == bounds.upper[i, block] == Z[i, block]
    assert conflict == (bounds.conflict[i] is not None)


@pytest.mark.parametrize("seed", range(12))
def test_bounds_are_what_the_oracle_permits(seed):
    rng = np.random.default_rng(100 + seed)
    space, n = _space(rng), 40
    X = _frame(rng, n)
    X.iloc[0, :2] = [60, -25]  # outside of the training range
    rules = _random_rules(rng, n)
    if seed % 3 == 0:
        rules = rules.merged(_random_rules(rng, n))
    Z = space.encode(X)
    try:
        bounds = rules.bind(space, X, Z)
    except ValueError as error:  # a random pair of rules that no row can keep
        assert "low <= high" in str(error)
        return
    for i in range(n):
        _check_row(space, rules, bounds, X, Z, i)
    rows = np.array([5, 5, 1])
    few = bounds.take(rows)
    np.testing.assert_array_equal(few.lower, bounds.lower[rows])
    np.testing.assert_array_equal(few.conflict, bounds.conflict[rows])


@pytest.mark.parametrize("seed", range(8))
def test_points_within_bounds_break_no_rule(seed):
    rng = np.random.default_rng(200 + seed)
    n = 500
    train = _frame(rng, 300).assign(
        x=rng.normal(1e4, 3e3, 300), y=rng.normal(size=300).astype(np.float32)
    )
    space = FeatureSpace().fit(train)
    X = _frame(rng, n).assign(x=rng.normal(1e4, 3e3, n), y=rng.normal(size=n).astype(np.float32))
    rules = _random_rules(rng, n).merged(
        Rules(
            ranges={"x": (1 / 3, rng.uniform(8e3, 2e4, n)), "y": Relative(-0.1, 0.3)},
            increasing={"x": rng.random(n) < 0.5},
        )
    )
    Z = space.encode(X)
    bounds = rules.bind(space, X, Z)
    for share in (0.0, 1.0, None):
        t = rng.random(Z.shape) if share is None else share
        proposal = bounds.lower + t * (bounds.upper - bounds.lower)
        weights = rng.random(Z.shape) * bounds.allowed
        is_level = np.isin(space.groups_, np.flatnonzero(np.array(space.kinds_) == "categorical"))
        proposal = np.where(is_level, weights, proposal)
        proposal = np.where(bounds.mutable[:, space.groups_], proposal, Z)
        after = space.decode(proposal, like=X)
        broken = rules.violations(space, X, after)
        kept = _kept(bounds, space.encode(after), np.arange(n))
        assert kept.mean() > 0.5
        np.testing.assert_array_equal(broken.any(axis=1), ~kept)
        snapped = space.snap(proposal, Z)
        numbers = ~is_level & bounds.mutable[:, space.groups_]
        assert (snapped >= bounds.lower - 1e-12)[numbers].all()
        assert (snapped <= bounds.upper + 1e-12)[numbers].all()


def test_sums_of_decimals_reach_the_point_they_mean():
    X = pd.DataFrame({"r": [0.1, 0.2, 0.9]})
    space = FeatureSpace().fit(X)
    bounds = Rules(ranges={"r": Relative(0.2, 0.2)}).bind(space, X, space.encode(X))
    assert bounds.mutable[:, 0].tolist() == [True, True, False]
    decoded = space.decode(bounds.lower, like=X)
    assert decoded["r"].tolist() == [0.3, 0.4, 0.9]


def test_a_range_that_excludes_the_value_is_an_interval_to_jump_into():
    X = pd.DataFrame({"n": [0, 5, 10], "x": [0.0, 0.5, np.pi]})
    space = FeatureSpace().fit(X)
    bounds = Rules(ranges={"n": (5.5, 8.5), "x": (1.0, 2.0)}).bind(space, X, space.encode(X))
    low, high = space.decode(bounds.lower, like=X), space.decode(bounds.upper, like=X)
    assert low["n"].tolist() == [6, 6, 6] and high["n"].tolist() == [8, 8, 8]
    assert low["x"].tolist() == [1, 1, 1] and high["x"].tolist() == [2, 2, 2]
    nothing = Rules(ranges={"n": (5.2, 5.8)}).bind(space, X, space.encode(X))
    assert not nothing.mutable[:, 0].any() and (nothing.conflict == None).all()  # noqa: E711


def test_no_extrapolation_and_constant_columns_stay():
    X = pd.DataFrame({"n": [0.0, 5.0, 10.0], "k": [3, 3, 3]})
    space = FeatureSpace().fit(X)
    like = pd.DataFrame({"n": [-2.5, 4.5, 12.0], "k": [3, 3, 4]})
    Z = space.encode(like)
    bounds = Rules(ranges={"n": (-100, 100)}).bind(space, like, Z)
    values = space.center_[0] + space.scale_[0] * np.c_[bounds.lower[:, 0], bounds.upper[:, 0]]
    np.testing.assert_allclose(values, [[-2.5, 10], [0, 10], [0, 12]], atol=1e-12)
    assert not bounds.mutable[:, 1].any()
    np.testing.assert_array_equal(bounds.lower[:, 1], Z[:, 1])


def test_conflicts_of_single_rows_are_reported():
    X = pd.DataFrame({"n": [0, 5, 10], "m": [0, 1, 2]})
    space = FeatureSpace().fit(X)
    rules = Rules(
        ranges={"n": (np.array([1.0, 9.0, np.nan]), 8)},
        increasing={"m": [True, False, True]},
        decreasing={"m": [False, True, True]},
    )
    bounds = rules.bind(space, X, space.encode(X))
    assert bounds.conflict.tolist() == [
        None,
        "the limits of 'n' contradict each other (at least 9, at most 8)",
        "'m' must both increase and decrease",
    ]
    assert bounds.mutable.tolist() == [[True, True], [False, True], [True, False]]


def test_missing_is_offered_only_by_a_rule():
    X = pd.DataFrame({"job": ["a", "b", None]})
    space = FeatureSpace().fit(X)
    Z = space.encode(X)
    assert Rules().bind(space, X, Z).allowed.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    offered = Rules(transitions={"job": {"a": [None], np.nan: ["b"]}}).bind(space, X, Z)
    assert offered.allowed.tolist() == [[1, 0, 1], [1, 1, 0], [0, 1, 1]]


def test_violations_and_missing_values():
    X = pd.DataFrame({"n": [1, 2, 3], "job": ["a", "b", "a"]})
    space = FeatureSpace().fit(X)
    after = pd.DataFrame({"n": [np.nan, np.nan, 3], "job": [None, "b", None]})
    rules = Rules(immutable=["job"], ranges={"n": (0, None)})
    assert rules.violations(space, X, after).tolist() == [[0, 0], [1, 0], [0, 1]]
    assert Rules().violations(space, X, after).tolist() == [[0, 0], [1, 0], [0, 0]]


def test_arrays_are_ruled_by_position():
    X = np.array([[1.0, 0.0], [2.0, 1.0], [3.0, 0.0]])
    space = FeatureSpace(categorical=[1]).fit(X)
    rules = Rules(increasing=[0], immutable={1: np.array([True, False, False])})
    bounds = rules.bind(space, X, space.encode(X))
    assert bounds.mutable.tolist() == [[True, False], [True, True], [False, True]]
    after = X[::-1]
    assert rules.violations(space, X, after).tolist() == [[0, 0], [0, 0], [1, 0]]


def test_polars_frames_are_judged_alike():
    pl = pytest.importorskip("polars")
    rng = np.random.default_rng(0)
    space, n = _space(rng), 100
    before, after = _frame(rng, n), _frame(rng, n)
    rules = _random_rules(rng, n)
    expected = rules.violations(space, before, after)
    as_polars = [
        pl.from_pandas(frame.reset_index(drop=True).astype({"level": str}))
        for frame in (before, after)
    ]
    np.testing.assert_array_equal(rules.violations(space, *as_polars), expected)
    np.testing.assert_array_equal(rules.violations(space, before, as_polars[1]), expected)


def test_limits_of_unseen_ordinal_levels_are_rounded_inward():
    X = pd.DataFrame({"o": ["a", "c", "e"]})
    space = FeatureSpace(ordinal={"o": list("abcde")}).fit(X)
    bounds = Rules(ranges={"o": ("b", "d")}).bind(space, X, space.encode(X))
    assert space.decode(bounds.lower, like=X)["o"].tolist() == ["c", "c", "c"]
    assert space.decode(bounds.upper, like=X)["o"].tolist() == ["c", "c", "c"]
    assert bounds.mutable[:, 0].tolist() == [True, False, True]


def test_rules_are_clonable_and_merging_changes_neither():
    one, two = Rules(immutable=["a"]), Rules(increasing=["b"])
    both = one.merged(two)
    assert one.also is None and [p.immutable for p in both.parts()] == [["a"], None]
    assert clone(both).also[0].increasing == ["b"]


def test_describe():
    X = pd.DataFrame(
        {
            "age": [1, 2],
            "sex": ["f", "m"],
            "income": [1.5, 2.25],
            "level": pd.Categorical(["lo", "hi"], categories=["lo", "hi"], ordered=True),
            "job": ["a", "b"],
        }
    )
    rules = Rules(
        immutable=["sex"],
        increasing={"age": np.array([True, False])},
        ranges={"income": (0, 1.2e5), "age": Relative(-1, None), "level": ("lo", None)},
        transitions={"job": {"a": ["b"], "b": []}},
    ).merged(
        Rules(
            decreasing=["level"],
            ranges={"income": Relative(0.5, 2, factor=True), "age": (None, np.array([1, 2]))},
            transitions={"level": [["lo"], None]},
        )
    )
    assert rules.describe(FeatureSpace().fit(X)) == [
        "age may only increase (in 1 of 2 rows)",
        "age may change by -1 or more",
        "age must stay within limits given row by row",
        "sex must not change",
        "income must be between 0 and 120000",
        "income may become 0.5 to 2 times its value",
        "level must be at least 'lo'",
        "level may only decrease",
        "level may change to levels given row by row",
        "job may change from 'a' only to 'b'",
        "job may not change from 'b'",
        "a value that breaks a rule already may stay as it is",
    ]
    assert Rules(immutable=np.array(["job", "sex"])).describe(FeatureSpace().fit(X)) == [
        "sex must not change",
        "job must not change",
    ]
    assert Rules().describe(FeatureSpace().fit(X)) == []


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"immutable": ["nope"]}, "'immutable' parameter of Rules must name columns of X"),
        ({"immutable": "job"}, "must be a list of columns. Got 'job'"),
        ({"immutable": {"job": [True]}}, "one for each of the 5 rows"),
        ({"immutable": {"job": 1}}, "must give one bool"),
        ({"increasing": ["job"]}, r"declare it as FeatureSpace\(ordinal={'job'"),
        ({"decreasing": ["own"]}, "whose categories have no order"),
        ({"increasing": ["age"], "decreasing": ["age"]}, "must not name the same column"),
        ({"ranges": {"age": (5, 2)}}, r"must have low <= high. Got \(5, 2\) for 'age'"),
        ({"ranges": {"age": Relative(5, 2)}}, "must have low <= high"),
        ({"ranges": {"level": ("top", "low")}}, "must have low <= high"),
        ({"ranges": {"level": ("great", None)}}, "must use levels of 'level'.* Got 'great'"),
        ({"ranges": {"level": Relative(1, 2, factor=True)}}, "must not give a factor"),
        ({"ranges": {"age": 5}}, r"must give \(low, high\)"),
        ({"ranges": {"age": ("a", 2)}}, "must have numbers as limits"),
        ({"ranges": {"age": (np.nan, 2)}}, "must have numbers as limits"),
        ({"ranges": {"age": (np.zeros(3), 2)}}, "each of the 5 rows"),
        ({"ranges": {"job": (0, 1)}}, "Got 'job', which is categorical"),
        ({"ranges": [("age", 1)]}, "must be a dict"),
        ({"transitions": {"age": {1: [2]}}}, "Got 'age', which is integer"),
        ({"transitions": {"job": {"x": ["a"]}}}, "must use levels of 'job'.* Got 'x'"),
        ({"transitions": {"job": {"a": ["x"]}}}, "must use levels of 'job'.* Got 'x'"),
        ({"transitions": {"job": {"a": "b"}}}, "Got 'b' for 'job'"),
        ({"transitions": {"job": [["a"]]}}, "each of the 5 rows. Got 1 items"),
        ({"transitions": {"job": "a"}}, "Got 'a' for 'job'"),
        ({"transitions": ["job"]}, "must be a dict"),
        ({"also": ["age"]}, "must be a sequence of Rules"),
    ],
)
def test_wrong_rules(parameters, match):
    rng = np.random.default_rng(0)
    space, X = _space(rng), _frame(rng, 5)
    with pytest.raises(ValueError, match=match):
        Rules(**parameters).bind(space, X, space.encode(X))
    with pytest.raises(ValueError, match=match):
        Rules(**parameters).violations(space, X, X)


def test_limits_in_single_precision_mean_the_number_that_is_stored():
    X = pd.DataFrame({"r": np.array([0.1, 0.2, 0.3, 0.5], dtype=np.float32)})
    space = FeatureSpace().fit(X)
    assert space.step_[0] == 0.1
    rules = Rules(ranges={"r": (0.2, 0.3)})
    bounds = rules.bind(space, X, space.encode(X))
    after = space.decode(bounds.upper, like=X)
    assert after["r"].tolist() == [np.float32(0.3)] * 4
    assert not rules.violations(space, X, after).any()
    assert space.decode(bounds.lower, like=X)["r"].tolist() == [np.float32(0.2)] * 4


def test_rows_that_cannot_be_read_do_not_disturb_others():
    X = pd.DataFrame({"n": [1.0, 2.0, 3.5], "job": ["a", "b", "a"], "k": [1, 2, 3]})
    space = FeatureSpace(ordinal={"k": [1, 2, 3]}).fit(X)
    odd = pd.DataFrame({"n": [np.nan, np.inf, 2.0], "job": ["x", None, "a"], "k": [9, 1, 2]})
    rules = Rules(increasing=["n", "k"], ranges={"n": Relative(-1, 1)}, transitions={"k": {1: []}})
    Z = space.encode(odd)
    bounds = rules.bind(space, odd, Z)
    # A level that training has not shown may become another one; what is missing stays missing.
    assert bounds.mutable.tolist() == [[0, 1, 0], [0, 0, 0], [1, 1, 1]]
    alone = rules.bind(space, odd[2:], Z[2:])
    assert not rules.violations(space, odd, odd).any()
    np.testing.assert_array_equal(bounds.take([2]).lower, alone.lower)
    np.testing.assert_array_equal(bounds.take([2]).allowed, alone.allowed)
