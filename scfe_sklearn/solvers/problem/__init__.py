"""The recourse problem, and pools of evaluated or predicted points."""

from scfe_sklearn.solvers.problem.domain import TOLERANCE, VERTEX, Domain
from scfe_sklearn.solvers.problem.moves import Moves
from scfe_sklearn.solvers.problem.pool import (
    BUCKETS,
    EQUAL,
    VALLEYS,
    Pool,
    feature_key,
    support_key,
)
from scfe_sklearn.solvers.problem.problem import ROUNDING, Kind, Problem, Subspace, of_rows
from scfe_sklearn.solvers.problem.protocols import Along, Cells, Neighbourhood

__all__ = [
    "Along",
    "BUCKETS",
    "EQUAL",
    "Cells",
    "Domain",
    "Kind",
    "Moves",
    "Neighbourhood",
    "Pool",
    "Problem",
    "ROUNDING",
    "Subspace",
    "TOLERANCE",
    "VALLEYS",
    "VERTEX",
    "feature_key",
    "of_rows",
    "support_key",
]
