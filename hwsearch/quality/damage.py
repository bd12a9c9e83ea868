"""Damage: what each choice costs in picture quality, in one unit for every proxy.

The unit is output noise power: the mean squared error that a choice adds to the luma of the output, on the 0..255 scale,
against the floating-point network. Noise of independent choices adds; PSNR loss follows from it and from the error that
the floating-point network already makes against the original picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


def loss_of_noise(noise: np.ndarray, float_mse: Sequence[float] | np.ndarray) -> np.ndarray:
    """Mean over pictures of the PSNR lost, in dB, when noise of power ``noise`` (any shape) is added to a network whose
    errors against the original pictures are ``float_mse[pictures]``: 10 log10(1 + noise / mse)."""
    mse = np.asarray(float_mse, dtype=np.float64)
    found: np.ndarray = np.mean(10 * np.log10(1 + np.asarray(noise)[..., None] / mse), axis=-1)
    return found


@dataclass(frozen=True, eq=False)
class Damage:
    """Additive quality table of one proxy.

    Attributes:
        proxy: name of the proxy that made it.
        noise: ``float64[decisions, choices]``, output noise power (MSE of luma, 0..255 scale); finite, not negative,
            zero where a choice is not allowed.
        float_mse: error of the floating-point network, same unit, on each picture for which PSNR loss is predicted.
        seed, pictures, seconds: how the noise was measured.
        forward_passes, backward_passes: passes through the network that it took, on the pictures or windows of them. A pass
            that starts at a changed layer counts as one, a product with the Hessian as two backward passes.
    """

    proxy: str
    noise: np.ndarray
    float_mse: np.ndarray
    seed: int
    pictures: tuple[str, ...]
    seconds: float
    forward_passes: int = 0
    backward_passes: int = 0

    def __post_init__(self) -> None:
        if not np.all(np.isfinite(self.noise)) or np.any(self.noise < 0):
            raise ValueError(f"damage of proxy {self.proxy!r} must be finite and not negative")

    def noise_of_choices(self, plans: np.ndarray) -> np.ndarray:
        """Noise power ``float64[P, decisions]`` of each choice of plans ``int[P, decisions]``."""
        return self.noise[np.arange(self.noise.shape[0]), np.asarray(plans, dtype=np.int64)]

    def predicted_noise(self, plans: np.ndarray) -> np.ndarray:
        """Noise power ``float64[P]`` of plans ``int[P, decisions]``."""
        found: np.ndarray = self.noise_of_choices(plans).sum(axis=-1)
        return found

    def loss_db(self, plans: np.ndarray) -> np.ndarray:
        """Predicted PSNR loss ``float64[P]`` in dB of plans ``int[P, decisions]``."""
        return loss_of_noise(self.predicted_noise(plans), self.float_mse)
