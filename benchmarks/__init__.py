"""Measurements of scfe_sklearn: run them as modules, e.g. ``python -m benchmarks.speed``."""
