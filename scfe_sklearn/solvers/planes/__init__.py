"""Two numbers at a time: the planes of all pairs on a grid, and Newton steps in them."""

from scfe_sklearn.solvers.planes.grid import Planes, fits, predict
from scfe_sklearn.solvers.planes.newton import Rounds, descend_planes

__all__ = ["Planes", "Rounds", "descend_planes", "fits", "predict"]
