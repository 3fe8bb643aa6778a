"""Scorers against scores by hand, and searches over the parameters of an explainer."""

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_wine
from sklearn.exceptions import NotFittedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    StratifiedKFold,
)
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from scfe_sklearn import (
    CounterfactualExplainer,
    CounterfactualTransformer,
    RecoursePipeline,
    RecourseScorer,
    SparsestValid,
    Status,
)
from scfe_sklearn.datasets import make_loan_applications
from scfe_sklearn.densities import GaussianKDE
from scfe_sklearn.scoring import METRICS, recourse_components

pytestmark = pytest.mark.filterwarnings("ignore:.*rows have no counterfactual")
X, Y = make_loan_applications(240, random_state=0)
BOUND = ["credit_score", "income", "savings", "loan_amount"]
NUMBERS = ["age", "income", "savings", "late_payments"]
FOLDS = StratifiedKFold(2)


def preprocessing():
    return make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
    )


def explainer(**parameters):
    return CounterfactualExplainer(
        make_pipeline(preprocessing(), LogisticRegression()), **parameters
    )


@pytest.fixture(scope="module")
def fitted():
    return explainer(max_changes=1, immutable=BOUND).fit(X, Y)


@pytest.mark.parametrize("target", [None, "approved"])
def test_every_metric_is_the_mean_that_its_definition_says(fitted, target):
    got = RecourseScorer(METRICS, target=target)(fitted, X[:60])
    result = fitted.explain(X[:60], target)
    sums, count = dict.fromkeys(METRICS, 0.0), 0
    for i in range(60):
        if result.status[i] == Status.ALREADY_TARGET:
            continue
        count += 1
        if not result.success[i]:
            continue
        code = int(np.flatnonzero(fitted.classes_ == result.target[i])[0])
        lof = LocalOutlierFactor(n_neighbors=20, novelty=True).fit(fitted.reference_rows_[code])
        one = lof.score_samples(fitted.space_.encode(result.counterfactuals.iloc[[i]]))[0]
        parts = {
            "few_changes": 1 / result.n_changes[i],
            "near": 1 / (1 + result.distance[i]),
            "plausible": np.mean(lof.negative_outlier_factor_ <= one),
        }
        sums["validity"] += 1
        for name, value in parts.items():
            sums[name] += value
        sums["recourse"] += (
            max(parts["plausible"], 0.01) * parts["few_changes"] * parts["near"]
        ) ** (1 / 3)
    assert count > 0
    assert not result.success.all()  # rows without an answer are counted, as 0
    assert got == pytest.approx({name: value / count for name, value in sums.items()})


def test_one_metric_is_a_number_and_several_are_a_dict(fitted):
    number = RecourseScorer("near")(fitted, X[:10])
    assert isinstance(number, float)
    assert RecourseScorer(["near"])(fitted, X[:10]) == {"near": number}


def test_max_rows_asks_about_rows_spread_over_the_fold(fitted):
    few = RecourseScorer("recourse", max_rows=3)(fitted, X[:41])
    assert few == RecourseScorer("recourse")(fitted, X.iloc[[0, 20, 40]])


def test_nobody_in_need_is_no_score(fitted):
    approved = X[fitted.estimator_.predict(X) == "approved"][:5]
    assert np.isnan(RecourseScorer(target="approved")(fitted, approved))


def test_score_is_the_recourse_by_the_density_of_the_explainer(fitted):
    result = fitted.explain(X[:20])
    good = result.success
    plausible = np.maximum(result.density_quantile, 0.01)
    parts = (plausible / result.n_changes / (1 + result.distance)) ** (1 / 3)
    assert fitted.score(X[:20]) == pytest.approx(parts[good].sum() / 20)


@pytest.mark.parametrize("density", ["lof", "kde"])
def test_the_best_tau_lies_inside_a_grid(density):
    rows, labels = load_wine(return_X_y=True, as_frame=True)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, labels)
    one = CounterfactualExplainer(FrozenEstimator(model), density=density).fit(rows, labels)
    asked = rows[::6]
    scores = [one.set_params(tau=tau).score(asked) for tau in (0, 1, 4, 10, 100)]
    assert 0 < int(np.argmax(scores)) < 4
    # The default is not far from the best.
    assert one.set_params(tau=2).score(asked) > 0.8 * max(scores) > 0


def test_an_outlier_scores_more_than_no_answer():
    class Result:
        success = np.array([True, False])
        n_changes = np.array([1.0, np.nan])
        distance = np.array([1.0, np.nan])

    parts = recourse_components(Result(), np.array([0.0, np.nan]))
    assert parts["plausible"].tolist() == [0, 0]
    assert parts["recourse"].tolist() == pytest.approx([(0.01 / 2) ** (1 / 3), 0])


def test_the_plausible_metric_does_not_depend_on_the_density():
    # One row that can only go to one place: whatever the density, the answer is the same.
    rows = np.repeat(np.array([[0.0], [1.0]]), [40, 40], axis=0)
    rows += np.tile(np.linspace(0, 0.1, 40), 2)[:, None]
    labels = np.repeat([0, 1], 40)
    model = LogisticRegression(C=1e4).fit(rows, labels)
    scores = [
        RecourseScorer("plausible")(
            CounterfactualExplainer(FrozenEstimator(model), density=density, tau=0.0).fit(
                rows, labels
            ),
            rows[:5],
        )
        for density in ("kde", "gmm", "knn", "lof")
    ]
    assert len(set(scores)) == 1


def test_scorers_look_through_pipelines_and_transformers(fitted):
    scorer = RecourseScorer(METRICS, max_rows=8)
    pipeline = RecoursePipeline(
        [
            ("columns", preprocessing()),
            ("explain", CounterfactualExplainer(LogisticRegression(), max_changes=1)),
        ]
    )
    pipeline["explain"].immutable = BOUND
    assert scorer(pipeline.fit(X, Y), X) == pytest.approx(scorer(fitted, X))
    transformer = CounterfactualTransformer(explainer(max_changes=1, immutable=BOUND))
    assert scorer(transformer.fit(X, Y), X) == pytest.approx(scorer(fitted, X))


def test_a_regressor_is_asked_for_the_other_side_of_the_median():
    rows = np.linspace(0, 10, 60)[:, None]
    fitted = CounterfactualExplainer(LinearRegression(), continuous=[0]).fit(rows, rows[:, 0])
    # 4 must become more than 5, 6.5 at most 5: each is answered, by one change.
    scores = RecourseScorer(["validity", "few_changes"])(fitted, np.array([[4.0], [6.5]]))
    assert scores == {"validity": 1.0, "few_changes": 1.0}
    assert 0 < fitted.score(rows[:4]) < 1


@pytest.mark.parametrize(
    ("scorer", "match"),
    [
        (RecourseScorer("sparsity"), "'metric' parameter of RecourseScorer must be among"),
        (RecourseScorer([]), "'metric' parameter of RecourseScorer must be among"),
        (RecourseScorer(max_rows=0), r"'max_rows' .* must be an int in \[1, inf\) or None"),
        (RecourseScorer(max_rows=True), "Got True"),
    ],
)
def test_scorers_refuse_what_they_do_not_know(scorer, match, fitted):
    with pytest.raises(ValueError, match=match):
        scorer(fitted, X[:2])


def results(validity, few, good):
    return {
        "mean_test_validity": validity,
        "mean_test_few_changes": few,
        "mean_test_recourse": good,
    }


@pytest.mark.parametrize(
    ("table", "chosen"),
    [
        (results([0.99, 0.5, 1.0], [0.4, 0.9, 0.6], [0.5, 0.9, 0.1]), 2),
        (results([0.2, 0.6, 0.6], [0.9, 0.3, 0.4], [0.9, 0.9, 0.1]), 2),
        (results([1.0, 1.0, 1.0], [0.4, 0.4, 0.4], [0.5, 0.7, 0.7]), 1),
        (results([1.0, np.nan], [0.4, np.nan], [0.5, np.nan]), 0),
    ],
    ids=["sparsest of the valid", "none is valid enough", "ties", "a failed candidate"],
)
def test_the_sparsest_of_the_valid_is_chosen(table, chosen):
    assert SparsestValid(0.95)({k: np.array(v) for k, v in table.items()}) == chosen


def test_the_rule_refuses_bad_questions():
    with pytest.raises(ValueError, match=r"'validity' parameter .* in \[0, 1\]. Got 2"):
        SparsestValid(2)(results([1], [1], [1]))
    with pytest.raises(ValueError, match=r"Got none of \['few_changes', 'recourse'\]"):
        SparsestValid()({"mean_test_validity": [1]})


def test_a_grid_over_weights_budget_and_the_density_with_its_parameters():
    search = GridSearchCV(
        explainer(),
        [
            {"tau": [0.5, 5.0], "beta": [0.0, 4.0], "max_changes": [1, "fewest"]},
            {"density": [GaussianKDE()], "density__bandwidth": [0.5, 2.0]},
        ],
        scoring=RecourseScorer(METRICS, target="approved", max_rows=6),
        refit=SparsestValid(0.9),
        cv=FOLDS,
        error_score="raise",
    ).fit(X[:120], Y[:120])
    table = search.cv_results_
    assert len(table["params"]) == 10
    for name in METRICS:
        values = table[f"mean_test_{name}"]
        assert ((values >= 0) & (values <= 1)).all()
    assert search.best_index_ == SparsestValid(0.9)(table)
    assert search.best_estimator_.explain(X[:2]).success.all()
    # By hand, the first fold of one candidate.
    train, test = next(FOLDS.split(X[:120], Y[:120]))
    one = clone(explainer()).set_params(**table["params"][3]).fit(X.iloc[train], Y[train])
    score = RecourseScorer("recourse", target="approved", max_rows=6)(one, X.iloc[test])
    assert table["split0_test_recourse"][3] == pytest.approx(score)


@pytest.mark.parametrize("kind", ["explainer", "frozen", "pipeline"])
def test_a_search_over_sorted_labels_keeps_the_classes_in_every_fold(kind):
    order = np.argsort(Y[:120], kind="stable")
    rows, labels = X[NUMBERS].iloc[order], Y[order]
    model = make_pipeline(StandardScaler(), LogisticRegression())
    if kind == "frozen":
        model = FrozenEstimator(model.fit(rows, labels))
    one = CounterfactualExplainer(model)
    grid = {"tau": [1.0, 4.0]}
    if kind == "pipeline":
        one, grid = RecoursePipeline([("explain", one)]), {"explain__tau": [1.0, 4.0]}
    search = GridSearchCV(one, grid, cv=2, error_score="raise").fit(rows, labels)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert is_classifier(one)
    np.testing.assert_array_equal(
        search.best_estimator_.predict(rows), clone(model).fit(rows, labels).predict(rows)
    )


def test_an_explainer_predicts_as_its_model():
    rows = X[NUMBERS]
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, Y)
    one = CounterfactualExplainer(FrozenEstimator(model))
    with pytest.raises(NotFittedError):
        one.predict(rows)
    one.fit(rows, Y)
    for method in ("predict", "predict_proba", "decision_function"):
        np.testing.assert_array_equal(getattr(one, method)(rows), getattr(model, method)(rows))
    assert not hasattr(CounterfactualExplainer(LinearRegression()), "predict_proba")


def test_random_and_halving_searches():
    grid = {"tau": [0.5, 5.0], "max_changes": [1, 2]}
    scorer = RecourseScorer(max_rows=4)
    random = RandomizedSearchCV(
        explainer(), grid, n_iter=2, scoring=scorer, cv=FOLDS, random_state=0, error_score="raise"
    ).fit(X[:120], Y[:120])
    halving = HalvingGridSearchCV(
        explainer(),
        grid,
        scoring=scorer,
        cv=FOLDS,
        min_resources=60,
        factor=2,
        random_state=0,
        error_score="raise",
    ).fit(X[:120], Y[:120])
    for search in (random, halving):
        assert 0 < search.best_score_ < 1
        assert search.best_params_["tau"] in grid["tau"]


def counted(monkeypatch, cls):
    """Count the calls of ``fit`` of a class."""
    calls = []
    fit = cls.fit

    def counting(self, *args, **options):
        calls.append(1)
        return fit(self, *args, **options)

    monkeypatch.setattr(cls, "fit", counting)
    return calls


def test_models_and_densities_are_fitted_once_per_fold(tmp_path, monkeypatch):
    models, densities = counted(monkeypatch, LogisticRegression), counted(monkeypatch, GaussianKDE)

    def search(memory):
        del models[:], densities[:]
        found = GridSearchCV(
            explainer(density=GaussianKDE(bandwidth=0.5), memory=memory),
            {"tau": [0.5, 5.0], "max_changes": [1, 2]},
            scoring=RecourseScorer(METRICS, max_rows=4),
            refit="recourse",
            cv=FOLDS,
            error_score="raise",
        ).fit(X[:100], Y[:100])
        return found.cv_results_, len(models), len(densities)

    plain, n_models, n_densities = search(None)
    assert (n_models, n_densities) == (9, 18)  # 4 candidates x 2 folds and the refit, 2 classes
    kept, n_models, n_densities = search(str(tmp_path))
    assert (n_models, n_densities) == (3, 6)
    for name in METRICS:
        np.testing.assert_array_equal(kept[f"mean_test_{name}"], plain[f"mean_test_{name}"])
    assert search(str(tmp_path))[1:] == (0, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"density": GaussianKDE(bandwidth=0.6)},
        {"density": "gmm"},
        {"estimator": make_pipeline(StandardScaler(), LogisticRegression(C=0.1))},
        "rows",
        "labels",
        "names",
    ],
    ids=str,
)
def test_the_memory_tells_different_questions_apart(change, tmp_path):
    rows, labels = X[NUMBERS].iloc[:80], Y[:80]
    model = make_pipeline(StandardScaler(), LogisticRegression())
    first = CounterfactualExplainer(model, density=GaussianKDE(bandwidth=0.5), memory=str(tmp_path))
    first.fit(rows, labels)
    second, asked = clone(first), rows[:5]
    if change == "rows":
        rows = rows * 1.5
    elif change == "labels":
        labels = np.where(np.arange(80) % 7 == 0, "approved", labels)
    elif change == "names":
        rows = rows.rename(columns={"age": "years"})
        asked = asked.rename(columns={"age": "years"})
    else:
        second.set_params(**change)
    alone = clone(second).set_params(memory=None).fit(rows, labels).explain(asked)
    cached = second.fit(rows, labels).explain(asked)
    np.testing.assert_array_equal(cached.log_density, alone.log_density)
    np.testing.assert_array_equal(cached.distance, alone.distance)


def test_a_memory_must_be_one():
    with pytest.raises(ValueError, match="The 'memory' parameter of CounterfactualExplainer must"):
        explainer(memory=3).fit(X, Y)
