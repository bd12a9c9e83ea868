"""Videos: clips through a network that may keep state from frame to frame; PSNR and SSIM on the luma, over all frames of a clip.

A clip is a folder with its frames, pictures in the order of their names; a folder of such folders is a source. Frames are
degraded and judged as pictures are in super-resolution. A sample is a whole clip, ``low [N, C, h, w]``: a network with state
begins it with zeros, and what a frame leaves is there for the next one. A network without state enlarges frame by frame.

Quality is the PSNR of the mean squared error over all frames, not the mean of the frames' PSNRs: errors add up, as a search
needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hwmodels.errors import FileError
from searchspaces.data import pictures
from searchspaces.data.pictures import Picture
from searchspaces.data.scale import Scale, at_least, between, enlarged, shrunk
from searchspaces.data.together import together
from searchspaces.tasks.image import CALIBRATION_CROPS, CROP_SIDE, SEARCH_SIDE, SuperResolution, to_picture
from searchspaces.tasks.metrics import mse_y, ssim_y
from searchspaces.tasks.task import Figures, Network, Sample, Samples

CALIBRATION_FRAMES = 4
"""Frames of a clip on which ranges are set: the first ones, in which the state grows from zero, and as many as it needs."""
MOST_FRAMES = 24
"""Frames of a clip that plans are compared and measured on."""


@dataclass(frozen=True)
class ClipFiles:
    """The frames of one clip, in order. ``role``: as of ``Picture``; clips have none."""

    name: str
    frames: tuple[Picture, ...]
    role: str = ""

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(frame.path for frame in self.frames)


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames ``float32 [N, C, h, w]`` in 0..1, and what they should become: ``[N, H, W]`` or ``[N, H, W, 3]`` in 0..255."""

    name: str
    low: Tensor
    high: np.ndarray

    @property
    def scale(self) -> Scale:
        return between(self.high.shape[1], self.low.shape[2])

    def window(self, top: int, left: int, height: int, width: int) -> Clip:
        """A part of every frame, in pixels of the input whose multiples are whole."""
        scale = self.scale
        rows, columns = (slice(enlarged(at, scale), enlarged(at + side, scale)) for at, side in ((top, height), (left, width)))
        low = self.low[:, :, top : top + height, left : left + width].contiguous()
        return Clip(self.name, low, self.high[:, rows, columns])

    def middle(self, height: int, width: int) -> Clip:
        """The middle of every frame, or all of it where it is smaller."""
        h, w = self.low.shape[2:]
        step = self.scale.denominator
        height, width = min(height, h) // step * step, min(width, w) // step * step
        return self.window((h - height) // 2 // step * step, (w - width) // 2 // step * step, height, width)


class Video(SuperResolution):
    """Clips from the user, shrunk by bicubic and enlarged by the network, frame after frame."""

    name = "video"
    summary = "clips (a folder of folders with frames) shrunk by bicubic and enlarged by a network, with state or without"
    sequences = True

    def samples(self, source: Path | None, seed: int, network: Network) -> Samples:
        split, rng = pictures.split(self.entries(source), seed=seed), np.random.default_rng(seed)
        step, crop = self.contract.scale.denominator, at_least(CROP_SIDE, self.contract.scale)
        calibration, search, evaluation = together(
            partial(together, [partial(self._read, files, most) for files in role])
            for role, most in zip(split, (CALIBRATION_FRAMES, MOST_FRAMES, MOST_FRAMES), strict=True)
        )
        height, width = (min(crop, *(clip.low.shape[axis] for clip in calibration)) for axis in (2, 3))
        crops = []
        for number in range(max(CALIBRATION_CROPS, len(calibration))):
            clip = calibration[number % len(calibration)]
            free = (clip.low.shape[2] - height, clip.low.shape[3] - width)
            top, left = (int(rng.integers(0, side // step + 1)) * step for side in free)
            crops.append(clip.window(top, left, height, width))
        side = shrunk(SEARCH_SIDE, self.contract.scale)
        middles = [clip.middle(side, side) for clip in search]
        return Samples(crops, [files.name for files in split.calibration], middles, evaluation)

    def entries(self, source: Path | None) -> Sequence[ClipFiles]:
        if source is None:
            raise FileError("a video network needs clips", "Give --images a folder of folders, each with the frames of one clip.")
        clips: dict[str, list[Picture]] = {}
        for frame in pictures.load_folder(source):
            clips.setdefault(frame.name.rpartition("/")[0], []).append(frame)
        if "" in clips:
            raise FileError(f"{source}: {clips[''][0].path.name} is in no folder of its clip", "Give every clip a folder.")
        if short := next((name for name, frames in clips.items() if len(frames) < CALIBRATION_FRAMES), None):
            raise FileError(f"{source / short}: {len(clips[short])} frame(s)", f"A clip has at least {CALIBRATION_FRAMES}.")
        return pictures.without_copies([ClipFiles(name, tuple(frames)) for name, frames in clips.items()])

    def _input_size(self, entry: ClipFiles) -> tuple[int, int]:
        return super()._input_size(entry.frames[0])

    def read(self, entry: Any) -> Any:
        return self._read(entry, MOST_FRAMES)

    def _read(self, files: ClipFiles, most: int) -> Clip:
        contract = self.contract
        frames = pictures.pairs(files.frames[:most], contract.scale, contract.channels, contract.input_kind)
        if odd := next((frame.name for frame in frames if frame.high.shape != frames[0].high.shape), None):
            raise FileError(f"{odd}: this frame has another size than the first of its clip", "Frames of a clip have one size.")
        return Clip(files.name, torch.cat([frame.low for frame in frames]), np.stack([frame.high for frame in frames]))

    def error(self, output: Tensor, sample: Sample) -> float:
        """Mean squared error of the luma over all frames, 0..255."""
        frames = zip(output.split(1), sample.high, strict=True)
        return float(np.mean([mse_y(to_picture(y), high, self.border) for y, high in frames]))

    def figures(self, output: Tensor, sample: Sample) -> Figures:
        return self._of_frames([to_picture(y) for y in output.split(1)], sample)

    def _of_frames(self, shown: Sequence[np.ndarray], sample: Sample) -> Figures:
        frames = list(zip(shown, sample.high, strict=True))
        error = float(np.mean([mse_y(y, high, self.border) for y, high in frames]))
        return Figures(self.quality_of(error, sample), float(np.mean([ssim_y(y, high, self.border) for y, high in frames])))

    def target(self, sample: Sample) -> Tensor:
        """Luma of the originals, ``float32[N, 1, H, W]``."""
        return torch.stack([super(Video, self).target(frame)[None] for frame in _frames(sample)])

    def fitted(self, samples: Sequence[Any]) -> list[Any]:
        only, step = self.contract.only, self.contract.multiple
        found = []
        for clip in samples:
            height, width = only or (side // step * step for side in clip.low.shape[2:])
            if min(height, width) < 1 or height > clip.low.shape[2] or width > clip.low.shape[3]:
                raise FileError(
                    f"{clip.name}: frames are smaller than the {height}x{width} pixels (height x width) that the network takes"
                )
            found.append(clip.middle(height, width))
        return found

    def windows(self, samples: Sequence[Any], values: float) -> list[Any]:
        step, frames = self.contract.multiple, len(samples[0].low)
        side = max(int(np.sqrt(max(values / frames / len(samples), 1))) // step, -(-16 // step)) * step
        fewer = min(len(samples), max(1, int(values / frames / side**2)))
        return [clip if self.contract.only else clip.middle(side, side) for clip in samples[:fewer]]

    def patches(self, samples: Sequence[Any], seed: int) -> list[Any]:
        return []

    def baseline(self, sample: Sample) -> Figures | None:
        shown = [super(Video, self).simplest(frame) for frame in _frames(sample)]
        return self._of_frames([one for one in shown if one is not None], sample)

    def picture(self, output: Tensor) -> None:
        """None: reports show pictures, and a clip is none."""
        return None

    def simplest(self, sample: Sample) -> None:
        return None


def _frames(sample: Sample) -> list[pictures.Pair]:
    """The frames of a clip as pictures."""
    frames = zip(sample.low.split(1), sample.high, strict=True)
    return [pictures.Pair(f"{sample.name}#{number}", low, high) for number, (low, high) in enumerate(frames)]


TASK = Video
