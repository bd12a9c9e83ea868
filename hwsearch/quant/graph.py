"""The quantized network: number formats of every tensor, integers of every layer. Engine and exporters read this and
nothing else.

Codes are unsigned. A tensor of ``bits`` <= 8 lives in a uint8 container, one of 16 bits in uint16; ``q = clamp(rint(x / scale) +
zero_point, qmin, qmax)``, round half to even. ReLU, ReLU6 and widths below 8 bits are nothing but ``qmin`` and ``qmax``.
Symmetric formats put the zero point in the middle of the container (128, 32768). Weights are symmetric per output channel
in the narrow range ``-(2^(b-1) - 1) .. 2^(b-1) - 1``.

Requantization follows the rule named in ``QuantizedGraph.rule``, one of ``requant.RULES``: "f32" (ONNX Runtime), "xnnpack"
(LiteRT) or "gemmlowp" (TFLite Micro, CMSIS-NN). ``requant`` says what each computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from searchspaces.ir.graph import Graph


@dataclass(frozen=True)
class TensorFormat:
    """How one tensor is stored.

    ``is_float``: half precision (bits = 16); the other fields are then unused. ``scale`` is exactly representable in float32.
    """

    bits: int
    scale: float = 1.0
    zero_point: int = 0
    qmin: int = 0
    qmax: int = 255
    is_float: bool = False

    @property
    def carrier(self) -> torch.dtype:
        """What the integer engine holds shifted codes ``q - z`` in: int16 where they fit; float32 otherwise, and for half
        precision."""
        fits = self.qmax - self.zero_point < 1 << 15 and self.zero_point - self.qmin <= 1 << 15
        return torch.int16 if fits and not self.is_float else torch.float32

    def encode(self, x: Tensor) -> Tensor:
        """Real values to codes (float32 tensor holding integers), any shape."""
        return (torch.round(x / self.scale) + self.zero_point).clamp_(self.qmin, self.qmax)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes to real values."""
        return (codes - self.zero_point) * self.scale

    def fake(self, x: Tensor) -> Tensor:
        """What is left of real values after being stored in this format."""
        if self.is_float:
            return x.half().float()
        return self.decode(self.encode(x))


@dataclass(frozen=True, eq=False)
class LayerIntegers:
    """A layer executed in integers: ``weight int8[O, I/groups, kh, kw]``, ``scale float32[O]``, ``bias int64[O]`` in units
    of ``s_x * s_w``.

    ``bits`` is the width the weights were rounded to.
    """

    bits: int
    weight: np.ndarray
    scale: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True, eq=False)
class LayerFloats:
    """A layer that the device executes in floating point (half precision): ``weight float32[O, I/groups, kh, kw]``, ``bias
    float32[O]``, both already rounded to half precision (and the weight to ``bits`` before, if fewer than 16)."""

    bits: int
    weight: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True, eq=False)
class QuantizedGraph:
    """A network whose every number format is decided.

    Attributes:
        graph: the structure; slopes of PReLU and attributes are read from it, weights of convolutions are not.
        formats: node name -> format of its tensor.
        layers: convolution name -> its numbers.
        rule: requantization rule, one of ``requant.RULES``.
    """

    graph: Graph
    formats: Mapping[str, TensorFormat]
    layers: Mapping[str, LayerIntegers | LayerFloats]
    rule: str = "f32"

    @property
    def float_layers(self) -> tuple[str, ...]:
        """Layers that are executed in floating point, by name."""
        return tuple(name for name, layer in self.layers.items() if isinstance(layer, LayerFloats))
