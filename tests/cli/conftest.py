"""Files of a small loan desk: data as csv and parquet, a model, its explainer."""

from types import SimpleNamespace

import pytest
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from scfe_sklearn import CounterfactualExplainer, save
from scfe_sklearn.datasets import make_loan_applications


def loan_model(X, y):
    columns = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
    )
    return make_pipeline(columns, LogisticRegression(max_iter=500)).fit(X, y)


@pytest.fixture(scope="session")
def desk(tmp_path_factory):
    """Names of the files, and what is in them."""
    skops_io = pytest.importorskip("skops.io")
    for extra in ("jinja2", "pyarrow"):
        pytest.importorskip(extra)
    folder = tmp_path_factory.mktemp("desk")
    X, y = make_loan_applications(500, random_state=0)
    training, labels = X[:400], y[:400]
    model = loan_model(training, labels)
    refused = X[400:][model.predict(X[400:]) == "refused"][:12]
    explainer = CounterfactualExplainer(FrozenEstimator(model), max_changes=3)
    explainer.fit(training, labels)
    files = {
        name: str(folder / name)
        for name in ("model.skops", "explainer.skops", "training.csv", "training.parquet")
    }
    skops_io.dump(model, files["model.skops"])
    save(explainer, files["explainer.skops"])
    training.assign(decision=labels).to_csv(files["training.csv"], index=False)
    training.assign(decision=labels).to_parquet(files["training.parquet"], index=False)
    files["refused.csv"] = str(folder / "refused.csv")
    refused.assign(person=[f"P{k}" for k in range(len(refused))]).to_csv(
        files["refused.csv"], index=False
    )
    return SimpleNamespace(
        files=files,
        model=model,
        explainer=explainer,
        training=training,
        labels=labels,
        refused=refused.reset_index(drop=True),
    )


@pytest.fixture
def asked(desk):
    """The options that every question has."""
    return ["--model", desk.files["explainer.skops"], "--data", desk.files["refused.csv"]]
