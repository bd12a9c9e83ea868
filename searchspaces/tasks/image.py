"""Image super-resolution: PSNR and SSIM on the luma against the original, borders shaved, as the literature measures.

Pictures are degraded by MATLAB's bicubic. The network's output is clipped and rounded to 8 bits, because that is what a display
receives; ``scale`` pixels, rounded up, are shaved from every border (see ``metrics``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from hwmodels.errors import FileError
from searchspaces.data import pictures
from searchspaces.data.bicubic import imresize
from searchspaces.data.decoding import picture_size
from searchspaces.data.luma import luma
from searchspaces.data.pictures import Pair
from searchspaces.data.scale import between, border, shrunk
from searchspaces.data.together import each, together
from searchspaces.tasks.luma import output_luma
from searchspaces.tasks.metrics import mse_y, psnr_from_mse, psnr_y, ssim_y
from searchspaces.tasks.task import Figures, Network, Quality, Sample, Samples, Signature, Task

CALIBRATION_CROPS = 16
CROP_SIDE = 64
"""Input pixels of a calibration crop's side."""
SEARCH_SIDE = 480
"""Every evaluation of the search runs on all search pictures: large photos give their middle, of so many pixels a side."""
PATCHES, PATCH_SIDE = 8, 48


class SuperResolution(Task):
    """Pictures from the user or from the package, shrunk by bicubic and enlarged by the network."""

    name = "super-resolution"
    summary = "pictures shrunk by bicubic, enlarged by the network, compared with the originals"
    quality = Quality("PSNR-Y", "dB")
    second = Quality("SSIM-Y", "")
    unit = 255.0
    by_network: ClassVar[bool] = False
    """Whether what is right is what the floating-point network gives, instead of something that the pictures hold."""

    @classmethod
    def of(cls, pairs: Sequence[Pair]) -> SuperResolution:
        """The task that pairs show: the scale by their sizes."""
        scale = max(between(pairs[0].high.shape[0], pairs[0].low.shape[2]), 1)
        return cls(Signature(scale, pairs[0].low.shape[1]))

    @property
    def border(self) -> int:
        return border(self.contract.scale)

    @property
    def baseline_name(self) -> str:
        return "bicubic"

    def samples(self, source: Path | None, seed: int, network: Network) -> Samples:
        split, asked = pictures.split(self.entries(source), seed=seed), self.contract
        scale, channels, kind = asked.scale, asked.channels, asked.input_kind
        side = max(asked.only or (CROP_SIDE,))

        def crops() -> list[Pair]:
            try:
                return pictures.crops(split.calibration, scale, channels, kind, count=CALIBRATION_CROPS, size=side, seed=seed)
            except FileError as error:
                if asked.only is not None:
                    height, width = asked.only
                    made = f"The network is made for pictures of {height}x{width} pixels (height x width)"
                    for one in each(error):
                        one.hint = f"{one.hint} {made}: ask for a smaller --input."
                raise

        calibration, search, evaluation = together(
            [
                crops,
                lambda: pictures.pairs(split.search, scale, channels, kind, side=SEARCH_SIDE),
                lambda: pictures.pairs(split.evaluation, scale, channels, kind),
            ]
        )
        return Samples(calibration, [picture.name for picture in split.calibration], search, evaluation)

    def smallest_input(self, source: Path | None) -> tuple[int, int] | None:
        sides = [self._input_size(entry) for entry in self.entries(source)]
        longest = shrunk(SEARCH_SIDE, self.contract.scale)
        return min(longest, *(height for height, _ in sides)), min(longest, *(width for _, width in sides))

    def _input_size(self, entry: Any) -> tuple[int, int]:
        """Height and width of what the network gets of one of ``entries``, before it is enlarged where it comes so; nothing is
        decoded."""
        height, width = picture_size(entry.path)
        return shrunk(height, self.contract.scale), shrunk(width, self.contract.scale)

    def entries(self, source: Path | None) -> Sequence[Any]:
        """What samples are read from, unread: things with a ``name`` and a ``role``.

        Raises:
            FileError: ``source`` cannot be used.
        """
        return pictures.shipped() if source is None else pictures.load_distinct(source)

    def _read_roles(self, roles: Iterable[Sequence[Any]]) -> list[list[Any]]:
        """``read`` of every entry of every role; what cannot be used is told of all of them at once."""
        return together(partial(together, [partial(self.read, entry) for entry in role]) for role in roles)

    def read(self, entry: Any) -> Pair:
        """One of ``entries``, whole.

        Raises:
            FileError: it cannot be read, or is too small.
        """
        (pair,) = pictures.pairs([entry], self.contract.scale, self.contract.channels, self.contract.input_kind)
        return pair

    def error(self, output: Tensor, sample: Sample) -> float:
        """Mean squared error of the luma, 0..255."""
        return mse_y(to_picture(output), sample.high, self.border)

    def quality_of(self, error: float, sample: Sample) -> float:
        return psnr_from_mse(error)

    def figures(self, output: Tensor, sample: Sample) -> Figures:
        return self._figures(to_picture(output), sample)

    def _figures(self, picture: np.ndarray, sample: Sample) -> Figures:
        return Figures(psnr_y(picture, sample.high, self.border), ssim_y(picture, sample.high, self.border))

    def view(self, output: Tensor) -> Tensor:
        """Luma ``[N, 1, H, W]``, 0..255 up to a constant."""
        return output_luma(output)

    def limited(self, output: Tensor) -> Tensor:
        return output.clamp(0, 1)

    def displayed(self, output: Tensor) -> Tensor:
        return torch.round(output.clamp(0, 1) * 255) / 255

    def target(self, sample: Sample) -> Tensor:
        """Luma of the original, ``float32[H, W]``."""
        # Output luma leaves out BT.601's constant 16, the luma of RGB pictures has it; a luma picture is compared as it is.
        target = sample.high if sample.high.ndim == 2 else luma(sample.high) - 16.0
        return torch.from_numpy(np.asarray(target, dtype=np.float32))

    def windows(self, samples: Sequence[Pair], values: float) -> list[Pair]:
        only = self.contract.only
        return pictures.windows(samples, values, self.contract.multiple) if only is None else pictures.fewer(samples, values)

    def fitted(self, samples: Sequence[Pair]) -> list[Pair]:
        return [pictures.fitted(pair, self.contract.only, self.contract.multiple) for pair in samples]

    def patches(self, samples: Sequence[Pair], seed: int) -> list[Pair]:
        if self.contract.only is not None:
            return []
        step = self.contract.multiple
        return pictures.patches(samples, PATCHES, max(PATCH_SIDE // step, 1) * step, seed)

    def baseline(self, sample: Sample) -> Figures | None:
        simplest = self.simplest(sample)
        return None if simplest is None else self._figures(simplest, sample)

    def picture(self, output: Tensor) -> np.ndarray | None:
        return to_picture(output)

    def simplest(self, sample: Sample) -> np.ndarray | None:
        """The input enlarged by bicubic, where it does not come enlarged, as a display shows it."""
        low = sample.low[0].permute(1, 2, 0).double().numpy() * 255
        enlarged = low if sample.high.shape[0] == low.shape[0] else imresize(low, float(self.contract.scale))
        shown: np.ndarray = np.clip(np.rint(enlarged), 0, 255)
        return shown[..., 0] if shown.shape[-1] == 1 else shown


def to_picture(y: Tensor) -> np.ndarray:
    """Network output ``[1, C, H, W]`` in 0..1 to what a display receives: 0..255 rounded, ``[H, W]`` or ``[H, W, 3]``."""
    picture: np.ndarray = y.detach().clamp(0, 1).mul(255).round()[0].permute(1, 2, 0).numpy()
    return picture[..., 0] if picture.shape[-1] == 1 else picture


TASK = SuperResolution
