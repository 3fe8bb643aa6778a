"""Sparse visual counterfactuals (SVCE): the most convincing image in a ball, and paths of them."""
