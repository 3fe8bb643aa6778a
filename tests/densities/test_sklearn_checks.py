"""The densities as scikit-learn estimators."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from scfe_sklearn.densities import GaussianKDE, GaussianMixture, NearestNeighbours


@parametrize_with_checks([GaussianKDE(0.5), GaussianMixture(2), NearestNeighbours()])
def test_estimator_checks(estimator, check):
    check(estimator)
