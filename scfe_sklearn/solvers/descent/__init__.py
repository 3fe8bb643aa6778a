"""Steps of the gradient solver: where to start, descend, settle, exchange, polish."""

from scfe_sklearn.solvers.descent.exchanging import exchange
from scfe_sklearn.solvers.descent.proximal_gradient import descend
from scfe_sklearn.solvers.descent.settings import (
    DEMANDED,
    FINE,
    STRICT,
    GradientSettings,
)
from scfe_sklearn.solvers.descent.settling import polish, settle
from scfe_sklearn.solvers.descent.state import Search
from scfe_sklearn.solvers.descent.surveying import survey

__all__ = [
    "DEMANDED",
    "FINE",
    "STRICT",
    "GradientSettings",
    "Search",
    "descend",
    "exchange",
    "polish",
    "settle",
    "survey",
]
