"""Several networks as one: their mean probability."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real

import torch
from torch import Tensor, nn


class MeanProbability(nn.Module):
    r"""Module whose probabilities are the mean of those of several networks.

    .. math:: \log \tfrac1K \sum_k \operatorname{softmax}(Z_k(x) / T_k)

    are its logits, so every image explainer takes it as its model: Auto-Frank-Wolfe then raises
    the mean probability of a class, and without a target the second most likely class of the
    ensemble is the target. For that class as the target of another network, take
    ``ensemble(images).topk(2).indices[:, 1]``.

    Parameters
    ----------
    modules : sequence of torch.nn.Module
        Images (n, C, H, W) to logits (n, K), of the same classes.
    temperatures : sequence of float or None, default=None
        One per network, to divide its logits by, see
        :func:`scfe_sklearn.image.calibration.temperature`; None: all are 1.

    References
    ----------
    Boreiko, Augustin, Croce, Berens, Hein, "Sparse visual counterfactual explanations in image
    space", GCPR 2022.

    Examples
    --------
    >>> nets = [nn.Sequential(nn.Flatten(), nn.Linear(4, 3)) for _ in range(2)]
    >>> images = torch.rand(5, 1, 2, 2)
    >>> mean = sum(torch.softmax(net(images), 1) for net in nets) / 2
    >>> torch.allclose(MeanProbability(nets)(images).exp(), mean)
    True
    """

    def __init__(
        self, modules: Sequence[nn.Module], temperatures: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        if not modules or not all(isinstance(module, nn.Module) for module in modules):
            raise TypeError(
                "The 'modules' parameter of MeanProbability must be torch modules, one or more. "
                f"Got {modules!r} instead."
            )
        scales = [1.0] * len(modules) if temperatures is None else list(temperatures)
        if len(scales) != len(modules) or not all(
            isinstance(t, Real) and 0 < t < math.inf for t in scales
        ):
            raise ValueError(
                "The 'temperatures' parameter of MeanProbability must be positive numbers, one per "
                f"module. Got {temperatures!r} for {len(modules)} modules."
            )
        self.networks = nn.ModuleList(modules)
        self.temperatures = [float(t) for t in scales]

    def forward(self, x: Tensor) -> Tensor:
        """Return the logarithm of the mean probabilities (n, K)."""
        parts = [
            torch.log_softmax(network(x) / t, dim=1)
            for network, t in zip(self.networks, self.temperatures, strict=True)
        ]
        return torch.logsumexp(torch.stack(parts), dim=0) - math.log(len(parts))
