"""Luma of pictures: the plane on which the literature of super-resolution measures."""

from __future__ import annotations

import numpy as np

BT601_LUMA = np.array([65.481, 128.553, 24.966])
"""Luma of red, green and blue of 1, above black at 16 (ITU-R BT.601, 8 bits)."""


def luma(rgb: np.ndarray) -> np.ndarray:
    """BT.601 luma, 16..235, not rounded, of ``[..., 3]`` RGB in 0..255; a picture without that axis is returned as it is."""
    if rgb.ndim == 2:
        return rgb.astype(np.float64)
    return rgb.astype(np.float64) @ (BT601_LUMA / 255.0) + 16.0
