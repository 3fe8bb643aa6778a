"""From the user's target to the classes that would do."""

import numpy as np
import pandas as pd
import pytest

from scfe_sklearn.targets import Interval, Outcome, Probability, class_target

TEXT = np.array(["high", "low", "mid"])


def wanted_classes(target, predicted, classes):
    """The classes of targets that ask for no probability."""
    targets = class_target(target, predicted, classes)
    assert targets.n_groups == len(classes) and not targets.uses_probability
    assert targets.low.shape == targets.wanted.shape and np.isnan(targets.low).all()
    return targets.wanted


def test_none_wants_any_other_class():
    wanted = wanted_classes(None, np.array([0, 2, 1, -1]), TEXT)
    assert wanted.tolist() == [
        [False, True, True],
        [True, True, False],
        [True, False, True],
        [True, True, True],  # nothing is known of a row without a prediction
    ]


@pytest.mark.parametrize(
    ("classes", "label", "code"),
    [
        (TEXT, "low", 1),
        (TEXT, np.str_("mid"), 2),
        (TEXT.astype(object), "high", 0),
        (np.array([3, 7]), 7, 1),
        (np.array([3, 7]), np.int8(3), 0),
        (np.array([3, 7]), 7.0, 1),
        (np.array([0.5, 2.0]), 2, 1),
        (np.array([False, True]), True, 1),
        (np.array([False, True]), np.False_, 0),
        (np.array([False, True]), 1, 1),
        (np.array([0, 1]), True, 1),
    ],
)
def test_a_label_is_for_all_rows(classes, label, code):
    expected = np.arange(len(classes)) == code
    for target in (label, np.array(label), {label}, frozenset([label])):
        wanted = wanted_classes(target, np.zeros(4, dtype=int), classes)
        assert wanted.dtype == bool
        np.testing.assert_array_equal(wanted, np.tile(expected, (4, 1)))


def test_a_set_wants_any_of_its_labels():
    wanted = wanted_classes({"mid", "high"}, np.array([0, 1]), TEXT)
    assert wanted.tolist() == [[True, False, True]] * 2


@pytest.mark.parametrize("container", [list, tuple, np.array, pd.Series, pd.Categorical, pd.Index])
def test_an_array_has_one_label_per_row(container):
    labels = container(["low", "high", "low"])
    wanted = wanted_classes(labels, np.zeros(3, dtype=int), TEXT)
    assert wanted.argmax(axis=1).tolist() == [1, 0, 1]
    assert (wanted.sum(axis=1) == 1).all()


def test_labels_of_a_series_go_by_position():
    labels = pd.Series([7, 3], index=[1, 0])
    assert wanted_classes(labels, np.zeros(2, dtype=int), np.array([3, 7])).argmax(1).tolist() == [
        1,
        0,
    ]


def test_one_row_and_no_row():
    assert wanted_classes(["low"], np.array([0]), TEXT).tolist() == [[False, True, False]]
    for target in (None, "low", {"low"}, [], np.array([], dtype=object)):
        assert wanted_classes(target, np.empty(0, dtype=int), TEXT).shape == (0, 3)


@pytest.mark.parametrize(
    ("target", "got"),
    [
        ("none", "'none'"),
        (1, "1"),
        (np.nan, "nan"),
        (b"low", "b'low'"),
        ({}, r"\{\}"),
        (set(), "an empty set"),
        ({"low", "none"}, "'none'"),
        ({("low",)}, r"\('low',\)"),
        (["low"], r"an array of shape \(1,\) for 2 rows"),
        ([["low"], ["low"]], r"an array of shape \(2, 1\) for 2 rows"),
        (["low", None], "None"),
        (["low", "none"], "'none'"),
        (np.array([["low"], {}], dtype=object), r"\['low'\]"),
        (object, "<class 'object'>"),
    ],
)
def test_what_is_no_class(target, got):
    message = (
        r"The 'target' parameter of explain must be None, a class among \{'high', 'low', 'mid'\}, "
        rf"a Probability of one, a set of these, or an array with one of them per row. "
        rf"Got {got} instead"
    )
    with pytest.raises(ValueError, match=message):
        wanted_classes(target, np.array([0, 1]), TEXT)


def test_text_and_numbers_are_not_confused():
    with pytest.raises(ValueError, match="Got '1' instead"):
        wanted_classes("1", np.array([0]), np.array([0, 1]))
    with pytest.raises(ValueError, match="Got 1 instead"):
        wanted_classes(1, np.array([0]), np.array(["0", "1"]))
    with pytest.raises(ValueError, match="Got "):
        wanted_classes([1, "0"], np.array([0, 0]), np.array(["0", "1"]))


def test_arguments_stay_as_they_are():
    predicted, labels, classes = np.array([0, 1]), ["low", "mid"], TEXT.copy()
    wanted_classes(labels, predicted, classes)
    wanted_classes(None, predicted, classes)
    assert labels == ["low", "mid"]
    np.testing.assert_array_equal(predicted, [0, 1])
    np.testing.assert_array_equal(classes, TEXT)


# --------------------------------------------------------------------- sure of a class

ZERO = np.zeros(3, dtype=int)


TABLE = np.array([[0.1, 0.3, 0.6], [0.5, 0.2, 0.3], [0.7, 0.2, 0.1], [0.0, 0.9, 0.1]])


def table():
    """Probabilities of four training rows."""
    return TABLE


def wishes_of(target, n=3):
    return class_target(target, np.zeros(n, dtype=int), TEXT, table)


def further(targets, row=0):
    """The groups after those of the classes that a row wants: (class, low, high)."""
    at = np.flatnonzero(targets.wanted[row, 3:]) + 3
    return [(int(targets.about[g]), targets.low[row, g], targets.high[row, g]) for g in at]


def test_a_probability_is_for_all_rows_and_a_group_of_its_own():
    targets = wishes_of(Probability("low", 0.8))
    assert targets.uses_probability and targets.n_groups == 4 and not targets.wanted[:, :3].any()
    assert [further(targets, row) for row in range(3)] == [[(1, 0.8, 1.0)]] * 3
    assert targets.labels(np.array([2, 3])).tolist() == [2, 1]


def test_what_must_not_be_probable_has_a_group_of_its_own():
    assert further(wishes_of(Probability("low", at_most=0.1))) == [(1, 0.0, 0.1)]


def test_probabilities_and_labels_in_a_set():
    targets = wishes_of({Probability("low", 0.8), "mid"})
    assert targets.wanted[:, :3].tolist() == [[False, False, True]] * 3
    assert further(targets) == [(1, 0.8, 1.0)]


@pytest.mark.parametrize(
    "limits", [[(0.6, 1.0), (0.8, 1.0)], [(0.2, 0.3), (0.5, 0.6)], [(0.8, 1.0)]]
)
def test_every_member_of_a_set_is_enough(limits):
    ends = [(low, high if high < 1 else None) for low, high in limits]
    targets = wishes_of({Probability("low", *both) for both in ends})
    assert sorted(further(targets)) == [(1, low, high) for low, high in limits]


def test_training_rows_of_a_group_have_the_probability(monkeypatch):
    monkeypatch.setattr("scfe_sklearn.targets.classes.LEAST", 1)
    (members,) = wishes_of(Probability("low", 0.25)).members
    assert sorted(members.tolist()) == [0, 3]
    (members,) = wishes_of(Probability("low", at_most=0.25)).members
    assert sorted(members.tolist()) == [1, 2]


@pytest.mark.parametrize("container", [list, tuple, lambda x: np.array(x, dtype=object), pd.Series])
def test_one_wish_per_row(container):
    targets = wishes_of(container([Probability("low", 0.8), "mid", Probability("high", 0.5)]))
    assert targets.wanted[:, :3].tolist() == [[False] * 3, [False, False, True], [False] * 3]
    assert [further(targets, row) for row in range(3)] == [[(1, 0.8, 1)], [], [(0, 0.5, 1)]]
    some = targets.take(np.array([2, 0]))
    assert [further(some, row) for row in range(2)] == [[(0, 0.5, 1)], [(1, 0.8, 1)]]


def test_sets_row_by_row():
    targets = wishes_of([{"low", "mid"}, "high", {Probability("mid", 0.3)}])
    assert targets.wanted[:, :3].tolist() == [
        [False, True, True],
        [True, False, False],
        [False] * 3,
    ]
    assert [further(targets, row) for row in range(3)] == [[], [], [(2, 0.3, 1.0)]]


def test_what_is_met():
    """By the predicted class or by enough of it; a row without a prediction never is."""
    low, high = Probability("low", 0.6), Probability("high", 0.3)
    target = [low, "mid", high, "low", Probability("low", 0.3)]
    targets = wishes_of(target, 5)
    table = np.array(
        [[0.2, 0.6, 0.2], [0, 1, 0], [0.29, 0.25, 0.46], [0.1, 0.8, 0.1], [0.2, 0.6, 0.2]]
    )
    outcome = Outcome(np.array([1, 1, 0, -1, -1]), np.full(5, np.nan), table)
    rows = np.arange(5)
    got = targets.answered_by(rows, outcome)
    assert got[1:].tolist() == [-1, -1, -1, -1] and got[0] >= 3 and targets.about[got[0]] == 1
    sure = Outcome(np.array([0, 1, 2, -1, 2]), outcome.value, table + 0.01)
    got = targets.answered_by(rows, sure)
    assert (got >= 0).tolist() == [True, False, True, False, True]
    assert targets.about[got[[0, 2, 4]]].tolist() == [1, 0, 1]
    assert targets.met(rows, got.clip(0), sure).tolist() == [True, False, True, False, True]
    turned = np.array([4, 0])
    assert targets.answered_by(turned, sure.take(turned)).tolist() == got[turned].tolist()


def test_of_several_groups_the_predicted_one_answers_then_the_most_probable():
    targets = wishes_of({Probability("low", 0.2), Probability("mid", 0.2), "high"})
    outcome = Outcome(np.array([1, 0, 1]), np.full(3, np.nan), TABLE[:3])
    got = targets.answered_by(np.arange(3), outcome)
    assert targets.about[got].tolist() == [2, 0, 1] and (got >= 3).tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("probability", "text", "shown", "limits"),
    [
        (Probability("a", 0.8), "'a' with probability 0.8 or more", "at_least=0.8", (0.8, 1)),
        (
            Probability("a", at_most=0.1),
            "'a' with probability 0.1 or less",
            "at_most=0.1",
            (0, 0.1),
        ),
        (
            Probability("a", 0.2, 0.4),
            "'a' with probability between 0.2 and 0.4",
            "at_least=0.2, at_most=0.4",
            (0.2, 0.4),
        ),
    ],
)
def test_probabilities_in_words(probability, text, shown, limits):
    assert str(probability) == text and probability.limits == limits
    assert repr(probability) == f"Probability(label='a', {shown})"
    assert eval(repr(probability)) == probability


@pytest.mark.parametrize("level", [1, -0.5, 1.5, np.nan, True, "0.8", [0.8]])
def test_greatest_levels_that_are_no_probabilities(level):
    message = r"The 'at_most' parameter of Probability must be a float in \[0, 1\). Got .* instead"
    with pytest.raises(ValueError, match=message):
        Probability("low", at_most=level)


def test_limits_in_the_wrong_order():
    with pytest.raises(ValueError, match=r"must not be above 'at_most'\. Got 0\.5 and 0\.4"):
        Probability("low", 0.5, 0.4)


@pytest.mark.parametrize("level", [0, -0.5, 1.0001, np.nan, True, "0.8", None, [0.8]])
def test_levels_that_are_no_probabilities(level):
    message = r"The 'at_least' parameter of Probability must be a float in \(0, 1\]. Got .* instead"
    with pytest.raises(ValueError, match=message):
        Probability("low", level)


@pytest.mark.parametrize("target", [Probability("none", 0.5), {Probability(1, 0.5)}, Interval(1)])
def test_wishes_for_what_is_no_class(target):
    with pytest.raises(ValueError, match="The 'target' parameter of explain must be None, a class"):
        class_target(target, ZERO, TEXT)
