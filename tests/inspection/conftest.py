import warnings
from importlib.util import find_spec

import pytest

from scfe_sklearn.demo import open_loan_desk

# Every test of this folder draws.
collect_ignore_glob = [] if find_spec("matplotlib") else ["test_*.py"]


@pytest.fixture(autouse=True)
def _closed_figures():
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    yield
    plt.close("all")


@pytest.fixture(scope="session")
def desk():
    return open_loan_desk(900)


@pytest.fixture(scope="session")
def explainer(desk):
    return desk.explainer().fit(desk.X_train, desk.y_train)


@pytest.fixture(scope="session")
def refused(desk):
    return desk.decided(desk.X_test, "refused")


@pytest.fixture(scope="session")
def result(explainer, refused):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return explainer.explain(refused, target="approved")


@pytest.fixture(scope="session")
def options(explainer, refused):
    return explainer.explain(refused[:3], target="approved", n_counterfactuals=3)
