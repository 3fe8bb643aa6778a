"""The finder against plantings of known place, and its parts against their definition."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_digits, load_wine
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, precision_score, recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from scfe_sklearn import CounterfactualExplainer
from scfe_sklearn.image import PlausibleImageExplainer
from scfe_sklearn.learning import find_shortcuts

WINE, LABELS = load_wine(return_X_y=True, as_frame=True)


def biased_wine(levels, seed=0):
    """Training rows with a column that tells the label, and clean rows in which it does not."""
    random = np.random.default_rng(seed)
    tells = np.where(random.random(178) < 0.95, LABELS, random.integers(3, size=178))
    chance = random.integers(3, size=178)
    columns = [
        np.array(["a", "b", "c"])[part] if levels else part + random.normal(0, 0.1, 178)
        for part in (tells, chance)
    ]
    noisy = WINE + random.normal(0, 1, WINE.shape) * WINE.std().to_numpy()
    return [noisy.assign(lot=column) for column in columns]


def explained(X, y):
    columns = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (OneHotEncoder(sparse_output=False), make_column_selector(dtype_exclude="number")),
    )
    model = make_pipeline(columns, LogisticRegression(max_iter=1000)).fit(X, y)
    return CounterfactualExplainer(FrozenEstimator(model), density="knn").fit(X, y)


@pytest.fixture(scope="module", params=[True, False], ids=["levels", "numbers"])
def planted(request):
    train, clean = biased_wine(request.param)
    explainer = explained(train, LABELS)
    return explainer, clean, find_shortcuts(explainer, clean, LABELS, random_state=0)


def test_the_planted_column_is_first_and_raises_the_alarm(planted):
    _, _, shortcuts = planted
    assert shortcuts.ranking["name"][0] == "lot" and shortcuts.alarms == ["lot"]
    assert (np.diff(shortcuts.ranking["score"]) <= 0).all()
    assert shortcuts.ranking["reason"][0] == "does not tell the label"


def test_columns_that_tell_the_label_raise_none():
    explainer = explained(WINE[::2], LABELS[::2])
    shortcuts = find_shortcuts(explainer, WINE[1::2], LABELS[1::2], random_state=0)
    assert shortcuts.alarms == []
    assert "No alarm" in shortcuts.to_html()


def test_pasting_is_measured_as_it_is_defined(planted):
    explainer, clean, shortcuts = planted
    model, checked = explainer.estimator_, 0
    for row in shortcuts.tests.to_dict("records"):
        pasted = clean.assign(**{row["name"]: shortcuts.contents[row["name"], row["towards"]]})
        for when, rows in (("before", clean), ("after", pasted)):
            predicted = model.predict(rows)
            only = {"labels": [row["towards"]], "average": "micro", "zero_division": 0}
            assert row[f"accuracy_{when}"] == accuracy_score(LABELS, predicted)
            assert row[f"precision_{when}"] == precision_score(LABELS, predicted, **only)
            assert row[f"recall_{when}"] == recall_score(LABELS, predicted, **only)
            checked += 1
    assert checked >= 6
    lot = shortcuts.tests[shortcuts.tests["name"] == "lot"]
    assert (lot["recall_after"] > lot["recall_before"]).all()


def test_what_no_prediction_uses_turns_none():
    only = make_column_transformer((StandardScaler(), ["alcohol"]))
    model = make_pipeline(only, LogisticRegression()).fit(WINE, LABELS)
    explainer = CounterfactualExplainer(FrozenEstimator(model), density="knn", tau=0.0)
    explainer.fit(WINE, LABELS)
    ranking = find_shortcuts(explainer, WINE[::3], LABELS[::3], random_state=0).ranking
    by_name = ranking.set_index("name")
    assert (by_name.drop("alcohol")[["used", "turned", "score"]] == 0).all(axis=None)
    assert by_name.loc["alcohol", "turned"] > 0.3


def test_columns_that_must_not_matter_raise_an_alarm_by_name():
    explainer = explained(WINE[::2], LABELS[::2])
    first = find_shortcuts(explainer, WINE, LABELS, random_state=0).ranking["name"][0]
    shortcuts = find_shortcuts(explainer, WINE, LABELS, irrelevant=[first], random_state=0)
    assert shortcuts.alarms == [first]
    assert shortcuts.ranking["reason"][0] == "must not matter"
    with pytest.raises(ValueError, match=r"The 'irrelevant' parameter .* Got 'age' instead"):
        find_shortcuts(explainer, WINE, LABELS, irrelevant=["age"])


def test_containers_and_column_orders_give_the_same(planted):
    polars = pytest.importorskip("polars")
    explainer, clean, shortcuts = planted
    for rows in (polars.from_pandas(clean), clean[clean.columns[::-1]]):
        again = find_shortcuts(explainer, rows, LABELS, random_state=0)
        pd.testing.assert_frame_equal(again.ranking, shortcuts.ranking)
        pd.testing.assert_frame_equal(again.tests, shortcuts.tests)


@pytest.fixture(scope="module")
def patched():
    """Odd and even digits, and a bright patch that goes with odd ones in training."""
    data = load_digits()
    images, odd = (data.images / 16).astype(np.float32)[:, None], data.target % 2
    random = np.random.default_rng(0)
    marked = np.where(random.random(len(odd)) < 0.95, odd, 1 - odd)
    marked[400:] = random.integers(2, size=len(odd) - 400)
    images[marked == 1, :, 5:7, 0:2] = 1.0
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 32), torch.nn.ReLU(),
                              torch.nn.Linear(32, 2))  # fmt: skip
    optimiser = torch.optim.Adam(net.parameters(), 0.01)
    X, y = torch.from_numpy(images[:400]), torch.from_numpy(odd[:400])
    for _ in range(100):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(net(X), y).backward()
        optimiser.step()
    explainer = PlausibleImageExplainer(net, density="knn", tau=2.0, max_pixels=8, n_strides=30)
    return explainer.fit(images[:400], odd[:400]), images[400:600], odd[400:600]


def test_the_planted_patch_is_first_and_the_page_shows_it(patched, tmp_path):
    pytest.importorskip("jinja2")
    explainer, images, labels = patched
    shortcuts = find_shortcuts(explainer, images, labels, max_rows=40, random_state=0)
    i, j = shortcuts.ranking["name"][0]
    assert abs(i - 5) + abs(j - 0) <= 1 and shortcuts.side == 2
    assert len(shortcuts.alarms) >= 1 and len(shortcuts.ranking) == 49
    towards = shortcuts.tests[shortcuts.tests["name"] == (i, j)]
    assert (towards["recall_after"] > towards["recall_before"]).all()
    page = shortcuts.to_html(tmp_path / "page.html", title="A <patch>")
    assert (tmp_path / "page.html").read_text("utf-8") == page
    assert "A &lt;patch&gt;" in page and "data:image/png" in page
    as_tensors = find_shortcuts(
        explainer, torch.from_numpy(images), labels, max_rows=40, random_state=0
    )
    pd.testing.assert_frame_equal(as_tensors.ranking, shortcuts.ranking)


def test_windows_outside_of_the_object_raise_an_alarm(patched):
    explainer, images, labels = patched
    outside = np.zeros((8, 8), dtype=bool)
    outside[5:7, 0:2] = True
    shortcuts = find_shortcuts(
        explainer, images, labels, irrelevant=outside, max_rows=40, random_state=0
    )
    reasons = shortcuts.ranking.set_index("name")["reason"]
    assert reasons[(5, 0)] == "must not matter"
    with pytest.raises(ValueError, match=r"must be a bool array of shape \(8, 8\)"):
        find_shortcuts(explainer, images, labels, irrelevant=np.zeros((3, 3), dtype=bool))
    with pytest.raises(ValueError, match=r"The 'side' parameter of find_shortcuts"):
        find_shortcuts(explainer, images, labels, side=9)


def test_rows_and_labels_must_fit():
    explainer = explained(WINE, LABELS)
    with pytest.raises(ValueError, match="one label for each row"):
        find_shortcuts(explainer, WINE, LABELS[:3])
