"""Whether what was read computes what the file's own runtime does."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hwmodels.errors import FileError, MismatchError
from hwmodels.numbers import FP16, FP32
from hwsearch.formats.reading.readers import Inspected
from hwsearch.formats.running.runtime import Runtime, compare, judge
from hwsearch.quant.engine import integer
from searchspaces.ir.graph import execute
from searchspaces.networks.adapted.value_range import parse_both

FLOAT_TOLERANCE = 1e-4
"""Largest difference over the largest value, of a file in single precision."""
HALF_TOLERANCE = 2e-2
ROUNDING = 0.5
"""Root mean square of the difference over that of the values, of a file in integers: the file rounds, the graph does not."""


def agree(found: Inspected, size: tuple[int, int], run: Callable[[Tensor], Tensor], runtime: str, *, half: bool = False) -> None:
    """Compare the graph with ``run`` on a random picture. ``half``: the file takes it in half precision.

    Raises:
        FileError: they differ by more than precision explains.
    """
    graph = found.graph if found.again is None else found.again(size)
    x = torch.rand(1, graph.channels, *size, generator=torch.Generator().manual_seed(0))
    if found.value_range:
        values, _ = parse_both(found.value_range)
        x = x * values.factor[0] + values.shift[0]
        x = x.round() if found.of_bytes.taken else x
    x = x.half().float() if half else x
    with torch.no_grad():
        ours, theirs = execute(graph, x), run(x).float()
    widths = {layer.weight_bits for layer in found.layers} | set(found.tensor_bits.values())
    if ours.shape != theirs.shape:
        raise FileError(f"{found.path}: {runtime} gives {tuple(theirs.shape)}, what was read {tuple(ours.shape)}")
    if found.of_bytes.given:  # it rounds, or cuts off
        theirs = torch.where((ours - theirs).abs() <= 1, ours, theirs)
    if min(widths) < FP16.bits or (min(widths) < FP32.bits and found.quantized):
        difference, allowed = (
            float((ours - theirs).square().mean().sqrt() / theirs.square().mean().sqrt().clamp(min=1e-6)),
            ROUNDING,
        )
    else:
        difference = float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-6))
        allowed = FLOAT_TOLERANCE if min(widths) == FP32.bits else HALF_TOLERANCE
    if not difference <= allowed:
        raise FileError(
            f"{found.path}: what was read differs from what {runtime} computes by {difference:.1e} on a random picture",
            "This is a fault of the reader, or of the file for this runtime. Please report it with the file.",
        )


def same_codes(found: Inspected, size: tuple[int, int], runtime: Runtime) -> None:
    """Compare the integers that a file of ours carries, in our engine, with the file itself in its runtime, on a random picture.

    Raises:
        FileError: more codes differ than the runtime's tolerance allows.
    """
    x = torch.rand(1, found.graph.channels, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, theirs = integer.run(runtime.executed, x), runtime.run(x)
    if ours.shape != theirs.shape:
        raise FileError(f"{found.path}: {runtime.version} gives {tuple(theirs.shape)}, what was read {tuple(ours.shape)}")
    try:
        judge(runtime.tolerance, *compare(theirs, ours, runtime.executed.formats[runtime.executed.graph.output.name]), x)
    except MismatchError as error:
        raise FileError(f"{found.path}: {error.message}", error.hint) from None
