"""Partitions of a frame have the answers of one call, in columns and types that never change."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from scfe_sklearn import CounterfactualExplainer, save
from scfe_sklearn.datasets import make_loan_applications
from scfe_sklearn.distributed import PartitionExplainer

pytestmark = pytest.mark.filterwarnings("ignore:.*rows have no counterfactual")
X, Y = make_loan_applications(160, random_state=0)
X = X.astype({X.select_dtypes(exclude="number").columns[0]: "category"})
QUERY = X[:24].assign(person=np.arange(24) * 10)
QUERY.index = [f"row {k}" for k in range(24)]


@pytest.fixture(scope="module")
def fitted():
    columns = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (OneHotEncoder(), make_column_selector(dtype_exclude="number")),
    )
    model = make_pipeline(columns, LogisticRegression())
    frozen = ["income", "credit_score", "savings", "loan_amount"]  # some rows have no answer
    return CounterfactualExplainer(model, max_changes=1, immutable=frozen).fit(X, Y)


@pytest.fixture(scope="module")
def partition(fitted):
    return PartitionExplainer(fitted, "approved", keep={"person": "int64"})


def test_partitions_are_the_rows_of_one_call(fitted, partition):
    whole = partition(QUERY)
    plain = fitted.explain(QUERY.drop(columns="person"), "approved")
    assert 0 < plain.success.sum() < 24
    same = [frame.astype(object) for frame in (whole.drop(columns="person"), plain.to_frame())]
    same = [frame.where(frame.notna(), None) for frame in same]
    pd.testing.assert_frame_equal(*same)
    np.testing.assert_array_equal(whole["person"], QUERY["person"])
    parts = [partition(QUERY[a:b]) for a, b in [(0, 5), (5, 5), (5, 6), (6, 24)]]
    for part in parts:
        pd.testing.assert_series_equal(part.dtypes, partition.meta.dtypes)
    pd.testing.assert_frame_equal(pd.concat(parts), whole)


def test_several_answers_of_a_row_keep_its_label_and_columns(fitted):
    partition = PartitionExplainer(fitted, n_counterfactuals=2, keep={"person": "int64"})
    answers = partition(QUERY[:3])
    assert answers["person"].tolist() == [0, 0, 10, 10, 20, 20]
    assert answers.index.tolist() == ["row 0", "row 0", "row 1", "row 1", "row 2", "row 2"]
    assert answers["option"].tolist() == [0, 1] * 3


def test_a_partition_explainer_of_a_file_is_pickled_small(fitted, partition, tmp_path):
    pytest.importorskip("skops")
    save(fitted, tmp_path / "loans.skops")
    thin = PartitionExplainer(tmp_path / "loans.skops", "approved", keep={"person": "int64"})
    assert len(thin.meta) == 0
    text = pickle.dumps(thin)
    assert len(text) < 1000
    pd.testing.assert_frame_equal(pickle.loads(text)(QUERY[:4]), partition(QUERY[:4]))
    again = pickle.loads(pickle.dumps(partition))
    pd.testing.assert_frame_equal(again(QUERY[:4]), partition(QUERY[:4]))


def test_answers_survive_the_way_through_arrow(partition):
    pa = pytest.importorskip("pyarrow")
    schema = partition.arrow_schema
    answers = list(partition.over([QUERY[:7], QUERY[7:9], QUERY[:0]]))
    tables = [pa.Table.from_pandas(one, schema=schema, preserve_index=False) for one in answers]
    back = partition.conform(pa.concat_tables(tables).to_pandas())
    whole = partition(QUERY[:9])
    pd.testing.assert_frame_equal(back.set_axis(whole.index, axis=0), whole)


def test_categories_may_come_as_plain_values(partition):
    name = QUERY.select_dtypes("category").columns[0]
    plain = QUERY[:6].astype({name: object})
    pd.testing.assert_frame_equal(partition(plain), partition(QUERY[:6]))
    plain.iloc[2, plain.columns.get_loc(name)] = "never seen"
    answers = partition(plain)
    rest = np.arange(6) != 2
    pd.testing.assert_frame_equal(answers[rest], partition(QUERY[:6])[rest])
    pd.testing.assert_series_equal(answers.dtypes, partition.meta.dtypes)
    assert answers["success"].iloc[2] == pd.notna(answers[name].iloc[2])


def test_what_cannot_be_answered_is_refused(partition):
    with pytest.raises(ValueError, match=r"the training data and of 'keep'. Got none called"):
        partition(QUERY.drop(columns=["person", "income"]))
    arrays = CounterfactualExplainer(LogisticRegression()).fit(X[["income", "age"]].to_numpy(), Y)
    with pytest.raises(TypeError, match="must be fitted on a pandas data frame"):
        PartitionExplainer(arrays)(QUERY)
