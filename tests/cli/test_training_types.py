"""A csv file forgets the types of its columns; the training rows remember them."""

import io
import string

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from scfe_sklearn import CounterfactualExplainer, save
from scfe_sklearn.cli import main
from scfe_sklearn.cli.messages import Refusal
from scfe_sklearn.cli.query import as_trained
from scfe_sklearn.cli.tables import match_texts, read_guessed, read_texts

pytestmark = pytest.mark.filterwarnings("ignore:.*have no counterfactual")
N = 60


def frame_of_all_types():
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "float": random.normal(size=N),
            "whole": random.integers(-5, 5, N),
            "small": random.integers(0, 200, N).astype("uint8"),
            "single": random.normal(size=N).astype("float32"),
            "true": random.random(N) > 0.5,
            "nullable": pd.array([3, 1, 2] * (N // 3), dtype="Int64"),
            "maybe": pd.array([True, False, True] * (N // 3), dtype="boolean"),
            "text": ["a", "None", "007"] * (N // 3),
            "city": pd.Categorical(["x", "y", "NA"] * (N // 3)),
            "grade": pd.Categorical([1, 2, 3] * (N // 3), ordered=True),
            "code": pd.Categorical([10.0, 20.0, 30.5] * (N // 3)),
        }
    )


def test_every_number_is_read_to_its_last_bit(tmp_path):
    random = np.random.default_rng(0)
    numbers = random.normal(size=2000) * 10.0 ** random.integers(-12, 12, 2000)
    words = ["inf", "-inf", "5e-324", " 0.1 ", "1E3", "+.5", "7."]
    texts = pd.DataFrame({"a": [*map(repr, numbers.tolist()), *words]})
    file = tmp_path / "numbers.csv"
    texts.to_csv(file, index=False)
    exact = np.array([float(text) for text in texts["a"]])  # Python's own reading
    np.testing.assert_array_equal(read_guessed("--data", str(file))["a"], exact)
    X = pd.DataFrame({"a": np.linspace(0, 1, 20)})
    explainer = CounterfactualExplainer(LinearRegression()).fit(X, X["a"])
    read = as_trained(read_texts("--data", str(file)), explainer, "file")["a"]
    np.testing.assert_array_equal(read, exact)


@pytest.mark.parametrize("word", ["True", "1_000", "0x10", "1,5", "--1"])
def test_what_is_no_number_is_refused(tmp_path, word):
    X = pd.DataFrame({"a": np.linspace(0, 1, 20)})
    explainer = CounterfactualExplainer(LinearRegression()).fit(X, X["a"])
    rows = pd.DataFrame({"a": ["0.5", word]}, dtype=object)
    with pytest.raises(Refusal, match="must hold numbers in the column 'a'"):
        as_trained(rows, explainer, "file")


def fit(frame, model=None):
    model = model or make_pipeline(
        make_column_transformer(
            (StandardScaler(), make_column_selector(dtype_include="number")),
            (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
        ),
        LogisticRegression(),
    )
    labels = (frame["float"] + (frame["whole"] > 0) > 0).map({True: "yes", False: "no"})
    return CounterfactualExplainer(model).fit(frame, labels)


@pytest.fixture(scope="module")
def explainer():
    return fit(frame_of_all_types())


def read_back(text, explainer, folder):
    file = folder / "data.csv"
    file.write_text(text, encoding="utf-8")
    return as_trained(read_texts("--data", str(file)), explainer, "file")


def test_every_type_survives_a_csv(explainer, tmp_path):
    frame = frame_of_all_types()
    shuffled = frame[frame.columns[::-1]].assign(more=1)
    again = read_back(shuffled.to_csv(index=False), explainer, tmp_path)
    pd.testing.assert_frame_equal(again, frame, check_exact=True)


def test_every_type_survives_a_csv_with_a_mark_and_spreadsheet_habits(explainer, tmp_path):
    frame = frame_of_all_types()
    written = frame.assign(
        true=frame["true"].map({True: "TRUE", False: "FALSE"}),
        maybe=frame["maybe"].map({True: "yes", False: "no"}),
        whole=frame["whole"].map("{:.1f}".format),
        grade=frame["grade"].astype(int).map("{:.2f}".format),
    )
    again = read_back("\ufeff" + written.to_csv(index=False), explainer, tmp_path)
    pd.testing.assert_frame_equal(again, frame, check_exact=True)


@pytest.mark.parametrize("ending", [".csv.gz", ".csv.bz2", ".csv.xz", ".tsv"])
def test_compressed_files_and_tabs(explainer, tmp_path, ending):
    frame, file = frame_of_all_types(), str(tmp_path / f"data{ending}")
    frame.to_csv(file, index=False, sep="\t" if ending == ".tsv" else ",")
    again = as_trained(read_texts("--data", file), explainer, "file")
    pd.testing.assert_frame_equal(again, frame, check_exact=True)
    assert list(read_guessed("--data", file).columns) == list(frame.columns)


def test_parquet_of_other_types_is_brought_to_those_of_training(explainer, tmp_path):
    frame = frame_of_all_types()
    pytest.importorskip("pyarrow")
    other = frame.astype(
        {"whole": float, "small": "int64", "city": str, "grade": "int64", "nullable": float}
    )
    other.to_parquet(tmp_path / "data.parquet")
    read = read_texts("--data", str(tmp_path / "data.parquet"))
    again = as_trained(read, explainer, "file")
    pd.testing.assert_frame_equal(again, frame, check_exact=True)


def test_missing_values_and_unknown_levels_stay_what_they_are(explainer, tmp_path):
    frame = frame_of_all_types()[:3].astype(object)
    holes = ["float", "whole", "true", "nullable", "maybe", "text", "city", "grade"]
    frame.loc[0, holes] = np.nan
    frame.loc[1, ["text", "city", "grade"]] = ["new", "nowhere", 9]
    again = read_back(frame.to_csv(index=False), explainer, tmp_path)
    assert again.loc[0, holes].isna().all()
    assert int(again.isna().to_numpy().sum()) == len(holes)
    assert again["whole"].dtype == "Int64"
    assert again["true"].dtype == "boolean"
    assert again.loc[1, ["text", "city"]].tolist() == ["new", "nowhere"]
    assert again.loc[2, "text"] == "007"
    result = explainer.explain(again)
    # The model takes levels that it has not seen, and no missing numbers.
    assert result.status.tolist() == ["invalid input", "found", "found"]


def test_whole_numbers_beside_missing_ones_are_written_as_such(tmp_path, capsys):
    pytest.importorskip("skops.io")
    frame = frame_of_all_types()[["float", "whole", "small"]]
    made = fit(frame, make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()))
    save_to = str(tmp_path / "explainer.skops")
    save(made, save_to)
    question = frame[:6].astype(object)
    question.loc[1, "whole"] = np.nan
    question.to_csv(tmp_path / "data.csv", index=False)
    options = ["--model", save_to, "--data", str(tmp_path / "data.csv")]
    code = main(["explain", *options, "--out", "-"])
    printed, said = capsys.readouterr()
    assert code == 0, said
    answers = pd.read_csv(io.StringIO(printed), dtype=str)
    found = answers["success"] == "True"
    assert found[1]
    assert not answers["whole"][found].dropna().str.contains(".", regex=False).any()


@pytest.mark.parametrize(
    ("column", "text", "words"),
    [
        ("float", "12,5", "numbers in the column 'float'"),
        ("whole", "many", "'many' in row 2"),
        ("true", "perhaps", "true or false in the column 'true'"),
    ],
)
def test_texts_in_the_place_of_numbers_are_refused(explainer, tmp_path, column, text, words):
    frame = frame_of_all_types()[:3].astype(object)
    frame.loc[1, column] = text
    with pytest.raises(Refusal, match=words):
        read_back(frame.to_csv(index=False), explainer, tmp_path)


def test_missing_columns_are_named(explainer, tmp_path):
    frame = frame_of_all_types().drop(columns=["city", "grade"])
    with pytest.raises(Refusal, match=r"none called \['city', 'grade'\]"):
        read_back(frame.to_csv(index=False), explainer, tmp_path)


def test_numbers_that_do_not_fit_the_type_are_not_bent(explainer, tmp_path):
    frame = frame_of_all_types()[:2].astype(object)
    frame.loc[0, ["whole", "small"]] = [1.5, 300]
    again = read_back(frame.to_csv(index=False), explainer, tmp_path)
    assert again.loc[0, ["whole", "small"]].tolist() == [1.5, 300]


def test_arrays_and_polars_frames(tmp_path):
    numbers = frame_of_all_types()[["float", "whole"]]
    labels = numbers["float"] > 0
    made = CounterfactualExplainer(GaussianNB()).fit(numbers.to_numpy(float), labels)
    again = read_back(numbers.to_csv(index=False), made, tmp_path)
    np.testing.assert_array_equal(again, numbers.to_numpy(float))
    pl = pytest.importorskip("polars")
    table = pl.from_pandas(frame_of_all_types()[["float", "whole", "text"]])
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(), [2]), (StandardScaler(), [0, 1])),
        LogisticRegression(),
    )
    made = CounterfactualExplainer(model).fit(table, labels)
    assert read_back(table.write_csv(), made, tmp_path).equals(table)


def test_a_level_that_polars_cannot_hold_is_not_a_missing_one(tmp_path):
    pl = pytest.importorskip("polars")
    kinds = pl.Enum(["x", "y", "NA"])
    table = pl.DataFrame(
        {"a": np.arange(N) % 7, "city": pl.Series(["x", "y", "NA"] * (N // 3), dtype=kinds)}
    )
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(), [1]), (StandardScaler(), [0])),
        LogisticRegression(),
    )
    made = CounterfactualExplainer(model).fit(table, table["a"].to_numpy() > 3)
    again = read_back("a,city\n1,x\n2,elsewhere\n", made, tmp_path)
    assert again["city"].to_list() == ["x", "elsewhere"]
    result = made.explain(again, True)
    assert result.status.tolist() == ["found", "invalid input"]
    assert "elsewhere" in result.reason[1]


def test_blocks_are_read_as_their_columns(tmp_path):
    frame = frame_of_all_types()[["float", "city"]]
    dummies = pd.get_dummies(frame, columns=["city"])
    block = {"city": ["city_NA", "city_x", "city_y"]}
    made = CounterfactualExplainer(GaussianNB(), blocks=block).fit(dummies, frame["float"] > 0)
    again = read_back(dummies.to_csv(index=False), made, tmp_path)
    pd.testing.assert_frame_equal(again, dummies)


LEVELS = st.one_of(
    st.text(string.ascii_letters + " _-", min_size=1),
    st.integers(),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
)


@given(st.lists(LEVELS, min_size=1, max_size=6, unique_by=lambda level: str(level)))
@settings(max_examples=60, deadline=None)
def test_every_level_is_found_by_its_own_text(levels):
    assert match_texts(map(str, levels), levels) == {str(level): level for level in levels}


def test_one_and_true_are_not_mixed_up():
    assert match_texts(["1", "0"], [0, 1]) == {"1": 1, "0": 0}
    assert match_texts(["true", "x", "nan", ""], [0, 1]) == {}
    assert match_texts(["1", "YES"], [False, True]) == {"1": True, "YES": True}
    assert match_texts(["1"], ["1.0"]) == {}
