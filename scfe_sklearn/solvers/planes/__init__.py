"""The planes of all pairs of numbers, on a coarse grid each."""

from scfe_sklearn.solvers.planes.grid import Planes, predict_pairs

__all__ = ["Planes", "predict_pairs"]
