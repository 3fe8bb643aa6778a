"""From the user's target to the classes that would do."""

import numpy as np
import pandas as pd
import pytest

from scfe_sklearn.targets import class_wishes

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
