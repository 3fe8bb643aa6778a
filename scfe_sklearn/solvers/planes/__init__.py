"""Two numbers at a time: the planes of all pairs on a grid, and Newton steps in them."""

from scfe_sklearn.solvers.planes.plane_solver import PlaneSettings, solve_in_planes

__all__ = ["PlaneSettings", "solve_in_planes"]
