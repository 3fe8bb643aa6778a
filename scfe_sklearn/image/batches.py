"""The border of the image explainers: arrays in, checked tensors out, and back again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

VALUES = 2**22
"""Values of images that a processor works on at once: nets need a few hundred bytes for each."""

Part = TypeVar("Part")


def chunk_size(images: Tensor, most: int, device: torch.device) -> int:
    """Return how many images to work on at once, at most ``most``.

    A processor that runs out of memory ends the program, so large images come in small chunks;
    an accelerator raises, see :func:`in_chunks`.

    Examples
    --------
    >>> cpu = torch.device("cpu")
    >>> chunk_size(torch.empty(0, 3, 32, 32), 512, cpu), chunk_size(
    ...     torch.empty(0, 3, 224, 224), 512, cpu
    ... )
    (512, 27)
    """
    if device.type != "cpu":
        return most
    return max(1, min(most, VALUES // math.prod(images.shape[1:])))


def in_chunks(work: Callable[[int, int], Part], n: int, size: int) -> list[Part]:
    """Do ``work(first, last)`` for n images, ``size`` at a time, half as many where memory ends.

    Examples
    --------
    >>> in_chunks(lambda first, last: (first, last), 5, 2)
    [(0, 2), (2, 4), (4, 5)]
    """
    parts: list[Part] = []
    first = 0
    while first < n:
        last, short = min(first + size, n), False
        try:
            parts.append(work(first, last))
        except RuntimeError as error:
            short = last - first > 1 and _out_of_memory(error)
            if not short:
                raise
        if not short:
            first = last
            continue
        # Only here has the error let go of what was computed.
        size = (last - first) // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return parts


def _out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.cuda.OutOfMemoryError) or "out of memory" in str(error)


def read_images(images: Any, bounds: tuple[float, float], owner: str) -> Tensor:
    """Return images (n, C, H, W) as a tensor of a floating type; refuse what is no such thing."""
    if isinstance(images, torch.Tensor):
        tensor = images.detach()
    elif isinstance(images, np.ndarray) and images.dtype.kind in "biufc":
        tensor = torch.from_numpy(np.array(images))
    else:
        raise TypeError(
            f"The images of {owner} must be a numpy array or a torch tensor of numbers, of shape "
            f"(n, channels, height, width). Got {_kind(images)} instead."
        )
    if tensor.ndim != 4 or 0 in tensor.shape[1:]:
        raise ValueError(
            f"The images of {owner} must have shape (n, channels, height, width). "
            f"Got {tuple(tensor.shape)} instead."
        )
    if tensor.is_complex() or tensor.dtype == torch.bool:
        raise TypeError(f"The images of {owner} must be real numbers. Got {tensor.dtype} instead.")
    if not tensor.is_floating_point():
        tensor = tensor.to(torch.get_default_dtype())
    low, high = bounds
    if not bool(((tensor >= low) & (tensor <= high)).all()):
        raise ValueError(
            f"The images of {owner} must lie within the bounds {bounds}. Got values from "
            f"{float(tensor.min())} to {float(tensor.max())} instead."
        )
    return tensor


def _kind(images: Any) -> str:
    name = type(images).__name__
    return f"{name} of {images.dtype}" if isinstance(images, np.ndarray) else name


@contextmanager
def channels_first(images: Tensor, owner: str) -> Iterator[None]:
    """Add a hint where the model fails on images whose channels seem to come last."""
    try:
        yield
    except RuntimeError as error:
        channels, _, last = images.shape[1:]
        if _out_of_memory(error) or last not in (1, 3, 4) or channels <= last:
            raise
        raise ValueError(
            f"The images of {owner} must have shape (n, channels, height, width). The model fails "
            f"on {tuple(images.shape)}: are the channels last?"
        ) from error


def check_normalization(normalization: Any, images: Tensor, owner: str) -> None:
    """Refuse what is no mean and standard deviation of all channels, or of each."""
    if normalization is None:
        return
    try:
        mean, std = (torch.as_tensor(part, dtype=torch.float64) for part in normalization)
    except (TypeError, ValueError):
        mean, std = torch.tensor(0.0), torch.tensor(0.0)
    sizes = {mean.numel(), std.numel()} - {1, images.shape[1]}
    whole = bool(torch.isfinite(mean).all() & torch.isfinite(std).all() & (std > 0).all())
    if sizes or not whole:
        raise ValueError(
            f"The 'normalization' parameter of {owner} must be None or finite (mean, std) with "
            f"std > 0: numbers, or one for each channel of images {tuple(images.shape)}. "
            f"Got {normalization!r} instead."
        )


def read_labels(labels: Any, n: int, n_classes: int, owner: str, name: str) -> Tensor:
    """Return one class per image (n,): a number for all, or one for each."""
    array = labels.detach().cpu().numpy() if isinstance(labels, torch.Tensor) else labels
    array = np.asarray(array)
    if array.dtype.kind not in "iu":
        raise TypeError(
            f"The '{name}' of {owner} must be an int or one int per image. Got {labels!r} instead."
        )
    if array.ndim == 0:
        array = np.full(n, array)
    if array.shape != (n,):
        raise ValueError(
            f"The '{name}' of {owner} must be an int or have shape ({n},). "
            f"Got shape {array.shape} instead."
        )
    if n and not (array.min() >= 0 and array.max() < n_classes):
        raise ValueError(
            f"The '{name}' of {owner} must be classes in [0, {n_classes}). "
            f"Got values from {array.min()} to {array.max()} instead."
        )
    return torch.from_numpy(array.astype(np.int64))


def read_region(region: Any, images: Tensor, owner: str) -> Tensor:
    """Return masks of pixels as a bool tensor (n, 1, H, W): one for all images, or one for each."""
    mask = torch.as_tensor(region)
    n, _, height, width = images.shape
    if mask.dtype != torch.bool or tuple(mask.shape) not in ((height, width), (n, height, width)):
        raise ValueError(
            f"The 'region' of {owner} must be bool, of shape {(height, width)} or "
            f"{(n, height, width)}. Got {mask.dtype} of shape {tuple(mask.shape)} instead."
        )
    return mask.detach().expand(n, height, width)[:, None]


def check_bounds(bounds: Any, owner: str) -> tuple[float, float]:
    """Return the range of the pixels as two numbers."""
    try:
        low, high = (float(bound) for bound in bounds)
    except (TypeError, ValueError):
        low, high = 0.0, 0.0
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ValueError(
            f"The 'bounds' parameter of {owner} must be two finite numbers (low, high) with "
            f"low < high. Got {bounds!r} instead."
        )
    return low, high


def restore_type(tensor: Tensor, images: Any) -> Any:
    """Return a tensor as the type that the images had."""
    if isinstance(images, torch.Tensor):
        return tensor.to(images.device)
    return tensor.cpu().numpy()


def per_image(value: Tensor) -> Tensor:
    """Return one value per image (n,) in the shape (n, 1, 1, 1) of images."""
    return value.reshape(-1, 1, 1, 1)
