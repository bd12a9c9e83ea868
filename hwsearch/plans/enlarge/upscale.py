"""Enlarging a picture of any size by a plan's integers: strips of rows are read, enlarged and written one after the other.

So memory does not grow with the picture, apart from the moment when Pillow decodes it, and from formats of the output that Pillow
takes as a whole (see ``writing``). A network that sees the whole picture at once, such as one with a global pool, is given it so.
Grey stays grey, transparency is enlarged by bicubic, and grey of 16 bits keeps them. Where sides must be multiples of something,
the picture is filled up at its right and bottom with its last pixels, and what they become is cut off.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hwmodels.errors import FileError, UsageError
from hwsearch.documents.files import replacing
from hwsearch.documents.progress import Progress
from hwsearch.formats.running import reach, runtimes
from hwsearch.formats.running.runtime import Run
from hwsearch.plans.enlarge import colours, writing
from hwsearch.plans.enlarge.tiles import Tiles, in_multiples, in_strips, tiles
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.data.bicubic_rows import Enlargement
from searchspaces.data.decoding import PictureRows
from searchspaces.data.scale import Scale, at_least, between, enlarged
from searchspaces.ir.graph import Graph


@dataclass(frozen=True)
class Enlarged:
    """What was written. ``whole``: the network was given the picture at once; ``remarks``: what the person must know."""

    height: int
    width: int
    whole: bool
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Form:
    """How the output stores pixels: one value or three, another of transparency behind them, of 8 or 16 bits each; and the ICC
    profile that says what its colours mean."""

    grey: bool
    alpha: bool = False
    bits: int = 8
    profile: bytes = b""


def enlarge(
    network: Run, picture: PictureRows, graph: Graph, scale: Scale, form: Form, progress: Progress, cut: Tiles | None = None
) -> Iterator[np.ndarray]:
    """Enlarge a picture by ``network``, which executes ``graph``.

    Args:
        cut: how; by default as ``tiles`` says, or at once where it says that it cannot be cut.
    Yields:
        Strips of rows from the top, ``uint8`` or ``uint16 [h, scale * width, 1 to 4]``, rounded down.
    """
    before = scale if reach.enlargement(graph) == 1 else 1
    filled = _Filled(picture, scale)
    height, width = filled.height, filled.width
    luma_only = graph.channels == 1
    bicubic = Enlargement(height, width, scale)

    def planes(top: int, bottom: int) -> np.ndarray:
        return colours.values(filled.rows(top, bottom)[..., : 1 if picture.grey else 3], picture.bits, luma_only)

    def read(top: int, bottom: int) -> Tensor:
        used = slice(0, graph.channels)
        if before == 1:
            return colours.to_network(planes(top, bottom)[..., used])
        first, last = bicubic.sees(top, bottom)
        return colours.to_network(bicubic.rows(planes(first, last)[..., used], first, top, bottom))

    def finished(top: int, y: np.ndarray) -> np.ndarray:
        bottom = top + y.shape[1]
        first, last = bicubic.sees(top, bottom)
        chroma = alpha = None
        if luma_only and not picture.grey:
            chroma = bicubic.rows(planes(first, last)[..., 1:], first, top, bottom)
        found = colours.colours(y, chroma, form.grey, form.bits)
        if form.alpha:
            unit = 255 / ((1 << picture.bits) - 1)
            alpha = bicubic.rows(filled.rows(first, last)[..., -1:] * unit, first, top, bottom)
            found = np.concatenate([found, colours.rounded(alpha, form.bits)], axis=2)
        return found

    read_height, read_width = enlarged(height, before), enlarged(width, before)
    left, wide = _sides(picture, scale)
    network = in_multiples(network, graph.multiple)
    cut = cut or tiles(graph) or Tiles(read_height, read_width, 0)
    with progress.stage("enlarging", cut.count(read_height, read_width)) as stage, torch.no_grad():
        for top, bottom, strip in in_strips(network, read, read_height, read_width, cut, stage.advance):
            y, first = strip[0].numpy(), enlarged(top, between(strip.shape[2], bottom - top))
            # What finishes a strip is wider than what the network wrote: some rows at a time.
            for row in range(0, y.shape[1], BAND):
                made = finished(first + row, y[:, row : row + BAND])[:left, :wide]
                left -= len(made)
                if len(made):
                    yield made


def _sides(picture: PictureRows, scale: Scale) -> tuple[int, int]:
    """Height and width of an enlarged picture."""
    return math.floor(picture.height * scale), math.floor(picture.width * scale)


class _Filled:
    """A picture with sides whose ``scale``-fold is whole: its last row and column are repeated."""

    def __init__(self, picture: PictureRows, scale: Scale) -> None:
        self._picture = picture
        self.height, self.width = at_least(picture.height, scale), at_least(picture.width, scale)

    def rows(self, top: int, bottom: int) -> np.ndarray:
        """As of ``PictureRows``."""
        whole = self._picture
        found = whole.rows(min(top, whole.height - 1), min(bottom, whole.height))
        missing = (bottom - top - len(found), self.width - whole.width)
        return np.pad(found, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge") if any(missing) else found


BAND = 32
"""Rows that are given colours at once."""


def upscale(
    picture: PictureRows, destination: Path, qgraph: QuantizedGraph, scale: Scale, runtime: str, progress: Progress
) -> Enlarged:
    """Enlarge a picture and write it to ``destination`` in the format of its ending, whole or not at all.

    Raises:
        FileError: the result cannot be written.
        UsageError: the runtime is unknown or not installed, or the network is for pictures of another size.
    """
    kind = writing.FORMATS[destination.suffix.lower()]
    form, remarks = _form(picture, kind)
    _check_size(picture, qgraph.graph, scale)
    whole = tiles(qgraph.graph) is None
    if whole:
        remarks.append(f"{reach.uncut(qgraph.graph)}, so it was enlarged in one piece")
    height, width = _sides(picture, scale)
    strips = enlarge(runtimes.runtime(runtime).open_plan(qgraph).run, picture, qgraph.graph, scale, form, progress)
    with replacing(destination) as temporary:
        try:
            writing.write(temporary, kind, height, width, strips, form.profile)
        except ValueError as error:
            raise FileError(f"{destination}: {kind} cannot hold this picture ({error})", "Write a .png.") from error
    return Enlarged(height, width, whole, tuple(remarks))


def _check_size(picture: PictureRows, graph: Graph, scale: Scale) -> None:
    before = scale if reach.enlargement(graph) == 1 else 1
    given = tuple(enlarged(at_least(side, scale), before) for side in (picture.height, picture.width))
    if graph.size in (None, given):
        return
    height, width = (math.floor(side / before) for side in graph.size)
    own = f"{picture.height}x{picture.width}"
    raise UsageError(
        f"this plan is for pictures of {height}x{width} pixels (height x width), and this one has {own}: parts of {graph.name}, "
        "such as masks of windows, are made for one size",
        f"Cut the picture to that size, or search a plan for its size (hwsearch optimize --input {own}).",
    )


def _form(picture: PictureRows, kind: str) -> tuple[Form, list[str]]:
    """What the format ``kind`` keeps of a picture, and what is to be said of what it does not."""
    remarks = []
    if picture.reduced:
        remarks.append("colours of 16 bits a value are read with 8")
    alpha = picture.alpha and kind in writing.ALPHA
    if picture.alpha and not alpha:
        remarks.append(f"{kind} holds no transparency: it was dropped")
    bits = picture.bits if kind in writing.WIDE else 8
    if bits < picture.bits:
        remarks.append(f"{kind} holds 8 bits a value: 16 were rounded")
    if picture.pictures > 1:
        remarks.append(f"the file holds {picture.pictures} pictures: the first was enlarged")
    profile = picture.profile if kind in writing.PROFILED and _is_of(picture.profile, picture.grey) else b""
    if picture.profile and not profile:
        why = f"{kind} holds none" if kind not in writing.PROFILED else "it is of other colours than grey or RGB, or damaged"
        remarks.append(f"the colour profile was dropped: {why}")
    return Form(picture.grey, alpha, bits, profile), remarks


def _is_of(profile: bytes, grey: bool) -> bool:
    """Whether an ICC profile is one of grey or RGB (ICC.1:2022, 7.2: the colour space stands at byte 16, ``acsp`` at 36)."""
    return profile[16:20] == (b"GRAY" if grey else b"RGB ") and profile[36:40] == b"acsp"
