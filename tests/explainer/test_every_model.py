"""Every target, every family of models: what the model itself says of every answer."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from scfe_sklearn import CounterfactualExplainer, Interval, Probability
from scfe_sklearn.datasets import make_loan_applications
from scfe_sklearn.status import Status

N = 8


def forest(n=7):
    return RandomForestClassifier(n, max_depth=5, random_state=0)


def pair():
    return [("tree", DecisionTreeClassifier(max_depth=3)), ("line", LogisticRegression())]


CLASSIFIERS = {
    "logistic": lambda: make_pipeline(StandardScaler(), LogisticRegression()),
    "mlp": lambda: make_pipeline(
        StandardScaler(), MLPClassifier((8,), solver="lbfgs", max_iter=80, random_state=0)
    ),
    "tree": lambda: DecisionTreeClassifier(max_depth=4, random_state=0),
    "forest": forest,
    "extra trees": lambda: ExtraTreesClassifier(7, max_depth=5, random_state=0),
    "boosting": lambda: GradientBoostingClassifier(n_estimators=8, random_state=0),
    "histogram boosting": lambda: HistGradientBoostingClassifier(max_iter=8, random_state=0),
    "adaboost": lambda: AdaBoostClassifier(n_estimators=8, random_state=0),
    "bagging": lambda: BaggingClassifier(n_estimators=5, random_state=0),
    "stacking": lambda: make_pipeline(StandardScaler(), StackingClassifier(pair(), cv=3)),
    "soft voting": lambda: make_pipeline(StandardScaler(), VotingClassifier(pair(), voting="soft")),
    "hard voting": lambda: make_pipeline(StandardScaler(), VotingClassifier(pair(), voting="hard")),
    "neighbours": lambda: make_pipeline(StandardScaler(), KNeighborsClassifier(5)),
    "calibrated forest": lambda: CalibratedClassifierCV(forest(), cv=3),
    "xgboost": lambda: pytest.importorskip("xgboost").XGBClassifier(n_estimators=8, max_depth=3),
    "lightgbm": lambda: pytest.importorskip("lightgbm").LGBMClassifier(
        n_estimators=8, num_leaves=7, verbose=-1
    ),
    "catboost": lambda: pytest.importorskip("catboost").CatBoostClassifier(
        iterations=8, depth=3, verbose=0, allow_writing_files=False
    ),
}
REGRESSORS = {
    "linear": LinearRegression,
    "forest": lambda: RandomForestRegressor(7, max_depth=5, random_state=0),
    "histogram boosting": lambda: HistGradientBoostingRegressor(max_iter=8, random_state=0),
    "xgboost": lambda: pytest.importorskip("xgboost").XGBRegressor(n_estimators=8, max_depth=3),
}
TARGETS = {
    "label": 1,
    "nearest other": None,
    "set": {1, 2},
    "per row": np.array([2, 1, 2, 0, 0, 1, 1, 0]),
    "probability": Probability(1, 0.6),
    "probabilities": {Probability(1, 0.7), 2},
}
INTERVALS = {
    "interval": Interval(at_least=180),
    "pair": (150, 190),
    "per row": Interval(np.linspace(100, 160, N), np.linspace(120, 300, N)),
}


class Function:
    """Not an estimator: a method of a trained one, as a bare function of rows."""

    def __init__(self, model, method):
        self.respond = getattr(model, method)

    def __call__(self, X):
        return self.respond(X)


CLASSIFIERS["probabilities of a function"] = lambda: (forest(), "predict_proba")
CLASSIFIERS["labels of a function"] = lambda: (forest(), "predict")
REGRESSORS["function"] = lambda: (LinearRegression(), "predict")


def trained(make, X, y):
    """What the explainer gets, and the estimator whose word counts."""
    made, method = made if isinstance(made := make(), tuple) else (made, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = made.fit(X, y)
    return (FrozenEstimator(model) if method is None else Function(model, method)), model


def explained(explainer, query, target=None, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return explainer.explain(query, target, **options)


def words(model, rows):
    """The model's own labels and probabilities."""
    p = model.predict_proba(rows) if hasattr(model, "predict_proba") else None
    return np.ravel(model.predict(rows)), p, list(model.classes_)


def met(said, target, before):
    """Whether what a model said of rows is what each asked for: a loop over rows."""
    label, p, classes = said
    out = []
    for i in range(len(label)):
        own = target[i] if isinstance(target, np.ndarray) else target
        wishes = own if isinstance(own, set) else {own}
        good = own is None and label[i] != before[i]
        for wish in wishes - {None}:
            if isinstance(wish, Probability):
                sure = p[i][classes.index(wish.label)] >= wish.at_least
                good |= label[i] == wish.label and sure
            else:
                good |= label[i] == wish
        out.append(bool(good))
    return np.array(out)


def check(model, query, result, target, lawful):
    """Statuses are true, answers are met and lawful, nothing changes that is reported as kept.

    ``lawful`` says of two frames, row by row, whether the second may follow the first.
    """
    said = words(model, query)
    before, already = said[0], met(said, target, said[0])
    np.testing.assert_array_equal(result.status == Status.ALREADY_TARGET, already)
    np.testing.assert_array_equal(result.success, result.status == Status.FOUND)
    assert len(result) == len(query) and result.factual is query
    pd.testing.assert_index_equal(result.counterfactuals.index, query.index)
    assert result.counterfactuals[~result.success].isna().all(axis=None)
    got = result.counterfactuals[result.success].astype(query.dtypes.to_dict())
    asked = query[result.success]
    if isinstance(target, np.ndarray):
        target = target[result.success]
    if len(got):
        said = words(model, got)
        now = said[0]
        assert met(said, target, before[result.success]).all()
        np.testing.assert_array_equal(result.prediction_after[result.success], now)
        np.testing.assert_array_equal(result.target[result.success], now)
        assert lawful(asked, got).all()
    changed = asked.astype(object).ne(got.astype(object)).to_numpy()
    np.testing.assert_array_equal(result.changed[result.success], changed)
    assert (result.n_changes[result.success] == changed.sum(axis=1)).all()


def must_be_found(model, query, target, lawful, X, y):
    """Rows that may become a training row which has, and gets, what was asked for."""
    before, (given, p, classes) = np.ravel(model.predict(query)), words(model, X)
    own = given == np.asarray(y)
    sound, said = X[own], (given[own], None if p is None else p[own], classes)
    out = np.zeros(len(query), dtype=bool)
    for i in range(len(query)):
        one = query.iloc[np.full(len(sound), i)]
        wish = target[i] if isinstance(target, np.ndarray) else target
        out[i] = (met(said, wish, np.repeat(before[i], len(sound))) & lawful(one, sound)).any()
    return out


# --------------------------------------------------------------------- numbers, three classes


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True, as_frame=True)
    X.columns = ["sepal length", "sepal width", "petal length", "petal width"]
    return X, y, X.iloc[[0, 20, 40, 55, 70, 90, 120, 149]]


def no_shorter_petals_or_other_sepals(before, after):
    kept = (before["sepal width"].to_numpy() == after["sepal width"].to_numpy()) & (
        after["petal length"].to_numpy() <= 6
    )
    return kept & (after["petal width"].to_numpy() >= before["petal width"].to_numpy())


def anything(before, after):
    return np.ones(len(before), dtype=bool)


IRIS_RULES = {
    "immutable": ["sepal width"],
    "ranges": {"petal length": (None, 6.0)},
    "increasing": ["petal width"],
}


@pytest.mark.parametrize("ruled", [False, True], ids=["free", "ruled"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_target_of_a_classifier(name, ruled, iris):
    X, y, query = iris
    given, model = trained(CLASSIFIERS[name], X, y)
    lawful = no_shorter_petals_or_other_sepals if ruled else anything
    explainer = CounterfactualExplainer(given, **(IRIS_RULES if ruled else {})).fit(X, y)
    assert explainer.solver_ == ("apg" if name in ("logistic", "mlp") else "search")
    for kind in ("nearest other", "probability") if ruled else TARGETS:
        target = TARGETS[kind]
        asks = isinstance(target, Probability) or (
            isinstance(target, set) and any(isinstance(t, Probability) for t in target)
        )
        if asks and (name == "labels of a function" or not hasattr(model, "predict_proba")):
            with pytest.raises(ValueError, match="must be a class for a model without predict_pr"):
                explainer.explain(query, target)
            continue
        result = explained(explainer, query, target)
        check(model, query, result, target, lawful)
        if not ruled:
            due = must_be_found(model, query, target, lawful, X, y)
            assert (result.success | (result.status == Status.ALREADY_TARGET))[due].all()
            assert due.sum() >= 5 or asks


# --------------------------------------------------------------------- mixed columns, two classes


@pytest.fixture(scope="module")
def loans():
    X, y = make_loan_applications(400, random_state=1)
    return X, y, X[(y == "refused").to_numpy()].iloc[5:13]


def encoded(classifier, one_hot=False):
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    words = make_column_selector(dtype_exclude="number")
    numbers = (StandardScaler(), make_column_selector(dtype_include="number"))
    other = encoder if one_hot else OrdinalEncoder()
    return make_pipeline(make_column_transformer(numbers, (other, words)), classifier)


def loan_rules(before, after):
    kept = (before["sex"].astype(object).to_numpy() == after["sex"].astype(object).to_numpy()) & (
        after["age"].to_numpy() >= before["age"].to_numpy()
    )
    from_rent = before["housing"].to_numpy() == "rent"
    moved = np.isin(after["housing"].to_numpy(), ["rent", "mortgage"])
    return kept & (~from_rent | moved)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_mixed_columns(name, loans):
    X, y, query = loans
    numeric = y.eq("approved").astype(int)  # XGBoost takes no other labels

    def make():
        made = CLASSIFIERS[name]()
        if isinstance(made, tuple):
            return encoded(made[0]), made[1]
        return encoded(made, one_hot=name in ("logistic", "mlp", "neighbours"))

    given, model = trained(make, X, numeric)
    explainer = CounterfactualExplainer(
        given,
        immutable=["sex"],
        increasing=["age"],
        transitions={"housing": {"rent": ["mortgage"]}},
    ).fit(X, numeric)
    result = explained(explainer, query, 1)
    check(model, query, result, 1, loan_rules)
    due = must_be_found(model, query, 1, loan_rules, X, numeric)
    assert (result.success | (result.status == Status.ALREADY_TARGET))[due].all()
    assert due.all()


# --------------------------------------------------------------------- regressors


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    return X, y, X.iloc[[1, 3, 5, 9, 100, 200, 300, 441]]


@pytest.mark.parametrize("target", INTERVALS.values(), ids=INTERVALS)
@pytest.mark.parametrize("name", REGRESSORS)
def test_every_interval_of_a_regressor(name, target, diabetes):
    X, y, query = diabetes
    given, model = trained(REGRESSORS[name], X, y)
    explainer = CounterfactualExplainer(given, immutable=["sex"], increasing=["age"]).fit(X, y)
    low, high = (target if isinstance(target, Interval) else Interval(*target)).ends()
    result = explained(explainer, query, target)
    value = np.ravel(model.predict(query)).astype(float)
    already = (value >= low) & (value <= high)
    np.testing.assert_array_equal(result.status == Status.ALREADY_TARGET, already)
    np.testing.assert_allclose(result.prediction.astype(float), value)
    good = result.success
    now = np.ravel(model.predict(result.counterfactuals[good].astype(X.dtypes.to_dict())))
    low, high = np.broadcast_to(low, N)[good], np.broadcast_to(high, N)[good]
    assert ((now >= low) & (now <= high)).all()
    # Matrix products of other batches differ in the last bit.
    np.testing.assert_allclose(result.prediction_after[good].astype(float), now, rtol=1e-14)
    after = result.counterfactuals[good]
    assert (after["sex"] == query["sex"][good]).all()
    assert (after["age"] >= query["age"][good]).all()
    assert (good | already).sum() >= N - 1 and (~already).sum() >= 3


# --------------------------------------------------------------------- a batch and its rows


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("solver", ["search", "apg"])
def test_a_batch_equals_its_rows(name, solver, iris):
    if solver == "apg" and name not in ("logistic", "mlp"):
        return
    X, y, query = iris
    given, _ = trained(CLASSIFIERS[name], X, y)
    explainer = CounterfactualExplainer(given, solver=solver).fit(X, y)
    target = TARGETS["per row"]
    whole = explained(explainer, query, target)
    assert whole.solver == solver and whole.success.sum() >= 6
    for rows in ([0], [3], [4], [7, 5, 1]):
        part = explained(explainer, query.iloc[rows], target[rows])
        pd.testing.assert_frame_equal(
            part.counterfactuals, whole.counterfactuals.iloc[rows], check_exact=True
        )
        assert part.status.tolist() == whole.status[rows].tolist()


@pytest.mark.parametrize("name", ["logistic", "forest", "labels of a function"])
def test_a_batch_of_mixed_columns_equals_its_rows(name, loans):
    X, y, query = loans

    def make():
        made = CLASSIFIERS[name]()
        return (encoded(made[0]), made[1]) if isinstance(made, tuple) else encoded(made, True)

    given, _ = trained(make, X, y)
    explainer = CounterfactualExplainer(given, immutable=["sex"], max_changes=3).fit(X, y)
    whole = explained(explainer, query, "approved")
    assert whole.success.sum() >= 4
    for rows in ([2], [6], [5, 0]):
        part = explained(explainer, query.iloc[rows], "approved")
        pd.testing.assert_frame_equal(
            part.counterfactuals.astype(object), whole.counterfactuals.iloc[rows].astype(object)
        )


@pytest.mark.parametrize("name", ["linear", "forest"])
def test_a_batch_of_intervals_equals_its_rows(name, diabetes):
    """The densities of a row's interval do not depend on the intervals of the others."""
    X, y, query = diabetes
    given, _ = trained(REGRESSORS[name], X, y)
    explainer = CounterfactualExplainer(given).fit(X, y)
    target = INTERVALS["per row"]
    whole = explained(explainer, query, target)
    low, high = target.ends()
    assert whole.success.sum() >= 4
    for rows in ([0], [3], [6, 2]):
        part = explained(explainer, query.iloc[rows], Interval(low[rows], high[rows]))
        pd.testing.assert_frame_equal(
            part.counterfactuals, whole.counterfactuals.iloc[rows], check_exact=True
        )
