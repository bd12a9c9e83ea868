"""For the tests of the cost models: networks written down as workloads, and every formula again, in plain Python.

The twins take the same arrays as the compiled kernels and share no code with them; they are written from the model's description.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from words import make_layer

from hwmodels import cost
from hwmodels.device import device
from hwmodels.numbers import NumberFormat, Offered
from hwmodels.pricing.arena import Arena
from hwmodels.workload import Constant, Layer, Tensor, Workload


@dataclass(frozen=True)
class Widths(Offered):
    """A space by hand."""

    weight_formats: tuple[NumberFormat, ...]
    tensor_formats: tuple[NumberFormat, ...]
    layer_names: tuple[str, ...]
    group_names: tuple[str, ...]

    @classmethod
    def of(cls, workload: Workload, weights: Sequence[NumberFormat], tensors: Sequence[NumberFormat]) -> Widths:
        names = tuple(workload.layers[i].name for i in workload.weighted)
        return cls(tuple(weights), tuple(tensors), names, workload.group_names)


def edsr(blocks: int = 16, width: int = 64, height: int = 90, pixels: int = 160, scale: int = 4) -> Workload:
    """EDSR as a workload: head, residual blocks, a long skip, a doubling stage or two, and a tail; written down, not traced."""
    layers: list[Layer] = []
    channels, producers, sizes, names = [3], [-1], [(height, pixels)], ["input"]
    ties: list[int] = [0]

    def emit(name: str, op: str, inputs: tuple[int, ...], out: int, size: tuple[int, int], group: int, act: str = "none") -> int:
        target = len(channels)
        weights = 9 * channels[inputs[0]] * out if op == "conv" else 0
        macs, kernel = weights * size[0] * size[1], (3, 3) if weights else (1, 1)
        layers.append(make_layer(name, op, inputs, target, macs, weights, out if weights else 0, kernel, activation=act))
        channels.append(out)
        producers.append(len(layers) - 1)
        sizes.append(size)
        names.append(name)
        ties.append(group if group >= 0 else max(ties) + 1)
        return target

    size = (height, pixels)
    head = emit("head", "conv", (0,), width, size, -1)
    trunk, x = ties[head], head
    for block in range(blocks):
        y = emit(f"body.{block}.0", "conv", (x,), width, size, -1, "relu")
        y = emit(f"body.{block}.2", "conv", (y,), width, size, trunk)
        x = emit(f"body.{block}.add", "add", (y, x), width, size, trunk)
    x = emit("body.last", "conv", (x,), width, size, trunk)
    x = emit("skip", "add", (x, head), width, size, trunk)
    for stage in range(scale.bit_length() - 1):
        x = emit(f"up.{stage}", "conv", (x,), 4 * width, size, -1)
        size = (2 * size[0], 2 * size[1])
        x = emit(f"shuffle.{stage}", "pixel_shuffle", (x,), width, size, ties[x])
    emit("tail", "conv", (x,), 3, size, -1)
    readers = [tuple(i for i, layer in enumerate(layers) if t in layer.inputs) for t in range(len(channels))]
    tensors = tuple(Tensor(names[t], channels[t], *sizes[t], producers[t], readers[t], ties[t]) for t in range(len(channels)))
    groups = tuple(names[ties.index(g)] for g in range(max(ties) + 1))
    return Workload("edsr", tuple(layers), tensors, groups)


def space_of(target: device.Device, workload: Workload) -> Widths:
    """The four widest weight formats and three widest tensor formats of the target, or fewer where it has fewer."""
    return Widths.of(workload, target.weight_formats[-4:], target.tensor_formats[-3:])


def plain(table: cost.CostTable, plans: np.ndarray) -> cost.Objectives:
    """The four objectives by fancy indexing, without merging layers or dropping steps: the twin that tests compare with."""
    split = table.weighted
    latency, energy = np.full(len(plans), table.inference_s), np.full(len(plans), table.inference_s * table.static_w)
    weights = np.zeros(len(plans), dtype=np.int64)
    for row in range(len(table.layers)):
        column = table.weight_column[row]
        w = plans[:, column] if column >= 0 else np.zeros(len(plans), dtype=np.int8)
        a, b = plans[:, split + table.input_column[row]], plans[:, split + table.output_column[row]]
        latency += table.latency_s[row, w, a, b]
        energy += table.energy_j[row, w, a, b]
        if column >= 0:
            weights += table.weight_bytes[row, w, a]
        weights += table.constant_bytes[row, a, b].astype(np.int64)
    peak = np.zeros(len(plans))
    for step in table.live:
        peak = np.maximum(peak, table.element_bytes[plans[:, split:]] @ step)
    total = np.ceil(peak).astype(np.int64) + table.runtime_bytes
    if table.arenas:
        total = np.array([max(laid_out(arena, plan) for arena in table.arenas) for plan in plans])
    return cost.Objectives(latency, weights, total, energy)


def laid_out(arena: Arena, plan: np.ndarray) -> int:
    """Bytes of an arena under one plan: every buffer, largest first, at the lowest of the places behind another one where it
    touches nothing."""
    own, row = arena.buffers, [*map(int, plan), 0]
    lives: dict[int, list[int]] = {}
    for buffer, time, at, on in zip(own.use_of, own.use_time, own.use_at, own.use_on, strict=True):
        if on[row[at[0]], row[at[1]]]:
            lives.setdefault(int(buffer), []).append(int(time))
    size = [float(values[row[at[0]], row[at[1]]]) for at, values in zip(own.size_at, own.size, strict=True)]
    rounded = [math.ceil(bytes_ / arena.alignment) * arena.alignment for bytes_ in size]
    placed: list[tuple[int, int, int, int]] = []
    for buffer in sorted((b for b in range(len(rounded)) if rounded[b]), key=lambda b: -rounded[b]):
        first, last = min(lives[buffer]), max(lives[buffer])
        beside = [(start, end) for start, end, begin, until in placed if begin <= last and first <= until]
        places = [0, *sorted(end for _, end in beside)]
        offset = next(p for p in places if all(p + rounded[buffer] <= start or end <= p for start, end in beside))
        placed.append((offset, offset + rounded[buffer], first, last))
    top = max((end for _, end, _, _ in placed), default=0)
    tables = sum(float(values[row[at[0]], row[at[1]]]) for at, values in zip(own.table_at, own.table_bytes, strict=True))
    return max(top, len(placed) * arena.planning_bytes) + math.ceil(tables) + arena.fixed_bytes


def random_plans(table: cost.CostTable, count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    weights = rng.integers(0, len(table.weight_bits), (count, table.weighted))
    groups = rng.integers(0, len(table.activation_bits), (count, table.live.shape[1]))
    return np.concatenate([weights, groups], axis=1).astype(np.int8)


def random_network(rng: np.random.Generator) -> Workload:
    """A random small network: convolutions of all kinds, additions, concatenations, slices, shuffles, products, pools."""
    height, width = (int(rng.integers(1, 40)) for _ in range(2))
    layers: list[Layer] = []
    channels, producers, sizes, group = [int(rng.choice([1, 3]))], [-1], [(height, width)], [0]

    def emit(op: str, inputs: tuple[int, ...], out: int, size: tuple[int, int], tie: int | None = None, **more: object) -> int:
        layers.append(make_layer(f"l{len(layers)}", op, inputs, len(channels), **more))  # type: ignore[arg-type]
        channels.append(out)
        producers.append(len(layers) - 1)
        sizes.append(size)
        group.append(len(channels) - 1 if tie is None else group[tie])
        return len(channels) - 1

    def conv(x: int, out: int, tie: int | None = None, depthwise: bool = False) -> int:
        kernel = (int(rng.choice([1, 3, 5, 9])), int(rng.choice([1, 3, 5])))
        groups = channels[x] if depthwise else 2 if channels[x] % 2 == 0 and out % 2 == 0 and rng.random() < 0.2 else 1
        weights = kernel[0] * kernel[1] * (channels[x] // groups) * out
        return emit(
            "conv",
            (x,),
            out,
            sizes[x],
            tie,
            macs=weights * sizes[x][0] * sizes[x][1],
            weight_count=weights,
            bias_count=int(rng.choice([0, out])),
            kernel=kernel,
            groups=groups,
            activation=str(rng.choice(["none", "relu", "prelu", "leaky_relu"])),
        )

    x = conv(0, int(rng.choice([4, 12, 16, 56, 64])))
    for _ in range(int(rng.integers(1, 7))):
        size = sizes[x]
        match rng.integers(8):
            case 0:
                x = emit("add", (conv(x, channels[x], tie=x), x), channels[x], size, x)
            case 1:
                y = conv(x, int(rng.integers(1, 40)), tie=x)
                x = emit("concat", (x, y), channels[x] + channels[y], size, x)
            case 2:
                x = emit("slice", (x,), max(1, channels[x] // 2), size, x)
            case 3 if channels[x] % 4 == 0 and size[0] < 100:
                x = emit("pixel_shuffle", (x,), channels[x] // 4, (2 * size[0], 2 * size[1]), x)
            case 4:
                x = emit("mul", (x, emit("pool", (x,), channels[x], (1, 1))), channels[x], size)
            case 5:
                x = conv(x, channels[x], depthwise=True)
            case 6:
                # Some with a constant operand, like that of an earlier layer.
                constant = Constant(channels[x] * size[0], size[1] % 2 == 0, bool(layers[-1].constants))
                x = emit("unary", (x,), channels[x], size, constants=(constant,) if channels[x] % 3 else ())
            case _:
                x = conv(x, int(rng.integers(1, 70)))
    conv(x, int(rng.choice([1, 3, 4, 12])))
    readers = [tuple(i for i, layer in enumerate(layers) if t in layer.inputs) for t in range(len(channels))]
    numbers = {g: i for i, g in enumerate(dict.fromkeys(group))}
    tensors = tuple(
        Tensor(f"t{t}", channels[t], *sizes[t], producers[t], readers[t], numbers[group[t]]) for t in range(len(channels))
    )
    return Workload("random", tuple(layers), tensors, tuple(f"t{g}" for g in numbers))
