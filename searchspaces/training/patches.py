"""What the shipped networks were trained on: pairs of pictures, and patches of them.

Each picture is shrunk to a few sizes (Lanczos; this also removes the block artefacts of JPEG sources), its low-resolution twin is
made by MATLAB-compatible bicubic, and random aligned patches with random flips and transposes are drawn, busy patches more often.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from searchspaces.data.bicubic import imresize
from searchspaces.data.luma import luma

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}


def picture_pairs(
    folders: list[Path], *, scale: int, channels: int, long_sides: list[int], drawings: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """(low, high) pairs, uint8 ``[h, w, channels]`` and ``[scale*h, scale*w, channels]``, of every picture at several sizes."""
    pairs = []

    def add(picture: Image.Image) -> None:
        high = np.asarray(picture)
        high = high[: high.shape[0] // scale * scale, : high.shape[1] // scale * scale]
        if channels == 1:
            high = np.rint(luma(high)).astype(np.uint8)[..., None]
        pairs.append((imresize(high, 1 / scale), high))

    for path in sorted(p for folder in folders for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES):
        photo = Image.open(path).convert("RGB")
        longest = max(photo.size)
        for side in [side for side in long_sides if side <= 0.75 * longest] or [longest]:
            size = (round(photo.width * side / longest), round(photo.height * side / longest))
            add(photo if side == longest else photo.resize(size, Image.Resampling.LANCZOS))
    random = np.random.default_rng(seed)
    for _ in range(drawings):
        add(drawing(random))
    if not pairs:
        raise SystemExit(f"no pictures ({', '.join(sorted(SUFFIXES))}) in: {', '.join(map(str, folders))}")
    return pairs


def drawing(random: np.random.Generator, side: int = 480, oversampling: int = 4) -> Image.Image:
    """A made-up picture of sharp edges, of which photos have few: overlapping ellipses, polygons, arcs and fine lines in random
    colours, drawn large and shrunk, so that edges are smooth as an optical system would make them."""
    large = side * oversampling
    picture = Image.new("RGB", (large, large), tuple(int(c) for c in random.integers(0, 256, 3)))
    pen = ImageDraw.Draw(picture)
    for _ in range(int(random.integers(60, 220))):
        colour = tuple(int(c) for c in random.integers(0, 256, 3))
        if random.random() < 0.4:
            colour = (0, 0, 0) if random.random() < 0.5 else (255, 255, 255)
        centre = random.integers(0, large, 2)
        reach = int(large * random.uniform(0.02, 0.22))
        corners = [
            tuple(int(v) for v in centre + random.integers(-reach, reach + 1, 2)) for _ in range(int(random.integers(3, 7)))
        ]
        width = int(oversampling * random.uniform(1, 10))
        box = [int(centre[0]) - reach, int(centre[1]) - int(reach * random.uniform(0.2, 1))]
        box += [int(centre[0]) + reach, int(centre[1]) + int(reach * random.uniform(0.2, 1))]
        match int(random.integers(0, 4)):
            case 0:
                pen.ellipse(box, fill=colour)
            case 1:
                pen.polygon(corners, fill=colour)
            case 2:
                pen.line(corners, fill=colour, width=width, joint="curve")
            case 3:
                start = float(random.uniform(0, 360))
                pen.arc(box, start, start + float(random.uniform(30, 300)), fill=colour, width=width)
    return picture.resize((side, side), Image.Resampling.LANCZOS)


class PatchSampler:
    """Random aligned patch pairs; of a few candidates the one with most detail is kept."""

    def __init__(
        self,
        pairs: list[tuple[np.ndarray, np.ndarray]],
        *,
        scale: int,
        patch: int,
        seed: int,
        candidates: int,
        area_power: float,
    ) -> None:
        self.pairs = [p for p in pairs if min(p[0].shape[:2]) >= patch]
        self.scale, self.patch, self.candidates = scale, patch, candidates
        self.random = np.random.default_rng(seed)
        areas = np.array([low.shape[0] * low.shape[1] for low, _ in self.pairs], dtype=float) ** area_power
        self.weights = areas / areas.sum()

    def _one(self) -> tuple[np.ndarray, np.ndarray]:
        best, best_detail = None, -1.0
        for _ in range(self.candidates):
            low, high = self.pairs[self.random.choice(len(self.pairs), p=self.weights)]
            y = self.random.integers(0, low.shape[0] - self.patch + 1)
            x = self.random.integers(0, low.shape[1] - self.patch + 1)
            s, p = self.scale, self.patch
            small = low[y : y + p, x : x + p]
            detail = float(np.abs(np.diff(small.astype(np.int16), axis=0)).mean())
            if detail > best_detail:
                best, best_detail = (small, high[s * y : s * (y + p), s * x : s * (x + p)]), detail
        assert best is not None
        turn = self.random.integers(0, 8)

        def turned(a: np.ndarray) -> np.ndarray:
            a = a[::-1] if turn & 1 else a
            a = a[:, ::-1] if turn & 2 else a
            return a.transpose(1, 0, 2) if turn & 4 else a

        return turned(best[0]), turned(best[1])

    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        low, high = zip(*(self._one() for _ in range(size)), strict=True)

        def stack(pictures: tuple[np.ndarray, ...]) -> Tensor:
            return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float().div(255)

        return stack(low), stack(high)
