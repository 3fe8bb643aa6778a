"""Every public estimator keeps scikit-learn's contract."""

import pickle
from unittest import SkipTest

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import (
    estimator_checks_generator,
    parametrize_with_checks,
)

from scfe_sklearn import (
    CounterfactualExplainer,
    CounterfactualTransformer,
    RecoursePipeline,
    RecourseScorer,
    Rules,
    SparsestValid,
    TorchClassifier,
    image,
    proximal,
)
from scfe_sklearn.data import Derived, FeatureSpace
from scfe_sklearn.datasets import make_loan_applications
from scfe_sklearn.densities import (
    ClassConditionalDensity,
    GaussianKDE,
    GaussianMixture,
    LocalOutlierDensity,
    NearestNeighbours,
)
from scfe_sklearn.image import AutoencoderDensity, PlausibleImageExplainer
from scfe_sklearn.image.explainer import ImageExplainer
from scfe_sklearn.learning import CounterfactualResampler


class AnyWidth(torch.nn.Module):
    """Two logits of rows of any width, as the checks have them."""

    out_features = 2

    def forward(self, x):
        total = x.sum(dim=1)
        return torch.stack([-total, total], dim=1)


class Brightness(torch.nn.Module):
    """Logits of images of any size, for the labels of the checks, which are below 500."""

    def forward(self, x):
        return x.flatten(1).sum(dim=1)[:, None] * torch.linspace(-1, 1, 500, dtype=x.dtype)


CHECKED = [
    CounterfactualExplainer(LogisticRegression()),
    # Without drawing rows: a forest that draws them has no equivalence of weights and copies.
    CounterfactualExplainer(RandomForestClassifier(5, bootstrap=False, random_state=0)),
    CounterfactualExplainer(Ridge()),
    CounterfactualExplainer(LogisticRegression(), density="kde", max_changes="fewest"),
    CounterfactualTransformer(CounterfactualExplainer(LogisticRegression())),
    RecoursePipeline(
        [("scale", StandardScaler()), ("explain", CounterfactualExplainer(LogisticRegression()))]
    ),
    RecoursePipeline([("explain", CounterfactualExplainer(LogisticRegression()))]),
    CounterfactualResampler(CounterfactualExplainer(LogisticRegression())),
    FeatureSpace(),
    ClassConditionalDensity(),
    GaussianKDE(),
    GaussianKDE(0.5),
    GaussianMixture(),
    GaussianMixture(2),
    LocalOutlierDensity(),
    LocalOutlierDensity(5),
    NearestNeighbours(),
    AutoencoderDensity(channels=(4,), latent=2, epochs=2),
    TorchClassifier(AnyWidth()),
    # The checks' numbers are of any size, and images have bounds.
    PlausibleImageExplainer(Brightness(), bounds=(-1e6, 1e6)),
]
"""Estimators that scikit-learn's checks are put to, of every public class with a ``fit``."""

HOLDERS = [
    Rules(immutable=["age"]),
    Derived({"ratio": abs}),
    RecourseScorer(["validity", "recourse"], max_rows=3),
    SparsestValid(0.9),
    proximal.Box(0.0, 1.0),
    proximal.Budget(2),
    proximal.LpBall(1.5),
    proximal.Simplex(2.0),
    *(
        penalty(0.5)
        for penalty in vars(proximal).values()
        if isinstance(penalty, type) and issubclass(penalty, proximal.Penalty)
    ),
    *(
        kind(torch.nn.Linear(1, 2), batch_size=3)
        for kind in vars(image).values()
        if isinstance(kind, type)
        and issubclass(kind, ImageExplainer)
        and kind is not PlausibleImageExplainer
    ),
]
"""Public objects with ``get_params`` and nothing to fit: what they hold is all that they are."""


def test_no_public_class_is_left_out(public_estimators, public_holders):
    assert {type(estimator) for estimator in CHECKED} == public_estimators
    assert {type(holder) for holder in HOLDERS} == public_holders
    assert len(public_estimators) >= 10
    assert all(issubclass(kind, BaseEstimator) for kind in public_estimators)


# The random rows of the checks need not have an answer.
@pytest.mark.filterwarnings("ignore:.*rows have no counterfactual")
@parametrize_with_checks(CHECKED)
def test_estimator_checks(estimator, check):
    try:
        check(estimator)
    except SkipTest as reason:
        pytest.fail(f"a check was skipped: {reason}")


class Plain(BaseEstimator):
    """An estimator that says nothing about itself, so that no check is spared it."""

    def fit(self, X, y=None):
        return self


@pytest.mark.parametrize("estimator", CHECKED, ids=lambda e: type(e).__name__)
def test_no_tag_keeps_a_check_away(estimator):
    def names(of):
        return {check.func.__name__ for _, check in estimator_checks_generator(of)}

    # What an estimator really can do: rows with holes, and a module that is trained already.
    tags = get_tags(estimator)
    spared = {"check_estimators_nan_inf"} if tags.input_tags.allow_nan else set()
    spared |= set() if tags.requires_fit else {"check_estimators_unfitted"}
    assert len(names(Plain())) > 30
    assert names(Plain()) - names(estimator) == spared


@pytest.mark.parametrize("estimator", [*CHECKED, *HOLDERS], ids=lambda e: type(e).__name__)
def test_parameters_are_told_set_and_cloned(estimator):
    copy = clone(estimator)
    told, again = estimator.get_params(deep=False), copy.get_params(deep=False)
    assert told.keys() == again.keys()
    copy.set_params(**told)
    for name, value in told.items():
        assert getattr(copy, name) is value
    assert type(estimator)(**told).get_params(deep=False).keys() == told.keys()


def test_parameters_reach_the_parts():
    explainer = CounterfactualExplainer(
        make_pipeline(StandardScaler(), LogisticRegression()), density=GaussianKDE()
    )
    pipeline = RecoursePipeline([("explain", explainer)])
    values = {"explain__density__bandwidth": 0.7, "explain__estimator__logisticregression__C": 3.0}
    copy = clone(pipeline.set_params(**values))
    assert copy["explain"].density.bandwidth == 0.7
    assert copy["explain"].estimator[-1].C == 3.0
    assert {name: copy.get_params()[name] for name in values} == values
    with pytest.raises(ValueError, match="Invalid parameter 'bandwith'"):
        copy.set_params(explain__density__bandwith=1)


def loans(n=120):
    X, y = make_loan_applications(n, random_state=0)
    columns = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (OneHotEncoder(sparse_output=False), make_column_selector(dtype_exclude="number")),
    )
    return X, y, make_pipeline(columns, LogisticRegression())


@pytest.mark.parametrize("solver", ["auto", "search"])
def test_a_fitted_explainer_is_pickled_with_its_answers(solver):
    X, y, model = loans()
    explainer = CounterfactualExplainer(model, solver=solver).fit(X, y)
    copy = pickle.loads(pickle.dumps(explainer))
    before, after = (e.explain(X[:6], "approved").to_frame() for e in (explainer, copy))
    pd.testing.assert_frame_equal(before, after, check_exact=True)


def test_names_of_columns():
    X, y, model = loans()
    explainer = CounterfactualExplainer(model).fit(X, y)
    assert explainer.feature_names_in_.tolist() == list(X.columns)
    assert explainer.n_features_in_ == X.shape[1]
    numbers = CounterfactualExplainer(LogisticRegression())
    numbers.fit(X[["age", "income"]], y)
    numbers.fit(X[["age", "income"]].to_numpy(), y)
    assert not hasattr(numbers, "feature_names_in_")


def test_tags_say_what_fit_takes():
    plain = get_tags(CounterfactualExplainer(LogisticRegression()))
    assert plain.target_tags.required
    assert plain.estimator_type == "classifier"
    assert not plain.classifier_tags.multi_label
    assert get_tags(CounterfactualExplainer(Ridge())).estimator_type == "regressor"
    assert get_tags(CounterfactualExplainer(AnyWidth())).estimator_type == "classifier"
    frozen = FrozenEstimator(make_pipeline(StandardScaler(), LogisticRegression()))
    assert get_tags(CounterfactualExplainer(frozen)).estimator_type == "classifier"
    assert not plain.input_tags.sparse
    assert not plain.input_tags.allow_nan
    holes = get_tags(CounterfactualExplainer(RandomForestClassifier()))
    assert holes.input_tags.allow_nan
    transformer = get_tags(CounterfactualTransformer(CounterfactualExplainer(LogisticRegression())))
    assert transformer.target_tags.required
    assert transformer.transformer_tags is not None
    pipeline = get_tags(
        RecoursePipeline([("explain", CounterfactualExplainer(LogisticRegression()))])
    )
    assert pipeline.estimator_type == "classifier"
    assert transformer.estimator_type is None
    assert pipeline.target_tags.required


class Threshold:
    """A model that knows nothing of scikit-learn."""

    classes_ = np.array([0, 1])

    def predict(self, X):
        return (np.asarray(X)[:, 0] > 0).astype(int)


@pytest.mark.parametrize(
    "model",
    [Threshold(), FrozenEstimator(Threshold()), lambda X: X[:, 0] > 0],
    ids=["object", "frozen", "function"],
)
def test_models_of_other_worlds_have_tags_too(model):
    assert get_tags(CounterfactualExplainer(model)).target_tags.required


def test_torch_classifier_keeps_its_module_through_clone_and_pickle():
    X, y = make_classification(40, 4, random_state=0)
    torch.manual_seed(0)
    model = TorchClassifier(torch.nn.Linear(4, 2)).fit(X, y)
    for copy in (clone(model).fit(X, y), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(copy.predict_proba(X), model.predict_proba(X))
    assert get_tags(model).estimator_type == "classifier"
