"""The proof: a plan's exported file and our integer engine, run on the same pictures, compared code for code, and measured.

What is compared are the codes of the network's output. Where everything is integer they must be equal, every one. Where a part
runs in half precision or interpolates, the order of additions is the runtime's own: there codes may differ by 1, and by more
only in one of a thousand (a flipped code can be enlarged by narrow formats behind it).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hwmodels.errors import MismatchError, UsageError
from hwmodels.numbers import Int
from hwmodels.tiling.tiling import Tiling
from hwsearch.documents.plan import Measured
from hwsearch.formats.runtime import Tolerance, compare, judge
from hwsearch.quality.evaluate import to_picture
from hwsearch.quant.engine import integer, requant
from hwsearch.quant.engine.tiled import run_tiled
from hwsearch.quant.formats import TensorFormat
from hwsearch.quant.graph import QuantizedGraph
from searchspaces.data.pictures import Pair
from searchspaces.ir.graph import Graph, pair
from searchspaces.tasks.metrics import psnr_y, ssim_y

Run = Callable[[Tensor], Tensor]
BEYOND_ONE_CODE = 1e-3
"""Share of output codes that may differ by more than 1 where floating point takes part."""
UNFUSED_ADDITIONS = 0.05
"""Share of output codes that may differ where ONNX Runtime's addition does not use fused multiply-adds (see ``requant``)."""
ADDITION_PROBES = (
    (0.045303997, 0.10570933, 0.030202664),
    (0.010389197, 0.051945984, 0.062335178),
    (0.069181755, 0.13836351, 0.046121173),
)


def run_engine(qgraph: QuantizedGraph, x: Tensor) -> Tensor:
    """Our integer engine: ``float32 [1, C, H, W]`` in 0..1 to the decoded output."""
    return integer.run(qgraph, x)


def run_onnx(path: str | Path | bytes, *, threads: int = 0) -> Run:
    """ONNX Runtime on an exported file, as a function from ``float32 [1, C, H, W]`` to ``float32 [1, C, sH, sW]``.

    Raises:
        FileError: the file cannot be loaded.
    """
    from hwsearch.formats.onnx.write import session

    loaded = session(path, threads=threads)
    name = loaded.get_inputs()[0].name

    def run(x: Tensor) -> Tensor:
        return torch.from_numpy(loaded.run(None, {name: np.ascontiguousarray(x.detach().numpy(), dtype=np.float32)})[0])

    return run


def prove(
    qgraph: QuantizedGraph, onnx_path: str | Path, pairs: Sequence[Pair], scale: int, reference: Run, *, threads: int = 0
) -> Measured:
    """Run an exported plan and our engine on every picture, compare them, and measure quality.

    Args:
        onnx_path: the exported file of ``qgraph``.
        scale: upscaling factor, for the border that the metrics shave.
        reference: the floating-point network, against which the loss is taken, on the same pictures.
    Returns:
        PSNR-Y and SSIM-Y of ONNX Runtime's pictures (means over pictures), and the compared codes.
    Raises:
        MismatchError: the two disagree beyond what the module's text allows, or ONNX Runtime runs integer layers in floating
        point.
    """
    import onnxruntime

    from hwsearch.formats.onnx.write import assert_integer

    assert_integer(qgraph, onnx_path)
    runtime, fmt = run_onnx(onnx_path, threads=threads), qgraph.formats[qgraph.graph.output.name]
    different = beyond = total = 0
    psnr, float_psnr, ssim = [], [], []
    with torch.no_grad():
        for pair in pairs:
            output = runtime(pair.low)
            d, b, n = compare(output, run_engine(qgraph, pair.low), fmt)
            different, beyond, total = different + d, beyond + b, total + n
            picture = to_picture(output)
            psnr.append(psnr_y(picture, pair.high, scale))
            ssim.append(ssim_y(picture, pair.high, scale))
            float_psnr.append(psnr_y(to_picture(reference(pair.low)), pair.high, scale))
    judge(tolerance(qgraph), different, beyond, total)
    return Measured(
        psnr_db=float(np.mean(psnr)),
        psnr_loss_db=float(np.mean(float_psnr) - np.mean(psnr)),
        ssim=float(np.mean(ssim)),
        runtime=f"onnxruntime {onnxruntime.__version__}",
        mismatched_codes=different,
        codes=total,
        float_layers=list(qgraph.float_layers),
    )


def prove_tiling(qgraph: QuantizedGraph, tiling: Tiling, planned_width: int, pictures: Sequence[Tensor]) -> int:
    """Run pictures ``float32 [1, C, H, W]`` tile by tile, with the halo that the price counts and not a pixel more, and whole, on
    our engine.

    Args:
        planned_width: of the picture that the tiling was made for; strips of that width become strips of any picture.
    Returns:
        How many output codes differ: none, where the network is all integers.
    Raises:
        MismatchError: more differ than the module's text allows.
    """
    fmt = qgraph.formats[qgraph.graph.output.name]
    different = beyond = total = 0
    for x in pictures:
        here = tiling.on(x.shape[2], x.shape[3], planned_width)
        d, b, n = compare(run_tiled(qgraph, x, here), run_engine(qgraph, x), fmt)
        different, beyond, total = different + d, beyond + b, total + n
    if different if integer.exact(qgraph) else beyond > BEYOND_ONE_CODE * total:
        raise MismatchError(
            f"{different} of {total} output codes differ between tiles of {tiling} and whole pictures, {beyond} by more than 1",
            "Please report this with the plan.",
        )
    return different


def tolerance(qgraph: QuantizedGraph) -> Tolerance:
    """How far ONNX Runtime's codes may lie from the engine's."""
    if not integer.exact(qgraph):
        return Tolerance(1.0, BEYOND_ONE_CODE, "Half precision or interpolation explains differences of 1 only.")
    if any(node.op == "add" for node in qgraph.graph.nodes) and not additions_are_fused():
        return Tolerance(UNFUSED_ADDITIONS, UNFUSED_ADDITIONS, "Additions without fused multiply-adds explain a few differences.")
    return Tolerance()


@lru_cache(maxsize=1)
def additions_are_fused() -> bool:
    """Whether QLinearAdd of this ONNX Runtime on this CPU computes what the engine computes. All 65536 operand pairs are tried,
    under scales whose quotients tell fused multiply-adds from separate ones."""
    from onnx import TensorProto, helper, numpy_helper

    from hwsearch.formats.onnx.write import session

    codes8 = torch.arange(256, dtype=torch.float32)
    a, b = codes8.repeat_interleave(256).view(1, 1, 256, 256), codes8.repeat(256).view(1, 1, 256, 256)
    sides = [helper.make_tensor_value_info(name, TensorProto.UINT8, [1, 1, 256, 256]) for name in "aby"]
    for scales in ADDITION_PROBES:
        fa, fb, fy = (TensorFormat(Int(8), float(np.float32(s)), z) for s, z in zip(scales, (3, 131, 97), strict=True))
        values = {f"{key}{name}": v for name, f in zip("aby", (fa, fb, fy), strict=True) for key, v in _grid(f)}
        nodes = [helper.make_node("DequantizeLinear", [name, f"s{name}", f"z{name}"], [f"real_{name}"]) for name in "ab"]
        nodes.append(helper.make_node("Add", ["real_a", "real_b"], ["sum"]))
        nodes.append(helper.make_node("QuantizeLinear", ["sum", "sy", "zy"], ["y"]))
        constants = [numpy_helper.from_array(v, key) for key, v in values.items()]
        graph = helper.make_graph(nodes, "addition", sides[:2], sides[2:], constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        feed = {"a": a.numpy().astype(np.uint8), "b": b.numpy().astype(np.uint8)}
        theirs = session(model.SerializeToString(), threads=1).run(None, feed)[0]
        ours = requant.add(a - fa.zero_point, b - fb.zero_point, fa, fb, fy, 0, 255) + fy.zero_point
        if not np.array_equal(ours.numpy(), theirs):
            return False
    return True


def _grid(fmt: TensorFormat) -> tuple[tuple[str, np.ndarray], tuple[str, np.ndarray]]:
    return ("s", np.array(fmt.scale, np.float32)), ("z", np.array(fmt.zero_point, np.uint8))


def receptive_radius(graph: Graph) -> int | None:
    """How many input pixels in every direction an output pixel can see; None if it sees the whole picture (pooling)."""
    reach: dict[str, float] = {}
    unit: dict[str, float] = {}
    for node in graph.nodes:
        if node.op == "pool":
            return None
        reach[node.name] = max((reach[name] for name in node.inputs), default=0.0)
        unit[node.name] = unit[node.inputs[0]] if node.inputs else 1.0
        attrs = node.attrs
        if node.op == "conv":
            shape = node.weights["weight"].shape[2:]
            dilation, stride = (max(pair(attrs[k])) for k in ("dilation", "stride"))
            # With uneven padding one side sees more; the whole window bounds both.
            window = max(*attrs["padding"], *(dilation * (k - 1) - min(attrs["padding"]) for k in shape))
            reach[node.name] += unit[node.name] * window
            unit[node.name] *= stride
        elif node.op == "pixel_shuffle":
            unit[node.name] /= attrs["factor"]
        elif node.op == "resize":
            reach[node.name] += {"nearest": 1, "bilinear": 2, "bicubic": 3}[attrs["mode"]] * unit[node.name]
            unit[node.name] /= attrs["factor"]
    return math.ceil(reach[graph.output.name])


def coarsest_step(graph: Graph) -> int:
    """Input pixels to which tiles must be aligned: the largest product of strides on any path, 1 without strides."""
    unit: dict[str, float] = {}
    for node in graph.nodes:
        unit[node.name] = unit[node.inputs[0]] if node.inputs else 1.0
        if node.op == "conv":
            unit[node.name] *= max(pair(node.attrs["stride"]))
        elif node.op in ("pixel_shuffle", "resize"):
            unit[node.name] /= node.attrs["factor"]
    return max(1, math.ceil(max(unit.values())))


def upscale(
    run: Run, x: Tensor, tile: int, halo: int, *, step: int = 1, progress: Callable[[int, int], None] | None = None
) -> Tensor:
    """Run a network tile by tile; an integer network with ``halo >= receptive_radius(graph)`` gives what it gives for the whole.

    Args:
        run: ``[1, C, h, w] -> [1, C', s*h, s*w]`` for any h, w.
        x: the picture, ``[1, C, H, W]``.
        tile: side of a tile in input pixels, without its halo.
        halo: input pixels that neighbouring tiles share on each side.
        step: alignment of tiles (``coarsest_step``); tile and halo are rounded up to it.
        progress: called with (tiles done, tiles).
    Returns:
        The output for the whole picture. Memory grows with the tile, not with the picture, apart from input and output.
    Raises:
        UsageError: a tile size or halo that makes no tiles.
    """
    if tile < 1 or halo < 0 or step < 1:
        raise UsageError(f"tiles of {tile} pixels with a halo of {halo} cannot be cut")
    tile, halo = math.ceil(tile / step) * step, math.ceil(halo / step) * step
    height, width = x.shape[2:]
    starts = [(top, left) for top in range(0, height, tile) for left in range(0, width, tile)]
    result: Tensor | None = None
    for done, (top, left) in enumerate(starts, 1):
        bottom, right = min(top + tile, height), min(left + tile, width)
        y0, x0 = max(top - halo, 0), max(left - halo, 0)
        part = x[:, :, y0 : min(bottom + halo, height), x0 : min(right + halo, width)]
        y = run(part)
        scale = y.shape[2] // part.shape[2]
        if result is None:
            result = y.new_empty((1, y.shape[1], height * scale, width * scale))
        inner = y[:, :, (top - y0) * scale : (bottom - y0) * scale, (left - x0) * scale : (right - x0) * scale]
        result[:, :, top * scale : bottom * scale, left * scale : right * scale] = inner
        if progress is not None:
            progress(done, len(starts))
    assert result is not None
    return result
