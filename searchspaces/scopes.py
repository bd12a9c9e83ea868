"""Which layers are quantized at all: everything, or one of the four scopes of published tables.

"W4A4" means different networks in the literature of super-resolution. In bit operations, EDSR-baseline x4 at 4 bits is
1.85 times below 8 bits everywhere in the first, 3.8 times in the second, and in the third 2.4 times below floating point; a row
of one is never put beside a row of another.

    body            head, upsampler and tail at 8 bits, all between them searched. AdaBM (CVPR 2024) and outlier-aware dual-region
                    quantization (ICCV 2025), both in their "fully quantized" setting.
    not-first-last  first and last convolution at 8 bits. PTQ4SR (CVPR 2023).
    blocks          convolutions of residual blocks alone; the rest is not quantized, so it has the widest width of the device.
                    Quantization-aware training: PAMS (ECCV 2020), DAQ (WACV 2022), ODM (ECCV 2024), QuantSR (NeurIPS 2023).
    linear          linear layers of transformers and what they read; the rest is not quantized. Transformers in "Gradient Knows
                    Best" (CVPR 2026); 2DQuant (NeurIPS 2024) and CondiQuant quantize the products of attention as well.

One difference stays: those papers quantize what each convolution reads and keep feature maps between blocks in floating point;
here a tensor has one width for all of its readers, so the residual stream is stored at the width that a block reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hwmodels.workload import Contract

if TYPE_CHECKING:
    from hwmodels.numbers import NumberFormat
    from hwmodels.workload import Workload

Scope = Literal["all", "body", "not-first-last", "blocks", "linear"]

EIGHT = 8


@dataclass(frozen=True)
class ScopeInfo:
    """A scope: what it is, who publishes in it, and the width of everything outside it (None: the widest of the device)."""

    name: str
    summary: str
    papers: str
    outside_bits: int | None
    named: Callable[[Workload], frozenset[int]]
    """Rows of the layers that it names."""

    def inside(self, workload: Workload) -> frozenset[int]:
        """Rows of the layers that are searched: those that it names, or the network's body where there are none."""
        return self.named(workload) or _body(workload)

    def told(self, workload: Workload) -> str:
        """A sentence where what is searched is not what the scope names; else empty."""
        if self.named(workload):
            return ""
        found = self.inside(workload)
        instead = f"its body is searched instead ({len(found)} layers)" if found else "nothing of it is searched"
        return f"The network has no layers of the scope {self.name} ({self.summary}); {instead}."

    def format_outside(self, offered: tuple[NumberFormat, ...]) -> NumberFormat:
        """The format of what is outside, among those that a device offers: the nearest that is not narrower."""
        wide_enough = [fmt for fmt in offered if self.outside_bits is not None and fmt.bits >= self.outside_bits]
        return min(wide_enough, default=max(offered))


def _all(workload: Workload) -> frozenset[int]:
    return frozenset(workload.weighing)


def _not_first_last(workload: Workload) -> frozenset[int]:
    return frozenset(workload.weighing[1:-1])


def _body(workload: Workload) -> frozenset[int]:
    """From the first to the last layer of the shape that most layers have, but for the two ends of the network."""
    shapes = {row: (workload.layers[row].kernel, workload.layers[row].weight_count) for row in workload.weighing}
    counts = list(shapes.values())
    most = max(counts, key=counts.count, default=None)
    alike = [row for row, shape in shapes.items() if shape == most]
    return frozenset(row for row in _not_first_last(workload) if alike[0] <= row <= alike[-1])


def _blocks(workload: Workload) -> frozenset[int]:
    """Layers with weights in the branches of innermost additions: those between whose operands no other addition lies."""
    before: list[frozenset[int]] = []
    """Of each layer, the layers that its output depends on, itself included."""
    for row, layer in enumerate(workload.layers):
        producers = [workload.tensors[tensor].producer for tensor in layer.inputs]
        before.append(frozenset([row]).union(*(before[p] for p in producers if p >= 0)))
    branches = []
    for layer in workload.layers:
        if layer.maps("add") and len(layer.inputs) == 2:
            producers = [workload.tensors[tensor].producer for tensor in layer.inputs]
            one, other = (before[p] if p >= 0 else frozenset() for p in producers)
            branches.append(one ^ other)
    innermost = [branch for branch in branches if not any(workload.layers[row].maps("add") for row in branch)]
    return frozenset().union(*innermost) & _not_first_last(workload)


def _linear(workload: Workload) -> frozenset[int]:
    """Linear layers."""
    rows = ((row, workload.layers[row].work) for row in workload.weighing)
    return frozenset(row for row, work in rows if isinstance(work, Contract) and work.form == "product")


SCOPES: Mapping[str, ScopeInfo] = {
    info.name: info
    for info in (
        ScopeInfo("all", "every layer is searched", "", None, _all),
        ScopeInfo("body", "head, upsampler and tail at 8 bits", "AdaBM, OAQ-SR", EIGHT, _body),
        ScopeInfo("not-first-last", "first and last convolution at 8 bits", "PTQ4SR", EIGHT, _not_first_last),
        ScopeInfo("blocks", "residual blocks only, the rest as wide as it goes", "PAMS, DAQ, ODM, QuantSR", None, _blocks),
        ScopeInfo("linear", "linear layers only, the rest as wide as it goes", "Gradient Knows Best", None, _linear),
    )
}
"""In the order in which the help lists them."""
