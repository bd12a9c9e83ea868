"""A classifier's output against the floating-point network's own: no labels are needed, any pictures will do.

Quality is the signal-to-quantization-noise ratio of the output over its values, in dB. Noise below a millionth of the signal is
not told apart: 60 dB stand for an identical output. That floor plays the part that the floating-point network's own error plays
for pictures: a loss is counted from it. Beside it, top-1 agreement says in how many percent of the samples the largest output
has the same place.

Outputs may have any shape; the first axis is the batch. Pictures are shrunk to the input size asked for with ``--input``, their
middle cut out square to it, and given in 0..1 (or what ``--range`` says).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hwmodels.errors import FileError
from searchspaces.data import pictures
from searchspaces.data.luma import luma
from searchspaces.data.pictures import Picture
from searchspaces.data.together import together
from searchspaces.tasks.task import Figures, Network, Quality, Sample, Samples, Task

FLOOR = 1e-6
"""Noise over signal that counts as none."""
VIEWS = 8
"""Cuts of every picture: shipped photos are few."""


@dataclass(frozen=True, eq=False)
class Answered:
    """An input ``[1, C, h, w]`` and what the floating-point network answers, ``float32`` of the output's shape."""

    name: str
    low: Tensor
    high: np.ndarray


class Classifier(Task):
    """Pictures through a network whose output is compared with itself in floating point."""

    name = "classifier"
    summary = "any output against the floating-point network's: SQNR, and how often the largest value has the same place"
    quality = Quality("SQNR", "dB")
    second = Quality("top-1 agreement", "%")
    enlarges = False

    def samples(self, source: Path | None, seed: int, network: Network) -> Samples:
        found = pictures.shipped() if source is None else pictures.load_distinct(source)
        split, rng = pictures.split(found, seed=seed), np.random.default_rng(seed)
        cuts = [[partial(self._cuts, picture, network, rng) for picture in role] for role in split]
        roles = together(partial(together, role) for role in cuts)
        calibration, search, evaluation = ([sample for views in role for sample in views] for role in roles)
        return Samples(calibration, [picture.name for picture in split.calibration], search, evaluation)

    def _cuts(self, picture: Picture, network: Network, rng: np.random.Generator) -> list[Answered]:
        """The middle of a picture, and squares from random places of it, all at the size that the network gets."""
        rgb = picture.rgb
        height, width = self.contract.size
        room = min(rgb.shape[0] / height, rgb.shape[1] / width)
        if rgb.min() == rgb.max():
            raise FileError(f"{picture.path}: the picture has one colour only", "It says nothing about quality; take it out.")
        cuts = []
        for number in range(VIEWS):
            zoom = room if number == 0 else room * float(rng.uniform(0.4, 1.0))
            h, w = max(1, int(height * zoom)), max(1, int(width * zoom))
            free = (rgb.shape[0] - h, rgb.shape[1] - w)
            top, left = (side // 2 if number == 0 else int(rng.integers(0, side + 1)) for side in free)
            cut = Image.fromarray(rgb[top : top + h, left : left + w]).resize((width, height), Image.Resampling.BICUBIC)
            x = self._input(np.asarray(cut))
            with torch.no_grad():
                answer = network(x).numpy()
            cuts.append(Answered(f"{picture.name}#{number}", x, answer))
        return cuts

    def _input(self, rgb: np.ndarray) -> Tensor:
        planes = luma(rgb)[None] if self.contract.channels == 1 else rgb.transpose(2, 0, 1)
        return torch.from_numpy(np.ascontiguousarray(planes, dtype=np.float32)).div_(255)[None]

    def error(self, output: Tensor, sample: Sample) -> float:
        """Mean squared change of the output's values, above the floor."""
        signal = _power(sample.high)
        if not 0 < signal < np.inf:
            raise FileError(f"{sample.name}: the floating-point network answers with nothing but 0, or with no numbers")
        return FLOOR * signal + float(np.mean((output.detach().double().numpy() - sample.high) ** 2))

    def quality_of(self, error: float, sample: Sample) -> float:
        return float(10 * np.log10(_power(sample.high) / error))

    def figures(self, output: Tensor, sample: Sample) -> Figures:
        agrees = int(output.flatten().argmax()) == int(sample.high.argmax())
        return Figures(self.quality_of(self.error(output, sample), sample), 100.0 * agrees)

    def view(self, output: Tensor) -> Tensor:
        return output

    def limited(self, output: Tensor) -> Tensor:
        return output

    def displayed(self, output: Tensor) -> Tensor:
        return output

    def target(self, sample: Sample) -> Tensor:
        return torch.from_numpy(sample.high)

    def windows(self, samples: Sequence[Answered], values: float) -> list[Answered]:
        each = samples[0].low[0, 0].numel()
        count = min(len(samples), max(1, int(values / each)))
        return [samples[i] for i in np.linspace(0, len(samples) - 1, count).round().astype(int)]

    def patches(self, samples: Sequence[Answered], seed: int) -> list[Answered]:
        return []


def _power(answer: np.ndarray) -> float:
    """Mean square of an answer."""
    return float(np.mean(answer.astype(np.float64) ** 2))


TASK = Classifier
