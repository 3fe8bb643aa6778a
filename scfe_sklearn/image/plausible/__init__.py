"""Plausible counterfactuals (S-CFE) of images: the solver of tables, with pixels as features."""
