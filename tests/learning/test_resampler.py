"""The resampler against its definition, imbalanced-learn's checks, tables and images."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits, load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from scfe_sklearn import CounterfactualExplainer
from scfe_sklearn.demo import open_loan_desk
from scfe_sklearn.image import GroupSparseExplainer, PlausibleImageExplainer
from scfe_sklearn.learning import CounterfactualResampler

KINDS = ["p-cfe", "cfe-l2", "pgd-l2", "pgd-linf"]
X, Y = load_wine(return_X_y=True, as_frame=True)


def explainer(**parameters):
    model = make_pipeline(StandardScaler(), LogisticRegression())
    return CounterfactualExplainer(model, density="knn", **parameters)


@pytest.fixture(scope="module")
def desk():
    return open_loan_desk(400)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("as_frame", [True, False])
def test_the_standard_model_gives_every_perturbed_row_its_new_label(kind, as_frame):
    rows = X if as_frame else X.to_numpy()
    resampler = CounterfactualResampler(
        explainer(), perturbation=kind, append=False, random_state=0
    )
    moved, labels = resampler.fit_resample(rows, Y if as_frame else Y.to_numpy())
    assert type(moved) is type(rows) and len(moved) == resampler.success_.sum() > 150
    assert (resampler.explainer_.estimator_.predict(moved) == labels).all()
    origin = resampler.sample_indices_
    assert (resampler.targets_ != Y.to_numpy()).all()
    assert (np.asarray(labels) == resampler.targets_[origin]).all()
    before = X.to_numpy()[origin]
    assert (np.asarray(moved) != before).any(axis=1).all()
    if kind.startswith("pgd"):
        change = (np.asarray(moved) - before) / X.to_numpy().std(axis=0)
        p = 2 if kind == "pgd-l2" else np.inf
        # Whole numbers and decimals are rounded after the attack.
        assert np.linalg.norm(change, p, axis=1).max() <= resampler.radius_ + 0.05


def test_nearest_counterfactuals_are_nearer_and_plausible_ones_more_plausible():
    found = {}
    for kind in ("p-cfe", "cfe-l2"):
        resampler = CounterfactualResampler(
            explainer(tau=20), perturbation=kind, append=False, random_state=0
        )
        moved, labels = resampler.fit_resample(X, Y)
        change = (moved - X.iloc[resampler.sample_indices_].set_axis(moved.index)) / X.std()
        length = np.linalg.norm(change, axis=1).mean()
        nearest = [
            np.linalg.norm((X[label == Y] - row) / X.std(), axis=1).min()
            for (_, row), label in zip(moved.iloc[:60].iterrows(), labels, strict=False)
        ]
        found[kind] = length, np.mean(nearest)
    assert found["cfe-l2"][0] < 0.8 * found["p-cfe"][0]
    assert found["p-cfe"][1] < 0.8 * found["cfe-l2"][1]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_mixed_columns_keep_dtypes_and_rules(desk, kind):
    inner = desk.explainer().set_params(immutable=["age"])
    resampler = CounterfactualResampler(inner, perturbation=kind, random_state=0)
    rows, labels = resampler.fit_resample(desk.X_train, desk.y_train)
    n = len(desk.X_train)
    assert rows.dtypes.equals(desk.X_train.dtypes)
    pd.testing.assert_frame_equal(rows[:n], desk.X_train.reset_index(drop=True))
    assert (np.asarray(labels[:n]) == np.asarray(desk.y_train)).all()
    moved = rows[n:]
    assert len(moved) > 10
    source = desk.X_train.iloc[resampler.sample_indices_[n:]]
    assert (moved["age"].to_numpy() == source["age"].to_numpy()).all()
    assert (resampler.explainer_.estimator_.predict(moved) == labels[n:]).all()
    assert resampler.perturbed_.tolist() == [False] * n + [True] * len(moved)


def test_failed_rows_are_dropped_or_kept_by_the_rule():
    frozen = ["proline", "flavanoids", "color_intensity", "alcohol", "hue"]
    inner = explainer(immutable=frozen, max_changes=1)
    results = {}
    for rule in ("drop", "keep"):
        resampler = CounterfactualResampler(inner, append=False, failed=rule, random_state=0)
        results[rule] = resampler, *resampler.fit_resample(X, Y)
    resampler, rows, labels = results["keep"]
    bad = ~resampler.success_
    assert 5 < bad.sum() < len(X) and len(rows) == len(X)
    assert resampler.sample_indices_.tolist() == list(range(len(X)))
    pd.testing.assert_frame_equal(rows[bad], X[bad], check_dtype=False)
    assert (labels[bad] == Y[bad]).all() and (labels[~bad] != Y[~bad]).all()
    assert results["drop"][0].sample_indices_.tolist() == np.flatnonzero(~bad).tolist()


def test_a_row_that_the_model_already_gives_the_class_is_not_perturbed():
    noisy = Y.copy()
    noisy.iloc[::10] = (noisy.iloc[::10] + 1) % 3
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
    inner = CounterfactualExplainer(FrozenEstimator(model), density="knn")
    resampler = CounterfactualResampler(inner, random_state=1)
    resampler.fit_resample(X, noisy)
    already = model.predict(X) == resampler.targets_
    assert already.any() and not resampler.success_[already].any()


def test_targets_are_uniform_or_given():
    resampler = CounterfactualResampler(explainer(), random_state=0).fit(X, Y)
    share = pd.crosstab(Y, resampler.targets_, normalize="index").to_numpy()
    assert np.diag(share).tolist() == [0, 0, 0]
    assert share[~np.eye(3, dtype=bool)].min() > 0.35
    assert sum(resampler.sampling_strategy_.values()) == len(X)
    given = CounterfactualResampler(explainer(), targets={0: 1, 1: 2, 2: 0}).fit(X, Y)
    assert (given.targets_ == (Y + 1) % 3).all()
    for wrong in ({0: 1, 1: 2}, {0: 0, 1: 2, 2: 1}, {0: 1, 1: 2, 2: 7}):
        with pytest.raises(ValueError, match=r"The 'targets' parameter of .* Got .* instead"):
            CounterfactualResampler(explainer(), targets=wrong).fit(X, Y)


def test_attacks_need_a_gradient():
    inner = CounterfactualExplainer(RandomForestClassifier(10, random_state=0), density="knn")
    with pytest.raises(ValueError, match="model without a gradient"):
        CounterfactualResampler(inner, perturbation="pgd-l2").fit_resample(X, Y)
    resampler = CounterfactualResampler(inner, random_state=0)
    rows, labels = resampler.fit_resample(X, Y)
    assert (resampler.explainer_.estimator_.predict(rows[178:]) == labels[178:]).all()


@pytest.fixture(scope="module")
def digits():
    data = load_digits(n_class=3)
    images = torch.from_numpy(data.images / 16).float()[:200, None]
    labels = torch.from_numpy(data.target)[:200]
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    optimiser = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(60):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(net(images), labels).backward()
        optimiser.step()
    return net, images, labels


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("as_tensor", [True, False])
def test_images_become_images_of_their_new_label(digits, kind, as_tensor):
    net, images, labels = digits
    inner = PlausibleImageExplainer(net, density="knn", n_strides=20)
    resampler = CounterfactualResampler(inner, perturbation=kind, random_state=0)
    given = (images, labels) if as_tensor else (images.numpy(), labels.numpy())
    more, new = resampler.fit_resample(*given)
    assert type(more) is type(given[0]) and type(new) is type(given[1])
    more, new = torch.as_tensor(more), torch.as_tensor(new)
    assert torch.equal(more[:200], images) and len(more) > 380
    assert torch.equal(net(more[200:]).argmax(1), new[200:])
    assert more.min() >= 0 and more.max() <= 1


def test_any_image_explainer_and_rows_of_pixels_will_do(digits):
    net, images, labels = digits
    resampler = CounterfactualResampler(GroupSparseExplainer(net, patch=3), append=False)
    more, new = resampler.fit_resample(images[:30], labels[:30])
    assert torch.equal(net(more).argmax(1), torch.as_tensor(new)) and more.ndim == 4
    inner = PlausibleImageExplainer(net, density="knn", n_strides=20)
    rows = CounterfactualResampler(inner, append=False).fit_resample(
        images.flatten(1).numpy(), labels.numpy()
    )[0]
    assert rows.shape[1] == 64


def test_the_same_seed_gives_the_same_rows_and_nothing_given_changes():
    before = X.copy()
    first, second = (
        CounterfactualResampler(explainer(), random_state=3).fit_resample(X, Y)[0] for _ in range(2)
    )
    pd.testing.assert_frame_equal(first, second)
    pd.testing.assert_frame_equal(X, before)


def test_parameters_are_checked():
    for name, value in {"perturbation": "fgsm", "failed": "pad", "radius": -1.0}.items():
        resampler = CounterfactualResampler(explainer()).set_params(**{name: value})
        with pytest.raises(ValueError, match=rf"The '{name}' parameter of CounterfactualResampler"):
            resampler.fit_resample(X, Y)
    with pytest.raises(ValueError, match="at least two classes"):
        CounterfactualResampler(explainer()).fit_resample(X, np.zeros(178))


def test_labels_and_rows_come_back_as_they_were_given():
    polars = pytest.importorskip("polars")
    few, labels = X[::4], Y[::4]
    inner = CounterfactualResampler(explainer(), random_state=0)
    rows, named = inner.fit_resample(few, labels.map({0: "a", 1: "b", 2: "c"}).rename("class"))
    assert named.name == "class" and set(named) == {"a", "b", "c"}
    frame, series = inner.fit_resample(polars.from_pandas(few), polars.Series(labels.to_numpy()))
    assert isinstance(frame, polars.DataFrame) and isinstance(series, polars.Series)
    np.testing.assert_allclose(frame.to_numpy(), rows.to_numpy())


def test_imbalanced_learn_takes_it_for_a_sampler():
    checks = pytest.importorskip("imblearn.utils.estimator_checks")
    from imblearn.base import is_sampler
    from imblearn.pipeline import make_pipeline as make_sampling_pipeline

    inner = CounterfactualExplainer(LogisticRegression(max_iter=300), density="knn")
    # The convention is the same for all perturbations; this one takes the least time.
    resampler = CounterfactualResampler(
        inner, perturbation="pgd-linf", radius=1.0, n_iter=5, random_state=0
    )
    assert is_sampler(resampler)
    names = []
    for estimator, check in checks.estimator_checks_generator(resampler):
        check(estimator)
        names.append(check.func.__name__)
    assert len(names) >= 12
    checks.check_param_validation("CounterfactualResampler", resampler)
    checks.check_dataframe_column_names_consistency("CounterfactualResampler", resampler)
    pipeline = make_sampling_pipeline(StandardScaler(), resampler, LogisticRegression())
    assert pipeline.fit(X, Y).score(X, Y) > 0.9
