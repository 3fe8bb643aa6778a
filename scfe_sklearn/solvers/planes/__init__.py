"""The planes of all pairs of numbers, on a coarse grid each."""

from scfe_sklearn.solvers.planes.grid import PlaneSettings, predict_pairs

__all__ = ["PlaneSettings", "predict_pairs"]
