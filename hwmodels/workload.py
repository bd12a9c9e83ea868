"""The table that the cost models read: one row per layer, one row per stored tensor.

A workload is a network at one input size. It knows shapes and counts, and nothing of weights' values, of torch, or of devices.
Layers are listed in execution order. Data movement (concatenation, pixel shuffle, ...) has rows too, with no
multiply-accumulates: it costs bytes. Element-wise activations are fused into the layer that produces their input.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CONV_OPS = ("conv", "depthwise", "linear")
MOVE_OPS = ("concat", "slice", "repeat", "pixel_shuffle", "resize")
ELEMENTWISE_OPS = ("add", "mul", "unary", "pool")
OPS = CONV_OPS + MOVE_OPS + ELEMENTWISE_OPS


@dataclass(frozen=True)
class Layer:
    """One operation of the network at one input size.

    ``macs`` are multiply-accumulates per picture; ``inputs`` and ``output`` are rows of the tensor table. ``window``: how many
    input pixels to the left, right, top and bottom of its own place an output pixel sees; None: those of a centred kernel.
    """

    name: str
    op: str
    inputs: tuple[int, ...]
    output: int
    macs: int = 0
    weight_count: int = 0
    bias_count: int = 0
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    groups: int = 1
    activation: str = "none"
    window: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class Tensor:
    """One stored feature map. ``producer`` is a layer row, -1 for the network's input; ``readers`` are layer rows.

    ``group`` is the width group: tensors of one group must have one width (views of each other, operands of a
    concatenation or of a residual addition).
    """

    name: str
    channels: int
    height: int
    width: int
    producer: int
    readers: tuple[int, ...]
    group: int

    @property
    def elements(self) -> int:
        return self.channels * self.height * self.width


@dataclass(frozen=True)
class Workload:
    """A network at one input size: its layers, its tensors, and the operations that could not be counted.

    ``group_names[g]`` names width group ``g`` after its first tensor. ``uncounted`` lists operations that have no row;
    whoever prices the workload must show them.
    """

    name: str
    layers: tuple[Layer, ...]
    tensors: tuple[Tensor, ...]
    group_names: tuple[str, ...]
    uncounted: tuple[str, ...] = ()

    @property
    def held(self) -> tuple[dict[int, int], ...]:
        """For every layer, ``{tensor row: pixels}`` that are held while it runs beside what the network itself computes."""
        return tuple({} for _ in self.layers)

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def weight_count(self) -> int:
        return sum(layer.weight_count for layer in self.layers)

    @property
    def weighted(self) -> tuple[int, ...]:
        """Rows of the layers that have weights, in execution order: the weight decisions of a plan."""
        return tuple(i for i, layer in enumerate(self.layers) if layer.weight_count)

    def live_elements(self, channels: np.ndarray | None = None) -> np.ndarray:
        """Elements of each width group alive while each layer runs: ``int64[layers, groups]``.

        ``channels`` counts those that each tensor has as stored, where a device fills them up (default: its own).

        A tensor lives from its producer to its last reader, both included; the network's output lives to the end.
        No layer works in place: a device that can says so in its memory rules (see ``memory``).
        """
        live = np.zeros((len(self.layers), len(self.group_names)), dtype=np.int64)
        for row, tensor in enumerate(self.tensors):
            first = max(tensor.producer, 0)
            last = max(tensor.readers) if tensor.readers else len(self.layers) - 1
            stored = tensor.channels if channels is None else int(channels[row])
            live[first : last + 1, tensor.group] += tensor.height * tensor.width * stored
        return live
