"""Enlarging a picture of any size by a plan's integers, tile by tile (see ``validate.upscale``: tiles join exactly).

Networks of one channel enlarge the luma; chroma is enlarged by bicubic, as viewers do. Pictures become RGB of 8 bits;
transparency is dropped. A network with a global pool sees the whole picture and is given it at once.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hwmodels.errors import UsageError
from hwsearch.documents.files import replacing
from hwsearch.documents.progress import Progress
from hwsearch.formats.running import reach, runtimes
from hwsearch.formats.running.runtime import Run
from hwsearch.plans import verify
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.data import pictures
from searchspaces.data.bicubic import imresize
from searchspaces.data.luma import BT601_LUMA
from searchspaces.ir.graph import Graph
from searchspaces.tracing.trace import propagate

TILE = 192
"""Side of a tile before enlargement, without its border."""
FORMATS = {".png": "PNG", ".webp": "WEBP", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF", ".jpg": "JPEG", ".jpeg": "JPEG"}

_TO_YCBCR = np.array([BT601_LUMA, [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255.0
_OFFSET = np.array([16.0, 128.0, 128.0])


def to_ycbcr(rgb: np.ndarray) -> np.ndarray:
    """BT.601 ``[H, W, 3]`` (Y 16..235, Cb and Cr 16..240), not rounded, of RGB in 0..255."""
    found: np.ndarray = rgb.astype(np.float64) @ _TO_YCBCR.T + _OFFSET
    return found


def to_rgb(ycbcr: np.ndarray) -> np.ndarray:
    """The inverse of ``to_ycbcr``, neither rounded nor clipped."""
    found: np.ndarray = (ycbcr - _OFFSET) @ np.linalg.inv(_TO_YCBCR).T
    return found


def enlargement(graph: Graph) -> int:
    """Output height over input height of a network; 1 for one that refines a picture enlarged beforehand."""
    side = 48
    return propagate(graph, side, side)[graph.output.name][1] // side


def enlarge(network: Run, rgb: np.ndarray, graph: Graph, scale: int, progress: Progress, tile: int = TILE) -> np.ndarray:
    """Enlarge ``uint8[H, W, 3]`` to ``uint8[scale*H, scale*W, 3]`` by ``network``, which executes ``graph``."""
    luma_only = graph.channels == 1
    planes = to_ycbcr(rgb) if luma_only else rgb.astype(np.float64)
    low = planes[..., :1] if luma_only else planes
    if enlargement(graph) == 1:
        low = imresize(low, scale)
    x = torch.from_numpy(np.ascontiguousarray(low.transpose(2, 0, 1), dtype=np.float32)).div_(255)[None]
    with torch.no_grad():
        y = _in_tiles(network, x, graph, tile, progress)
    high = y[0].clamp(0, 1).mul(255).round().permute(1, 2, 0).double().numpy()
    if luma_only:
        high = to_rgb(np.concatenate([high, imresize(planes[..., 1:], scale)], axis=-1))
    found: np.ndarray = np.clip(np.rint(high), 0, 255).astype(np.uint8)
    return found


def _in_tiles(network: Run, x: Tensor, graph: Graph, tile: int, progress: Progress) -> Tensor:
    height, width = x.shape[2:]
    halo = reach.receptive_radius(graph)
    if halo is None:
        tile, halo = max(height, width), 0
    step = reach.coarsest_step(graph)
    side = -(-tile // step) * step
    with progress.stage("enlarging", -(-height // side) * -(-width // side)) as stage:
        return verify.upscale(network, x, tile, halo, step=step, progress=lambda done, total: stage.advance())


def upscale(
    source: Path, destination: Path, qgraph: QuantizedGraph, scale: int, runtime: str, progress: Progress
) -> tuple[int, int]:
    """Enlarge the picture in ``source`` and write it to ``destination``, whole or not at all.

    Returns:
        (height, width) of what was written.
    Raises:
        FileError: the picture cannot be read, or the result cannot be written.
        UsageError: the ending of ``destination`` names no picture format, it is the picture itself, or the runtime is unknown
        or not installed.
    """
    kind = FORMATS.get(destination.suffix.lower())
    if kind is None:
        ending = destination.suffix or "no ending"
        raise UsageError(f"{destination}: {ending} names no picture format", f"Endings: {', '.join(FORMATS)}.")
    rgb = pictures.load_picture(source)
    if destination.exists() and destination.samefile(source):
        raise UsageError(f"{destination} is the picture itself", "Write to another file.")
    high = enlarge(runtimes.runtime(runtime).open_plan(qgraph).run, rgb, qgraph.graph, scale, progress)
    with replacing(destination) as temporary:
        Image.fromarray(high).save(temporary, format=kind)
    return high.shape[0], high.shape[1]
