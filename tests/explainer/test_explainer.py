"""The explainer from end to end: what it returns, and that nothing else changes it."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_iris
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, RidgeClassifier, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    OneHotEncoder,
    OrdinalEncoder,
    QuantileTransformer,
    StandardScaler,
)
from sklearn.svm import SVC, LinearSVC

from scfe_sklearn.datasets import make_loan_applications
from scfe_sklearn.densities import GaussianKDE
from scfe_sklearn.densities.class_conditional import DENSITIES as NAMED
from scfe_sklearn.explainer import CounterfactualExplainer
from scfe_sklearn.models import TorchClassifier, UnsupportedModelError
from scfe_sklearn.rules import Relative, Rules
from scfe_sklearn.status import Status
from tests.densities.own_density import OwnDensity


def mixed_pipeline(classifier):
    """A pipeline for mixed frames: numbers scaled, everything else one-hot."""
    encode = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
    )
    return make_pipeline(encode, classifier)


def quiet(explainer, *arguments, **keywords):
    """Explain without the warning about rows that have no answer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return explainer.explain(*arguments, **keywords)


def assert_same_answers(got, expected, space):
    """Equal rows; continuous columns to a millionth of a standard deviation."""
    assert got.status.tolist() == expected.status.tolist()
    assert got.target.tolist() == expected.target.tolist()
    a, b = pd.DataFrame(got.counterfactuals), pd.DataFrame(expected.counterfactuals)
    assert a.dtypes.tolist() == b.dtypes.tolist()
    assert a.index.equals(b.index)
    for j, name in enumerate(space.names_):
        if space.kinds_[j] == "numeric" and space.step_[j] == 0:
            left = a[name].to_numpy(dtype=float, na_value=np.nan)
            right = b[name].to_numpy(dtype=float, na_value=np.nan)
            np.testing.assert_allclose(left, right, rtol=0, atol=1e-6 * space.scale_[j])
        else:
            pd.testing.assert_series_equal(a[name], b[name])


@pytest.fixture(scope="module")
def loans():
    """Training rows, labels, a fitted pipeline, an explainer and refused applicants."""
    X, y = make_loan_applications(300, random_state=0)
    model = mixed_pipeline(LogisticRegression(max_iter=1000)).fit(X, y)
    rules = {"immutable": ["sex"], "increasing": ["age", "education"]}
    explainer = CounterfactualExplainer(FrozenEstimator(model), **rules).fit(X, y)
    refused = X[model.predict(X) == "refused"]
    return X, y, model, explainer, refused[:16]


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True, as_frame=True)


# --------------------------------------------------------------------- models and densities


def torch_net(X, y):
    """A small net, trained for a moment."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    net.double()
    rows, labels = torch.tensor(X.to_numpy()), torch.tensor(y.to_numpy())
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(rows), labels).backward()
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return TorchClassifier(net).fit(X, y)


def skorch_net(X, y):
    skorch = pytest.importorskip("skorch")
    torch.manual_seed(0)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 3)

        def forward(self, X):
            return self.layer(X)

    net = skorch.NeuralNetClassifier(
        Net, criterion=torch.nn.CrossEntropyLoss, max_epochs=20, lr=0.1, verbose=0, train_split=None
    )
    return net.fit(np.array(X, dtype=np.float32), np.array(y))


def scaled(classifier):
    return lambda X, y: make_pipeline(StandardScaler(), classifier).fit(X, y)


FAMILIES = {
    "logistic": scaled(LogisticRegression()),
    "ridge": scaled(RidgeClassifier()),
    "sgd": scaled(SGDClassifier(random_state=0)),
    "linear svc": scaled(LinearSVC()),
    "svc": scaled(SVC()),
    "lda": scaled(LinearDiscriminantAnalysis()),
    "qda": scaled(QuadraticDiscriminantAnalysis()),
    "gaussian nb": scaled(GaussianNB()),
    "mlp": scaled(MLPClassifier((6,), solver="lbfgs", alpha=0.1, max_iter=1000, random_state=0)),
    "sigmoid": scaled(CalibratedClassifierCV(LinearSVC(), cv=2)),
    "isotonic": scaled(CalibratedClassifierCV(LogisticRegression(), method="isotonic", cv=2)),
    "voting": scaled(
        VotingClassifier([("a", LogisticRegression()), ("b", GaussianNB())], voting="soft")
    ),
    "one vs rest": scaled(OneVsRestClassifier(LogisticRegression())),
    "torch": torch_net,
    "skorch": skorch_net,
}
DENSITIES = {name: name for name in NAMED} | {"own": OwnDensity()}


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_success_is_valid_for_every_model_and_density(family, density, iris):
    X, y = iris
    model = FAMILIES[family](X, y)
    if family == "skorch":  # reads arrays of single precision only
        X = np.array(X, dtype=np.float32)
    budget = {"kde": 2, "gmm": 3}.get(density)
    frozen = int(np.argmin(np.std(np.asarray(X), axis=0)))
    columns = list(X.columns) if hasattr(X, "columns") else list(range(4))
    explainer = CounterfactualExplainer(
        FrozenEstimator(model),
        density=DENSITIES[density],
        max_changes=budget,
        immutable=[columns[frozen]],
        ranges={columns[0]: (5.0, 7.0), columns[2]: Relative(-4.0, 4.0)},
    ).fit(X, y)
    query = X[::25]
    result = quiet(explainer, query)
    good = result.success
    assert len(result) == len(query)
    assert good.all()
    answers = result.counterfactuals[good]
    assert model.predict(answers).tolist() == result.target[good].tolist()
    broken = explainer._rules().violations(explainer.space_, query, result.counterfactuals)
    assert not broken.any()
    assert not result.changed[:, frozen].any()
    if budget:
        assert (result.n_changes[good] <= budget).all()
    assert np.isfinite(result.log_density[good]).all()
    assert ((result.density_quantile[good] >= 0) & (result.density_quantile[good] <= 1)).all()
    if hasattr(model, "predict_proba"):
        chance = model.predict_proba(answers)
        chosen = np.searchsorted(model.classes_, result.target[good].astype(int))
        np.testing.assert_allclose(
            result.probability_after[good], chance[np.arange(len(chosen)), chosen]
        )
    else:
        assert np.isnan(result.probability_after).all()


@pytest.mark.parametrize("solver", ["apg", "search"])
def test_own_density_is_fitted_on_the_rows_of_the_target(solver, iris):
    X, y = iris
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    explainer = CounterfactualExplainer(
        FrozenEstimator(model), density=OwnDensity(), solver=solver, tau=20
    ).fit(X, y)
    result = pickle.loads(pickle.dumps(explainer)).explain(X[:10], target=2)
    assert result.success.all()
    rows = explainer.space_.encode(X[(model.predict(X) == 2) & (y == 2)])
    gaussian = multivariate_normal(rows.mean(axis=0), np.diag(rows.var(axis=0) + 0.1))
    expected = gaussian.logpdf(explainer.space_.encode(result.counterfactuals))
    np.testing.assert_allclose(result.log_density, expected)
    closest = clone(explainer).set_params(tau=0).fit(X, y).explain(X[:10], target=2)
    assert (result.log_density > closest.log_density).all()


def test_a_model_without_a_gradient_is_only_asked(iris):
    """The solver is named; who insists on a gradient is told that there is none."""
    X, y = iris
    model = RandomForestClassifier(3, random_state=0).fit(X, y)
    with pytest.raises(UnsupportedModelError, match=r"RandomForestClassifier .*LogisticRegression"):
        CounterfactualExplainer(FrozenEstimator(model), solver="apg").fit(X, y)
    explainer = CounterfactualExplainer(FrozenEstimator(model)).fit(X, y)
    result = explainer.explain(X[:5], target=2)
    assert explainer.solver_ == result.solver == "search"
    assert result.success.all()
    assert (model.predict(result.counterfactuals) == 2).all()


@pytest.mark.parametrize("solver", ["auto", "apg", "search"])
def test_a_model_with_a_gradient_takes_either_solver(solver, iris):
    X, y = iris
    model = LogisticRegression(max_iter=500).fit(X, y)
    explainer = CounterfactualExplainer(FrozenEstimator(model), solver=solver).fit(X, y)
    result = explainer.explain(X[:5], target=2)
    assert result.solver == {"auto": "apg"}.get(solver, solver)
    assert (model.predict(result.counterfactuals) == 2).all()


@pytest.mark.parametrize("output", ["uniform", "normal"])
def test_quantiles_of_tied_numbers_have_a_gradient(output, loans):
    """Ranks jump at ties: numbers on their way through solver units must not fall aside."""
    X, y, *_ = loans
    X = X.select_dtypes("number")
    quantiles = QuantileTransformer(n_quantiles=len(X), output_distribution=output)
    model = make_pipeline(quantiles, LogisticRegression())
    explainer = CounterfactualExplainer(model, solver="apg").fit(X, y)
    query = X[explainer.estimator_.predict(X) == "refused"][:5]
    result = explainer.explain(query, target="approved")
    assert result.success.all()
    assert (explainer.estimator_.predict(result.counterfactuals) == "approved").all()


def test_a_torch_module_is_taken_as_trained(iris):
    X, y = iris
    net = torch_net(X, y).module
    before = {name: value.clone() for name, value in net.state_dict().items()}
    explainer = CounterfactualExplainer(net).fit(X, y)
    result = explainer.explain(X[:3], target=2)
    assert (explainer.estimator_.predict(result.counterfactuals) == 2).all()
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize("fitted", [True, False])
def test_a_frozen_estimator_is_kept_and_another_is_trained(fitted, iris):
    X, y = iris
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    if fitted:
        model.fit(X, y)
        coefficients = model[-1].coef_.copy()
        explainer = CounterfactualExplainer(FrozenEstimator(model)).fit(X[:120], y[:120])
        np.testing.assert_array_equal(model[-1].coef_, coefficients)
        assert explainer.estimator_.estimator is model
    else:
        explainer = CounterfactualExplainer(model).fit(X, y)
        assert not hasattr(model[-1], "coef_")
        np.testing.assert_array_equal(
            explainer.estimator_.predict(X), clone(model).fit(X, y).predict(X)
        )


# --------------------------------------------------------------------- targets and labels


@pytest.mark.parametrize(
    "labels",
    [np.array(["no", "yes"]), np.array([3, 7]), np.array([False, True]), np.array([0.0, 1.0])],
    ids=["text", "int", "bool", "float"],
)
def test_labels_of_any_type_come_back_as_they_are(labels, iris):
    X, y = iris
    X, y = X[50:], labels[(y[50:] == 2).to_numpy().astype(int)]
    model = make_pipeline(StandardScaler(), LogisticRegression())
    explainer = CounterfactualExplainer(model).fit(X, y)
    query = X[explainer.estimator_.predict(X) == labels[0]][:4]
    for target in (labels[1], labels[1].item(), {labels[1].item()}, np.repeat(labels[1], 4), None):
        result = explainer.explain(query, target)
        assert result.success.all()
        assert result.target.dtype == explainer.classes_.dtype
        assert (result.target == labels[1]).all()
        assert (result.prediction == labels[0]).all()
        assert (explainer.estimator_.predict(result.counterfactuals) == labels[1]).all()


def test_each_row_may_have_its_own_target(iris):
    X, y = iris
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    explainer = CounterfactualExplainer(FrozenEstimator(model)).fit(X, y)
    query, target = X[::30], np.array([1, 2, 0, 2, 1])
    result = quiet(explainer, query, target)
    already = model.predict(query) == target
    assert (result.status[already] == Status.ALREADY_TARGET).all()
    assert result.success[~already].all()
    assert (model.predict(result.counterfactuals[~already]) == target[~already]).all()
    for i in range(len(query)):
        alone = quiet(explainer, query[i : i + 1], int(target[i]))
        assert_same_answers(result[i], alone, explainer.space_)


@pytest.mark.parametrize("density", ["lof", "kde"])
def test_no_target_means_the_cheapest_of_the_other_classes(density, iris):
    X, y = iris
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    explainer = CounterfactualExplainer(FrozenEstimator(model), density=density).fit(X, y)
    query = X[::10]
    nearest = explainer.explain(query)
    spread = [
        np.subtract(*np.quantile(r, [0.5, 0.25])) for r in explainer.density_.reference_log_prob_
    ]
    cost = np.full((len(query), 3), np.inf)
    single = []
    for label in range(3):
        result = quiet(explainer, query, label)
        cost[:, label] = np.where(
            result.success,
            result.distance**2
            + explainer.beta * result.n_changes
            - explainer.tau / spread[label] * result.log_density,
            np.inf,
        )
        single.append(result)
    np.testing.assert_array_equal(nearest.target, cost.argmin(axis=1))
    for i, label in enumerate(nearest.target):
        assert_same_answers(nearest[i], single[int(label)][i], explainer.space_)


def test_a_set_of_targets_takes_the_cheapest_of_them(iris):
    X, y = iris
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    explainer = CounterfactualExplainer(FrozenEstimator(model)).fit(X, y)
    first = X[:5]
    both, free = explainer.explain(first, {1, 2}), explainer.explain(first)
    assert_same_answers(both, free, explainer.space_)
    only = explainer.explain(first, {2})
    assert_same_answers(only, explainer.explain(first, 2), explainer.space_)
    assert (quiet(explainer, first, {0, 1}).status == Status.ALREADY_TARGET).all()


# --------------------------------------------------------------------- frames


def test_mixed_frames_come_back_in_their_own_form(loans):
    _, _, model, explainer, refused = loans
    result = explainer.explain(refused, target="approved")
    answers = result.counterfactuals
    assert result.success.all()
    pd.testing.assert_index_equal(answers.index, refused.index)
    pd.testing.assert_index_equal(answers.columns, refused.columns)
    assert answers.dtypes.tolist() == refused.dtypes.tolist()
    assert answers["education"].cat.categories.equals(refused["education"].cat.categories)
    assert (model.predict(answers) == "approved").all()
    assert (answers["age"] >= refused["age"]).all()
    assert (answers["sex"] == refused["sex"]).all()
    ranks = answers["education"].cat.codes - refused["education"].cat.codes
    assert (ranks >= 0).all()
    same = ~result.changed
    for j, name in enumerate(refused):
        assert (answers[name] == refused[name])[same[:, j]].all()
        assert (answers[name] != refused[name])[~same[:, j]].all()
    np.testing.assert_array_equal(result.n_changes, result.changed.sum(axis=1))


def test_the_order_of_columns_is_that_of_the_query(loans):
    _, _, _, explainer, refused = loans
    turned = refused[refused.columns[::-1]]
    got = explainer.explain(turned, "approved").counterfactuals
    expected = explainer.explain(refused, "approved").counterfactuals
    assert list(got.columns) == list(turned.columns)
    pd.testing.assert_frame_equal(got[refused.columns], expected)


def test_a_model_that_insists_on_the_order_of_columns_gets_it(iris):
    X, y = iris
    model = LogisticRegression(max_iter=1000).fit(X, y)
    explainer = CounterfactualExplainer(FrozenEstimator(model)).fit(X, y)
    turned = X[X.columns[::-1]][:3]
    result = explainer.explain(turned, target=1)
    assert list(result.counterfactuals.columns) == list(turned.columns)
    assert (model.predict(result.counterfactuals[X.columns]) == 1).all()


def test_row_labels_may_repeat_and_have_several_levels(loans):
    _, _, _, explainer, refused = loans
    refused = refused[:6]
    expected = explainer.explain(refused, "approved").counterfactuals
    for index in (
        pd.MultiIndex.from_product([["a", "b"], [1, 2, 3]], names=["branch", "day"]),
        pd.Index(["same"] * 6, name="who"),
        pd.date_range("2020-01-01", periods=6),
    ):
        result = explainer.explain(refused.set_axis(index), "approved")
        pd.testing.assert_frame_equal(result.counterfactuals, expected.set_axis(index))


@pytest.mark.parametrize(
    "dtypes",
    [
        {"age": "int8", "income": "float32", "debt_ratio": "float32"},
        {"age": "Int64", "income": "Float64", "has_cosigner": "boolean"},
        {"late_payments": "category", "purpose": "object", "sex": "category"},
        {"loan_term": "float64", "savings": "uint32", "housing": "str"},
    ],
    ids=["small", "nullable", "category", "other"],
)
def test_dtypes_stay(dtypes):
    X, y = make_loan_applications(250, random_state=1)
    X = X.astype(dtypes)
    model = mixed_pipeline(LogisticRegression(max_iter=1000)).fit(X, y)
    explainer = CounterfactualExplainer(FrozenEstimator(model)).fit(X, y)
    refused = X[model.predict(X) == "refused"][:8]
    result = explainer.explain(refused, "approved")
    assert result.success.all()
    assert result.counterfactuals.dtypes.tolist() == refused.dtypes.tolist()
    assert (model.predict(result.counterfactuals) == "approved").all()
    whole = [c for c in X if c in ("income", "savings", "loan_term", "age")]
    for name in whole:
        values = result.counterfactuals[name].to_numpy(dtype=float)
        np.testing.assert_array_equal(values, np.rint(values))


def test_failed_rows_are_missing_in_every_column(loans):
    X, _, model, explainer, refused = loans
    approved = X[model.predict(X) == "approved"][:2]
    result = explainer.explain(pd.concat([refused[:2], approved]), "approved")
    assert result.status.tolist() == [Status.FOUND] * 2 + [Status.ALREADY_TARGET] * 2
    assert result.counterfactuals.iloc[2:].isna().all(axis=None)
    assert result.counterfactuals.iloc[:2].notna().all(axis=None)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, object])
def test_arrays_with_a_positional_column_transformer(dtype):
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=150), rng.integers(0, 9, 150), rng.integers(0, 3, 150)])
    y = X[:, 0] + X[:, 1] / 3 + (X[:, 2] == 1) > 1.7
    X = X.astype(dtype)
    encode = make_column_transformer(
        (StandardScaler(), [0, 1]), (OneHotEncoder(handle_unknown="ignore"), [2])
    )
    model = make_pipeline(encode, LogisticRegression()).fit(X, y)
    explainer = CounterfactualExplainer(FrozenEstimator(model), immutable=[0]).fit(X, y)
    assert explainer.space_.kinds_ == ("numeric", "integer", "categorical")
    query = X[~model.predict(X)][:10]
    result = quiet(explainer, query, target=True)
    answers = result.counterfactuals
    assert isinstance(answers, np.ndarray)
    assert answers.dtype == query.dtype
    good = result.success
    assert good.sum() >= 5
    assert model.predict(answers[good]).all()
    np.testing.assert_array_equal(answers[good, 0], query[good, 0])
    assert set(np.unique(answers[good, 2].astype(float))) <= {0.0, 1.0, 2.0}


def test_lists_are_read_as_arrays(iris):
    X, y = iris
    model = LogisticRegression(max_iter=1000)
    explainer = CounterfactualExplainer(model).fit(X.to_numpy().tolist(), y.tolist())
    result = explainer.explain([[5.0, 3.4, 1.5, 0.2]], target=1)
    assert result.success.all()
    assert result.counterfactuals.shape == (1, 4)


def test_polars_frames_come_back_as_polars():
    pl = pytest.importorskip("polars")
    X, y = make_loan_applications(250, random_state=0)
    X = X.drop(columns=["education"]).astype({"housing": "str", "purpose": "str"})
    numbers = X.columns.get_indexer(X.select_dtypes("number").columns)
    # Positions: scikit-learn 1.6 finds no columns of polars frames by name.
    encode = make_column_transformer(
        (StandardScaler(), numbers.tolist()),
        (OneHotEncoder(handle_unknown="ignore"), np.delete(range(X.shape[1]), numbers).tolist()),
    )
    model = make_pipeline(encode, LogisticRegression(max_iter=1000))
    frame = pl.DataFrame({name: X[name].tolist() for name in X})
    explainer = CounterfactualExplainer(model, immutable=["sex"]).fit(frame, y.to_numpy())
    refused = frame.filter(pl.Series(explainer.estimator_.predict(frame) == "refused"))[:6]
    result = explainer.explain(refused, "approved")
    answers = result.counterfactuals
    assert isinstance(answers, pl.DataFrame)
    assert answers.schema == refused.schema
    assert result.success.all()
    assert (explainer.estimator_.predict(answers) == "approved").all()
    assert answers["sex"].to_list() == refused["sex"].to_list()


def test_columns_that_the_model_encodes_are_categories(iris):
    X, y = iris
    X = X.assign(code=np.arange(len(X)) % 4)
    encode = make_column_transformer((OrdinalEncoder(), ["code"]), remainder="passthrough")
    explainer = CounterfactualExplainer(make_pipeline(encode, LogisticRegression(max_iter=2000)))
    explainer.fit(X, y)
    assert explainer.space_.kinds_[-1] == "categorical"


# --------------------------------------------------------------------- rules, budget, prices


def test_rules_of_the_explainer_and_of_the_call_both_hold(loans):
    _, _, model, explainer, refused = loans
    n = len(refused)
    locked = np.arange(n) % 2 == 0
    top = refused["credit_score"].to_numpy() + np.where(locked, 20.0, np.nan)
    rules = Rules(
        immutable={"debt_ratio": locked},
        ranges={"credit_score": (None, top), "income": Relative(0.9, 1.3, factor=True)},
        transitions={"purpose": [[] if flag else None for flag in locked]},
    )
    result = quiet(explainer, refused, "approved", rules=rules)
    both = explainer._rules().merged(rules)
    assert not both.violations(explainer.space_, refused, result.counterfactuals).any()
    good = result.success
    assert good.sum() > n / 2
    assert (model.predict(result.counterfactuals[good]) == "approved").all()
    answers, before = result.counterfactuals[good & locked], refused[good & locked]
    assert (answers["debt_ratio"] == before["debt_ratio"]).all()
    assert (answers["purpose"] == before["purpose"]).all()
    assert (answers["credit_score"] <= before["credit_score"] + 20).all()
    free = explainer.explain(refused, "approved")
    assert_same_answers(
        quiet(explainer, refused, "approved", rules=Rules()), free, explainer.space_
    )


def test_rules_by_row_stay_with_their_rows_when_others_drop_out(loans):
    X, _, model, explainer, refused = loans
    approved = X[model.predict(X) == "approved"][:5]
    query = pd.concat([approved, refused])
    may = np.r_[np.zeros(5), np.arange(len(refused)) % 2].astype(bool)
    rules = Rules(immutable={name: ~may for name in X if name != "credit_score"})
    result = quiet(explainer, query, "approved", rules=rules)
    assert (result.status[:5] == Status.ALREADY_TARGET).all()
    others = result.changed[:, [name != "credit_score" for name in X]]
    assert not others[~may].any()
    assert others[may].any()


@pytest.mark.parametrize("budget", [1, 2, 3])
def test_the_budget_is_kept(budget, loans):
    X, y, model, _, refused = loans
    explainer = CounterfactualExplainer(
        FrozenEstimator(model), max_changes=budget, ranges={"credit_score": Relative(-10, 10)}
    ).fit(X, y)
    result = quiet(explainer, refused[:8], "approved")
    good = result.success
    assert good.any()
    assert (result.changed.sum(axis=1) <= budget).all()
    assert (model.predict(result.counterfactuals[good]) == "approved").all()


def test_prices_do_what_they_say(loans):
    X, y, model, _, refused = loans
    refused = refused[:10]

    def explained(**parameters):
        return (
            CounterfactualExplainer(FrozenEstimator(model), **parameters).fit(X, y).explain(refused)
        )

    cheap, dear = explained(beta=0.0, tau=0.0), explained(beta=20.0, tau=0.0)
    assert dear.n_changes.mean() < cheap.n_changes.mean()
    assert cheap.distance.mean() < dear.distance.mean()
    plausible = explained(tau=30.0)
    assert plausible.density_quantile.mean() > cheap.density_quantile.mean()


def test_a_reachable_training_row_guarantees_an_answer(loans):
    X, _, model, explainer, refused = loans
    anchors = X[model.predict(X) == "approved"]
    result = quiet(explainer, refused, "approved")
    for i in range(len(refused)):
        row = refused.iloc[[i] * len(anchors)].set_axis(anchors.index)
        reachable = ~explainer._rules().violations(explainer.space_, row, anchors).any(axis=1)
        assert result.success[i] or not reachable.any()


# --------------------------------------------------------------------- independence of rows


@pytest.mark.parametrize("classifier", ["logistic", "mlp"])
@pytest.mark.parametrize("budget", [None, 2])
def test_a_row_is_answered_the_same_in_any_company(classifier, budget):
    X, y = make_loan_applications(250, random_state=0)
    model = {
        "logistic": LogisticRegression(max_iter=1000),
        "mlp": MLPClassifier((8,), solver="lbfgs", alpha=1, max_iter=2000, random_state=0),
    }[classifier]
    model = mixed_pipeline(model).fit(X, y)
    X = X.assign(debt_ratio=X["debt_ratio"] + np.linspace(0, 0.001, len(X)))  # continuous
    explainer = CounterfactualExplainer(
        FrozenEstimator(model), immutable=["sex"], max_changes=budget
    ).fit(X, y)
    query = X[:12]
    together = quiet(explainer, query)
    space = explainer.space_
    order = np.random.default_rng(0).permutation(len(query))
    mixed = quiet(explainer, query.iloc[order])
    assert_same_answers(mixed[np.argsort(order)], together, space)
    for i in (0, 5, 11):
        assert_same_answers(quiet(explainer, query.iloc[[i]]), together[i], space)
    small = clone(explainer).set_params(chunk_size=5).fit(X, y)
    assert_same_answers(quiet(small, query), together, space)
    doubled = quiet(explainer, pd.concat([query, query]))
    assert_same_answers(doubled[:12], together, space)
    assert_same_answers(doubled[12:], together, space)


# --------------------------------------------------------------------- scikit-learn's contracts


def test_parameters_round_trip(loans):
    explainer = loans[3]
    copy = clone(explainer)
    assert not hasattr(copy, "density_")
    for name, value in explainer.get_params(deep=False).items():
        other = getattr(copy, name)
        assert type(other) is type(value)
        if name != "estimator":
            assert other == value
    copy.set_params(tau=5.0, max_changes=2, immutable=None)
    assert (copy.tau, copy.max_changes, copy.immutable) == (5.0, 2, None)
    assert explainer.tau == 2.0
    with pytest.raises(ValueError, match="Invalid parameter 'nothing'"):
        copy.set_params(nothing=1)


def test_a_pickled_or_refitted_explainer_gives_the_same_answers(loans):
    X, y, _, explainer, refused = loans
    expected = explainer.explain(refused[:5], "approved")
    for other in (pickle.loads(pickle.dumps(explainer)), clone(explainer).fit(X, y)):
        got = other.explain(refused[:5], "approved")
        pd.testing.assert_frame_equal(got.counterfactuals, expected.counterfactuals)
        np.testing.assert_array_equal(got.log_density, expected.log_density)


def test_fit_and_explain_leave_everything_else_as_it_was(loans):
    X, y, model, _, refused = loans
    rules = {"immutable": ["sex"], "ranges": {"age": (20, 70)}, "transitions": {"housing": {}}}
    explainer = CounterfactualExplainer(FrozenEstimator(model), density=GaussianKDE(), **rules)
    parameters = pickle.dumps(explainer.get_params(deep=True))
    rows, labels, query = X.copy(), y.copy(), refused.copy()
    random, threads = np.random.get_state()[1].copy(), torch.get_num_threads()  # noqa: NPY002
    torch_random = torch.get_rng_state()
    explainer.fit(X, y)
    assert pickle.dumps(explainer.get_params(deep=True)) == parameters
    names, before = set(vars(explainer)), pickle.dumps(explainer)
    explainer.explain(refused, "approved", rules=Rules(increasing=["age"]))
    assert set(vars(explainer)) == names
    assert pickle.dumps(explainer) == before
    assert pickle.dumps(explainer.get_params(deep=True)) == parameters
    pd.testing.assert_frame_equal(X, rows)
    pd.testing.assert_series_equal(y, labels)
    pd.testing.assert_frame_equal(refused, query)
    np.testing.assert_array_equal(random, np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(torch_random, torch.get_rng_state())
    assert torch.get_num_threads() == threads


def test_fitted_state_holds_no_tensors(loans):
    pytest.importorskip("pickletools")
    text = pickle.dumps(loans[3])
    assert b"torch" not in text.replace(b"scfe_sklearn", b"")


def test_feature_names_follow_the_last_fit(iris):
    X, y = iris
    explainer = CounterfactualExplainer(LogisticRegression(max_iter=1000)).fit(X, y)
    assert explainer.feature_names_in_.tolist() == list(X.columns)
    assert explainer.n_features_in_ == 4
    explainer.fit(X.to_numpy()[:, :3], y)
    assert explainer.n_features_in_ == 3
    assert not hasattr(explainer, "feature_names_in_")


def test_score_is_a_share(loans):
    _, _, _, explainer, refused = loans
    value = explainer.score(refused)
    assert 0 < value < 1
    result = explainer.explain(refused)
    plausible = np.maximum(result.density_quantile, 0.01)
    parts = plausible / result.n_changes / (1 + result.distance)
    assert value == pytest.approx(np.mean(np.cbrt(parts)))
    frozen = Rules(immutable=list(refused.columns))
    nothing = clone(explainer).set_params(immutable=frozen.immutable).fit(loans[0], loans[1])
    assert nothing.score(refused) == 0.0


def test_grid_search_over_prices_budget_and_density(iris):
    X, y = iris
    grid = {
        "tau": [1.0, 10.0],
        "beta": [1.0],
        "max_changes": [None, 2],
        "density": ["lof", GaussianKDE(bandwidth=0.5)],
    }
    explainer = CounterfactualExplainer(make_pipeline(StandardScaler(), LogisticRegression()))
    X, y = X[::3], y[::3]
    search = GridSearchCV(explainer, grid, cv=2, error_score="raise").fit(X, y)
    scores = search.cv_results_["mean_test_score"]
    assert ((scores > 0) & (scores < 1)).all()
    assert len(set(scores.round(6))) > 2
    assert 0 < search.score(X[:5]) < 1
    inner = clone(explainer).set_params(density=GaussianKDE())
    inner.set_params(density__bandwidth=0.3, estimator__logisticregression__C=0.5).fit(X, y)
    assert inner.density_.densities_[0].bandwidth == 0.3
    assert inner.estimator_[-1].C == 0.5
    assert inner.explain(X[:2]).success.all()


def test_a_row_does_not_see_the_classes_that_other_rows_want():
    X, y = make_loan_applications(160, random_state=0)
    columns = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (OneHotEncoder(), make_column_selector(dtype_exclude="number")),
    )
    model = make_pipeline(columns, LogisticRegression())
    explainer = CounterfactualExplainer(model).fit(X, y)
    whole = explainer.explain(X[:24])
    assert len(set(whole.prediction)) == 2
    for i in range(0, 24, 3):
        alone = explainer.explain(X[i : i + 1])
        pd.testing.assert_frame_equal(alone.counterfactuals, whole.counterfactuals[i : i + 1])
