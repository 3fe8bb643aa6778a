"""categorical_columns: which raw columns some encoder reads."""

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    BaggingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
    TargetEncoder,
)

from scfe_sklearn.models import categorical_columns

NUMBERS, WORDS = ["income", "age"], ["job", "grade"]
INNER = make_pipeline(
    make_column_transformer((StandardScaler(), NUMBERS), (OneHotEncoder(), WORDS)),
    LogisticRegression(),
)


@pytest.mark.parametrize(
    "estimator",
    [
        INNER,
        CalibratedClassifierCV(INNER, cv=2),
        GridSearchCV(INNER, {"logisticregression__C": [1.0]}, cv=2),
        VotingClassifier([("a", INNER), ("b", INNER)], voting="soft"),
        StackingClassifier([("a", INNER)], cv=2),
        OneVsRestClassifier(INNER),
        make_pipeline(
            make_column_transformer((StandardScaler(), NUMBERS), remainder="passthrough"),
            make_column_transformer((OneHotEncoder(), [2]), (OrdinalEncoder(), slice(3, 4))),
            RandomForestClassifier(2),
        ),
        make_pipeline(
            make_column_transformer(
                (make_pipeline(SimpleImputer(strategy="most_frequent"), TargetEncoder(cv=2)), WORDS)
            ),
            GaussianNB(),
        ),
        make_pipeline(
            FunctionTransformer(),
            make_column_transformer((FeatureUnion([("o", OrdinalEncoder())]), WORDS)),
            GaussianNB(),
        ),
    ],
)
def test_frames(world, estimator):
    data = world("mixed")
    fitted = FrozenEstimator(data.fit(estimator))
    assert categorical_columns(fitted, list(data.X.columns)) == WORDS
    backwards = list(data.X.columns)[::-1]
    if not isinstance(estimator, (OneVsRestClassifier, VotingClassifier)):
        assert categorical_columns(fitted, backwards) == WORDS[::-1]


def test_arrays_by_position():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=40), rng.integers(0, 3, 40), rng.integers(0, 2, 40)])
    y = rng.integers(0, 2, 40)
    pipe = make_pipeline(
        make_column_transformer((OneHotEncoder(), [-1]), remainder="passthrough"), GaussianNB()
    ).fit(X, y)
    assert categorical_columns(pipe, range(3)) == [2]
    trees = HistGradientBoostingClassifier(categorical_features=[1], max_iter=2).fit(X, y)
    assert categorical_columns(trees, range(3)) == [1]
    bag = BaggingClassifier(pipe, 2).fit(X, y)
    assert categorical_columns(bag, range(3)) == [2]


def test_numbers_made_on_the_way_are_no_categories():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)), rng.integers(0, 2, 40)
    rounding = FunctionTransformer(np.round)
    pipe = make_pipeline(rounding, OneHotEncoder(handle_unknown="ignore"), GaussianNB())
    pipe.set_params(onehotencoder__sparse_output=False)
    assert categorical_columns(pipe.fit(X, y), range(3)) == []
    assert categorical_columns(GaussianNB().fit(X, y), range(3)) == []
