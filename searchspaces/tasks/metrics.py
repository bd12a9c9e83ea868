"""PSNR and SSIM by the convention of the super-resolution literature.

Both are taken on the luma of ITU-R BT.601 (16..235), after shaving ``scale`` pixels, rounded up, from every border, with peak
255. The network's output is clipped and rounded to 8 bits first, because that is what a display receives.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from searchspaces.data.luma import luma


def _shave(image: np.ndarray, border: int) -> np.ndarray:
    return image[border:-border, border:-border] if border else image


def mse_y(output: np.ndarray, reference: np.ndarray, border: int) -> float:
    """Mean squared error of the luma (0..255 scale) of ``[H, W]`` or ``[H, W, 3]`` pictures in 0..255."""
    difference = _shave(luma(output), border) - _shave(luma(reference), border)
    return float(np.mean(difference**2))


def psnr_from_mse(mse: float) -> float:
    """PSNR in dB with peak 255; infinite for identical pictures."""
    return float("inf") if mse == 0 else float(10 * np.log10(255.0**2 / mse))


def psnr_y(output: np.ndarray, reference: np.ndarray, border: int) -> float:
    """PSNR-Y in dB of two pictures in 0..255, ``border`` pixels shaved from every side."""
    return psnr_from_mse(mse_y(output, reference, border))


def ssim_y(output: np.ndarray, reference: np.ndarray, border: int) -> float:
    """SSIM-Y (Wang, Bovik, Sheikh and Simoncelli 2004): 11x11 Gaussian window, sigma 1.5, valid positions, L = 255."""
    a, b = _shave(luma(output), border), _shave(luma(reference), border)
    radius = 5

    def mean(x: np.ndarray) -> np.ndarray:
        for axis in (0, 1):
            x = gaussian_filter1d(x, 1.5, axis=axis, radius=radius)
        return x[radius:-radius, radius:-radius]

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mu_a, mu_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mu_a**2, mean(b * b) - mu_b**2
    covariance = mean(a * b) - mu_a * mu_b
    score = (2 * mu_a * mu_b + c1) * (2 * covariance + c2) / ((mu_a**2 + mu_b**2 + c1) * (var_a + var_b + c2))
    return float(score.mean())
