"""Batched solvers of the recourse problem; they know protocols, never a model or a density."""
