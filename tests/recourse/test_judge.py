"""The last word: the user's own predict and the rules, on the decoded rows."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from scfe_sklearn.data import FeatureSpace
from scfe_sklearn.recourse.judge import Judge, in_order
from scfe_sklearn.rules import Relative, Rules
from scfe_sklearn.targets import Probability, class_target, interval_target

TRAIN = pd.DataFrame(
    {
        "age": [20, 30, 40, 50, 60, 70],
        "pay": [1.03125, 2.5, 3.25, 4.125, 5.0625, 6.00001],
        "job": ["a", "b", "c", "a", "b", "c"],
    }
)


class Payroll(ClassifierMixin, BaseEstimator):
    """'rich' above a pay, 'new' for job c, else 'poor'; insists on the order of columns."""

    classes_ = np.array(["new", "poor", "rich"])

    def __init__(self, limit=3.0, strange=False):
        self.limit = limit
        self.strange = strange

    def predict(self, X):
        assert list(X.columns) == ["age", "pay", "job"]
        assert len(X)
        label = np.where(X["pay"] > self.limit, "rich", np.where(X["job"] == "c", "new", "poor"))
        return np.where(X["age"] > 65, "??", label) if self.strange else label

    def predict_proba(self, X):
        codes = np.searchsorted(self.classes_, self.predict(X))
        return np.where(np.arange(3) == codes[:, None], 0.8, 0.1)


class NoProbability(Payroll):
    @property
    def predict_proba(self):
        raise AttributeError


@pytest.fixture(scope="module")
def space():
    return FeatureSpace().fit(TRAIN)


def points(space, before, after):
    """Coordinates of changed rows and of the rows before."""
    return space.encode(after), space.encode(before)


def judged(space, before, after, code, *, rules=None, budget=None, rows=None, n_rows=None, **model):
    rows = np.arange(len(before)) if rows is None else np.asarray(rows)
    judge = Judge(
        Payroll(**model), space, rules or Rules(), budget, len(before) if n_rows is None else n_rows
    )
    Z, Z0 = points(space, before, after)
    return judge(Z, Z0, before, rows, np.asarray(code), anything(judge.n_rows))


def anything(n):
    """Wishes of n rows which any class would answer."""
    return class_target(set(Payroll.classes_), np.zeros(n, dtype=int), Payroll.classes_)


def test_labels_are_compared_by_class_and_not_by_position(space):
    before = TRAIN[:3]
    after = before.assign(pay=[4.125, 1.03125, 1.03125], age=[20, 40, 50])
    assert Payroll().predict(after).tolist() == ["rich", "poor", "new"]
    for code in range(3):
        expected = np.array([2, 1, 0]) == code
        verdict = judged(space, before, after, [code] * 3)
        np.testing.assert_array_equal(verdict.good, expected)
    pd.testing.assert_frame_equal(verdict.frame, after)


def test_a_row_that_did_not_change_is_no_answer(space):
    before = TRAIN[3:5]
    after = before.assign(age=[50, 70])
    verdict = judged(space, before, after, [2, 2])
    assert verdict.good.tolist() == [False, True]


def test_a_change_that_the_data_cannot_show_is_none(space):
    before = TRAIN[3:4]
    Z0 = space.encode(before)
    Z = Z0.copy()
    Z[0, 0] += 0.4 / space.scale_[0]  # less than half a year
    judge = Judge(Payroll(), space, Rules(), None, 1)
    verdict = judge(Z, Z0, before, np.array([0]), np.array([2]), anything(1))
    assert not verdict.good[0]
    pd.testing.assert_frame_equal(verdict.frame, before)


@pytest.mark.parametrize(("budget", "good"), [(None, True), (3, True), (2, False), (1, False)])
def test_the_budget_counts_raw_features(space, budget, good):
    before = TRAIN[:1]
    after = before.assign(age=30, pay=4.125, job="b")
    assert judged(space, before, after, [2], budget=budget).good.tolist() == [good]


@pytest.mark.parametrize(
    ("rules", "good"),
    [
        (Rules(immutable=["age"]), [False, True]),
        (Rules(immutable={"age": np.array([False, True])}), [True, True]),
        (Rules(immutable={"pay": np.array([False, True])}), [True, False]),
        (Rules(increasing=["age"]), [True, True]),
        (Rules(decreasing=["age"]), [False, True]),
        (Rules(decreasing={"pay": np.array([False, True])}), [True, False]),
        (Rules(ranges={"pay": (None, np.array([4.0, 6.0]))}), [False, True]),
        (Rules(ranges={"age": Relative(0, np.array([10.0, 0.0]))}), [True, True]),
        (Rules(ranges={"age": Relative(0, 9)}), [False, True]),
        (Rules(transitions={"job": {"b": ["a"]}}), [True, False]),
        (Rules(transitions={"job": [[], None]}), [True, True]),
        (Rules(transitions={"job": [None, ["a", "b"]]}), [True, False]),
        (Rules().merged(Rules(immutable={"pay": np.array([True, False])})), [False, True]),
    ],
)
def test_rules_hold_for_their_own_rows(space, rules, good):
    before = TRAIN[:2]
    after = before.assign(age=[30, 30], pay=[4.125, 5.0625], job=["a", "c"])
    assert judged(space, before, after, [2, 2], rules=rules).good.tolist() == good
    # The same rows one by one, in another order, and as a part of the whole.
    for order in ([0], [1], [1, 0]):
        verdict = judged(
            space, before.iloc[order], after.iloc[order], [2] * len(order), rules=rules,
            rows=order, n_rows=2,
        )  # fmt: skip
        assert verdict.good.tolist() == [good[i] for i in order]


def test_wishes_are_of_the_row_itself(space):
    """The right class for another row, or too little of it, is no answer."""
    before = TRAIN[:2]
    after = before.assign(pay=4.125)
    assert Payroll().predict(after).tolist() == ["rich", "rich"]
    for target, good in (
        (["rich", "new"], [True, False]),
        ([Probability("rich", 0.8), Probability("rich", 0.81)], [True, False]),
        (Probability("rich", 0.79), [True, True]),
        (Probability("rich", at_most=0.79), [False, False]),
        ([Probability("rich", 0.1, 0.8), Probability("rich", at_most=0.8)], [True, True]),
    ):
        judge = Judge(Payroll(), space, Rules(), None, 2)
        targets = class_target(target, np.array([1, 1]), Payroll.classes_, lambda: np.eye(3))
        Z, Z0 = points(space, before, after)
        codes = targets.wanted.argmax(axis=1)
        assert judge(Z, Z0, before, np.arange(2), codes, targets).good.tolist() == good
        turned = np.array([1, 0])
        verdict = judge(Z[turned], Z0[turned], before.iloc[turned], turned, codes[turned], targets)
        assert verdict.good.tolist() == good[::-1]


def test_all_models_must_agree(space):
    before = TRAIN[[True, True, True, False, False, False]]
    after = before.assign(pay=[2.5, 4.125, 5.0625])
    Z, Z0 = points(space, before, after)
    others = [Payroll(limit=4.0), Payroll(limit=2.0)]
    judge = Judge(Payroll(), space, Rules(), None, 3, others)
    verdict = judge(Z, Z0, before, np.arange(3), np.full(3, 2), anything(3))
    assert verdict.good.tolist() == [False, True, True]
    strict = Judge(Payroll(), space, Rules(), None, 3, [Payroll(limit=4.5)])
    verdict = strict(Z, Z0, before, np.arange(3), np.full(3, 2), anything(3))
    assert verdict.good.tolist() == [False, False, True]
    assert verdict.keeps_rules.all()


def test_a_share_of_the_change_left_undone(space):
    """From 1.03125 to 4.125: four fifths of the way are 3.50625, half of it is 2.578125."""
    before, after = TRAIN[:1], TRAIN[:1].assign(pay=4.125, job="b")
    Z, Z0 = points(space, before, after)
    for shortfall, good in ((0.0, True), (0.2, True), (0.5, False)):
        judge = Judge(Payroll(), space, Rules(), None, 1, (), shortfall)
        verdict = judge(Z, Z0, before, np.array([0]), np.array([2]), anything(1))
        assert verdict.good.tolist() == [good] and verdict.keeps_rules.all()


class Price(RegressorMixin, BaseEstimator):
    def predict(self, X):
        return X["pay"].to_numpy() * np.where(X["age"] > 65, np.nan, 1.0)


def test_values_of_a_regressor(space):
    before = TRAIN[:3]
    after = before.assign(pay=[2.5, 4.125, 4.125], age=[20, 30, 70])
    Z, Z0 = points(space, before, after)
    judge = Judge(Price(), space, Rules(), None, 3)
    targets = interval_target((3.0, np.array([5.0, 4.125, 9.0])), 3, TRAIN["pay"].to_numpy())
    verdict = judge(Z, Z0, before, np.arange(3), targets.group, targets)
    assert verdict.good.tolist() == [False, True, False]
    output = judge.outcome(TRAIN)
    assert output.code.tolist() == [0, 0, 0, 0, 0, -1] and np.isnan(output.value[-1])
    np.testing.assert_array_equal(output.value[:5], TRAIN["pay"][:5])


def test_predict_gives_positions(space):
    judge = Judge(Payroll(), space, Rules(), None, 6)
    assert judge.predict(TRAIN).tolist() == [1, 1, 2, 2, 2, 2]
    assert judge.predict(TRAIN[:0]).tolist() == []
    strange = Judge(Payroll(strange=True), space, Rules(), None, 6)
    assert strange.predict(TRAIN).tolist() == [1, 1, 2, 2, 2, -1]


def test_probability_is_of_the_given_class(space):
    judge = Judge(Payroll(), space, Rules(), None, 6)
    assert judge.probability(TRAIN[:3], np.array([1, 0, 2])).tolist() == [0.8, 0.1, 0.8]
    assert judge.probability(TRAIN[:0], np.empty(0, dtype=int)).shape == (0,)
    silent = Judge(NoProbability(), space, Rules(), None, 6)
    assert np.isnan(silent.probability(TRAIN[:3], np.array([1, 0, 2]))).all()


def test_columns_in_another_order_reach_the_model_in_its_own(space):
    turned = TRAIN[["job", "age", "pay"]]
    judge = Judge(Payroll(), space, Rules(), None, 6)
    assert judge.predict(turned).tolist() == [1, 1, 2, 2, 2, 2]
    verdict = judged(space, turned[:1], turned[:1].assign(pay=5.0625), [2])
    assert verdict.good.all()
    assert list(verdict.frame.columns) == ["job", "age", "pay"]
    assert in_order(TRAIN, space) is TRAIN


def test_polars_columns_in_another_order():
    pl = pytest.importorskip("polars")
    frame = pl.from_dict({"a": [1.5, 2.25, 3.0], "b": [1, 2, 4]})
    space = FeatureSpace().fit(frame)
    assert in_order(frame.select(["b", "a"]), space).columns == ["a", "b"]
    assert in_order(frame, space) is frame


def test_arrays_pass_as_they_are(space):
    values = np.array([[1.5, 2.0], [2.5, 4.0]])
    assert in_order(values, FeatureSpace().fit(values)) is values
