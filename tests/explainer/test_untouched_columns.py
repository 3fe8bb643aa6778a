"""Values that never change are not validated; an unseen level stays where the model takes it."""

import datetime
import pickle
import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
    TargetEncoder,
)
from sklearn.tree import DecisionTreeClassifier

from scfe_sklearn import CounterfactualExplainer, Explanation, Rules
from scfe_sklearn.status import Status

N = 160
RNG = np.random.default_rng(0)
INCOME, AGE = RNG.integers(10, 60, N), RNG.integers(20, 60, N)
OPENED = pd.Timestamp("2015-01-01") + pd.to_timedelta(RNG.integers(0, 3000, N), unit="D")
Y = np.where(INCOME / 10 + AGE / 20 - (OPENED.year - 2015) * 0.3 > 4.5, "yes", "no")

CONTENTS = {
    "date": OPENED,
    "zoned": OPENED.tz_localize("Europe/Rome"),
    "python dates": [day.date() for day in OPENED],
    "timedelta": OPENED - OPENED[0],
    "period": OPENED.to_period("M"),
    "decimal": [Decimal(int(v)) / 7 for v in INCOME],
    "lists": [[1, "a"]] * N,
    "dicts": [{"a": 1}] * N,
    "all missing": np.full(N, np.nan),
    "all None": [None] * N,
    "one infinity": np.r_[np.inf, np.ones(N - 1)],
    "intervals": pd.arrays.IntervalArray.from_breaks(np.arange(N + 1)),
    "arrow": pd.array(list(OPENED), dtype="timestamp[ns][pyarrow]"),
    "complex": np.full(N, 1 + 2j),
}


def explained(explainer, *arguments, **keywords):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* rows have no counterfactual")
        return explainer.explain(*arguments, **keywords)


@pytest.mark.parametrize("solver", ["auto", "search"])
@pytest.mark.parametrize("name", CONTENTS)
def test_immutable_column_of_any_content_passes_through(name, solver):
    X = pd.DataFrame({"income": INCOME, "extra": CONTENTS[name], "age": AGE})
    model = make_column_transformer((StandardScaler(), ["income", "age"]))
    model = make_pipeline(model, LogisticRegression()).fit(X, Y)
    explainer = CounterfactualExplainer(
        FrozenEstimator(model), immutable=["extra"], solver=solver
    ).fit(X, Y)
    query = X[model.predict(X) == "no"][:5].set_axis(list("pqrst"))
    result = explained(explainer, query, "yes", n_counterfactuals=2)
    first = result[::2]
    assert first.success.all() and explainer.space_.kinds_[1] == "held"
    answers = first.counterfactuals
    assert (model.predict(answers) == "yes").all()
    assert answers["extra"].astype(object).equals(query["extra"].astype(object))
    assert not result.changed[:, 1].any()
    texts = [*result.sentences(), repr(result), result._repr_html_(), result.to_html()]
    assert "extra" not in "".join(result.sentences()) and all(texts)
    assert list(result.to_frame().columns[:3]) == ["income", "extra", "age"]
    assert set(result.changes["feature"]) <= {"income", "age"}
    again = pickle.loads(pickle.dumps(explainer)).explain(query, "yes")
    pd.testing.assert_frame_equal(again.counterfactuals.astype(object), answers.astype(object))


@pytest.mark.parametrize(
    "name", ["date", "zoned", "python dates", "timedelta", "decimal", "lists", "all missing"]
)
def test_immutable_column_comes_back_from_json(name):
    X = pd.DataFrame({"income": INCOME, "extra": CONTENTS[name]})
    model = make_pipeline(make_column_transformer((StandardScaler(), ["income"])))
    model = make_pipeline(model, LogisticRegression()).fit(X, Y)
    explainer = CounterfactualExplainer(FrozenEstimator(model), immutable=["extra"]).fit(X, Y)
    result = explainer.explain(X[model.predict(X) == "no"][:3], "yes")
    back = Explanation.from_json(result.to_json())
    pd.testing.assert_frame_equal(back.counterfactuals, result.counterfactuals)
    pd.testing.assert_frame_equal(back.factual, result.factual)


def year(frame):
    return frame.apply(lambda column: column.dt.year)


@pytest.mark.parametrize("head", [LogisticRegression(), DecisionTreeClassifier(random_state=0)])
def test_model_that_reads_a_date_is_answered_with_the_date_of_each_row(head):
    """Against a list of everything that one change of income may do."""
    X = pd.DataFrame({"income": INCOME, "opened": OPENED})
    columns = make_column_transformer(
        (StandardScaler(), ["income"]), (FunctionTransformer(year), ["opened"])
    )
    model = make_pipeline(columns, head).fit(X, Y)
    explainer = CounterfactualExplainer(FrozenEstimator(model), immutable=["opened"], tau=0.0).fit(
        X, Y
    )
    query = X[model.predict(X) == "no"][:20]
    # Days that training has not shown, one of them in another century.
    query = query.assign(opened=query["opened"] + pd.Timedelta(days=400))
    query.iloc[0, 1] = pd.Timestamp("1999-12-31")
    result = explained(explainer, query, "yes")
    for i in range(len(query)):
        every = query.iloc[[i] * 50].assign(income=np.arange(INCOME.min(), INCOME.min() + 50))
        every = every[every["income"] <= INCOME.max()]
        answers = every[model.predict(every) == "yes"]["income"]
        if result.status[i] == Status.ALREADY_TARGET:
            assert model.predict(query.iloc[[i]])[0] == "yes"
        elif len(answers):
            near = abs(answers - query["income"].iloc[i]).min()
            assert result.success[i]
            got = result.counterfactuals["income"].iloc[i]
            assert abs(got - query["income"].iloc[i]) == near
        else:
            assert result.status[i] == Status.UNREACHABLE
    assert result.success.sum() > 8
    alone = explained(explainer, query[3:4], "yes")
    pd.testing.assert_frame_equal(alone.counterfactuals, result[3:4].counterfactuals)


def test_held_columns_of_polars_and_arrays():
    frame = pl.DataFrame({"income": INCOME, "opened": OPENED.to_numpy(), "age": AGE})

    def of_frame(rows):
        return np.where(rows["income"].to_numpy() / 10 + rows["age"].to_numpy() / 20 > 4, "y", "n")

    explainer = CounterfactualExplainer(of_frame, immutable=["opened"])
    explainer.fit(frame, of_frame(frame))
    query = frame.filter(pl.Series(of_frame(frame) == "n"))[:4]
    result = explainer.explain(query, "y")
    assert (of_frame(result.counterfactuals) == "y").all()
    assert result.counterfactuals["opened"].equals(query["opened"])

    array = np.empty((N, 3), dtype=object)
    array[:, 0], array[:, 1], array[:, 2] = INCOME, [day.date() for day in OPENED], AGE

    def of_array(rows):
        late = np.array([day.year >= 2020 for day in rows[:, 1]])
        value = rows[:, 0].astype(float) / 10 + rows[:, 2].astype(float) / 20 - late
        return np.where(value > 4, "y", "n")

    explainer = CounterfactualExplainer(of_array, immutable=[1]).fit(array, of_array(array))
    query = array[of_array(array) == "n"][:6]
    query[0, 1] = datetime.date(1980, 1, 1)
    result = explained(explainer, query, "y")
    assert result.success[1:].all()
    good = result.counterfactuals[result.success]
    assert (of_array(good) == "y").all()
    assert (good[:, 1] == query[result.success, 1]).all()


CITY = np.array(["Rome", "Oslo", "Bern"])[RNG.integers(0, 3, N)]
TOWNS = pd.DataFrame({"income": INCOME, "city": CITY})
LABELS = np.where(INCOME + 8 * (CITY == "Oslo") > 40, "yes", "no")
ENCODERS = {
    "one-hot": OneHotEncoder(handle_unknown="ignore"),
    "ordinal": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    "target": TargetEncoder(cv=3),
    "length": FunctionTransformer(lambda frame: frame.map(lambda v: len(str(v)))),
}
HEADS = {
    "linear": LogisticRegression(C=100.0, max_iter=2000),
    "tree": DecisionTreeClassifier(random_state=0),
}


def towns_model(encoder, head):
    columns = make_column_transformer((StandardScaler(), ["income"]), (encoder, ["city"]))
    return make_pipeline(columns, head).fit(TOWNS, LABELS)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("immutable", [["city"], None], ids=["fixed", "free"])
def test_unseen_level_is_answered_as_the_model_reads_it(encoder, head, immutable):
    """Against a list of every income, and of every city where that may change."""
    model = towns_model(ENCODERS[encoder], HEADS[head])
    explainer = CounterfactualExplainer(
        FrozenEstimator(model), immutable=immutable, tau=0.0, max_changes=1
    ).fit(TOWNS, LABELS)
    query = pd.DataFrame(
        {"income": [12, 25, 30, 20, 55], "city": ["Lima", "A longer name", "Rome", "X", "Lima"]}
    )
    result = explained(explainer, query, "yes")
    incomes = np.arange(INCOME.min(), INCOME.max() + 1)
    for i in range(len(query)):
        row = query.iloc[[i]]
        lists = [row.loc[row.index.repeat(len(incomes))].assign(income=incomes)]
        if immutable is None:
            lists.append(row.loc[row.index.repeat(3)].assign(city=["Rome", "Oslo", "Bern"]))
        every = pd.concat(lists)
        if model.predict(row)[0] == "yes":
            assert result.status[i] == Status.ALREADY_TARGET
            continue
        assert result.success[i] == (model.predict(every) == "yes").any()
        if result.success[i]:
            answer = result.counterfactuals.iloc[[i]]
            assert model.predict(answer)[0] == "yes"
            moves = every[model.predict(every) == "yes"]
            gap = ((moves["income"] - row["income"].iloc[0]) / INCOME.std()) ** 2
            gap += moves["city"] != row["city"].iloc[0]
            np.testing.assert_allclose(result.distance[i] ** 2, gap.min(), atol=1e-9)
            stays = not result.changed[i, 1]
            assert stays == (answer["city"].iloc[0] == row["city"].iloc[0])
        else:
            assert result.status[i] in (Status.UNREACHABLE, Status.NOT_FOUND)
    for i in range(len(query)):
        alone = explained(explainer, query[i : i + 1], "yes")
        assert alone.status[0] == result.status[i]
        assert (
            alone.counterfactuals["income"].tolist()
            == (result[i : i + 1].counterfactuals["income"].tolist())
            or not alone.success[0]
        )
    assert result.success.sum() >= 2


def test_row_that_the_model_refuses_has_its_message_and_others_are_answered():
    model = towns_model(OneHotEncoder(), HEADS["linear"])
    for immutable in (["city"], None):
        explainer = CounterfactualExplainer(FrozenEstimator(model), immutable=immutable)
        explainer.fit(TOWNS, LABELS)
        query = TOWNS[model.predict(TOWNS) == "no"][:6].copy()
        query.iloc[[1, 4], 1] = ["Lima", None]
        result = explained(explainer, query, "yes")
        refused = result.status == Status.INVALID_INPUT
        assert refused.tolist() == [False, True, False, False, True, False]
        assert result.success.tolist() == (~refused).tolist()
        assert result.reason[1].startswith("the model refuses the row: ValueError: Found unknown")


def test_new_text_of_an_immutable_column_is_read_by_the_model():
    words = np.array(["late", "paid", "default", "steady", "fired", "hired", "saver"])
    X = pd.DataFrame({"income": INCOME, "note": [" ".join(RNG.choice(words, 4)) for _ in range(N)]})
    y = np.where(INCOME / 10 + 2 * X["note"].str.count("saver") > 4, "yes", "no")
    model = make_column_transformer((StandardScaler(), ["income"]), (TfidfVectorizer(), "note"))
    model = make_pipeline(model, LogisticRegression(C=10.0)).fit(X, y)
    explainer = CounterfactualExplainer(FrozenEstimator(model), immutable=["note"]).fit(X, y)
    query = pd.DataFrame({"income": [20, 20], "note": ["saver saver paid", "late late fired"]})
    result = explained(explainer, query, "yes")
    good = result.counterfactuals[result.success]
    assert result.success[0] or result.status[0] == Status.ALREADY_TARGET
    assert (model.predict(good) == "yes").all()
    assert result.counterfactuals["note"][result.success].tolist() == (
        query["note"][result.success].tolist()
    )


def test_infinity_passes_in_an_immutable_column_only():
    X = pd.DataFrame({"income": INCOME, "extra": RNG.normal(size=N)})
    model = make_pipeline(make_column_transformer((StandardScaler(), ["income"])))
    model = make_pipeline(model, RandomForestClassifier(5, random_state=0)).fit(X, Y)
    query = X[model.predict(X) == "no"][:4].copy()
    query.iloc[1, 1], query.iloc[2, 1] = np.inf, np.nan
    fixed = CounterfactualExplainer(FrozenEstimator(model), immutable=["extra"]).fit(X, Y)
    result = explained(fixed, query, "yes")
    assert result.success.all()
    assert (model.predict(result.counterfactuals) == "yes").all()
    assert result.counterfactuals["extra"].equals(query["extra"])
    assert np.isfinite(result.distance).all() and np.isfinite(result.log_density).all()
    free = explained(CounterfactualExplainer(FrozenEstimator(model)).fit(X, Y), query, "yes")
    assert free.reason[1] == "infinite value in 'extra'"


def test_very_many_levels_that_never_change_are_held():
    X = pd.DataFrame({"income": INCOME, "id": [f"C{i}" for i in range(N)]})
    X = pd.concat([X] * 2, ignore_index=True).assign(id=[f"C{i}" for i in range(2 * N)])
    y = np.concatenate([Y, Y])
    model = make_pipeline(make_column_transformer((StandardScaler(), ["income"])))
    model = FrozenEstimator(make_pipeline(model, LogisticRegression()).fit(X, y))
    explainer = CounterfactualExplainer(model, immutable=["id"]).fit(X, y)
    assert explainer.space_.kinds_ == ("integer", "held") and explainer.space_.n_coordinates_ == 2
    query = X[model.predict(X) == "no"][:3].assign(id=["new", None, X["id"][0]])
    result = explainer.explain(query, "yes")
    assert result.success.all()
    assert result.counterfactuals["id"].tolist() == query["id"].tolist()
    rule = [({"id": "C1"}, {"income": (0, 40)})]
    with pytest.raises(ValueError, match=r"Got 'id' instead, .* name it in 'categorical'"):
        explainer.explain(query, "yes", rules=Rules(implications=rule))
    named = explainer.set_params(categorical=["id"], implications=rule).fit(X, y)
    assert named.space_.kinds_[1] == "categorical"
