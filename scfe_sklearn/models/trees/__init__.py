"""Fitted trees as flat arrays over column space, and what they answer."""

from scfe_sklearn.models.trees.bits import BitTrees
from scfe_sklearn.models.trees.ensemble import TreeEnsemble
from scfe_sklearn.models.trees.incremental import TreeCells
from scfe_sklearn.models.trees.reading import read_matrix_trees, read_trees

__all__ = ["BitTrees", "TreeCells", "TreeEnsemble", "read_matrix_trees", "read_trees"]
