"""ONNX Runtime on the CPU: rule "f32", one file for pictures of any size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from hwmodels.errors import FileError
from hwmodels.numbers import Int
from hwsearch.formats.onnx import by_operator, state, write
from hwsearch.formats.running.runtime import Looked, Run, Tolerance
from hwsearch.quant.engine import integer, requant
from hwsearch.quant.engine.steps import island
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.ops.maps.elementwise import Add
from searchspaces.ops.maps.jumps import Comparison, Round, Sign
from searchspaces.ops.reductions.norm import LayerNorm
from searchspaces.ops.reductions.softmax import Softmax

BEYOND_ONE_CODE = 1e-3
"""Share of output codes that may differ by more than 1 where floating point takes part."""


BEYOND_ONE_IN_TOKENS = 0.02
"""The same behind layer normalizations and softmaxes of 16 bits, whose sums are added in another order: a code of theirs that
tips is spread by all that reads it. Measured on a block of attention with random weights, which amplify: 0.0044."""
_SPREAD = (LayerNorm, Softmax)

BEYOND_ONE_BEHIND_JUMPS = 0.02
"""The same where values in half precision are compared, or rounded: what tips there is as large as the jump. Measured on a small
network that compares such values with their mean: 0.0068."""
_JUMPS = (Comparison, Sign, Round)

UNFUSED_ADDITIONS = 0.05
"""Share of output codes that may differ where ONNX Runtime's addition does not use fused multiply-adds (see ``requant``)."""


ADDITION_PROBES = (
    (0.045303997, 0.10570933, 0.030202664),
    (0.010389197, 0.051945984, 0.062335178),
    (0.069181755, 0.13836351, 0.046121173),
)


def run_onnx(path: str | Path | bytes) -> Run:
    """ONNX Runtime on an exported file, as a function from ``float32 [1, C, H, W]`` to ``float32 [1, C, sH, sW]``; of several
    frames one after the other, with the states of a file that has some.

    Raises:
        FileError: the file cannot be loaded; so does the function, where it cannot be run.
    """
    loaded, shown = write.session(path), "the model" if isinstance(path, bytes) else path
    ends = state.ends(loaded)

    def frame(inputs: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
        try:
            given: Sequence[np.ndarray] = loaded.run(None, dict(inputs))
        except Exception as error:  # as many unrelated classes as in loading
            raise FileError(f"{shown}: ONNX Runtime cannot run it: {str(error).splitlines()[0]}") from None
        return given

    return lambda x: state.run(ends, x, frame)


def tolerance(qgraph: QuantizedGraph, file: str | Path | bytes | None = None) -> Tolerance:
    """How far ONNX Runtime's codes may lie from the engine's, for a network and the ``file`` that was exported of it."""
    formats = qgraph.formats
    spread = [node for node in qgraph.graph.nodes if isinstance(node.op, _SPREAD)]

    def operators(x: Tensor) -> Looked:
        """On a corner, as much as decides; where nothing is found in integers, the fault is sought on the rest, too."""
        if file is None:
            return Looked(told=False)
        fused = additions_are_fused()
        corner = by_operator.look(qgraph, file, x, fused=fused)
        return by_operator.look(qgraph, file, x, fused=fused, whole=True) if corner.agree and integer.exact(qgraph) else corner

    if any(island(node.op, *(formats[name] for name in (*node.inputs, node.name))) for node in spread):
        return Tolerance(1.0, BEYOND_ONE_IN_TOKENS, "Float islands between integers explain a few differences.", operators, True)
    if not integer.exact(qgraph) and any(isinstance(node.op, _JUMPS) for node in qgraph.graph.nodes):
        return Tolerance(
            1.0, BEYOND_ONE_BEHIND_JUMPS, "A comparison of floating-point values explains a few differences.", operators, True
        )
    if not integer.exact(qgraph):
        return Tolerance(1.0, BEYOND_ONE_CODE, "Half precision or interpolation explains differences of 1 only.", operators, True)
    if any(isinstance(node.op, Add) for node in qgraph.graph.nodes) and not additions_are_fused():
        unfused = "Additions without fused multiply-adds explain a few differences."
        return Tolerance(UNFUSED_ADDITIONS, UNFUSED_ADDITIONS, unfused, operators)
    return Tolerance(operators=operators)


@lru_cache(maxsize=1)
def additions_are_fused() -> bool:
    """Whether QLinearAdd of this ONNX Runtime on this CPU computes what the engine computes. All 65536 operand pairs are tried,
    under scales whose quotients tell fused multiply-adds from separate ones."""
    from onnx import TensorProto, helper, numpy_helper

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
        theirs = write.session(model.SerializeToString(), threads=1).run(None, feed)[0]
        x, y = fa.carried(a - fa.zero_point), fb.carried(b - fb.zero_point)
        ours = fy.shifted(requant.add(x, y, fa, fb, fy, 0, 255)) + fy.zero_point
        if not np.array_equal(ours.numpy(), theirs):
            return False
    return True


def _grid(fmt: TensorFormat) -> tuple[tuple[str, np.ndarray], tuple[str, np.ndarray]]:
    return ("s", np.array(fmt.scale, np.float32)), ("z", np.array(fmt.zero_point, np.uint8))


class OrtPlan:
    """See ``runtime.Runtime``. ``file`` is the exported network, or where it lies."""

    peak_bytes: int | None = None
    instructions: Mapping[str, int] | None = None

    def __init__(self, qgraph: QuantizedGraph, file: bytes | Path) -> None:
        write.assert_integer(qgraph, file)
        self.executed, self.tolerance = qgraph, tolerance(qgraph, file)
        self.version = f"onnxruntime {onnxruntime.__version__}"
        self._run = run_onnx(file)

    def run(self, x: Tensor) -> Tensor:
        return self._run(x)


def open_plan(qgraph: QuantizedGraph, file: Path | None = None) -> OrtPlan:
    """Make a network ready to run, from its exported ``file`` if there is one.

    Raises:
        FileError: it cannot be exported, or the file cannot be loaded.
        MismatchError: integer layers would run in floating point.
    """
    return OrtPlan(qgraph, file or write.to_model(qgraph).SerializeToString())
