"""Run an explainer on Dask, Ray, Spark and joblib's backends, and compare with the plain call.

Each engine gets two local workers. An engine whose package is not installed is skipped, and Spark
where there is no Java; both are printed with the reason.

    python tests/engines/compare.py [engine ...]
"""

import logging
import os
import shutil
import sys
import tempfile
import time
import warnings
from importlib.util import find_spec
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier

from scfe_sklearn import CounterfactualExplainer, save
from scfe_sklearn.datasets import make_loan_applications
from scfe_sklearn.distributed import PartitionExplainer

ROWS = 24


def portfolio():
    """A fitted explainer, and rows of which some have no answer."""
    X, y = make_loan_applications(300, random_state=0)
    category = X.select_dtypes(exclude="number").columns[0]
    X = X[["income", "age", "credit_score", category]].astype({category: "category"})
    model = HistGradientBoostingClassifier(max_iter=5, categorical_features="from_dtype")
    explainer = CounterfactualExplainer(model, max_changes=1, immutable=["income"]).fit(X, y)
    rows = X[:ROWS].assign(person=np.arange(ROWS) * 7)
    return explainer, rows


def with_joblib(explainer, rows, partition):
    features = rows.drop(columns="person")
    with joblib.parallel_config(backend="loky"):
        result = explainer.explain(features, "approved", n_jobs=2)
    return as_partition(partition, result, rows)


def as_partition(partition, result, rows):
    answers = result.to_frame()
    answers.insert(0, "person", rows["person"])
    return partition.conform(answers)


def with_dask(explainer, rows, partition):
    import dask.dataframe as dd
    from dask.distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        frame = dd.from_pandas(rows, npartitions=3, sort=False)
        answers = frame.map_partitions(partition, meta=partition.meta).compute()
        with joblib.parallel_config(backend="dask"):
            result = explainer.explain(rows.drop(columns="person"), "approved", n_jobs=2)
    other = as_partition(partition, result, rows)
    pd.testing.assert_frame_equal(other, partition.conform(answers))
    return partition.conform(answers)


def with_ray(explainer, rows, partition):
    import ray
    from ray.util.joblib import register_ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    try:
        dataset = ray.data.from_pandas(rows.reset_index(drop=True)).repartition(3)
        answers = dataset.map_batches(partition, batch_format="pandas").to_pandas()
        register_ray()
        with joblib.parallel_config(backend="ray"):
            result = explainer.explain(rows.drop(columns="person"), "approved", n_jobs=2)
    finally:
        ray.shutdown()
    answers = partition.conform(answers.sort_values("person")).set_axis(rows.index, axis=0)
    pd.testing.assert_frame_equal(as_partition(partition, result, rows), answers)
    return answers


def with_spark(explainer, rows, partition):
    from pyspark.sql import SparkSession
    from pyspark.sql.pandas.types import from_arrow_schema

    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.execution.arrow.pyspark.enabled", "true")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    try:
        plain = rows.astype(dict.fromkeys(rows.select_dtypes("category"), object))
        frame = session.createDataFrame(plain).repartition(3)
        schema = from_arrow_schema(partition.arrow_schema)
        answers = frame.mapInPandas(partition.over, schema).toPandas()
    finally:
        session.stop()
    return partition.conform(answers.sort_values("person")).set_axis(rows.index, axis=0)


ENGINES = {"joblib": with_joblib, "dask": with_dask, "ray": with_ray, "spark": with_spark}


def missing(engine):
    """Why an engine cannot run here; None if it can."""
    package = {"spark": "pyspark", "dask": "distributed"}.get(engine, engine)
    if find_spec(package) is None:
        return f"{package} is not installed"
    if engine == "spark" and shutil.which("java") is None:
        return "there is no Java"
    return None


def main(chosen):
    explainer, rows = portfolio()
    warnings.filterwarnings("ignore", message=".*have no counterfactual")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "loans.skops"
        save(explainer, file)
        partition = PartitionExplainer(
            file, "approved", keep={"person": "int64"}, trusted=unknown_types(file)
        )
        plain = as_partition(
            partition, explainer.explain(rows.drop(columns="person"), "approved"), rows
        )
        found = int(plain["success"].sum())
        assert 0 < found < ROWS
        for engine in chosen or ENGINES:
            why = missing(engine)
            if why is not None:
                print(f"{engine}: skipped, {why}")
                continue
            start = time.perf_counter()
            answers = ENGINES[engine](explainer, rows, partition)
            pd.testing.assert_frame_equal(answers, plain)
            print(
                f"{engine}: the same frame, {ROWS} rows, {found} found, "
                f"{time.perf_counter() - start:.0f} s with its start"
            )


def unknown_types(file):
    """Types of the file, which was just written here, that skops does not know."""
    from skops.io import get_untrusted_types

    return get_untrusted_types(file=file)


if __name__ == "__main__":
    main(sys.argv[1:])
