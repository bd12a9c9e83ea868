"""The proof: a plan's exported file and our integer engine, run on the same pictures, compared code for code, and measured.

What is compared are the codes of the network's output. Where everything is integer they must be equal, every one. Where a part
runs in half precision or interpolates, the order of additions is the runtime's own: there codes may differ by 1, and by more
only in one of a thousand (a flipped code can be enlarged by narrow formats behind it), or every operator by itself must agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hwmodels.errors import MismatchError
from hwmodels.tiling.tiling import Tiling
from hwsearch.documents.plan import Measured
from hwsearch.formats.running.runtime import Run, compare, judge
from hwsearch.quant.engine import integer
from hwsearch.quant.engine.tiled import run_tiled
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.tasks.task import Sample, Task

NO_ERROR = 1e-12
"""Error power of values in 0..1 that counts as none: 120 dB are told of equal outputs."""


def prove(qgraph: QuantizedGraph, onnx_path: str | Path, samples: Sequence[Sample], task: Task, reference: Run) -> Measured:
    """Run an exported plan and our engine on every picture, compare them, and measure quality.

    Args:
        onnx_path: the exported file of ``qgraph``.
        task: what judges the outputs.
        reference: the floating-point network, against which the loss is taken, on the same samples.
    Returns:
        Both figures of the task of ONNX Runtime's outputs (means over samples), how near pictures are to the floating-point
        network's, and the compared codes.
    Raises:
        MismatchError: the two disagree beyond what the module's text allows, or ONNX Runtime runs integer layers in floating
        point.
    """
    import onnxruntime

    from hwsearch.formats.onnx import ort
    from hwsearch.formats.onnx.write import assert_integer

    assert_integer(qgraph, onnx_path)
    runtime, fmt = ort.run_onnx(onnx_path), qgraph.formats[qgraph.graph.output.name]
    different = beyond = total = 0
    worst: tuple[tuple[int, int], Tensor | None] = ((0, 0), None)
    figures, of_float, errors = [], [], []
    with torch.no_grad():
        for sample in samples:
            output = runtime(sample.low)
            d, b, n = compare(output, integer.run(qgraph, sample.low), fmt)
            different, beyond, total = different + d, beyond + b, total + n
            worst = max(worst, ((b, d), sample.low), key=lambda one: one[0])
            figures.append(task.figures(output, sample))
            real = reference(sample.low)
            of_float.append(task.figures(real, sample).quality)
            if task.picture(real) is not None:
                errors.append(float((task.limited(real).double() - task.limited(output).double()).square().mean()))
    judge(ort.tolerance(qgraph, onnx_path), different, beyond, total, worst[1])
    quality, second = (np.mean(column) for column in zip(*figures, strict=True))
    return Measured(
        quality_db=float(quality),
        loss_db=float(np.mean(of_float) - quality),
        second=float(second),
        runtime=f"onnxruntime {onnxruntime.__version__}",
        mismatched_codes=different,
        codes=total,
        near_db=float(-10 * np.log10(max(float(np.mean(errors)), NO_ERROR))) if errors else None,
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
    from hwsearch.formats.onnx import ort

    fmt = qgraph.formats[qgraph.graph.output.name]
    different = beyond = total = 0
    for x in pictures:
        here = tiling.on(x.shape[2], x.shape[3], planned_width)
        d, b, n = compare(run_tiled(qgraph, x, here), integer.run(qgraph, x), fmt)
        different, beyond, total = different + d, beyond + b, total + n
    if different if integer.exact(qgraph) else beyond > ort.BEYOND_ONE_CODE * total:
        raise MismatchError(
            f"{different} of {total} output codes differ between tiles of {tiling} and whole pictures, {beyond} by more than 1",
            "Please report this with the plan.",
        )
    return different
