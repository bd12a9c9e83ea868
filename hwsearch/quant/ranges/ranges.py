"""Ranges of activations: scale and zero point of every quantizer group at every width.

A group (see ``Graph.quantizer_groups``) has one format; its nodes differ only in where they clamp (a ReLU clamps at the zero
point). Candidates come from a histogram of all values of all calibration pictures, each weighted by its channel's noise gain
to the output. Each candidate minimises rounding error plus a multiple of clipping error: clipped values lie together and
disturb more than their power says. Which multiple is right, minimum and maximum included, is decided by measuring the noise
at the output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from hwmodels.numbers import Float, Int, NumberFormat
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.observe.gains import Bench, quantizes
from hwsearch.quant.ranges.spreads import SHARES, Spread, saturation
from searchspaces.ir.graph import Graph, Node
from searchspaces.ops.maps.activation import Relu, Relu6
from searchspaces.ops.moves.move import View

CLIP_PENALTIES = (1.0, 4.0, 16.0)
OPTIONS = 1 + len(CLIP_PENALTIES)
"""Formats of a tensor that are compared, as a rule: its whole range, and one for each penalty."""

ALWAYS_ZERO = 1e-9
SATURATED_SHARES = (1.0, 0.8, 0.65)
"""Ends of such a range that are tried, as shares of where the function is within half a step of its limit."""
HEADROOM = 2.0
"""How far beyond the extremes seen a 16-bit tensor reaches: costs one of its 15 bits, and unseen pictures do not clip."""


def wide_format(spread: Spread, number: NumberFormat) -> TensorFormat:
    """Floating point as it is, or symmetric integers that reach ``HEADROOM`` times the extremes."""
    if isinstance(number, Float):
        return TensorFormat(number)
    reach = HEADROOM * _live(max(spread.high, -spread.low))
    return TensorFormat(number, single(reach / number.narrow_limit), number.middle, 0, number.last_code)


def whole_format(spread: Spread, number: Int, *, symmetric: bool) -> TensorFormat:
    """At most a byte that reaches from the lowest to the highest value seen."""
    return range_format(spread.low, spread.high, number, symmetric=symmetric)


def candidates(spread: Spread, number: Int, *, symmetric: bool) -> list[TensorFormat]:
    """Formats of at most a byte worth measuring: the whole range first, then the best for each clipping penalty; all
    different."""
    found = [whole_format(spread, number, symmetric=symmetric)]
    lows = SHARES * spread.low if spread.low < 0 and not symmetric else np.zeros(1)
    highs = (
        SHARES * (max(spread.high, -spread.low) if symmetric else spread.high) if spread.high > 0 or symmetric else np.zeros(1)
    )
    tried = [range_format(low, high, number, symmetric=symmetric) for low in lows for high in highs]
    losses = [_losses(fmt, spread) for fmt in tried]
    for penalty in CLIP_PENALTIES:
        best = tried[int(np.argmin([rounding + penalty * clipping for rounding, clipping in losses]))]
        if best not in found:
            found.append(best)
    # What a saturating function is given beyond its limits is not lost, so the histogram overrates clipping: measured, too.
    for share in SATURATED_SHARES:
        end = share * saturation(spread.saturating, number.bits)
        clipped = range_format(max(spread.low, -end), min(spread.high, end), number, symmetric=symmetric)
        if clipped not in found:
            found.append(clipped)
    return found


def choose(
    bench: Bench | None, group: str, spread: Spread, options: Sequence[TensorFormat], factors: np.ndarray | None = None
) -> TensorFormat:
    """The format with the least noise at the output when the group alone is quantized, its channels divided by ``factors
    [C]`` before; without a bench, by what the histogram says that it is to first order."""
    if len(options) == 1:
        return options[0]
    if bench is None:
        return min(options, key=lambda fmt: sum(_losses(fmt, spread)))
    groups = bench.graph.quantizer_groups()
    members = [node for node in bench.graph.nodes if groups[node.name] == group and quantizes(node)]
    f = None if factors is None else torch.from_numpy(factors).float().view(1, -1, 1, 1)

    def change(fmt: TensorFormat) -> Callable[[Tensor], Tensor]:
        return fmt.fake if f is None else lambda x: fmt.fake(x / f) * f

    noise = [bench.noise({node.name: change(clamped(fmt, node)) for node in members}) for fmt in options]
    return options[int(np.argmin(noise))]


def clamped(fmt: TensorFormat, node: Node) -> TensorFormat:
    """A group's format as one node writes it: a fused ReLU is a clamp at the zero point, ReLU6 also at the code of 6."""
    if fmt.is_float or not isinstance(node.function, Relu | Relu6):
        return fmt
    top = fmt.qmax
    if isinstance(node.function, Relu6):
        top = min(top, fmt.zero_point + int(np.rint(6 / fmt.scale)))
    return replace(fmt, qmin=max(fmt.qmin, fmt.zero_point), qmax=top)


def format_source(graph: Graph, node: Node) -> Node:
    """The node whose clamp a view inherits: the one that wrote the values; the node itself for everything else."""
    while isinstance(node.op, View):
        node = graph[node.inputs[0]]
    return node


def single(value: float) -> float:
    """The nearest number that float32 holds."""
    return float(np.float32(value))


def _live(reach: float) -> float:
    """A range, or that of a picture for a tensor that was always zero: its step is the unit in which readers count their biases,
    and in a vanishing unit no bias fits 32 bits."""
    return reach if reach > ALWAYS_ZERO else 1.0


def symmetric_format(number: Int, reach: float) -> TensorFormat:
    """Zero point in the middle of the container, the codes of the width about it."""
    half = number.narrow_limit + 1
    step = single(_live(reach) / number.narrow_limit)
    return TensorFormat(number, step, number.middle, number.middle - half, number.middle + half - 1)


def range_format(low: float, high: float, number: Int, *, symmetric: bool) -> TensorFormat:
    """The format of a range with ``low <= 0 <= high``; zero is always a code."""
    if symmetric:
        return symmetric_format(number, max(high, -low))
    top = number.levels
    scale = single(_live(high - low) / top)
    return TensorFormat(number, scale, int(np.clip(np.rint(-low / scale), 0, top)), 0, top)


def _losses(fmt: TensorFormat, spread: Spread) -> tuple[float, float]:
    """Weighted squared error of the values inside the range, and of those clipped."""
    codes = np.rint(spread.centres / fmt.scale) + fmt.zero_point
    kept = np.clip(codes, fmt.qmin, fmt.qmax)
    squared = ((kept - fmt.zero_point) * fmt.scale - spread.centres) ** 2 * spread.weight
    clips = kept != codes
    return float(squared[~clips].sum()), float(squared[clips].sum())
