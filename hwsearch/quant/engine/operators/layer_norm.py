"""Layer normalization over the last axis: ``(x - mean) / sqrt(var + eps) * gamma + beta``.

No runtime here has it in integers as one operator. Two forms stand beside each other:

* ``island``: codes in, codes out, single precision inside, in a fixed order of roundings. TFLite's reference kernels and TFLite
  Micro compute exactly it, step by step between DEQUANTIZE and QUANTIZE; ONNX Runtime (LayerNormalization between
  DequantizeLinear and QuantizeLinear) and QNN add in orders of their own.
* ``Chain``: TFLite operators between 16-bit tensors, MEAN, SUB, squares, MEAN, ADD, RSQRT, MUL, MUL, ADD, each as the runtime
  computes it. The squares are MUL of the difference with itself in LiteRT, which has no 16-bit SQUARED_DIFFERENCE, and
  SQUARED_DIFFERENCE in TFLite Micro.

Measured on tokens of 60 channels, three of which are ten times as large as the others (4096 tokens, five draws, median in dB of
signal to quantization noise against double precision; ``e^s`` is the deviation of the tokens' norms):

====  ==================  =================  ================  ==============  ============
s     island 16 -> 16     island 16 -> 8     island 8 -> 8     chain, LiteRT   chain, TFLM
====  ==================  =================  ================  ==============  ============
0     74.0                34.6               25.8              65.6            67.2
0.3   67.9                34.6               19.7              44.2            55.1
0.7   56.0                34.5               10.9              -0.1            24.3
====  ==================  =================  ================  ==============  ============

So a 16-bit input is what matters, and the chain is safe only where tokens are about as large: variances of small tokens then fall
into the first of the 512 intervals of LiteRT's reciprocal root, where a straight line stands for a hyperbola, and into few codes
in TFLite Micro. ONNX Runtime's codes differ from the island's by one in about 0.015 % of the entries: it adds in another order.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from hwsearch.quant.engine.kernels.loops.float_loops import normalize
from hwsearch.quant.engine.operators import activation, elementwise, lookup, reduction
from hwsearch.quant.engine.operators.activation import Library
from hwsearch.quant.engine.operators.grid import Grid


def island(
    x: np.ndarray, grid: Grid, y: Grid, gamma: np.ndarray, beta: np.ndarray, epsilon: float = 1e-5, *, away: bool = False
) -> np.ndarray:
    """Codes ``[..., C]`` to codes of ``y``; ``gamma`` and ``beta`` float32 ``[C]``.

    In single precision, every result rounded once, sums from the first channel to the last: ``v = s_x (q - z_x)``; ``m = (sum
    v) / C``; ``d = v - m``; ``r = 1 / sqrt((sum d d) / C + eps)``; ``((d r) gamma + beta) / s_y``, to nearest.

    Args:
        away: halves go away from zero, as in QUANTIZE of TFLite's reference kernels and of TFLite Micro; else to the even
            code, as in QuantizeLinear.
    """
    channels = x.shape[-1]
    real = (x.astype(np.float32) - np.float32(grid.zero_point)) * grid.step
    out = np.empty((x.size // channels, channels), np.float32)
    normalize(real.reshape(-1, channels), gamma.astype(np.float32), beta.astype(np.float32), np.float32(epsilon), out)
    near = np.clip(out / y.step, -(1 << 24), 1 << 24)
    steps = lookup.half_away(near) if away else np.rint(near)
    return y.clamp(steps.astype(np.int64).reshape(x.shape) + y.zero_point)


@dataclass(frozen=True)
class Chain:
    """Grids of the 16-bit tensors of the chain, in the order in which they are written.

    ``gamma`` and ``beta`` are constants of one number a channel, ``epsilon`` a constant of one number.
    """

    x: Grid
    mean: Grid
    difference: Grid
    square: Grid
    variance: Grid
    epsilon: Grid
    shifted: Grid
    root: Grid
    normal: Grid
    gamma: Grid
    scaled: Grid
    beta: Grid
    y: Grid

    @classmethod
    def fitted(cls, real: np.ndarray, gamma: np.ndarray, beta: np.ndarray, epsilon: float = 1e-5) -> Chain:
        """Symmetric grids as wide as the largest magnitude that each tensor takes on the tokens ``real [..., C]``."""
        tensors = _reals(real.astype(np.float64), gamma.astype(np.float64), beta.astype(np.float64), epsilon)
        steps = {name: max(float(np.abs(value).max()), 1e-12) / 32767 for name, value in tensors.items()}
        return cls(**{field.name: Grid("int16", float(np.float32(steps[field.name]))) for field in fields(cls)})

    def run(
        self, x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, epsilon: float = 1e-5, library: Library = "litert"
    ) -> dict[str, np.ndarray]:
        """Codes of every tensor for the codes ``x int16 [..., C]``, by the names of the grids.

        Args:
            gamma, beta: real values ``[C]``, encoded on their grids.
        """
        axis = (x.ndim - 1,)
        t = {"x": x, "gamma": self.gamma.encode(gamma), "beta": self.beta.encode(beta)}
        t["epsilon"] = self.epsilon.encode(np.full((1,) * x.ndim, epsilon))
        t["mean"] = reduction.mean(x, self.x, self.mean, axis)
        t["difference"] = elementwise.subtract(x, t["mean"], self.x, self.mean, self.difference)
        if library == "litert":
            d = t["difference"]
            t["square"] = elementwise.multiply(d, d, self.difference, self.difference, self.square, library)
        else:
            t["square"] = elementwise.squared_difference(x, t["mean"], self.x, self.mean, self.square)
        t["variance"] = reduction.mean(t["square"], self.square, self.variance, axis)
        t["shifted"] = elementwise.add(t["variance"], t["epsilon"], self.variance, self.epsilon, self.shifted)
        if library == "litert":
            table = lookup.inverse_root_16(self.shifted, self.root)
        else:
            table = activation.inverse_root(self.shifted, self.root, library)
        t["root"] = lookup.apply(table, t["shifted"])
        t["normal"] = elementwise.multiply(t["difference"], t["root"], self.difference, self.root, self.normal, library)
        t["scaled"] = elementwise.multiply(t["normal"], t["gamma"], self.normal, self.gamma, self.scaled, library)
        t["y"] = elementwise.add(t["scaled"], t["beta"], self.scaled, self.beta, self.y)
        return t


def _reals(real: np.ndarray, gamma: np.ndarray, beta: np.ndarray, epsilon: float) -> dict[str, np.ndarray]:
    mean = real.mean(axis=-1, keepdims=True)
    difference = real - mean
    square = difference**2
    variance = square.mean(axis=-1, keepdims=True)
    shifted = variance + epsilon
    root = 1 / np.sqrt(shifted)
    normal = difference * root
    return {
        "x": real, "mean": mean, "difference": difference, "square": square, "variance": variance, "epsilon": np.array(epsilon),
        "shifted": shifted, "root": root, "normal": normal, "gamma": gamma, "scaled": normal * gamma, "beta": beta,
        "y": normal * gamma + beta,
    }  # fmt: skip


def reference(real: np.ndarray, gamma: np.ndarray, beta: np.ndarray, epsilon: float = 1e-5) -> np.ndarray:
    """Layer normalization of real values in double precision: what the forms above approximate."""
    return _reals(real.astype(np.float64), gamma.astype(np.float64), beta.astype(np.float64), epsilon)["y"]
