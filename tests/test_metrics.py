"""Metrics against loops, closed forms and scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import LocalOutlierFactor

from scfe_sklearn import metrics

NAN = np.nan


@pytest.mark.parametrize("target", ["yes", ["yes", "yes", "no", "yes"], {"yes"}])
def test_validity_of_one_label(target):
    expected = [1, 0, 0, NAN] if isinstance(target, (str, set)) else [1, 0, 1, NAN]
    predicted = ["yes", "no", "no", None]
    np.testing.assert_array_equal(metrics.validity(predicted, target), expected)


def test_validity_of_other_labels():
    assert metrics.validity([0, 1, 2], {1, 2}).tolist() == [0, 1, 1]
    assert metrics.validity(np.array([True, False]), True).tolist() == [1, 0]
    assert metrics.validity(pd.Series([1, pd.NA], dtype="Int64"), 1)[0] == 1
    assert np.isnan(metrics.validity(np.array([1.0, NAN]), 1)[1])
    assert metrics.validity([], "yes").shape == (0,)
    with pytest.raises(ValueError, match=r"one label per row \(3\)"):
        metrics.validity([0, 1, 2], [0, 1])


def test_coverage():
    frame = pd.DataFrame({"a": [1, 2, 3], "b": ["x", None, "y"]})
    assert metrics.coverage(frame).tolist() == [1, 0, 1]
    assert metrics.coverage(frame[["a"]].astype("Int64").mask(frame["a"] > 2)).tolist() == [1, 1, 0]
    assert metrics.coverage(np.array([[1.0], [NAN]])).tolist() == [1, 0]
    assert metrics.coverage([False, True]).tolist() == [0, 1]
    polars = pytest.importorskip("polars")
    assert metrics.coverage(polars.DataFrame({"a": [1, None], "b": ["x", "y"]})).tolist() == [1, 0]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 7))
def test_norms_agree_with_a_loop_over_groups(seed, D):
    rng = np.random.default_rng(seed)
    change = rng.normal(size=(9, D)) * rng.integers(0, 2, (9, D))
    groups = rng.integers(0, 3, D)
    sizes = np.array(
        [[np.linalg.norm(row[groups == g]) for g in np.unique(groups)] for row in change]
    )
    np.testing.assert_allclose(metrics.l0(change, groups), (sizes > 1e-6).sum(axis=1))
    np.testing.assert_allclose(metrics.l1(change, groups), sizes.sum(axis=1))
    np.testing.assert_allclose(metrics.l2(change), np.sqrt((change**2).sum(axis=1)))
    np.testing.assert_allclose(metrics.linf(change, groups), sizes.max(axis=1))
    np.testing.assert_allclose(metrics.l1(change), abs(change).sum(axis=1))
    np.testing.assert_allclose(metrics.linf(change), abs(change).max(axis=1))
    np.testing.assert_allclose(metrics.l0(change), (change != 0).sum(axis=1))


def test_norms_of_a_changed_category_and_tolerance():
    change = np.array([[1e-7, 1 / np.sqrt(2), -1 / np.sqrt(2)], [2e-6, 0, 0]])
    assert metrics.l0(change, [0, 1, 1]).tolist() == [1, 1]
    assert metrics.l0(change, [0, 1, 1], tol=1e-3).tolist() == [1, 0]
    for norm in (
        metrics.l1(change, [0, 1, 1]),
        metrics.linf(change, [0, 1, 1]),
        metrics.l2(change),
    ):
        assert norm[0] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("norm", [metrics.l0, metrics.l1, metrics.l2, metrics.linf])
def test_norms_of_missing_rows(norm):
    values = norm(np.array([[NAN, 0.0], [NAN, NAN], [1.0, 0.0]]))
    np.testing.assert_array_equal(values, [NAN, NAN, 1])


def test_norms_refuse_wrong_shapes():
    with pytest.raises(ValueError, match="each of the 3 coordinates"):
        metrics.l0(np.zeros((2, 3)), [0, 1])
    with pytest.raises(ValueError, match=r"shape \(n, D\)"):
        metrics.l2(np.zeros(3))


def test_local_outlier_factor_and_knn_distance():
    rng = np.random.default_rng(0)
    reference, Z = rng.normal(size=(60, 3)), rng.normal(0, 2, (10, 3))
    Z[3, 1] = NAN
    found = np.arange(10) != 3
    model = LocalOutlierFactor(n_neighbors=20, novelty=True).fit(reference)
    factor = metrics.local_outlier_factor(Z, reference)
    np.testing.assert_allclose(factor[found], -model.score_samples(Z[found]))
    assert np.isnan(factor[3])
    few = metrics.local_outlier_factor(Z, reference[:5])
    model = LocalOutlierFactor(n_neighbors=4, novelty=True).fit(reference[:5])
    np.testing.assert_allclose(few[found], -model.score_samples(Z[found]))

    distance = metrics.knn_distance(Z, reference, n_neighbors=4)
    everything = np.sort(np.linalg.norm(Z[:, None] - reference, axis=2), axis=1)
    np.testing.assert_allclose(distance, everything[:, :4].mean(axis=1))
    assert metrics.knn_distance(Z, reference[:1]).shape == (10,)
    nothing = np.full((2, 3), NAN)
    assert np.isnan(metrics.local_outlier_factor(nothing, reference)).all()
    assert np.isnan(metrics.knn_distance(nothing, reference)).all()


def test_log_density_quantile():
    rng = np.random.default_rng(0)
    values, reference = rng.normal(size=8).round(1), rng.normal(size=30).round(1)
    expected = [(reference <= v).mean() for v in values]
    np.testing.assert_allclose(metrics.log_density_quantile(values, reference), expected)
    got = metrics.log_density_quantile([NAN, -np.inf, np.inf], reference)
    np.testing.assert_array_equal(got, [NAN, 0, 1])
    with pytest.raises(ValueError, match="at least one value"):
        metrics.log_density_quantile(values, [])


def test_rule_violations():
    broken = np.array([[True, False], [True, True], [False, False]])
    assert metrics.rule_violations(broken).tolist() == [1, 2, 0]
    after = np.array([[1.0, 2.0], [NAN, NAN], [0.0, 0.0]])
    np.testing.assert_array_equal(metrics.rule_violations(broken, after), [1, NAN, 0])


def loop_over_changes(predict, before, after, target):
    counts = []
    for i in range(len(before)):
        count = 0
        for j in range(before.shape[1]):
            if before[i, j] != after[i, j]:
                row = after[i].copy()
                row[j] = before[i, j]
                count += predict(row[None])[0] == target[i]
        counts.append(count)
    return counts


def test_redundant_changes_agree_with_a_loop():
    X, y = load_wine(return_X_y=True)
    model = RandomForestClassifier(10, random_state=0).fit(X, y)
    rng = np.random.default_rng(0)
    before, after = X[rng.integers(178, size=12)], X[rng.integers(178, size=12)]
    after = np.where(rng.random(after.shape) < 0.5, before, after)
    target = model.predict(after)
    calls = []

    def predict(rows):
        calls.append(len(rows))
        return model.predict(rows)

    counts = metrics.redundant_changes(predict, before, after, target)
    assert calls == [(before != after).sum()]
    assert counts.tolist() == loop_over_changes(model.predict, before, after, target)
    minimal = metrics.minimality(model.predict, before, after, target)
    assert minimal.tolist() == (counts == 0).tolist()


def frames():
    before = pd.DataFrame(
        {
            "age": [30, 40, 50],
            "job": pd.Categorical(["clerk", "none", "clerk"], categories=["none", "clerk"]),
            "income": [1.5, NAN, 3.0],
            "member": [True, False, True],
        },
        index=["p", "q", "p"],
    )
    after = before.astype({"age": "Int64", "income": float, "member": "boolean"})
    after.iloc[0] = [31, "none", 2.5, False]
    after.iloc[1, 1] = "clerk"
    after.iloc[2] = [pd.NA, None, NAN, pd.NA]
    return before, after


def test_redundant_changes_of_frames():
    before, after = frames()
    seen = []

    def predict(X):
        seen.append(X)
        return np.where((X["job"] == "none") | (X["income"].isna()), "yes", "no")

    counts = metrics.redundant_changes(predict, before, after, "yes")
    np.testing.assert_array_equal(counts, [3, 1, NAN])
    np.testing.assert_array_equal(metrics.minimality(predict, before, after, {"yes"}), [0, 0, NAN])
    assert (seen[0].dtypes == before.dtypes).all()
    assert seen[0].columns.tolist() == before.columns.tolist()
    expected = [
        [30, "none", 2.5, False],
        [31, "clerk", 2.5, False],
        [31, "none", 1.5, False],
        [31, "none", 2.5, True],
    ]
    assert seen[0].iloc[:4].astype(object).to_numpy().tolist() == expected
    assert seen[0].iloc[4][["age", "job"]].tolist() == [40, "none"]
    only_age = np.zeros((3, 4), dtype=bool)
    only_age[:, 0] = True
    np.testing.assert_array_equal(
        metrics.redundant_changes(predict, before, after, "yes", only_age), [1, 1, NAN]
    )


def test_redundant_changes_of_polars_frames():
    pl = pytest.importorskip("polars")
    before = pl.DataFrame({"a": [1, 2, 3], "b": ["x", "y", None]})
    after = pl.DataFrame({"a": [5, 7, None], "b": ["z", "y", None]})
    seen = []

    def predict(X):
        seen.append(X)
        return X["a"].to_numpy() > 4

    counts = metrics.redundant_changes(predict, before, after, True)
    np.testing.assert_array_equal(counts, [1, 0, NAN])
    assert seen[0].rows() == [(1, "z"), (5, "x"), (2, "y")]
    assert seen[0].schema == before.schema


def test_redundant_changes_without_changes():
    def never(_):
        raise AssertionError("nothing to predict")

    X = np.ones((2, 3))
    assert metrics.redundant_changes(never, X, X, 1).tolist() == [0, 0]
    lost = np.array([[1.0, 1, 1], [NAN, NAN, NAN]])
    np.testing.assert_array_equal(metrics.minimality(never, X, lost, 1), [1, NAN])
    with pytest.raises(ValueError, match="same shape"):
        metrics.minimality(never, X, X[:1], 1)


def test_stability():
    x, z = np.zeros((4, 2)), np.ones((4, 2))
    noisy = x + np.array([[0.3, 0.4], [0.3, 0.4], [0, 0], [0, 0]])
    moved = z + np.array([[0.6, 0.8], [NAN, NAN], [0, 0], [1, 0]])
    np.testing.assert_allclose(metrics.stability(x, noisy, z, moved), [2, NAN, NAN, np.inf])
