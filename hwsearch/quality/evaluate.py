"""Measured quality of plans: fake-quantized PSNR on a fixed set of pictures, or on a few patches of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hwmodels.errors import UsageError
from hwsearch.documents.earlier import USUAL_METHOD
from searchspaces.data.pictures import Pair, patches
from searchspaces.tasks.metrics import mse_y, psnr_from_mse

PATCHES = 8
PATCH_SIDE = 48
"""Input pixels of a patch."""


@dataclass(frozen=True)
class Score:
    """Quality of one plan on the pictures of an evaluator. ``stderr_db`` is the standard error of the mean paired loss
    over pictures; ``method``: the quantization method that the plan was measured with, the best of those on offer."""

    psnr_db: float
    psnr_loss_db: float
    stderr_db: float
    method: str = USUAL_METHOD


def to_picture(y: Tensor) -> np.ndarray:
    """Network output ``[1, C, H, W]`` in 0..1 to what a display receives: 0..255 rounded, ``[H, W]`` or ``[H, W, 3]``."""
    picture = y.detach().clamp(0, 1).mul(255).round()[0].permute(1, 2, 0).numpy()
    return picture[..., 0] if picture.shape[-1] == 1 else picture


class Evaluator:
    """Scores any function from low to high resolution, paired with the floating-point network on the same pictures.

    Raises:
        UsageError: the floating-point network is perfect on a picture, or gives no numbers.
    """

    def __init__(self, reference: Callable[[Tensor], Tensor], pairs: Sequence[Pair], scale: int) -> None:
        self.pairs, self.scale = tuple(pairs), scale
        with torch.no_grad():
            self.float_mse = np.array([self._mse(reference, pair) for pair in self.pairs])
        for pair, mse in zip(self.pairs, self.float_mse, strict=True):
            if not 0 < mse < np.inf:
                raise UsageError(
                    f"no loss can be measured on the picture {pair.name}: the floating-point network's error there is {mse:g}",
                    "Leave the picture out, or check the network's weights.",
                )
        self.float_psnr_db = float(np.mean([psnr_from_mse(m) for m in self.float_mse]))

    def _mse(self, network: Callable[[Tensor], Tensor], pair: Pair) -> float:
        return mse_y(to_picture(network(pair.low)), pair.high, self.scale)

    @property
    def pixels(self) -> int:
        """Input pixels of all pictures."""
        return sum(pair.low.shape[2] * pair.low.shape[3] for pair in self.pairs)

    def losses_db(self, network: Callable[[Tensor], Tensor]) -> np.ndarray:
        """PSNR-Y that ``network`` loses against the reference on each picture, ``float64[pictures]``."""
        with torch.no_grad():
            psnr = np.array([psnr_from_mse(self._mse(network, pair)) for pair in self.pairs])
        found: np.ndarray = np.array([psnr_from_mse(m) for m in self.float_mse]) - psnr
        return found

    def score(self, network: Callable[[Tensor], Tensor]) -> Score:
        """PSNR-Y of ``network`` (``[1, C, H, W] -> [1, C, scale*H, scale*W]``) and its loss against the reference."""
        loss = self.losses_db(network)
        spread = float(loss.std(ddof=1) / np.sqrt(len(loss))) if len(loss) > 1 else 0.0
        return Score(self.float_psnr_db - float(loss.mean()), float(loss.mean()), spread)


def on_patches(reference: Callable[[Tensor], Tensor], pairs: Sequence[Pair], scale: int, seed: int) -> Evaluator | None:
    """An evaluator on a few patches of pictures, without those on which the floating-point network is perfect (a flat sky); None
    where fewer than two are left."""
    found = []
    for pair in patches(pairs, PATCHES, PATCH_SIDE, seed):
        with torch.no_grad():
            if mse_y(to_picture(reference(pair.low)), pair.high, scale) > 0:
                found.append(pair)
    return Evaluator(reference, found, scale) if len(found) > 1 else None
