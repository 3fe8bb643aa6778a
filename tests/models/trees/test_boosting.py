"""Trees of xgboost, lightgbm and catboost, where they are installed."""

import warnings

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from scfe_sklearn.models import UnsupportedModelError, read_trees


def build(package, task, **more):
    module = pytest.importorskip(package)
    name = {"xgboost": "XGB", "lightgbm": "LGBM", "catboost": "CatBoost"}[package] + task
    settings = {
        "xgboost": {"n_estimators": 8, "max_depth": 3, "n_jobs": 1},
        "lightgbm": {"n_estimators": 8, "min_child_samples": 5, "verbose": -1, "n_jobs": 1},
        "catboost": {
            "iterations": 8,
            "depth": 3,
            "verbose": 0,
            "thread_count": 1,
            "allow_writing_files": False,
        },
    }[package]
    return getattr(module, name)(**settings, **more)


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def at_thresholds(ensemble, u):
    rng = np.random.default_rng(0)
    out = u[rng.integers(len(u), size=200)].copy()
    for k, cuts in enumerate(ensemble.thresholds()):
        if len(cuts):
            at = rng.choice(cuts, len(out))
            beside = [np.nextafter(at, -np.inf), at, np.nextafter(at, np.inf)]
            out[:, k] = np.choose(rng.integers(3, size=len(out)), beside)
    return out


PACKAGES = ["xgboost", "lightgbm", "catboost"]


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("kind", ["binary", "multi"])
@pytest.mark.parametrize("missing", [False, True])
def test_a_classifier_is_reproduced(world, package, kind, missing):
    w = world(kind)
    X = w.X.copy()
    if missing:
        X[np.random.default_rng(0).random(X.shape) < 0.1] = np.nan
    model = make_pipeline(StandardScaler(), build(package, "Classifier")).fit(X, w.y)
    ensemble = read_trees(model, w.columns, X)
    for rows in (X, at_thresholds(ensemble, w.X)):
        assert np.allclose(ensemble.value(rows), model.predict_proba(rows), atol=1e-6)
        same = model.classes_[ensemble.decide(rows)] == np.ravel(model.predict(rows))
        p = np.sort(model.predict_proba(rows), axis=1)
        assert np.all(same | (p[:, -1] - p[:, -2] < 1e-6))


@pytest.mark.parametrize("package", PACKAGES)
def test_a_regressor_is_reproduced(world, package):
    w = world("binary")
    model = build(package, "Regressor").fit(w.X, w.X[:, 1] + w.y)
    ensemble = read_trees(model, w.columns, w.X)
    for rows in (w.X, at_thresholds(ensemble, w.X)):
        assert np.allclose(ensemble.value(rows), model.predict(rows), rtol=1e-6)


@pytest.mark.parametrize(
    ("package", "more"),
    [
        ("xgboost", {"booster": "gblinear"}),
        ("xgboost", {"booster": "dart", "rate_drop": 0.5}),
        ("lightgbm", {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}),
        ("catboost", {"grow_policy": "Depthwise"}),
    ],
)
def test_other_forms_are_refused(world, package, more):
    w = world("binary")
    model = build(package, "Classifier", **more).fit(w.X, w.y)
    with pytest.raises(UnsupportedModelError, match="cannot be read as trees"):
        read_trees(model, w.columns, w.X)
