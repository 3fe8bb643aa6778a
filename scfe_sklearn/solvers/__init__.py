"""Batched solvers of the recourse problem; they depend on protocols only."""
