"""Calibration: reliability of confidences, and the temperature that calibrates them."""

from __future__ import annotations

import torch
from torch import Tensor


def calibration_error(logits: Tensor, labels: Tensor, n_bins: int = 20) -> Tensor:
    """Return the expected calibration error with equal bins of the largest probability.

    Sum over bins (a, b] of the share of images there times the distance of their accuracy from
    their mean confidence.

    Parameters
    ----------
    logits : Tensor of shape (n, K)
    labels : LongTensor of shape (n,)
    n_bins : int

    Examples
    --------
    >>> logits = torch.tensor([[9.0, 0.0], [9.0, 0.0]])
    >>> calibration_error(logits, torch.tensor([0, 1])).item()
    0.4998...
    """
    confidence, predicted = torch.softmax(logits.double(), dim=1).max(dim=1)
    right = (predicted == labels).double()
    index = (torch.ceil(confidence * n_bins).long() - 1).clamp(0, n_bins - 1)
    gap = torch.zeros(n_bins, dtype=torch.float64, device=logits.device)
    return gap.index_add(0, index, right - confidence).abs().sum() / len(labels)


def temperature(logits: Tensor, labels: Tensor, criterion: str = "nll") -> float:
    """Return the temperature T for which softmax(logits / T) fits held-out labels best.

    Parameters
    ----------
    logits : Tensor of shape (n, K)
        Of images that the model was not trained on.
    labels : LongTensor of shape (n,)
    criterion : {"nll", "ece"}
        The negative log-likelihood, convex in 1 / T and minimised by bisection on its
        derivative; or the calibration error, which jumps, on 2000 temperatures from e^-3 to e.

    Examples
    --------
    >>> logits = 3 * torch.eye(2).repeat(4, 1)
    >>> labels = torch.tensor([0, 1, 0, 1, 0, 1, 1, 0])
    >>> round(temperature(logits, labels), 3)  # three of four are right: T = 3 / log 3
    2.731
    """
    if criterion not in ("nll", "ece"):
        raise ValueError(
            "The 'criterion' parameter of temperature must be 'nll' or 'ece'. "
            f"Got {criterion!r} instead."
        )
    logits = logits.detach().double()
    if criterion == "ece":
        grid = torch.exp(torch.linspace(-3, 1, 2000, dtype=torch.float64))
        errors = [float(calibration_error(logits / t, labels)) for t in grid.tolist()]
        return float(grid[int(torch.tensor(errors).argmin())])
    own = logits.gather(1, labels[:, None])[:, 0]

    def slope(log_t: float) -> float:
        """Derivative of the likelihood's negative logarithm in 1 / T."""
        mean = (torch.softmax(logits / torch.tensor(log_t).exp(), dim=1) * logits).sum(dim=1)
        return float((mean - own).mean())

    low, high = -8.0, 8.0
    for _ in range(80):
        middle = (low + high) / 2
        # Too hot where the likelihood would gain from larger logits.
        low, high = (low, middle) if slope(middle) < 0 else (middle, high)
    return float(torch.tensor((low + high) / 2).exp())
