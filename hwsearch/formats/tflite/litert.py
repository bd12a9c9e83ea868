"""LiteRT on the CPU: XNNPACK's integer kernels (rule "xnnpack"), or the reference kernels (rule "reference")."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from hwmodels.errors import FileError
from hwsearch.formats.running.runtime import Tolerance
from hwsearch.formats.tflite import clips, write
from hwsearch.formats.tflite.writing.form import form
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.ops.contractions.matmul import MatMul
from searchspaces.ops.maps.activation import Gelu
from searchspaces.ops.maps.elementwise import Add
from searchspaces.ops.reductions.norm import LayerNorm
from searchspaces.ops.reductions.softmax import Softmax

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

WIDE_ADDITIONS = 0.05
"""Share of output codes that may differ where LiteRT's vectorized addition of 16-bit tensors takes part."""


def interpreter(data: bytes, *, reference: bool = False, keep: bool = False) -> Interpreter:
    """An interpreter with its tensors allocated.

    Args:
        reference: the plain kernels that define the format's arithmetic, instead of the fast ones.
        keep: make every tensor readable after a run.
    Raises:
        FileError: LiteRT cannot execute the file.
    """
    library = import_module("ai_edge_litert.interpreter")  # an extra, see ``runtimes.RuntimeInfo.check_installed``
    kernels = library.OpResolverType.BUILTIN_REF if reference else library.OpResolverType.AUTO
    try:
        made: Interpreter = library.Interpreter(
            model_content=data,
            num_threads=1,
            experimental_op_resolver_type=kernels,
            experimental_preserve_all_tensors=keep,
        )
        made.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise FileError(f"LiteRT cannot execute this file: {str(error).splitlines()[0]}") from None
    return made


def invoke(made: Interpreter, *integers: np.ndarray) -> list[np.ndarray]:
    """Run on the integers of the inputs, give those of the outputs, in the file's order."""
    for end, values in zip(made.get_input_details(), integers, strict=True):
        made.set_tensor(end["index"], values)
    made.invoke()
    return [np.asarray(made.get_tensor(end["index"])) for end in made.get_output_details()]


TOKENS = 0.35
"""Share of codes that may differ where fast kernels round functions of tokens in ways of their own. Measured on a block of
attention with random weights: 0.17 (see ``tokens``)."""


def tolerance(qgraph: QuantizedGraph) -> Tolerance:
    """How far the codes of the fast kernels may lie from the engine's: they are equal, except in networks of tokens, whose
    kernels round in ways of their own, and behind a 16-bit addition, whose vectorized kernel (x86 with AVX2) rounds some sums to
    the other side."""
    if any(isinstance(node.op, MatMul | Softmax | LayerNorm | Gelu) for node in qgraph.graph.nodes):
        return Tolerance(TOKENS, TOKENS, "The fast kernels of tokens round in ways of their own; the reference kernels do not.")
    for node in qgraph.graph.nodes:
        if isinstance(node.op, Add) and any(qgraph.formats[name].is_wide for name in (*node.inputs, node.name)):
            return Tolerance(WIDE_ADDITIONS, WIDE_ADDITIONS, "The rounding of 16-bit additions explains a few differences.")
    return Tolerance()


class LiteRtPlan:
    """See ``runtime.Runtime``. A file has one picture size; each size that is met gets its own, the last few are kept. ``file``:
    the exported network, which takes pictures of its size alone."""

    peak_bytes: int | None = None
    instructions: Mapping[str, int] | None = None

    def __init__(self, qgraph: QuantizedGraph, *, reference: bool = False, file: bytes | None = None) -> None:
        flavour = "reference" if reference else "litert"
        self.executed = form(qgraph, write.RULES[flavour])
        self.tolerance = Tolerance() if reference else tolerance(self.executed)
        self.version = f"LiteRT {version('ai-edge-litert')}, {'reference kernels' if reference else 'XNNPACK'}"

        @lru_cache(maxsize=4)
        def sized(size: tuple[int, int]) -> Interpreter:
            return interpreter(file or write.to_bytes(qgraph, flavour=flavour, size=size), reference=reference)

        self._sized = sized

    def run(self, x: Tensor) -> Tensor:
        made = self._sized((x.shape[2], x.shape[3]))
        return clips.run(self.executed, x, lambda integers: invoke(made, *integers))


def open_plan(qgraph: QuantizedGraph, *, reference: bool = False) -> LiteRtPlan:
    """Make a network ready to run.

    Raises:
        FileError: it cannot be exported to TFLite.
    """
    return LiteRtPlan(qgraph, reference=reference)


def of_file(qgraph: QuantizedGraph, file: bytes) -> LiteRtPlan:
    """An exported file made ready to run, under the rule of the kernels that it is for."""
    return LiteRtPlan(qgraph, reference=qgraph.rule != write.RULES["litert"], file=file)
