"""What is wrong with the input is said clearly, per call or per row, and no row is lost."""

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from scfe_sklearn.explainer import CounterfactualExplainer
from scfe_sklearn.models import AdapterMismatchError
from scfe_sklearn.rules import Relative, Rules
from scfe_sklearn.status import Status

N = 90


def make_data():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "wage": rng.normal(size=N),
            "years": rng.integers(0, 9, N),
            "job": rng.choice(["cook", "nurse", "pilot"], N),
        }
    )
    y = np.where(X["wage"] + X["years"] / 4 + (X["job"] == "pilot") > 1.2, "yes", "no")
    return X, y


def make_model():
    encode = make_column_transformer(
        (StandardScaler(), ["wage", "years"]), (OneHotEncoder(handle_unknown="ignore"), ["job"])
    )
    return make_pipeline(encode, LogisticRegression())


X, Y = make_data()
MODEL = make_model().fit(X, Y)
FROZEN = FrozenEstimator(MODEL)
QUERY = X[MODEL.predict(X) == "no"][:6]


@pytest.fixture(scope="module")
def explainer():
    return CounterfactualExplainer(FROZEN).fit(X, Y)


def explained(explainer, *arguments, **keywords):
    """Result of explain and the texts of its warnings; checks what holds for every result."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = explainer.explain(*arguments, **keywords)
    assert len(result) == len(arguments[0])
    answers = result.counterfactuals
    assert type(answers) is type(arguments[0])
    failed = ~result.success
    assert pd.DataFrame(answers)[failed].isna().all(axis=None)
    assert pd.DataFrame(answers)[~failed].notna().all(axis=None)
    assert ((result.status == Status.FOUND) == result.success).all()
    for name in ("n_changes", "distance", "log_density", "density_quantile", "probability_after"):
        assert np.isnan(getattr(result, name)[failed]).all()
    lost = int((failed & (result.status != Status.ALREADY_TARGET)).sum())
    texts = [str(w.message) for w in caught]
    assert all(w.filename == __file__ for w in caught)
    expected = f"{lost} of {len(result)} rows have no counterfactual"
    assert len(texts) == (lost > 0)
    assert all(text.startswith(expected) for text in texts)
    return result


# --------------------------------------------------------------------- the call is wrong


@pytest.mark.parametrize("method", ["explain", "score"])
def test_unfitted(method):
    with pytest.raises(NotFittedError, match="This CounterfactualExplainer instance is not fitted"):
        getattr(CounterfactualExplainer(FROZEN), method)(QUERY)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda q: q[["wage", "years"]], r"missing columns \['job'\] and unknown columns \[\]"),
        (lambda q: q.assign(age=1), r"missing columns \[\] and unknown columns \['age'\]"),
        (lambda q: q.rename(columns={"job": "work"}), r"missing columns \['job'\] and .*'work'"),
        (lambda q: q.assign(years="four"), r"Column 'years' of X must hold numbers. Got .*'four'"),
        (lambda q: q.assign(wage=pd.Timestamp("2020-01-01")), "Column 'wage' of X must hold num"),
        (lambda q: pd.concat([q, q[["job"]]], axis=1), r"unique column names. Got \['job'\]"),
        (lambda q: q.iloc[0], "also for one row. Got a Series"),
        (lambda q: [1, 2, 3], "X must be a 2-D array. Got 1 dim"),
        (lambda q: {"wage": 1}, "also for one row. Got a dict"),
        (lambda q: None, "X must be a 2-D array. Got 0 dim"),
        (lambda q: np.zeros((2, 4)), "X must have the 3 columns .* Got 4 instead"),
        (lambda q: np.zeros((2, 2, 2)), "X must be a 2-D array. Got 3 dim"),
    ],
)
def test_query_that_is_not_a_table_of_the_training_columns(change, message, explainer):
    with pytest.raises(ValueError, match=message):
        explainer.explain(change(QUERY))


def test_sparse_input(explainer):
    rows = sp.csr_matrix(X[["wage", "years"]].to_numpy())
    with pytest.raises(TypeError, match="X must be a pandas or polars data frame or a 2-D array"):
        explainer.explain(rows)
    with pytest.raises(TypeError, match="Got a sparse matrix instead"):
        CounterfactualExplainer(LogisticRegression()).fit(rows, Y)


@pytest.mark.parametrize(
    "target",
    [
        "maybe",
        3,
        np.nan,
        b"yes",
        True,
        {},
        {"yes": 1},
        set(),
        {"yes", "maybe"},
        {("yes",)},
        ["yes"],
        ["yes"] * 7,
        [["yes"]] * 6,
        ["yes"] * 5 + ["maybe"],
        ["yes"] * 5 + [None],
        pytest.param(object(), id="object"),
    ],
)
def test_target_that_is_no_class(target, explainer):
    message = r"'target' parameter of explain must be None, a class among \{'no', 'yes'\}.* Got "
    with pytest.raises(ValueError, match=message):
        explainer.explain(QUERY, target)


@pytest.mark.parametrize("rules", [{"immutable": ["wage"]}, ["wage"], "wage"])
def test_rules_that_are_none(rules, explainer):
    with pytest.raises(ValueError, match="'rules' parameter of explain must be a Rules or None"):
        explainer.explain(QUERY, rules=rules)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (Rules(immutable=["age"]), "'immutable' parameter of Rules must name columns of X"),
        (Rules(ranges={"wage": (2, 1)}), r"must have low <= high. Got \(2, 1\) for 'wage'"),
        (Rules(ranges={"wage": (0, "a")}), "'ranges' parameter of Rules must have numbers"),
        (Rules(ranges={"job": (0, 1)}), "Got 'job', which is categorical; use 'transitions'"),
        (Rules(increasing=["job"]), "Got 'job', whose categories have no order"),
        (Rules(transitions={"job": {"boss": []}}), "must use levels of 'job'"),
        (Rules(transitions={"wage": {}}), "Got 'wage', which is numeric; use 'ranges'"),
        (Rules(immutable={"wage": np.ones(5, dtype=bool)}), "one for each of the 6 rows"),
        (Rules(ranges={"wage": (np.zeros(5), None)}), "one number for each of the 6 rows"),
        (Rules(transitions={"job": [[]] * 5}), "one item for each of the 6 rows. Got 5 items"),
        (Rules(increasing=["wage"], decreasing=["wage"]), "must not name the same column"),
    ],
)
def test_rules_that_make_no_sense(rules, message, explainer):
    with pytest.raises(ValueError, match=message):
        explainer.explain(QUERY, rules=rules)
    own = rules.get_params()
    own.pop("also")
    if "rows" not in message:  # the explainer's own rules are refused by fit
        with pytest.raises(ValueError, match=message):
            CounterfactualExplainer(FROZEN, **own).fit(X, Y)


# --------------------------------------------------------------------- the training data


@pytest.mark.parametrize("model", [make_model(), FROZEN], ids=["trained", "frozen"])
@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        (X[:0], Y[:0], r"at least one row and one column. Got shape \(0, 3\)"),
        (X[[]], Y, r"at least one row and one column. Got shape \(90, 0\)"),
        (X["wage"], Y, "also for one row. Got a Series"),
        (X, None, "y must be an array of class labels. Got None"),
        (X, Y[:5], r"one label for each row of X. Got shape \(5,\) for 90 rows"),
        (X, np.stack([Y, Y], axis=1), r"Got shape \(90, 2\) for 90 rows.*one output at a time"),
        (X, "yes", r"one label for each row of X. Got shape \(\) for 90 rows"),
        (X, np.r_[np.nan, np.ones(N - 1)], "y must not hold missing labels"),
        (X, np.array([None, *Y[1:]], dtype=object), "y must not hold missing labels"),
        (X, X["wage"].to_numpy(), "Unknown label type: continuous"),
        (pd.concat([X, X[["job"]]], axis=1), Y, r"unique column names. Got \['job'\]"),
        (X.assign(wage=pd.Timestamp("2020-01-01")), Y, "Column 'wage' of X must hold numbers, bo"),
    ],
    ids=[
        "no rows",
        "no columns",
        "1-D",
        "y is None",
        "short y",
        "column y",
        "scalar y",
        "NaN in y",
        "None in y",
        "continuous y",
        "twin names",
        "dates",
    ],
)
def test_training_data_that_cannot_be_used(rows, labels, message, model):
    with pytest.raises(ValueError, match=message):
        CounterfactualExplainer(model).fit(rows, labels)


def test_one_class():
    with pytest.raises(ValueError, match=r"y must hold at least two classes. Got only \['no'\]"):
        CounterfactualExplainer(make_model()).fit(X, ["no"] * N)
    one = GaussianNB().fit(X[["wage"]], ["no"] * N)
    with pytest.raises(ValueError, match=r"model must have at least two classes. Got \['no'\]"):
        CounterfactualExplainer(FrozenEstimator(one)).fit(X[["wage"]], ["no"] * N)
    refused = X[MODEL.predict(X) == "no"]
    with pytest.raises(ValueError, match=r"Every class must have a training row .* \['yes'\]"):
        CounterfactualExplainer(FROZEN).fit(refused, ["no"] * len(refused))
    # The model says which rows have the other class where the labels do not.
    result = CounterfactualExplainer(FROZEN).fit(X, ["no"] * N).explain(QUERY)
    assert result.success.all()


def test_one_training_row():
    with pytest.raises(ValueError, match="y must hold at least two classes"):
        CounterfactualExplainer(make_model()).fit(X[:1], Y[:1])
    with pytest.raises(ValueError, match="Every class must have a training row"):
        CounterfactualExplainer(FROZEN).fit(X[:1], Y[:1])


def test_two_training_rows_are_enough():
    pair = pd.concat([X[MODEL.predict(X) == "no"][:1], X[MODEL.predict(X) == "yes"][:1]])
    for density in ("lof", "kde", "gmm", "knn"):
        explainer = CounterfactualExplainer(FROZEN, density=density).fit(pair, ["no", "yes"])
        result = explained(explainer, pair)
        assert result.success.all()


def test_labels_of_another_world():
    with pytest.raises(ValueError, match=r"y must hold classes of the model, .* Got 1 instead"):
        CounterfactualExplainer(FROZEN).fit(X, np.ones(N, dtype=int))


def test_missing_and_infinite_training_values():
    holes = X.astype({"years": float}).copy()
    holes.iloc[0, 0] = np.nan
    holes.iloc[5, 1] = np.nan
    explainer = CounterfactualExplainer(FROZEN).fit(holes, Y)
    assert explained(explainer, QUERY).success.all()
    assert sum(len(part) for part in explainer.reference_rows_) <= N - 2
    with pytest.raises(ValueError, match="NaN"):
        CounterfactualExplainer(make_model()).fit(holes, Y)
    with pytest.raises(ValueError, match="'wage' of the training data must have values"):
        CounterfactualExplainer(FROZEN).fit(holes.assign(wage=np.nan), Y)
    every = holes.copy()
    every.loc[::2, "wage"] = np.nan
    every.loc[1::2, "years"] = np.nan
    with pytest.raises(ValueError, match="at least one row without missing or infinite values"):
        CounterfactualExplainer(FROZEN).fit(every, Y)
    holes.iloc[0, 0] = np.inf
    with pytest.raises(ValueError, match="Column 'wage' of the training data must be finite"):
        CounterfactualExplainer(FROZEN).fit(holes, Y)


def test_constant_and_repeated_columns():
    numbers = X[["wage", "years"]]
    for extra in ({"flat": 3}, {"flat": "a"}, {"twin": numbers["wage"]}, {"flat": 0.5, "flip": 1}):
        frame = numbers.assign(**extra)
        used = frame.select_dtypes("number").columns.tolist()
        encode = make_column_transformer(("passthrough", used), (OneHotEncoder(), ["flat"]))
        text = "flat" in extra and isinstance(extra["flat"], str)
        model = make_pipeline(encode, LogisticRegression()) if text else LogisticRegression()
        explainer = CounterfactualExplainer(model).fit(frame, Y)
        result = explained(explainer, frame[:6])
        assert result.success.all()
        constant = [name in ("flat", "flip") for name in frame]
        assert not result.changed[:, constant].any()
        odd = frame[:2] if text else frame[:2].assign(**dict.fromkeys(extra, 4))
        assert not explained(explainer, odd).changed[:, constant].any()


def test_nothing_varies():
    flat = X[["wage", "years"]].assign(wage=1.0, years=2)
    for density in ("lof", "kde", "gmm", "knn"):
        explainer = CounterfactualExplainer(LogisticRegression(), density=density)
        result = explained(explainer.fit(flat, Y), flat[:3])
        assert (result.status == Status.UNREACHABLE).all()


# --------------------------------------------------------------------- the parameters


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("estimator", "logistic"),
        ("estimator", None),
        ("estimator", StandardScaler()),
        ("density", "gauss"),
        ("density", 3),
        ("density", LogisticRegression()),
        ("tau", -1),
        ("tau", np.inf),
        ("tau", np.nan),
        ("tau", "2"),
        ("tau", None),
        ("beta", -0.1),
        ("beta", np.nan),
        ("beta", [1.0]),
        ("max_changes", 0),
        ("max_changes", 1.5),
        ("max_changes", "2"),
        ("immutable", "wage"),
        ("immutable", 1),
        ("increasing", "wage"),
        ("decreasing", 0.5),
        ("ranges", [("wage", 0, 1)]),
        ("ranges", "wage"),
        ("transitions", ["job"]),
        ("categorical", "job"),
        ("ordinal", "job"),
        ("ordinal", 3),
        ("integer", "years"),
        ("continuous", True),
        ("steps", 0.5),
        ("steps", ["wage"]),
        ("chunk_size", 0),
        ("chunk_size", 2.0),
        ("chunk_size", None),
    ],
)
def test_parameter_of_a_wrong_type_or_range(name, value):
    explainer = CounterfactualExplainer(FROZEN).set_params(**{name: value})
    message = f"The '{name}' parameter of CounterfactualExplainer must be .* Got .* instead"
    with pytest.raises(ValueError, match=message):
        explainer.fit(X, Y)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"categorical": ["age"]}, "must name columns of X"),
        ({"integer": ["job"]}, "'integer', .* must name numeric columns. Got 'job'"),
        ({"continuous": ["age"]}, "must name columns of X"),
        ({"steps": {"wage": 0.0}}, "'steps' parameter"),
        ({"steps": {"wage": -1}}, "'steps' parameter"),
        ({"steps": {"age": 1}}, "must name columns of X"),
        ({"ordinal": {"job": ["cook", "nurse"]}}, "'ordinal' parameter .* no place for .'pilot'"),
        ({"ordinal": ["job"]}, "'ordinal' parameter"),
        ({"categorical": ["years"], "integer": ["years"]}, "years"),
    ],
)
def test_parameters_that_do_not_fit_the_columns(parameters, message):
    with pytest.raises(ValueError, match=message):
        CounterfactualExplainer(FROZEN, **parameters).fit(X, Y)


def test_estimators_without_answers():
    with pytest.raises(ValueError, match=r"y must hold finite numbers for a regressor. Got <U3"):
        line = LinearRegression().fit(X[["wage"]], Y == "yes")
        CounterfactualExplainer(FrozenEstimator(line)).fit(X[["wage"]], Y)
    with pytest.raises(ValueError, match=r"'estimator' parameter of .* Got StandardScaler\(\) ins"):
        CounterfactualExplainer(StandardScaler()).fit(X[["wage"]], Y)
    with pytest.raises(NotFittedError, match="LogisticRegression instance is not fitted"):
        CounterfactualExplainer(FrozenEstimator(LogisticRegression())).fit(X[["wage"]], Y)


class ThreeColumns:
    """Says less than its probabilities do."""

    classes_ = np.array(["no", "yes"])

    def predict_proba(self, rows):
        return np.full((len(rows), 3), 1 / 3)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            lambda rows: np.zeros(3),
            r"one prediction for each row. Got .* \(3,\) for",
        ),
        (lambda rows: "yes", r"one prediction for each row. Got an array of shape \(\) for"),
        (lambda rows: np.ones((len(rows), 5)), r"of the classes \['no', 'yes'\]. Got .* \(2, 5\)"),
        (ThreeColumns(), r"of the classes \['no', 'yes'\]. Got an array of shape \(2, 3\)"),
    ],
)
def test_answers_of_another_shape(model, message):
    with pytest.raises(ValueError, match="'estimator' parameter of .*" + message):
        CounterfactualExplainer(model).fit(X, Y)


def test_an_ensemble_of_what_is_no_model():
    with pytest.raises(ValueError, match=r"'ensemble' parameter of .* Got 'twice' in it"):
        CounterfactualExplainer(FROZEN, ensemble=["twice"]).fit(X, Y)


def test_best_effort_is_a_bool(explainer):
    with pytest.raises(ValueError, match=r"'best_effort' parameter of explain .* Got 'some'"):
        explainer.explain(X[:1], best_effort="some")


# --------------------------------------------------------------------- some rows are wrong


def test_rows_that_cannot_be_read(explainer):
    query = QUERY.astype({"years": float}).copy()
    query.iloc[0, 0] = np.nan
    query.iloc[1, 0] = np.inf
    query.iloc[2, 1] = -np.inf
    query.iloc[3, 2] = "astronaut"
    query = query[:5]
    result = explained(explainer, query, "yes")
    assert result.status.tolist() == [Status.INVALID_INPUT] * 3 + [Status.FOUND] * 2
    assert result.reason.tolist() == [
        "missing value in 'wage'",
        "infinite value in 'wage'",
        "infinite value in 'years'",
        "",
        "",
    ]
    assert result.prediction[:3].tolist() == [None] * 3
    assert np.isnan(result.probability_before[:3]).all()
    # The model has a place for levels that training has not shown.
    assert (MODEL.predict(result.counterfactuals[3:]) == "yes").all()
    alone = explained(explainer, query[4:], "yes")
    pd.testing.assert_frame_equal(alone.counterfactuals, result.counterfactuals[4:])
    for i in range(3):
        assert explained(explainer, query[i : i + 1]).status[0] == Status.INVALID_INPUT


def test_an_unknown_category_dtype_is_a_matter_of_its_rows(explainer):
    result = explained(explainer, QUERY.assign(job="boss"))
    assert result.success.all() and (MODEL.predict(result.counterfactuals) == "yes").all()
    labels = pd.Categorical(QUERY["job"], categories=["pilot", "nurse", "cook", "boss"])
    result = explained(explainer, QUERY.assign(job=labels))
    assert result.success.all()
    assert result.counterfactuals["job"].dtype == labels.dtype


def test_a_missing_category_that_training_knew_is_a_level():
    frame = X.astype({"job": object}).copy()
    frame.loc[::7, "job"] = None
    model = make_model().fit(frame, Y)
    explainer = CounterfactualExplainer(FrozenEstimator(model)).fit(frame, Y)
    query = frame[model.predict(frame) == "no"]
    query = query[query["job"].isna()][:3]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = explainer.explain(query, "yes")
    assert result.success.all()
    assert (model.predict(result.counterfactuals) == "yes").all()


def test_no_rows(explainer):
    result = explained(explainer, QUERY[:0], "yes")
    assert len(result) == 0
    assert result.counterfactuals.dtypes.equals(QUERY.dtypes)
    assert result.changes.empty
    assert result.sentences() == []
    assert result.summary()["rows"].item() == 0
    assert len(explained(explainer, QUERY[:0], [])) == 0
    assert len(explained(explainer, QUERY[:0], rules=Rules(immutable=["wage"]))) == 0
    with pytest.raises(ValueError, match="X must have at least one row to be scored"):
        explainer.score(QUERY[:0])


def test_one_row(explainer):
    result = explained(explainer, QUERY[:1], ["yes"])
    assert result.success.tolist() == [True]


def test_rows_that_have_their_target_already(explainer):
    result = explained(explainer, X[:20], "yes")
    already = MODEL.predict(X[:20]) == "yes"
    assert 0 < already.sum() < 20
    assert ((result.status == Status.ALREADY_TARGET) == already).all()
    assert (result.target == "yes").all()
    assert (explained(explainer, QUERY, "no").status == Status.ALREADY_TARGET).all()
    assert (explained(explainer, QUERY, {"yes", "no"}).status == Status.ALREADY_TARGET).all()


def test_everything_immutable(explainer):
    for rules in (
        Rules(immutable=list(X)),
        Rules(immutable={name: np.ones(len(QUERY), dtype=bool) for name in X}),
        Rules(immutable=["wage", "years"], transitions={"job": [[]] * len(QUERY)}),
    ):
        result = explained(explainer, QUERY, "yes", rules=rules)
        assert (result.status == Status.UNREACHABLE).all()
        assert (result.reason == "no feature may change").all()
    frozen = CounterfactualExplainer(FROZEN, immutable=list(X)).fit(X, Y)
    assert (explained(frozen, QUERY).status == Status.UNREACHABLE).all()


def test_rows_whose_rules_contradict_one_another(explainer):
    n = len(QUERY)
    odd = np.arange(n) % 2 == 1
    for rules in (
        Rules(ranges={"wage": (np.where(odd, 2.0, np.nan), 1.0)}),
        Rules(ranges={"wage": (np.where(odd, 2.0, -3.0), np.where(odd, 1.0, 3.0))}),
        Rules(increasing={"wage": np.ones(n, dtype=bool)}, decreasing={"wage": odd}),
        Rules(ranges={"years": Relative(np.where(odd, 1.0, 0.0), 0.0)}),
    ):
        result = explained(explainer, QUERY, "yes", rules=rules)
        assert (result.status[odd] == Status.CONFLICTING_RULES).all()
        assert all("wage" in text or "years" in text for text in result.reason[odd])
        assert not (result.status[~odd] == Status.CONFLICTING_RULES).any()


def test_rules_of_explainer_and_call_that_contradict_one_another():
    rich = CounterfactualExplainer(FROZEN, ranges={"wage": (1, 2)}).fit(X, Y)
    result = explained(rich, QUERY, rules=Rules(ranges={"wage": (-1, 0)}))
    assert (result.status == Status.CONFLICTING_RULES).all()
    up = CounterfactualExplainer(FROZEN, increasing=["wage"]).fit(X, Y)
    with pytest.raises(ValueError, match="must not name the same column"):
        up.explain(QUERY, rules=Rules(decreasing=["wage"]))


# --------------------------------------------------------------------- the model is wrong


class Broken(torch.nn.Module):
    """Sign of the first column; NaN where that is above a limit."""

    def __init__(self, limit):
        super().__init__()
        self.limit = limit
        self.weight = torch.nn.Parameter(torch.tensor([[1.0, 0.0]], dtype=torch.float64))

    def forward(self, x):
        logit = x @ self.weight.T
        logits = torch.cat([-logit, logit], dim=1)
        return torch.where(x[:, :1] > self.limit, torch.nan, logits)


def test_a_model_whose_output_is_nan_at_fit():
    rows, labels = X[["wage", "years"]], (X["wage"] > 0).astype(int)
    for limit in (-10.0, 0.5):
        count = int((rows["wage"] > limit).sum())
        with pytest.raises(
            ValueError, match=rf"finite output on the training .* NaN for {count} of 90 rows"
        ):
            CounterfactualExplainer(Broken(limit)).fit(rows, labels)
        with pytest.raises(AdapterMismatchError, match=r"returns NaN for .* of 90 rows"):
            CounterfactualExplainer(Broken(limit), solver="apg").fit(rows, labels)


def test_a_model_whose_output_is_nan_for_some_rows():
    rows, labels = X[["wage", "years"]].clip(upper=1.4), (X["wage"] > 0).astype(int)
    explainer = CounterfactualExplainer(Broken(1.5)).fit(rows, labels)
    query = rows[:8].assign(wage=[9.0, -1.0, -0.5, 2.0, -0.1, -2.0, 0.5, 1.6])
    result = explained(explainer, query)
    bad = query["wage"].to_numpy() > 1.5
    assert (result.status[bad] == Status.MODEL_FAILED).all()
    assert (result.prediction[bad] == np.array([None])).all()
    assert result.success[~bad].all()
    assert np.isfinite(explainer.estimator_.predict_proba(result.counterfactuals[~bad])).all()
    assert (explained(explainer, query[bad]).status == Status.MODEL_FAILED).all()


def test_a_pipeline_that_refuses_rows_it_cannot_transform():
    rows = X[["wage", "years"]].abs()
    model = make_pipeline(FunctionTransformer(np.log1p), LogisticRegression())
    explainer = CounterfactualExplainer(model).fit(rows, Y)
    query = rows[:5].copy()
    query.iloc[1, 0] = -4.0
    result = explained(explainer, query)
    assert result.status.tolist() == [
        Status.MODEL_FAILED if i == 1 else Status.FOUND for i in range(5)
    ]
    assert result.reason[1] == "the model raises ValueError: Input X contains NaN."
