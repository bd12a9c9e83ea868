"""What papers count of a plan: bit operations, mean weight bits, compression. Convolution weights only.

Bit operations of a layer are its multiply-accumulates times the bits of its weights times the bits of what it reads, summed over
convolutions for one whole picture (the BOPs of HAWQ-V3: Yao et al., ICML 2021; "BitOPs" in the tables of super-resolution).
Compression is 32 over the mean weight bits by parameters; biases, scales and padding are left out, which no device does: bytes
that are really stored are in the cost table. Weights count with the bits of the format that a device keeps them in: those that
were rounded to 8 bits for a layer whose weights are kept in half precision have 16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwmodels.workload import Workload

FLOAT_BITS = 32
COUNTED = ("mean_bits", "bitops")
"""What can be limited: mean weight bits over the layers of the scope, and bit operations of one picture."""


@dataclass(frozen=True, eq=False)
class Counting:
    """Counts of a network at one input size, for plans of one space. W layers with weights, nW and nA widths.

    Attributes:
        column: ``int64[W]``, the weight decision of each layer; layers with the same weights share one.
        weights: ``int64[W]``, convolution weights of each layer, those of several layers with the first; ``macs``: ``int64[W]``
            for the whole picture.
        reads: ``int64[W]``, the width group that a layer reads (of its largest input).
        inside: ``bool[W]``, layers of the scope.
        weight_bits: ``int64[nW, nA]``, bits of a weight by choice, beside each choice of what its layer reads;
            ``activation_bits``: ``int64[nA]``.
    """

    column: np.ndarray
    weights: np.ndarray
    macs: np.ndarray
    reads: np.ndarray
    inside: np.ndarray
    weight_bits: np.ndarray
    activation_bits: np.ndarray

    @classmethod
    def of(
        cls,
        workload: Workload,
        weight_bits: Sequence[int] | Sequence[Sequence[int]],
        activation_bits: Sequence[int],
        inside: frozenset[int],
    ) -> Counting:
        """Counts of ``workload``.

        Args:
            weight_bits: by choice, and where that matters by choice of what is read.
            inside: layer rows of the scope.
        """
        layers = [workload.layers[row] for row in workload.weighing]
        largest = [max((workload.tensors[i] for i in layer.inputs), key=lambda tensor: tensor.elements) for layer in layers]
        return cls(
            column=np.array([column for column in workload.weight_columns if column >= 0], dtype=np.int64),
            weights=np.array([0 if layer.weights_of else layer.weight_count for layer in layers], dtype=np.int64),
            macs=np.array([layer.macs for layer in layers], dtype=np.int64),
            reads=np.array([tensor.group for tensor in largest], dtype=np.int64),
            inside=np.array([row in inside for row in workload.weighing], dtype=bool),
            weight_bits=stored_bits(weight_bits, len(activation_bits)),
            activation_bits=np.array(activation_bits, dtype=np.int64),
        )

    def table(self, name: str) -> np.ndarray:
        """One of ``COUNTED`` as a sum over layers: ``float64[W, nW, nA]``, by weight width and width of what is read."""
        if name == "mean_bits":
            share: np.ndarray = self.weights * self.inside / max(int((self.weights * self.inside).sum()), 1)
            mean: np.ndarray = share[:, None, None] * self.weight_bits
            return mean
        found: np.ndarray = self.macs[:, None, None] * (self.weight_bits * self.activation_bits).astype(np.float64)
        return found

    def of_plans(self, plans: np.ndarray) -> dict[str, np.ndarray]:
        """``COUNTED`` of plans ``int[P, D]``: ``float64[P]`` each."""
        return {"mean_bits": self.mean_bits(plans, self.inside), "bitops": self.bitops(plans)}

    def mean_bits(self, plans: np.ndarray, layers: np.ndarray | None = None) -> np.ndarray:
        """Mean weight bits by parameters ``float64[P]``, of all layers or of those in the mask ``bool[W]``."""
        weights = self.weights if layers is None else self.weights * layers
        found: np.ndarray = self._weight_bits(plans) @ weights / max(int(weights.sum()), 1)
        return found

    def bitops(self, plans: np.ndarray) -> np.ndarray:
        """Bit operations of one picture, ``float64[P]``."""
        read = self.activation_bits[self._read(plans)]
        found: np.ndarray = (self._weight_bits(plans) * read) @ self.macs.astype(np.float64)
        return found

    @property
    def decisions(self) -> int:
        """How many of a plan's decisions are of weights: the first ones."""
        return int(self.column.max(initial=-1)) + 1

    def _read(self, plans: np.ndarray) -> np.ndarray:
        """Choice of what each layer reads, ``int64[P, W]``."""
        found: np.ndarray = np.atleast_2d(np.asarray(plans, dtype=np.int64))[:, self.decisions + self.reads]
        return found

    def _weight_bits(self, plans: np.ndarray) -> np.ndarray:
        weights = np.atleast_2d(np.asarray(plans, dtype=np.int64))[:, self.column]
        found: np.ndarray = self.weight_bits[weights, self._read(plans)]
        return found


def stored_bits(bits: Sequence[int] | Sequence[Sequence[int]], tensors: int) -> np.ndarray:
    """Bits of a weight by choice, or by choice and what is read, as ``int64[nW, nA]``; ``tensors``: how many widths are read."""
    found = np.array(bits, dtype=np.int64)
    return np.repeat(found[:, None], tensors, axis=1) if found.ndim == 1 else found
