"""An image, its counterfactual and their difference as arrays of colours, and as PNG."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
import torch

from scfe_sklearn.image.explanation import ImageExplanation

AMPLIFIED = 3.0
RED = (1.0, 0.0, 0.0)


def panels(
    explanation: ImageExplanation, index: int, factor: float = AMPLIFIED
) -> list[np.ndarray]:
    """Return image, counterfactual, mask and amplified change as (H, W, C) from 0 to 1."""
    low, high = explanation.bounds
    image, answer = (
        (torch.as_tensor(part[index]).detach().cpu().double().numpy() - low) / (high - low)
        for part in (explanation.images, explanation.counterfactuals)
    )
    change = np.nan_to_num(answer - image)
    mask = (change != 0).any(axis=0, keepdims=True).astype(float)
    amplified = (0.5 + factor * change / 2).clip(0, 1)
    parts = (image, np.nan_to_num(answer), mask, amplified)
    return [part.clip(0, 1).transpose(1, 2, 0) for part in parts]


def marked(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return an image (H, W, C) in colours whose pixels under a mask (H, W, 1) are red."""
    return np.where(mask > 0, RED, colours(image))


def colours(panel: np.ndarray) -> np.ndarray:
    """Return red, green and blue; other numbers of channels are averaged to grey."""
    if panel.shape[2] == 3:
        return panel
    return np.repeat(panel.mean(axis=2, keepdims=True), 3, axis=2)


def png_address(panel: np.ndarray) -> str:
    """Return a picture as a data address, written by hand so that nothing has to be installed."""
    pixels = np.round(255 * colours(panel)).astype(np.uint8)
    height, width = pixels.shape[:2]
    lines = np.concatenate(
        [np.zeros((height, 1), dtype=np.uint8), pixels.reshape(height, -1)], axis=1
    )

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    picture = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    picture += chunk(b"IDAT", zlib.compress(lines.tobytes())) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(picture).decode()
