"""Low pictures alone: nobody knows what is right, so a plan is compared with the floating-point network.

The pictures are what the network gets on the device (a camera's, a decoder's), as they are; what the floating-point network makes
of them is the original. It is not rounded, so the floating-point network's own error is that of the display, a twelfth of a grey
step squared: 58.9 dB. Where the network gives whole grey steps itself (it repeats pixels, or all is black), a tenth of that
counts as its error. How good the network itself is stays unknown, and nothing simpler can be beside it.

A folder with ``low/`` and no ``high/``, or with ``--task fidelity`` any folder of pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hwmodels.errors import FileError
from searchspaces.data import pictures
from searchspaces.data.bicubic import imresize
from searchspaces.data.decoding import picture_size
from searchspaces.data.luma import luma
from searchspaces.data.pictures import Pair, Picture
from searchspaces.data.scale import enlarged, shrunk
from searchspaces.tasks.image import CALIBRATION_CROPS, SEARCH_SIDE, SuperResolution
from searchspaces.tasks.task import Figures, Network, Quality, Sample, Samples, Signature

LOW, HIGH = "low", "high"
CROP_SIDE = 64
"""Input pixels of a calibration crop."""
SMALLEST = 16
FLOOR = 1 / 120
"""Mean squared error, in grey steps, below which none is told apart; colours that are rounded make one of three times as much."""


class Fidelity(SuperResolution):
    """Pictures as they are, through the network, against what it gives in floating point."""

    name = "fidelity"
    summary = "low pictures alone (a folder low/ without high/): PSNR against the floating-point network's own output"
    quality = Quality("PSNR-Y against floating point", "dB")
    by_network = True

    def __init__(self, contract: Signature) -> None:
        super().__init__(contract)
        self._network: Network | None = None

    @property
    def border(self) -> int:
        return 0

    @property
    def baseline_name(self) -> str:
        return ""

    def samples(self, source: Path | None, seed: int, network: Network) -> Samples:
        self._network = network
        split = pictures.split(self.entries(source), seed=seed)
        calibration, search, evaluation = self._read_roles(split)
        crops = pictures.patches(calibration, max(CALIBRATION_CROPS, len(calibration)), CROP_SIDE, seed)
        side = shrunk(SEARCH_SIDE, self.contract.scale)
        middles = [self._judged(pictures.window(pair, side)) for pair in search]
        return Samples(crops, [picture.name for picture in split.calibration], middles, evaluation)

    def entries(self, source: Path | None) -> Sequence[Picture]:
        if source is None:
            raise FileError("there are no pictures to compare on", "Give --images a folder with low/, or of pictures.")
        return pictures.load_distinct(source / LOW if is_low(source) else source)

    def _input_size(self, entry: Picture) -> tuple[int, int]:
        return picture_size(entry.path)

    def read(self, entry: Picture) -> Pair:
        """A picture, cropped to what a fractional scale keeps whole, and what the floating-point network makes of it.

        Raises:
            FileError: it cannot be read, or is too small.
        """
        rgb = entry.rgb
        if min(rgb.shape[:2]) < SMALLEST:
            raise FileError(f"{entry.path}: too small", f"Pictures must have {SMALLEST}x{SMALLEST} pixels.")
        step = self.contract.scale.denominator
        rgb = rgb[: rgb.shape[0] // step * step, : rgb.shape[1] // step * step]
        low: np.ndarray = rgb
        if self.contract.channels == 1:
            grey = all(np.array_equal(rgb[..., 0], rgb[..., k]) for k in (1, 2))
            low = rgb[..., 0].astype(np.float64) if grey else luma(rgb)
        if self.contract.input_kind == "upsampled":
            low = imresize(low, float(self.contract.scale))
        planes = low[None] if low.ndim == 2 else low.transpose(2, 0, 1)
        x = torch.from_numpy(np.ascontiguousarray(planes, dtype=np.float32)).div_(255)[None]
        scale = self.contract.scale if self.contract.input_kind == "low" else 1
        nothing = np.zeros(
            (enlarged(x.shape[2], scale), enlarged(x.shape[3], scale), *((3,) if low.ndim == 3 else ())), np.float32
        )
        return self._judged(Pair(entry.name, x, nothing))

    def _judged(self, pair: Pair) -> Pair:
        """An input with what the floating-point network makes of it: of a part it is another thing than the part of the whole,
        because its border is another."""
        if self._network is None:
            raise FileError(f"{pair.name}: no network has said what is right there")
        with torch.no_grad():
            answer: Tensor = self._network(pair.low).clamp(0, 1).mul(255)[0].permute(1, 2, 0)
        high = answer.numpy()
        return Pair(pair.name, pair.low, high[..., 0] if high.shape[-1] == 1 else high)

    def error(self, output: Tensor, sample: Sample) -> float:
        return max(super().error(output, sample), FLOOR)

    def _figures(self, picture: np.ndarray, sample: Sample) -> Figures:
        found = super()._figures(picture, sample)
        return found._replace(quality=min(found.quality, self.quality_of(FLOOR, sample)))

    def windows(self, samples: Sequence[Pair], values: float) -> list[Pair]:
        return [self._judged(pair) for pair in super().windows(samples, values)]

    def patches(self, samples: Sequence[Pair], seed: int) -> list[Pair]:
        return [self._judged(pair) for pair in super().patches(samples, seed)]

    def simplest(self, sample: Sample) -> np.ndarray | None:
        return None


def is_low(source: Path) -> bool:
    """Whether a folder holds low pictures and nothing that says what is right."""
    return (source / LOW).is_dir() and not (source / HIGH).exists()


TASK = Fidelity
