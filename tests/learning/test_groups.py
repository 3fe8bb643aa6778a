"""Group scores against groups counted one by one."""

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.datasets import load_wine
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import make_scorer
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score

from scfe_sklearn.learning import group_report, worst_group_score


def by_hand(truth, predicted, groups):
    accuracies = {}
    for label, group in set(zip(truth, groups, strict=True)):
        rows = [
            t == p
            for t, p, g in zip(truth, predicted, groups, strict=True)
            if t == label and g == group
        ]
        accuracies[label, group] = len(rows), np.mean(rows)
    return accuracies


@pytest.mark.parametrize("seed", range(5))
def test_every_group_is_counted(seed):
    random = np.random.default_rng(seed)
    truth, predicted = random.integers(3, size=(2, 60)).tolist()
    groups = random.choice(["land", "sea"], 60).tolist()
    expected = by_hand(truth, predicted, groups)
    report = group_report(truth, predicted, groups=groups)
    found = {(row.label, row.group): (row.n, row.accuracy) for row in report.itertuples()}
    assert found == expected
    worst = min(accuracy for _, accuracy in expected.values())
    assert worst_group_score(truth, predicted, groups=groups) == pytest.approx(worst)
    assert report["accuracy"].iloc[0] == worst
    # Groups that stand for label and attribute together are the same groups.
    both = [f"{label} {group}" for label, group in zip(truth, groups, strict=True)]
    assert worst_group_score(truth, predicted, groups=both) == pytest.approx(worst)


def test_groups_are_needed_and_as_long_as_the_labels():
    with pytest.raises(TypeError, match="groups"):
        worst_group_score([0, 1], [0, 1])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        worst_group_score([0, 1], [0, 1], groups=[0])
    with pytest.raises(ValueError, match="at least one label"):
        worst_group_score([], [], groups=[])


def test_a_missing_attribute_is_a_group():
    report = group_report([0, 0, 0], [0, 1, 1], groups=pd.Series(["a", None, None]))
    assert report["n"].tolist() == [2, 1] and report["accuracy"].tolist() == [0, 1]


def test_scikit_learn_routes_groups_to_the_scorer():
    X, y = load_wine(return_X_y=True)
    groups = np.where(X[:, 0] > 13, "strong", "light")
    folds = StratifiedKFold(3)
    with config_context(enable_metadata_routing=True):
        scorer = make_scorer(worst_group_score).set_score_request(groups=True)
        scores = cross_val_score(
            RidgeClassifier(), X, y, scoring=scorer, cv=folds, params={"groups": groups}
        )
        search = GridSearchCV(
            DummyClassifier(strategy="constant", constant=0),
            {"constant": [0, 1]},
            scoring=scorer,
            cv=folds,
        ).fit(X, y, groups=groups)
    for (train, test), score in zip(folds.split(X, y), scores, strict=True):
        predicted = RidgeClassifier().fit(X[train], y[train]).predict(X[test])
        expected = by_hand(y[test].tolist(), predicted.tolist(), groups[test].tolist())
        assert score == pytest.approx(min(accuracy for _, accuracy in expected.values()))
    assert search.best_score_ == 0  # one class for all: another class is all wrong
