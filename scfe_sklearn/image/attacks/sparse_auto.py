"""SparseAutoAttack: at most k pixels, by three attacks one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from scfe_sklearn._utils import Integral, Interval, Real
from scfe_sklearn.image.attacks.few_pixels import FewPixels
from scfe_sklearn.image.attacks.random_search import random_search
from scfe_sklearn.image.attacks.sparse_projected import SparsePGDSettings, sparse_pgd
from scfe_sklearn.image.explainer import Proposal, one_after_another
from scfe_sklearn.image.margins import Goal
from scfe_sklearn.image.model import ImageModel


@dataclass(eq=False, repr=False, kw_only=True)
class SparseAutoAttack(FewPixels):
    """Changes of at most k pixels by a cascade: the Sparse-AutoAttack of [1]_.

    :class:`SparsePGD` with the unprojected gradient, then with the projected one, then
    :class:`SparseRandomSearch`, which needs no gradient; each works only on the images that
    those before it left open.

    Parameters
    ----------
    n_iter : int in [1, inf), default=300
        Iterations of each of the first two; the paper takes 10000.
    n_queries : int in [0, inf), default=1000
        Queries of the third; the paper takes 10000.
    share : float in (0, 1], default=0.8
        Share of the pixels that moves in the first query.

    References
    ----------
    .. [1] Zhong, Huang, Liu, "Towards efficient training and evaluation of robust models against
       l0 bounded adversarial perturbations", ICML 2024.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    >>> SparseAutoAttack(net, n_pixels=6).explain(torch.rand(2, 1, 4, 4)).status.tolist()
    ['found', 'found']
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **FewPixels._parameter_constraints,
        "n_iter": [Interval(Integral, 1, None, closed="left")],
        "n_queries": [Interval(Integral, 0, None, closed="left")],
        "share": [Interval(Real, 0, 1, closed="right")],
    }

    n_iter: int = 300
    n_queries: int = 1000
    share: float = 0.8

    def _search(self, model: ImageModel, x: Tensor, goal: Goal, indices: Tensor) -> Proposal:
        def search(stage: int, rows: Tensor) -> Proposal:
            return self._stage(stage, model, x[rows], goal.take(rows), indices[rows])

        return one_after_another(search, x, 3 if self.n_queries else 2)

    def _stage(
        self, stage: int, model: ImageModel, x: Tensor, goal: Goal, indices: Tensor
    ) -> Proposal:
        # Every stage draws numbers of its own.
        seed = 3 * self.random_state + stage
        if stage == 2:
            return random_search(
                model, x, goal, indices, self.n_pixels, self.n_queries, self.share, seed
            )
        settings = SparsePGDSettings(self.n_pixels, self.n_iter, projected=stage == 1, seed=seed)
        return sparse_pgd(model, x, goal, indices, settings)
