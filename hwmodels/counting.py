"""What papers count of a plan, on no device: bit operations, mean weight bits, compression. Convolution weights only.

Bit operations of a layer are its multiply-accumulates times the bits of its weights times the bits of what it reads, summed over
convolutions for one whole picture (the BOPs of HAWQ-V3: Yao et al., ICML 2021; "BitOPs" in the tables of super-resolution).
Compression is 32 over the mean weight bits by parameters; biases, scales and padding are left out, which no device does: bytes
that are really stored are in the cost table.
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
        weights: ``int64[W]``, convolution weights of each layer; ``macs``: ``int64[W]`` for the whole picture.
        reads: ``int64[W]``, the width group that a layer reads (of its largest input).
        inside: ``bool[W]``, layers of the scope.
        weight_bits, activation_bits: ``int64[nW]``, ``int64[nA]``.
    """

    weights: np.ndarray
    macs: np.ndarray
    reads: np.ndarray
    inside: np.ndarray
    weight_bits: np.ndarray
    activation_bits: np.ndarray

    @classmethod
    def of(
        cls, workload: Workload, weight_bits: Sequence[int], activation_bits: Sequence[int], inside: frozenset[int]
    ) -> Counting:
        """Counts of ``workload``; ``inside``: layer rows of the scope."""
        layers = [workload.layers[row] for row in workload.weighted]
        largest = [max((workload.tensors[i] for i in layer.inputs), key=lambda tensor: tensor.elements) for layer in layers]
        return cls(
            weights=np.array([layer.weight_count for layer in layers], dtype=np.int64),
            macs=np.array([layer.macs for layer in layers], dtype=np.int64),
            reads=np.array([tensor.group for tensor in largest], dtype=np.int64),
            inside=np.array([row in inside for row in workload.weighted], dtype=bool),
            weight_bits=np.array(weight_bits, dtype=np.int64),
            activation_bits=np.array(activation_bits, dtype=np.int64),
        )

    def table(self, name: str) -> np.ndarray:
        """One of ``COUNTED`` as a sum over layers: ``float64[W, nW, nA]``, by weight width and width of what is read."""
        if name == "mean_bits":
            share = self.weights * self.inside / max(int((self.weights * self.inside).sum()), 1)
            return np.broadcast_to(
                (share[:, None] * self.weight_bits)[:, :, None],
                (len(share), len(self.weight_bits), len(self.activation_bits)),
            )
        return self.macs[:, None, None] * np.outer(self.weight_bits, self.activation_bits).astype(np.float64)

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
        plans = np.atleast_2d(np.asarray(plans, dtype=np.int64))
        read = self.activation_bits[plans[:, len(self.weights) + self.reads]]
        found: np.ndarray = (self._weight_bits(plans) * read) @ self.macs.astype(np.float64)
        return found

    def _weight_bits(self, plans: np.ndarray) -> np.ndarray:
        plans = np.atleast_2d(np.asarray(plans, dtype=np.int64))
        found: np.ndarray = self.weight_bits[plans[:, : len(self.weights)]]
        return found
