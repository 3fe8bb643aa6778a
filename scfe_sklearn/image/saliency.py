"""Saliency: adversarial saliency, class activation maps, and what changes touch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from scfe_sklearn.models.classifiers import as_constant_function

Logits = Callable[[Tensor], Tensor]


def saliency(logits: Logits, x: Tensor, label: Tensor, target: Tensor, signs: str = "or") -> Tensor:
    r"""Return the adversarial saliency map (n, C, H, W) of a target against a label.

    .. math:: ASM_i = \partial_i Z_t \, |\partial_i Z_l| \; 1[\partial_i Z_t \ge 0
              \text{ or } \partial_i Z_l \le 0]

    as in the GSE paper [1]_. Every image has its own two gradients.

    Parameters
    ----------
    logits : callable
        Images (n, C, H, W) to logits (n, K).
    x : Tensor of shape (n, C, H, W)
    label, target : LongTensor of shape (n,)
        The class that is left and the one that is reached.
    signs : {"or", "and", "none"}, default="or"
        Conditions on the signs that an entry must meet, or be 0: one of the two ("or", the
        paper), both ("and", as the maps of JSMA and StrAttack, which are the origin) or none
        (the code published with the paper).

    References
    ----------
    .. [1] Sadiku, Wagner, Pokutta, "GSE: group-wise sparse and explainable adversarial attacks",
       ICLR 2025.

    Examples
    --------
    >>> def net(x):
    ...     return torch.stack([x.flatten(1).sum(1), -2 * x.flatten(1).sum(1)], dim=1)
    >>> ones = torch.ones(1, 1, 1, 2)
    >>> saliency(net, ones, torch.tensor([1]), torch.tensor([0])).flatten().tolist()
    [2.0, 2.0]
    """
    if signs not in ("or", "and", "none"):
        raise ValueError(
            "The 'signs' parameter of saliency must be a str among {'or', 'and', 'none'}. "
            f"Got {signs!r} instead."
        )
    image = x.detach().requires_grad_(True)
    with torch.enable_grad():
        out = logits(image)
        (up,) = torch.autograd.grad(out.gather(1, target[:, None]).sum(), image, retain_graph=True)
        (down,) = torch.autograd.grad(out.gather(1, label[:, None]).sum(), image)
    value = up * down.abs()
    if signs == "none":
        return value
    both = (up >= 0) & (down <= 0) if signs == "and" else (up >= 0) | (down <= 0)
    return value * both


def interpretability(asm: Tensor, w: Tensor, percentile: float, entries: str = "all") -> Tensor:
    r"""Return the share of each change's length on salient entries, (n,): IS of the GSE paper.

    .. math:: IS_\nu = \|B_\nu \odot w\|_2 / \|w\|_2, \qquad
              B_\nu = 1[ASM > \text{percentile}_\nu(ASM)]

    The percentile is the least entry that at least nu per cent of the entries do not exceed.
    An image without a change has NaN.

    Parameters
    ----------
    asm, w : Tensor of shape (n, C, H, W)
    percentile : float in [0, 100]
    entries : {"all", "nonzero"}, default="all"
        Entries of the map that the percentile is of. The paper takes all, the code published
        with it those that are not 0, with one 0 below them: in a map that is 0 in half of its
        entries and positive in the others, "nonzero" at 50 is "all" at 75.

    Examples
    --------
    >>> asm = torch.tensor([[[[1.0, 2.0, 3.0, 0.0]]]])
    >>> w = torch.tensor([[[[0.0, 3.0, 4.0, 0.0]]]])
    >>> interpretability(asm, w, 50), interpretability(asm, w, 50, entries="nonzero")
    (tensor([1.]), tensor([0.8000]))
    """
    if not 0 <= percentile <= 100:
        raise ValueError(
            "The 'percentile' parameter of interpretability must be a float in [0, 100]. "
            f"Got {percentile!r} instead."
        )
    if entries not in ("all", "nonzero"):
        raise ValueError(
            "The 'entries' parameter of interpretability must be a str among {'all', 'nonzero'}. "
            f"Got {entries!r} instead."
        )
    flat = asm.flatten(1)
    counted = torch.ones_like(flat, dtype=torch.bool) if entries == "all" else flat != 0
    # Entries that do not count go to the end; index 0 is the level below all that do.
    ordered = torch.where(counted, flat, torch.inf).sort(dim=1).values
    least = torch.full_like(ordered[:, :1], -torch.inf if entries == "all" else 0.0)
    index = torch.ceil(percentile / 100 * counted.sum(dim=1).double()).long()
    level = torch.cat([least, ordered], dim=1).gather(1, index[:, None])
    change = w.flatten(1)
    return (change * (flat > level)).norm(dim=1) / change.norm(dim=1)


def activation_map(
    activation: Tensor, weight: Tensor, side: tuple[int, int], positive: bool = False
) -> Tensor:
    """Return class activation maps (n, H, W) between 0 and 1, one scale per image.

    Parameters
    ----------
    activation : Tensor of shape (n, K, h, w)
        The last convolution's output.
    weight : Tensor of shape (n, K)
        The class's row of the linear layer after average pooling (CAM), or the gradients of its
        logit averaged over positions (Grad-CAM).
    side : (H, W)
        Size of the maps, which are interpolated bicubically.
    positive : bool, default=False
        Whether negative sums count as zero, as in Grad-CAM.

    Examples
    --------
    >>> activation_map(torch.eye(2)[None, None], torch.ones(1, 1), (2, 2))[0].tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    total = (activation * weight[:, :, None, None]).sum(dim=1, keepdim=True)
    total = total.relu() if positive else total
    low, high = total.amin(dim=(2, 3), keepdim=True), total.amax(dim=(2, 3), keepdim=True)
    scaled = (total - low) / torch.where(high > low, high - low, torch.ones_like(high))
    wide = functional.interpolate(scaled, size=side, mode="bicubic", align_corners=False)
    return wide[:, 0].clamp(0, 1)


def grad_cam(module: nn.Module, layer: nn.Module, images: Tensor, label: Tensor) -> Tensor:
    """Return the Grad-CAM maps (n, H, W) of a class at a layer, between 0 and 1 [1]_.

    Parameters
    ----------
    module : torch.nn.Module
        Images to logits. Used in eval mode, and left as it was.
    layer : torch.nn.Module
        A part of it whose output has the shape (n, K, h, w), such as its last convolution.
    images : Tensor of shape (n, C, H, W)
        As the module takes them.
    label : LongTensor of shape (n,)
        Each image's class.

    References
    ----------
    .. [1] Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra, "Grad-CAM: visual explanations from
       deep networks via gradient-based localization", ICCV 2017.

    Examples
    --------
    >>> layer = nn.Conv2d(1, 4, 3, padding=1)
    >>> net = nn.Sequential(layer, nn.ReLU(), nn.Flatten(), nn.Linear(100, 3))
    >>> grad_cam(net, layer, torch.rand(2, 1, 5, 5), torch.tensor([0, 2])).shape
    torch.Size([2, 5, 5])
    """
    seen: list[Tensor] = []
    hook = layer.register_forward_hook(lambda _layer, _given, out: seen.append(out))
    try:
        with as_constant_function(module), torch.inference_mode(False), torch.enable_grad():
            logits = module(images.detach().requires_grad_(True))
            if not seen or seen[-1].ndim != 4:
                raise ValueError(
                    "The 'layer' of grad_cam must be a part of the module whose output has the "
                    "shape (n, K, h, w)."
                )
            own = logits.gather(1, label[:, None]).sum()
            (slope,) = torch.autograd.grad(own, seen[-1])
    finally:
        hook.remove()
    height, width = images.shape[2:]
    activation = seen[-1].detach()
    return activation_map(activation, slope.mean(dim=(2, 3)), (height, width), positive=True)


def localisation(w: np.ndarray, mask: np.ndarray, mass: float = 0.95) -> dict[str, np.ndarray]:
    """Return how well changes stay on an object.

    With p the changes' absolute values summed over channels and scaled to sum 1: the expected
    distance to the object, the mass inside it, and the intersection over union of the object
    with the smallest set of pixels that hold ``mass``.

    Parameters
    ----------
    w : array of shape (n, C, H, W)
    mask : bool array of shape (n, H, W)
        The object in each image, of at least one pixel.
    mass : float in (0, 1]

    Returns
    -------
    dict of str to array of shape (n,)
        "distance", "inside" and "iou"; NaN without a change, and where it is not finite.

    Examples
    --------
    >>> w = np.array([[[[3.0, 0.0, 1.0]]]])
    >>> result = localisation(w, np.array([[[True, False, False]]]))
    >>> {name: value.tolist() for name, value in result.items()}
    {'distance': [0.5], 'inside': [0.75], 'iou': [0.5]}
    """
    from scipy.ndimage import distance_transform_edt

    sizes, mask = np.abs(np.asarray(w)).sum(axis=1), np.asarray(mask, dtype=bool)
    if mask.shape != sizes.shape or not 0 < mass <= 1:
        raise ValueError(
            f"The 'mask' of localisation must have shape {sizes.shape}, and 'mass' must be in "
            f"(0, 1]. Got {mask.shape} and {mass!r} instead."
        )
    out: dict[str, list[float]] = {"distance": [], "inside": [], "iou": []}
    for change, inside in zip(sizes, mask, strict=True):
        if not inside.any():
            raise ValueError("The 'mask' of localisation must hold a pixel of every image's object")
        total = change.sum()
        if not 0 < total < np.inf:
            for values in out.values():
                values.append(float("nan"))
            continue
        p = change / total
        order = np.argsort(-p, axis=None, kind="stable")
        # The pixel that crosses the mass belongs to the set; rounding must not add another one.
        needed = int((np.cumsum(p.ravel()[order]) < mass - 1e-12).sum()) + 1
        chosen = np.zeros(p.size, dtype=bool)
        chosen[order[:needed]] = True
        chosen = chosen.reshape(p.shape)
        out["distance"].append(float((p * distance_transform_edt(~inside)).sum()))
        out["inside"].append(float(p[inside].sum()))
        out["iou"].append(float((chosen & inside).sum() / (chosen | inside).sum()))
    return {name: np.array(values) for name, values in out.items()}


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    r"""Return the Frechet distance of two sets of features (n, d), (m, d), taken as Gaussian.

    .. math:: \|\mu_1 - \mu_2\|^2 + \operatorname{tr}(\Sigma_1 + \Sigma_2
              - 2 (\Sigma_1^{1/2} \Sigma_2 \Sigma_1^{1/2})^{1/2})

    This is the FID, on features that the user extracts.

    Examples
    --------
    >>> a = np.array([[0.0], [2.0]])
    >>> round(frechet_distance(a, a + 3), 6)
    9.0
    """
    a, b = (np.asarray(part, dtype=np.float64) for part in (first, second))
    shapes = a.ndim == b.ndim == 2 and a.shape[1] == b.shape[1] and min(len(a), len(b)) > 1
    if not (shapes and np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError(
            "The features of frechet_distance must be finite, of shapes (n, d) and (m, d) with two "
            f"rows or more. Got shapes {a.shape} and {b.shape}."
        )
    covariance = [np.atleast_2d(np.cov(part, rowvar=False)) for part in (a, b)]
    values, vectors = np.linalg.eigh(covariance[0])
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    middle = np.linalg.eigvalsh(root @ covariance[1] @ root)
    spread = np.trace(covariance[0]) + np.trace(covariance[1])
    gap = ((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum()
    return float(gap + spread - 2 * np.sqrt(middle.clip(min=0)).sum())
