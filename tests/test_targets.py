"""From the user's target to the classes that would do."""

import numpy as np
import pandas as pd
import pytest

from scfe_sklearn.targets import Interval, Outcome, Probability, class_wishes

TEXT = np.array(["high", "low", "mid"])


def wanted_classes(target, predicted, classes):
    """The classes of wishes that ask for no probability."""
    wishes = class_wishes(target, predicted, classes)
    assert wishes.n_groups == len(classes) and not wishes.asks_probability
    assert wishes.level.shape == wishes.wanted.shape
    return wishes.wanted


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


def test_a_probability_is_for_all_rows():
    wishes = class_wishes(Probability("low", 0.8), ZERO, TEXT)
    assert wishes.asks_probability
    assert wishes.wanted.tolist() == [[False, True, False]] * 3
    assert wishes.level.tolist() == [[0.0, 0.8, 0.0]] * 3


def test_probabilities_and_labels_in_a_set():
    wishes = class_wishes({Probability("low", 0.8), "mid"}, ZERO, TEXT)
    assert wishes.wanted.tolist() == [[False, True, True]] * 3
    assert wishes.level.tolist() == [[0.0, 0.8, 0.0]] * 3


@pytest.mark.parametrize(
    ("target", "level"),
    [
        ({Probability("low", 0.8), Probability("low", 0.6)}, 0.6),
        ({Probability("low", 0.8), "low"}, 0.0),
    ],
)
def test_the_weaker_of_two_wishes_is_enough(target, level):
    wishes = class_wishes(target, ZERO, TEXT)
    assert wishes.level[:, 1].tolist() == [level] * 3
    assert wishes.asks_probability == (level > 0)


@pytest.mark.parametrize("container", [list, tuple, lambda x: np.array(x, dtype=object), pd.Series])
def test_one_wish_per_row(container):
    target = container([Probability("low", 0.8), "mid", Probability("high", 0.5)])
    wishes = class_wishes(target, ZERO, TEXT)
    assert wishes.wanted.tolist() == np.eye(3, dtype=bool)[[1, 2, 0]].tolist()
    assert wishes.level.tolist() == [[0, 0.8, 0], [0, 0, 0], [0.5, 0, 0]]
    some = wishes.take(np.array([2, 0]))
    assert some.level.tolist() == [[0.5, 0, 0], [0, 0.8, 0]]
    assert some.wanted.argmax(axis=1).tolist() == [0, 1]


def test_what_is_met():
    """By the right class, with enough of it; a row without a prediction never is."""
    target = [Probability("low", 0.6), "mid", Probability("high", 0.3), "low"]
    wishes = class_wishes(target, np.zeros(4, dtype=int), TEXT)
    outcome = Outcome(
        np.array([1, 1, 0, -1]),
        np.full(4, np.nan),
        np.array([[0.2, 0.6, 0.2], [0.0, 1.0, 0.0], [0.29, 0.25, 0.24], [0.1, 0.8, 0.1]]),
    )
    rows = np.arange(4)
    assert wishes.answered_by(rows, outcome).tolist() == [1, -1, -1, -1]
    sure = Outcome(outcome.code, outcome.value, outcome.probability + 0.01)
    assert wishes.answered_by(rows, sure).tolist() == [1, -1, 0, -1]
    less = Outcome(outcome.code, outcome.value, outcome.probability - 0.01)
    assert wishes.answered_by(rows, less).tolist() == [-1, -1, -1, -1]
    assert wishes.met(rows, np.array([2, 2, 0, 1]), sure).tolist() == [False, False, True, False]
    turned = np.array([2, 0])
    part = Outcome(sure.code[turned], sure.value[turned], sure.probability[turned])
    assert wishes.answered_by(turned, part).tolist() == [0, 1]


@pytest.mark.parametrize("level", [0, -0.5, 1.0001, np.nan, True, "0.8", None, [0.8]])
def test_levels_that_are_no_probabilities(level):
    message = r"The 'at_least' parameter of Probability must be a float in \(0, 1\]. Got .* instead"
    with pytest.raises(ValueError, match=message):
        Probability("low", level)


@pytest.mark.parametrize("target", [Probability("none", 0.5), {Probability(1, 0.5)}, Interval(1)])
def test_wishes_for_what_is_no_class(target):
    with pytest.raises(ValueError, match="The 'target' parameter of explain must be None, a class"):
        class_wishes(target, ZERO, TEXT)
