import numpy as np
import pandas as pd
import pytest
from scipy.stats import gaussian_kde
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from scfe_sklearn import CounterfactualExplainer
from scfe_sklearn.data import FeatureSpace
from scfe_sklearn.datasets import make_loan_applications
from scfe_sklearn.explanation.marginals import summarise


def test_shares_of_levels_are_counted():
    values = np.array([[0.0], [0], [1], [2], [2], [2], [np.nan]])
    codes = np.array([0, 0, 0, 1, 1, 1, 1])
    background = summarise(values, np.ones(1), [3], codes, ["no", "yes"])
    np.testing.assert_allclose(background.curve(0, "no")[1], [2 / 3, 1 / 3, 0])
    np.testing.assert_allclose(background.curve(0, "yes")[1], [0, 0, 1])
    places, everyone, own = background.curve(0, "maybe")
    np.testing.assert_allclose(everyone, [2 / 6, 1 / 6, 3 / 6])
    assert not own and places.tolist() == [0, 1, 2]


def test_the_curve_of_a_number_is_its_density():
    rng = np.random.default_rng(0)
    number = np.r_[rng.normal(-2, 0.5, 600), rng.normal(3, 1, 600)]
    codes = np.repeat([0, 1], 600)
    background = summarise(number[:, None], np.zeros(1), [0], codes, ["low", "high"])
    for code, label in enumerate(["low", "high"]):
        places, heights, own = background.curve(0, label)
        kernel = gaussian_kde(number[codes == code])(places)
        assert own and heights.max() == pytest.approx(1)
        # A smoother over all rows, so wider: the same peak, and close by everywhere.
        assert places[heights.argmax()] == pytest.approx(places[kernel.argmax()], abs=0.5)
        assert np.abs(heights - kernel / kernel.max()).mean() < 0.12


def test_whole_numbers_make_no_comb():
    number = np.tile(np.arange(5.0), 40)[:, None]
    heights = summarise(number, np.ones(1), [0], np.zeros(200, int), ["a"]).curve(0, "a")[1]
    assert (np.diff(np.sign(np.diff(heights))) > 0).sum() == 0


@pytest.mark.parametrize("column", [np.full(6, np.nan), np.full(6, 3.0), np.array([np.inf] * 6)])
def test_columns_without_spread_have_a_curve(column):
    background = summarise(column[:, None], np.zeros(1), [0], np.zeros(6, int), ["a"])
    places, heights, _ = background.curve(0, "a")
    assert np.isfinite(places).all() and np.isfinite(heights).all()
    assert (np.diff(places) > 0).all()


def test_rows_without_a_label_count_among_all():
    values = np.array([[0.0], [1], [1], [2]])
    for codes, labels in ((np.zeros(4, int), []), (np.array([-1, -1, 0, -1]), ["a"])):
        background = summarise(values, np.ones(1), [3], codes, labels)
        np.testing.assert_allclose(background.curve(0, None)[1], [0.25, 0.5, 0.25])
    np.testing.assert_allclose(background.curve(0, "a")[1], [0, 1, 0])


def test_ranks_are_raw_numbers_and_positions_of_levels():
    X, _ = make_loan_applications(60)
    X = X.astype({"income": float})
    X.loc[3, "income"] = np.nan
    space = FeatureSpace().fit(X)
    ranks = space.ranks(space.encode(X))
    for j, name in enumerate(X):
        if space.levels_[j] is None:
            np.testing.assert_allclose(ranks[:, j], X[name].to_numpy(dtype=float), atol=1e-9)
        else:
            assert [space.levels_[j][int(k)] for k in ranks[:, j]] == X[name].tolist()


def test_an_explainer_knows_how_its_training_rows_are_spread():
    X, y = make_loan_applications(400)
    columns = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (OneHotEncoder(sparse_output=False), make_column_selector(dtype_exclude="number")),
    )
    explainer = CounterfactualExplainer(make_pipeline(columns, GaussianNB())).fit(X, y)
    approved = X[explainer.estimator_.predict(X) == "approved"]
    names = list(X.columns)
    for name in ("housing", "education", "has_cosigner"):
        j = names.index(name)
        _, shares, own = explainer.background_.curve(j, "approved")
        counted = pd.Series(approved[name].astype(object)).value_counts(normalize=True)
        levels = explainer.space_.levels_[j]
        assert own
        np.testing.assert_allclose(shares, [counted.get(level, 0) for level in levels])
    places, _, _ = explainer.background_.curve(names.index("age"), "approved")
    assert X["age"].min() <= places[0] < places[-1] <= X["age"].max()
    result = explainer.explain(X[:2])
    assert result.background is explainer.background_
    assert result[0].background is explainer.background_
