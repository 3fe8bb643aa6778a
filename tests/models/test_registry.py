"""Every supported model on every kind of data: the torch version is the estimator."""

import warnings

import numpy as np
import pytest
import sklearn
import torch
from sklearn import linear_model
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import (
    ColumnTransformer,
    make_column_selector,
    make_column_transformer,
)
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import (
    LinearDiscriminantAnalysis,
    QuadraticDiscriminantAnalysis,
)
from sklearn.ensemble import VotingClassifier
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.frozen import FrozenEstimator
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import (
    LogisticRegression,
    LogisticRegressionCV,
    Perceptron,
    RidgeClassifier,
    RidgeClassifierCV,
    SGDClassifier,
)
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import ComplementNB, GaussianNB, MultinomialNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import SVC, LinearSVC, NuSVC
from sklearn.utils.fixes import parse_version

from scfe_sklearn.models import as_torch, verify
from scfe_sklearn.models.classifiers.kernel import first_of_ties, one_vs_one_to_rest

NUMBERS = ["income", "age"]
WORDS = ["job", "grade", "owner"]
RECENT = parse_version(sklearn.__version__) >= parse_version("1.8")

# the imputer of scikit-learn 1.6 cannot read the strings of pandas 3
IMPUTABLE = WORDS if RECENT else []


def scaled(model):
    return make_pipeline(StandardScaler(), model)


def behind(*steps, remainder="drop"):
    """A logistic regression behind a column transformer."""
    return make_pipeline(
        make_column_transformer(*steps, remainder=remainder), LogisticRegression(C=3.0)
    )


def after(*transformers):
    return make_pipeline(*transformers, StandardScaler(), LogisticRegression())


def net(activation="relu"):
    return MLPClassifier((7, 5), activation=activation, max_iter=40, random_state=0)


MODELS = {
    "logistic": scaled(LogisticRegression()),
    "logistic-cv": scaled(LogisticRegressionCV(Cs=3, use_legacy_attributes=False))
    if RECENT
    else scaled(LogisticRegressionCV(Cs=3)),
    "ridge": scaled(RidgeClassifier()),
    "ridge-cv": scaled(RidgeClassifierCV()),
    **{
        f"sgd-{loss}": scaled(SGDClassifier(loss=loss, random_state=0))
        for loss in ("hinge", "log_loss", "modified_huber", "squared_hinge", "perceptron", "huber")
    },
    "perceptron": scaled(Perceptron()),
    "linear-svc": scaled(LinearSVC()),
    **{f"svc-{k}": scaled(SVC(kernel=k)) for k in ("rbf", "linear", "sigmoid")},
    "svc-poly": scaled(SVC(kernel="poly", degree=2, coef0=1.0)),
    "svc-ovo": scaled(SVC(decision_function_shape="ovo")),
    "svc-ties": scaled(SVC(break_ties=True, C=0.05)),
    "svc-raw": SVC(),
    "nu-svc": scaled(NuSVC(nu=0.2)),
    "lda": LinearDiscriminantAnalysis(),
    "lda-shrunk": LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
    "qda": QuadraticDiscriminantAnalysis(reg_param=0.01),
    "gaussian-nb": GaussianNB(),
    "multinomial-nb": make_pipeline(MinMaxScaler(clip=True), MultinomialNB()),
    "complement-nb": make_pipeline(MinMaxScaler(), ComplementNB()),
    **{f"mlp-{a}": scaled(net(a)) for a in ("identity", "logistic", "tanh", "relu")},
    "calibrated-svc": CalibratedClassifierCV(scaled(LinearSVC()), cv=3),
    "calibrated-nb": CalibratedClassifierCV(GaussianNB(), cv=3),
    "calibrated-nested": CalibratedClassifierCV(scaled(SVC()), cv=3, ensemble=False),
    "isotonic": CalibratedClassifierCV(scaled(SVC()), cv=3, method="isotonic"),
    "isotonic-one": CalibratedClassifierCV(
        scaled(LogisticRegression()), cv=3, ensemble=False, method="isotonic"
    ),
    "voting": VotingClassifier(
        [("l", scaled(LogisticRegression())), ("n", GaussianNB()), ("m", scaled(net()))],
        voting="soft",
        weights=[2, 1, 0.5],
    ),
    "voting-dropped": VotingClassifier(
        [("l", scaled(LogisticRegression())), ("n", "drop"), ("m", GaussianNB())],
        voting="soft",
        weights=[2, 1, 0.5],
    ),
    "rest-logistic": scaled(OneVsRestClassifier(LogisticRegression())),
    "rest-svc": OneVsRestClassifier(scaled(SVC())),
    "rest-nb": OneVsRestClassifier(GaussianNB()),
    "search": GridSearchCV(scaled(LogisticRegression()), {"logisticregression__C": [0.1, 1]}),
    "frozen": None,
    "min-max": after(MinMaxScaler()),
    "min-max-clip": after(MinMaxScaler((-1, 2), clip=True)),
    "max-abs": after(MaxAbsScaler()),
    "robust": after(RobustScaler(quantile_range=(10, 80))),
    "standard-half": after(StandardScaler(with_mean=False), StandardScaler(with_std=False)),
    "yeo-johnson": after(PowerTransformer()),
    "yeo-johnson-raw": after(PowerTransformer(standardize=False)),
    "box-cox": after(MinMaxScaler((1, 3)), PowerTransformer("box-cox")),
    "quantile": after(QuantileTransformer(n_quantiles=20)),
    "quantile-normal": after(QuantileTransformer(n_quantiles=31, output_distribution="normal")),
    "normalizer-l2": after(StandardScaler(), Normalizer()),
    "normalizer-l1": after(StandardScaler(), Normalizer("l1")),
    "normalizer-max": after(StandardScaler(), Normalizer("max")),
    "pca": after(StandardScaler(), PCA(3)),
    "pca-whiten": after(PCA(2, whiten=True)),
    "svd": after(StandardScaler(), TruncatedSVD(2)),
    "polynomial": after(StandardScaler(), PolynomialFeatures(3, include_bias=False)),
    "interactions": after(StandardScaler(), PolynomialFeatures(2, interaction_only=True)),
    "k-best": after(SelectKBest(k=2)),
    "variance": after(VarianceThreshold()),
    "imputer": after(SimpleImputer(add_indicator=True)),
    "knn-imputer": after(KNNImputer()),
    "functions": after(FunctionTransformer(), FunctionTransformer(np.arcsinh)),
    "union": after(
        FeatureUnion(
            [("p", PCA(2)), ("k", SelectKBest(k=1)), ("d", "drop"), ("x", "passthrough")],
            transformer_weights={"p": 0.5},
        )
    ),
    "passthrough": after("passthrough", make_pipeline("passthrough", MinMaxScaler())),
    "positions": behind(
        (StandardScaler(), [0, -1]), (MinMaxScaler(), slice(1, 3)), ("passthrough", [3])
    ),
    "masks": behind((StandardScaler(), [True, False, True, False]), remainder=RobustScaler()),
    "disjoint-nodes": after(
        make_column_transformer(
            (PowerTransformer(), [3, 1]), (PolynomialFeatures(2), [0]), (StandardScaler(), [2])
        )
    ),
}
if RECENT:
    MODELS["max-abs-clip"] = after(MaxAbsScaler(clip=True))
    MODELS["temperature-svc"] = CalibratedClassifierCV(scaled(SVC()), cv=3, method="temperature")
    MODELS["temperature-nb"] = CalibratedClassifierCV(GaussianNB(), cv=3, method="temperature")

MIXED = {
    "one-hot": behind((StandardScaler(), NUMBERS), (OneHotEncoder(), WORDS)),
    "one-hot-first": behind((StandardScaler(), NUMBERS), (OneHotEncoder(drop="first"), WORDS)),
    "one-hot-rare": behind(
        (StandardScaler(), NUMBERS),
        (OneHotEncoder(min_frequency=0.1, handle_unknown="infrequent_if_exist"), WORDS),
    ),
    "one-hot-known": behind(
        (RobustScaler(), NUMBERS),
        (OneHotEncoder(categories=[["clerk", "nurse"]], handle_unknown="ignore"), ["job"]),
        (OneHotEncoder(drop="if_binary", sparse_output=False), ["grade", "owner"]),
    ),
    "ordinal": behind(
        (StandardScaler(), NUMBERS), (make_pipeline(OrdinalEncoder(), MinMaxScaler()), WORDS)
    ),
    "ordinal-one-hot": behind(
        (StandardScaler(), NUMBERS), (make_pipeline(OrdinalEncoder(), OneHotEncoder()), WORDS)
    ),
    "target": behind((StandardScaler(), NUMBERS), (TargetEncoder(cv=3, random_state=0), WORDS)),
    "number-levels": behind((StandardScaler(), ["rooms", "age"]), ("passthrough", ["owner"])),
    "remainder": behind(
        (OneHotEncoder(), ["job", "grade"]), ("drop", ["income"]), remainder=StandardScaler()
    ),
    "labels-slice": behind((MinMaxScaler(), slice("income", "age")), (OneHotEncoder(), ["job"])),
    "selector": behind(
        (StandardScaler(), make_column_selector("age|income|rooms")),
        (OneHotEncoder(), make_column_selector("job|grade")),
    ),
    "nested": make_pipeline(
        ColumnTransformer(
            [
                ("n", make_pipeline(SimpleImputer(), PowerTransformer()), NUMBERS),
                (
                    "w",
                    make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder()),
                    IMPUTABLE,
                ),
                ("r", OneHotEncoder(), ["rooms"]),
            ],
            transformer_weights={"n": 2.0},
        ),
        PCA(5),
        net("tanh"),
    ),
    "two-stages": make_pipeline(
        make_column_transformer((StandardScaler(), NUMBERS), remainder="passthrough"),
        make_column_transformer(
            (OneHotEncoder(), [2, 3, 4]), (StandardScaler(), [5]), remainder="passthrough"
        ),
        LogisticRegression(),
    ),
    "two-stages-frames": make_pipeline(
        make_column_transformer(
            (StandardScaler(), NUMBERS),
            remainder="passthrough",
            verbose_feature_names_out=False,
        ).set_output(transform="pandas"),
        make_column_transformer((OneHotEncoder(), ["job"]), ("passthrough", ["age", "owner"])),
        SVC(),
    ),
    "quantile-mlp": make_pipeline(
        make_column_transformer(
            (QuantileTransformer(n_quantiles=30), NUMBERS), (OneHotEncoder(), WORDS)
        ),
        net(),
    ),
    "calibrated": CalibratedClassifierCV(
        behind((StandardScaler(), NUMBERS), (OneHotEncoder(), WORDS)), cv=3
    ),
}

CASES = [(name, kind) for name in MODELS for kind in ("binary", "multi")] + [
    (name, kind) for name in MIXED for kind in ("mixed", "mixed3")
]


@pytest.fixture
def fitted(world):
    def build(name, kind):
        data = world(kind)
        if name == "frozen":
            inner = data.fit(scaled(net()))
            return FrozenEstimator(make_pipeline(FrozenEstimator(inner[0]), inner[1])), data
        return data.fit((MIXED if kind.startswith("mixed") else MODELS)[name]), data

    return build


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_response_scores_and_prediction(fitted, name, kind):
    estimator, data = fitted(name, kind)
    model = as_torch(estimator, data.columns)
    expected = np.asarray(getattr(estimator, model.response_method)(data.X))
    got = model.response(data.u).numpy()
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)
    scores = model.scores(data.u)
    assert scores.shape == (len(data.u), model.n_classes)
    if not model.surrogate:
        predicted = estimator.classes_[scores.argmax(1).numpy()]
        np.testing.assert_array_equal(predicted, estimator.predict(data.X))
        if model.response_method == "predict_proba" and not name.startswith("isotonic"):
            np.testing.assert_allclose(scores.softmax(1).numpy(), expected, atol=1e-10)
    verify(model, estimator, data.X, data.u)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_gradient_is_the_slope(fitted, name, kind):
    """Autograd against central differences; a kink hit by chance may spoil a few entries."""
    estimator, data = fitted(name, kind)
    model = as_torch(estimator, data.columns)
    rng = torch.Generator().manual_seed(0)
    mix = data.u[torch.randperm(len(data.u), generator=rng)]
    u = (0.6831 * data.u + 0.3169 * mix)[:25].requires_grad_(True)
    direction = torch.randn(u.shape, generator=rng, dtype=u.dtype) * data.u.std(0)
    weights = torch.randn(model.n_classes, generator=rng, dtype=u.dtype)
    (gradient,) = torch.autograd.grad((model.scores(u) @ weights).sum(), u)
    assert torch.isfinite(gradient).all()
    slope = (gradient * direction).sum(1)
    step = 1e-6
    with torch.no_grad():
        forward = model.scores(u + step * direction) @ weights
        backward = model.scores(u - step * direction) @ weights
    expected = (forward - backward) / (2 * step)
    close = torch.isclose(slope, expected, rtol=1e-4, atol=1e-5)
    assert close.double().mean() >= (0.85 if "quantile" in name or "clip" in name else 0.96)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_rows_do_not_see_each_other(fitted, name, kind):
    estimator, data = fitted(name, kind)
    model = as_torch(estimator, data.columns)
    together = model.scores(data.u[:6])
    alone = torch.cat([model.scores(row[None]) for row in data.u[:6]])
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_single_precision(fitted, name, kind):
    estimator, data = fitted(name, kind)
    model = as_torch(estimator, data.columns, dtype=torch.float32)
    u = data.u.float()
    assert model.scores(u).dtype == torch.float32
    assert model.response(u).dtype == torch.float32
    exact = as_torch(estimator, data.columns).response(data.u)
    votes = model.response_method == "decision_function" and exact.ndim == 2
    near = torch.isclose(model.response(u).double(), exact, rtol=2e-3, atol=2e-3)
    assert near.double().mean() > (0.98 if votes else 0.995)


def test_isotonic_scores_lead_where_the_curve_is_flat(fitted):
    estimator, data = fitted("isotonic-one", "binary")
    model = as_torch(estimator, data.columns)
    assert not model.surrogate
    u = data.u.clone().requires_grad_(True)
    (flat,) = torch.autograd.grad(model.response(u)[:, 1].sum(), u)
    (guide,) = torch.autograd.grad(model.scores(u)[:, 1].sum(), u)
    assert (flat.abs().sum(1) == 0).any()
    assert (guide.abs().sum(1) > 0).all()
    estimator, data = fitted("isotonic", "multi")
    assert as_torch(estimator, data.columns).surrogate


def test_passive_aggressive_and_old_options(world):
    """What newer versions of scikit-learn deprecate or no longer have."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimators = []
        if hasattr(linear_model, "PassiveAggressiveClassifier"):
            estimators.append(linear_model.PassiveAggressiveClassifier(random_state=0))
        if not RECENT:
            estimators += [LogisticRegression(multi_class=rule) for rule in ("ovr", "multinomial")]
            estimators.append(LogisticRegression(solver="liblinear"))
        for estimator in estimators:
            for kind in ("binary", "multi"):
                data = world(kind)
                pipe = data.fit(scaled(estimator))
                verify(as_torch(pipe, data.columns), pipe, data.X, data.u, tol=1e-10)


@pytest.mark.parametrize("kernel", ["rbf", "poly", "sigmoid", "linear"])
def test_smooth_models_pass_gradcheck(world, kernel):
    data = world("binary")
    for model in (SVC(kernel=kernel), GaussianNB(), QuadraticDiscriminantAnalysis(), net("tanh")):
        adapter = as_torch(data.fit(scaled(model)), data.columns)
        u = data.u[:6].clone().requires_grad_(True)
        assert torch.autograd.gradcheck(adapter.scores, u, atol=1e-6)


def test_votes_of_equal_count_go_to_the_first_class():
    """A cycle of wins is a tie of votes; libsvm predicts its first class, scores must too."""
    pairs = torch.tensor([[0.1, -5.0, 9.0], [-1.0, -1.0, -1.0]], dtype=torch.float64)
    decide = one_vs_one_to_rest(3)
    assert decide(pairs)[0].round().tolist() == [1, 1, 1]
    assert first_of_ties(decide, 3)(pairs).argmax(1).tolist() == [0, 2]
