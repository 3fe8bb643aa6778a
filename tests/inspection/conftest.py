import matplotlib
import pytest

matplotlib.use("Agg")

import warnings

from scfe_sklearn.demo import open_loan_desk


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    import matplotlib.pyplot as plt

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
