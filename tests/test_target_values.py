"""Intervals of a regressor's value, and the training rows that stand for them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scfe_sklearn.targets import Interval, Outcome, interval_target
from scfe_sklearn.targets.classes import LEAST

INF = np.inf
VALUES = np.random.default_rng(0).normal(size=400)


@pytest.mark.parametrize(
    ("interval", "low", "high"),
    [
        (Interval(2), 2, INF),
        (Interval(at_most=3.5), -INF, 3.5),
        (Interval(np.float32(1), np.int8(2)), 1, 2),
        (Interval([1, 2], [3, 4]), [1, 2], [3, 4]),
        (Interval(0, [3, 4]), [0, 0], [3, 4]),
        (Interval([1, np.nan], [np.nan, 4]), [1, -INF], [INF, 4]),
        (Interval(-INF, 1), -INF, 1),
    ],
)
def test_ends(interval, low, high):
    got = interval.ends()
    np.testing.assert_array_equal(got[0], low)
    np.testing.assert_array_equal(got[1], high)
    assert got[0].shape == got[1].shape


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (3, 2, r"'at_least' parameter of Interval must be below 'at_most'. Got 3 and 2 instead"),
        (2, 2, "must be below 'at_most'"),
        ([1, 5], 4, "must be below 'at_most'"),
        (None, None, "Interval must have an end in every row"),
        ([1, np.nan], None, "Interval must have an end in every row"),
        (-INF, INF, "Interval must have an end in every row"),
        (np.nan, 1, "The 'at_least' parameter of Interval must be a number, an array"),
        (1, "2x", "The 'at_most' parameter of Interval must be a number, an array"),
        (True, 2, "The 'at_least' parameter of Interval must be a number, an array"),
        ([[1]], 2, "The 'at_least' parameter of Interval must be a number, an array"),
        ([1, 2], [3, 4, 5], r"must have the same length. Got 2 and 3 instead"),
    ],
)
def test_what_is_no_interval(low, high, message):
    with pytest.raises(ValueError, match=message):
        Interval(low, high)


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (Interval(200_000), "at least 200,000"),
        (Interval(at_most=-1.25), "at most -1.25"),
        (Interval(1, 2.5), "between 1 and 2.5"),
        (Interval([1, 2]), "an interval for each of 2 rows"),
    ],
)
def test_words(interval, text):
    assert str(interval) == text


@pytest.mark.parametrize("target", [None, 3, "high", {1}, [1, 2], (1, 2, 3), np.array([1.0, 2.0])])
def test_targets_of_a_classifier_are_none_of_a_regressor(target):
    with pytest.raises(ValueError, match=r"must be an Interval or a pair \(low, high\) for a regr"):
        interval_target(target, 2, VALUES)


def test_one_interval_per_row():
    with pytest.raises(ValueError, match=r"one for each of the 3 rows. Got 2 intervals instead"):
        interval_target(Interval([1, 2]), 3, VALUES)
    pair = interval_target((np.array([0.0, 1.0]), None), 2, VALUES)
    assert pair.low.tolist() == [0, 1] and pair.high.tolist() == [INF, INF]
    assert interval_target((0, 1), 0, VALUES).wanted.shape[0] == 0


def test_ends_are_included():
    targets = interval_target(Interval([0.0, 1.0, -1.0], [1.0, 2.0, np.nan]), 3, VALUES)
    for value, good in ((0.0, [1, 0, 1]), (1.0, [1, 1, 1]), (np.nan, [0, 0, 0]), (-1, [0, 0, 1])):
        outcome = Outcome(np.zeros(3, dtype=int), np.full(3, value, dtype=float))
        answered = targets.answered_by(np.arange(3), outcome)
        np.testing.assert_array_equal(answered, np.where(good, targets.group, -1))
    outcome = Outcome(np.zeros(2, dtype=int), np.array([1.5, 1.5]))
    assert (targets.take(np.array([1, 0])).answered_by(np.arange(2), outcome) >= 0).tolist() == [
        True,
        False,
    ]
    assert not targets.uses_probability
    assert (
        targets.wanted.tolist() == (targets.group[:, None] == np.arange(targets.n_groups)).tolist()
    )


def test_members_are_the_training_rows_inside():
    """Up to one step of the coarse ends; never fewer than the least."""
    rng = np.random.default_rng(1)
    low = rng.normal(size=60)
    high = low + rng.exponential(1, size=60)
    targets = interval_target(Interval(low, high), 60, VALUES)
    step = len(VALUES) // 32
    for i in range(60):
        members = targets.members[targets.group[i]]
        inside = np.flatnonzero((low[i] <= VALUES) & (high[i] >= VALUES))
        assert len(set(members)) == len(members) >= LEAST
        if len(inside) >= LEAST + 2 * step:
            assert len(set(inside) - set(members)) <= 2 * step
            assert len(set(members) - set(inside)) <= 2 * step


@pytest.mark.parametrize("total", [1, 5, 29, 31, 64])
def test_few_training_rows(total):
    values = VALUES[:total]
    for target in (Interval(100), Interval(at_most=-100), Interval(-100, 100), Interval(0, 1e-9)):
        targets = interval_target(target, 2, values)
        members = targets.members[targets.group[0]]
        assert len(members) >= min(total, LEAST) and set(members) <= set(range(total))
    top = interval_target(Interval(100), 1, values).members[0]
    assert values[top].min() >= np.sort(values)[max(total - LEAST, 0)]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_a_group_is_the_same_alone_and_among_others(data):
    n = data.draw(st.integers(1, 6))
    number = st.floats(-3, 3)
    low = np.array(data.draw(st.lists(number, min_size=n, max_size=n)))
    width = np.array(data.draw(st.lists(st.floats(0.01, 4), min_size=n, max_size=n)))
    values = VALUES[: data.draw(st.integers(1, 200))]
    whole = interval_target(Interval(low, low + width), n, values)
    for i in range(n):
        alone = interval_target(Interval(low[i], low[i] + width[i]), 1, values)
        mine, theirs = (w.members[w.group[k]] for w, k in ((whole, i), (alone, 0)))
        np.testing.assert_array_equal(mine, theirs)
