"""One threshold on the signal-to-noise ratio of every layer and tensor: each gets the narrowest width that keeps it.

"SNR-driven mixed precision" is known from a press notice alone: bits of a layer follow from a signal-to-noise ratio, for VGG-16,
ResNet-18, FSRCNN and LapSRN, with weights and tensors 2 to 4 times smaller and less than 0.3 dB lost. Everything else here is
reconstructed: the ratio is that of a layer's own weights, or of a stored tensor, against its rounding error; all share one
threshold, which falls until the budget is used up. It knows nothing of what follows a layer: skip connections make it a poor
judge, and that is what it is compared for.
"""

from __future__ import annotations

from hwsearch.search.allocate.allocator import AllocatorInfo, Grounds, by_levels
from searchspaces.space import PlanRow

INFO = AllocatorInfo(
    "snr_threshold",
    "the narrowest width of each layer and tensor whose own signal to noise keeps one common threshold",
    "SNR-driven mixed precision (preprint, press notice)",
    "one forward pass per picture",
    reconstructed="in full",
    place=1,
)


def ladder(grounds: Grounds) -> list[PlanRow]:
    """A rung for every threshold that makes a difference."""
    return by_levels(grounds.space, grounds.damage("sqnr").noise)
