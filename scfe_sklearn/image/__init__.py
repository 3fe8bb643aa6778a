"""Sparse explanations of image classifiers: changes of few, gathered pixels, and visual ones."""
