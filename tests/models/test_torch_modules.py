"""TorchClassifier and skorch nets."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted
from torch import nn

from scfe_sklearn import CounterfactualExplainer
from scfe_sklearn.models import (
    TorchClassifier,
    UnsupportedModelError,
    as_torch,
    read_linear,
    verify,
)


def module(outputs, dtype=torch.float64, last=None):
    torch.manual_seed(0)
    layers = [nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Tanh(), nn.Linear(6, outputs)]
    if last is not None:
        layers.append(last)
    return nn.Sequential(*layers).to(dtype)


class Flat(nn.Module):
    """One logit per row, without a second axis."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 1).double()

    def forward(self, x):
        return self.layer(x).squeeze(1)


@pytest.mark.parametrize(
    ("net", "kind", "output"),
    [
        (module(1), "binary", "logits"),
        (module(2), "binary", "logits"),
        (Flat(), "binary", "logits"),
        (module(1, last=nn.Sigmoid()), "binary", "probability"),
        (module(2, last=nn.Softmax(1)), "binary", "probability"),
        (module(3), "multi", "logits"),
        (module(3, last=nn.Softmax(1)), "multi", "probability"),
    ],
)
def test_response_is_the_estimator_s(world, net, kind, output):
    data = world(kind)
    estimator = data.fit(make_pipeline(StandardScaler(), TorchClassifier(net, output=output)))
    net = estimator[-1].module  # a clone's copy
    model = as_torch(FrozenEstimator(estimator), data.columns)
    verify(model, estimator, data.X, data.u, tol=1e-10)
    u = data.u.clone().requires_grad_(True)
    assert torch.autograd.gradcheck(model.scores, u[:5], atol=1e-6)
    with torch.no_grad():
        out = net.eval()(torch.tensor(estimator[0].transform(data.X)))
    proba = estimator.predict_proba(data.X)
    if output == "probability":
        expected = out.reshape(len(out), -1)[:, -1]
    else:
        out = out.reshape(len(out), -1)
        expected = out.sigmoid()[:, 0] if out.shape[1] == 1 else out.softmax(1)[:, -1]
    np.testing.assert_allclose(proba[:, -1], expected.numpy(), atol=1e-12)
    np.testing.assert_allclose(proba.sum(1), 1.0)
    decision = estimator.decision_function(data.X)
    winner = (decision > 0).astype(int) if decision.ndim == 1 else decision.argmax(1)
    np.testing.assert_array_equal(estimator.predict(data.X), winner)


def test_float32_module(world):
    data = world("multi")
    estimator = data.fit(make_pipeline(StandardScaler(), TorchClassifier(module(3, torch.float32))))
    model = as_torch(estimator, data.columns)
    assert model.single_precision
    verify(model, estimator, data.X, data.u)
    np.testing.assert_allclose(model.response(data.u), estimator.predict_proba(data.X), atol=1e-5)


def test_the_module_is_left_as_it_was():
    net = module(3)
    net[2].eval()  # a mode of its own
    model = as_torch(TorchClassifier(net), [*map(_column, range(4))])
    before = {key: value.clone() for key, value in net.state_dict().items()}
    u = torch.randn(8, 4, dtype=torch.float64, requires_grad=True)
    model.scores(u).sum().backward()
    model.train().to(torch.float64)
    assert u.grad is not None
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert net.training
    assert not net[2].training
    for key, value in net.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)


def test_mode_is_restored_after_an_error():
    net = module(3)
    with pytest.raises(RuntimeError):
        TorchClassifier(net).predict(np.zeros((2, 7)))
    assert net.training
    assert all(p.requires_grad for p in net.parameters())


def test_adapter_is_a_snapshot_of_the_module():
    net = module(3)
    model = as_torch(TorchClassifier(net), [*map(_column, range(4))])
    u = torch.randn(8, 4, dtype=torch.float64)
    before = model.scores(u)
    with torch.no_grad():
        net[-1].bias += torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(model.scores(u), before)
    after = as_torch(TorchClassifier(net), [*map(_column, range(4))]).scores(u)
    torch.testing.assert_close(
        after - before, torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64).expand(8, 3)
    )


def test_scikit_learn_conventions(world):
    data = world("multi")
    estimator = TorchClassifier(module(3), classes=["x", "y", "z"])
    check_is_fitted(estimator)
    copy = clone(estimator)
    assert copy.get_params()["classes"] == ["x", "y", "z"]
    np.testing.assert_array_equal(copy.predict(data.X), estimator.predict(data.X))
    assert set(estimator.predict(data.X)) <= {"x", "y", "z"}
    assert list(TorchClassifier(module(1)).classes_) == [0, 1]
    labels = np.array(["p", "q", "r"])[data.y]
    assert list(TorchClassifier(module(3)).fit(data.X, labels).classes_) == ["p", "q", "r"]
    calibrated = CalibratedClassifierCV(FrozenEstimator(TorchClassifier(module(3))))
    calibrated.fit(data.X, data.y)
    verify(as_torch(calibrated, data.columns), calibrated, data.X, data.u, tol=1e-9)


def test_wrong_parameters_are_named(world):
    data = world("binary")
    with pytest.raises(ValueError, match="'output' parameter of TorchClassifier"):
        TorchClassifier(module(2), output="odds").predict(data.X)
    with pytest.raises(TypeError, match="'module' parameter of TorchClassifier"):
        TorchClassifier("net", classes=[0, 1]).predict(data.X)
    with pytest.raises(ValueError, match="3 outputs for 2 classes"):
        TorchClassifier(module(3), classes=[0, 1]).predict(data.X)
    with pytest.raises(ValueError, match="'classes' parameter"):
        TorchClassifier(module(2), classes=["n", "y"]).fit(data.X, data.y)
    with pytest.raises(AttributeError, match="'classes' parameter"):
        _ = TorchClassifier(nn.ReLU()).classes_


def _column(k):
    from scfe_sklearn.data import Column

    return Column(k, None)


@pytest.mark.parametrize(
    ("kind", "outputs", "last", "options"),
    [
        ("multi", 3, nn.Softmax(1), {}),
        ("multi", 3, None, {"criterion": nn.CrossEntropyLoss}),
        ("binary", 2, None, {"criterion": nn.CrossEntropyLoss}),
        ("binary", 1, nn.Flatten(0), {"binary": True}),
        ("binary", 1, nn.Flatten(0), {"binary": True, "threshold": 0.3}),
    ],
)
def test_skorch(world, kind, outputs, last, options):
    skorch = pytest.importorskip("skorch")
    options = dict(options)
    family = (
        skorch.NeuralNetBinaryClassifier
        if options.pop("binary", False)
        else skorch.NeuralNetClassifier
    )
    data = world(kind)
    X = data.X.astype(np.float32)
    y = data.y.astype(np.float32 if family is skorch.NeuralNetBinaryClassifier else np.int64)
    net = family(
        module(outputs, torch.float32, last),
        max_epochs=2,
        lr=0.1,
        train_split=None,
        verbose=0,
        **options,
    )
    estimator = make_pipeline(StandardScaler(), net).fit(X, y)
    model = as_torch(estimator, data.columns)
    verify(model, estimator, X, X.astype(float))
    np.testing.assert_allclose(
        model.response(torch.tensor(X)), estimator.predict_proba(X), atol=1e-5
    )
    predicted = model.scores(torch.tensor(X)).argmax(1).numpy()
    assert (predicted == estimator.predict(X)).mean() > 0.99
    u = data.u.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(model.scores(u)[:, 0].sum(), u)
    assert gradient.abs().sum() > 0


def linear(outputs, dtype=torch.float64, last=None):
    torch.manual_seed(1)
    layers = [nn.Identity(), nn.Sequential(nn.Dropout(0.5), nn.Linear(4, outputs))]
    return nn.Sequential(*layers, *([] if last is None else [last])).to(dtype)


@pytest.mark.parametrize(
    ("net", "kind", "output"),
    [
        (nn.Linear(4, 1).double(), "binary", "logits"),
        (nn.Linear(4, 2, bias=False).double(), "binary", "logits"),
        (nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 3)).double(), "multi", "logits"),
        (linear(1), "binary", "logits"),
        (linear(1, torch.float32), "binary", "logits"),
        (linear(3, torch.float32), "multi", "logits"),
        (linear(3, last=nn.LogSoftmax(1)), "multi", "logits"),
        (linear(1, last=nn.Sigmoid()), "binary", "probability"),
        (linear(2, last=nn.Softmax(1)), "binary", "probability"),
    ],
)
def test_read_linear_knows_linear_modules(world, net, kind, output):
    data = world(kind)
    estimator = data.fit(make_pipeline(StandardScaler(), TorchClassifier(net, output=output)))
    read = read_linear(FrozenEstimator(estimator), data.columns)
    u = data.u.numpy()
    for code in range(read.n_classes):
        weights, intercept = read.leads(code)
        wins = (u @ weights + intercept > 0).all(axis=1)
        np.testing.assert_array_equal(wins, estimator.predict(data.X) == estimator.classes_[code])
    if read.n_classes == 2:
        weights, intercept = read.leads(1)
        odds = read.slope * (u @ weights + intercept)[:, 0]
        expected = estimator.predict_proba(data.X)[:, 1]
        np.testing.assert_allclose(1 / (1 + np.exp(-odds)), expected, atol=1e-6)


def hooked():
    net = nn.Linear(4, 1).double()
    net.register_forward_hook(lambda module, rows, out: -out)
    return net


@pytest.mark.parametrize(
    ("net", "kind", "output"),
    [
        (module(1), "binary", "logits"),
        (Flat(), "binary", "logits"),
        (hooked(), "binary", "logits"),
        (nn.Sequential(nn.Linear(4, 1), nn.Sigmoid()).double(), "binary", "logits"),
        (nn.Sequential(nn.Linear(4, 3), nn.Sigmoid()).double(), "multi", "logits"),
        (nn.Sequential(nn.Linear(4, 3), nn.LogSoftmax(1)).double(), "multi", "probability"),
    ],
)
def test_read_linear_refuses_other_modules(world, net, kind, output):
    data = world(kind)
    estimator = TorchClassifier(net, classes=np.unique(data.y), output=output)
    with pytest.raises(UnsupportedModelError, match="is no linear model"):
        read_linear(estimator, data.columns)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("outputs", [1, 2])
def test_a_linear_module_proves_what_logistic_regression_proves(dtype, outputs):
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=300), 2000 + 3 * rng.normal(size=300)])
    y = (X[:, 0] + (X[:, 1] - 2000) / 3 > 1).astype(int)
    plain = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    net = nn.Linear(2, outputs).to(dtype)
    with torch.no_grad():
        coef = torch.tensor(plain[-1].coef_ / outputs)
        bias = torch.tensor(plain[-1].intercept_ / outputs)
        net.weight.copy_(coef if outputs == 1 else torch.cat([-coef, coef]))
        net.bias.copy_(bias if outputs == 1 else torch.cat([-bias, bias]))
    twin = make_pipeline(plain[0], TorchClassifier(net, classes=[0, 1]))
    rows = X[plain.predict(X) == 0]
    reasons = []
    for model in (plain, twin):
        explainer = CounterfactualExplainer(FrozenEstimator(model), immutable=[1]).fit(X, y)
        with pytest.warns(UserWarning, match="have no counterfactual"):
            result = explainer.explain(rows, target=1)
        reasons.append(result.reason)
        lost = ~result.success
        # Every value of the free column that the data reach, tried with the model itself.
        reach = np.linspace(X[:, 0].min(), X[:, 0].max(), 201)
        tried = np.column_stack([np.tile(reach, len(rows)), np.repeat(rows[:, 1], 201)])
        able = (model.predict(tried) == 1).reshape(len(rows), 201).any(axis=1)
        np.testing.assert_array_equal(able, result.success)
        assert lost.any() and all("proved" in reason for reason in result.reason[lost])
    np.testing.assert_array_equal(*reasons)


@pytest.mark.parametrize(
    ("outputs", "last", "options"),
    [
        (3, nn.Softmax(1), {}),
        (3, None, {"criterion": nn.CrossEntropyLoss}),
        (1, nn.Flatten(0), {"binary": True}),
    ],
)
def test_read_linear_knows_linear_skorch_nets(world, outputs, last, options):
    skorch = pytest.importorskip("skorch")
    binary = options.get("binary", False)
    data = world("binary" if binary else "multi")
    family = skorch.NeuralNetBinaryClassifier if binary else skorch.NeuralNetClassifier
    options = {name: value for name, value in options.items() if name != "binary"}
    net = nn.Sequential(nn.Linear(4, outputs), *([] if last is None else [last]))
    X, y = data.X.astype(np.float32), data.y.astype(np.float32 if binary else np.int64)
    net = family(net, max_epochs=1, train_split=None, verbose=0, **options)
    estimator = make_pipeline(StandardScaler(), net).fit(X, y)
    read = read_linear(estimator, data.columns)
    for code in range(read.n_classes):
        weights, intercept = read.leads(code)
        wins = (X.astype(float) @ weights + intercept > 0).all(axis=1)
        np.testing.assert_array_equal(wins, estimator.predict(X) == estimator.classes_[code])
