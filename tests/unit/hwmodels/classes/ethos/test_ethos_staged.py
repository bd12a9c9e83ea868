"""What enters a network, copied to the chip of an Ethos-U85: as its compiler did with the same single convolutions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hwmodels.classes.ethos.model import executed
from hwmodels.device import catalogue
from searchspaces.ir.lower import to_workload
from searchspaces.tracing.trace import trace


class Entered(nn.Module):
    """A convolution of what enters, and another; ``twice``: what enters is added at the end, too."""

    def __init__(self, channels: int, out: int, kernel: int, twice: bool = False) -> None:
        super().__init__()
        self.head, self.twice = nn.Conv2d(channels, out, kernel, padding=kernel // 2), twice
        self.tail = nn.Conv2d(out, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.tail(torch.relu(self.head(x)))
        return y + x if self.twice else y  # type: ignore[no-any-return]


def copies(target: str, network: nn.Module, size: tuple[int, int], bits: int) -> list[str]:
    """The layers of what is executed that are plain copies."""
    graph = trace(network.eval(), network.head.in_channels, "entered")  # type: ignore[union-attr, arg-type]
    found = executed(catalogue.load(target), to_workload(graph, *size), bits // 8)
    assert found.owner[0] == 0
    return [layer.name for layer in found.workload.layers if layer.moves("copy")]


@pytest.mark.parametrize(
    ("target", "sizes", "size", "bits", "copied"),
    [
        ("ethos-u85-512", (3, 28, 3), (40, 132), 8, True),
        ("ethos-u85-512", (3, 16, 3), (40, 132), 8, False),
        ("ethos-u85-512", (3, 28, 5), (40, 132), 8, False),
        ("ethos-u85-512", (16, 32, 3), (40, 132), 8, True),
        ("ethos-u85-512", (64, 8, 1), (41, 137), 8, False),
        ("ethos-u85-512", (64, 96, 1), (40, 132), 8, True),
        ("ethos-u85-512", (16, 16, 3), (40, 132), 16, True),
        ("ethos-u85-512", (32, 16, 3), (80, 132), 16, False),
        ("ethos-u85-2048", (16, 16, 3), (40, 132), 8, True),
        ("ethos-u85-2048", (16, 48, 3), (40, 132), 8, False),
        ("ethos-u85-2048", (3, 8, 2), (40, 132), 16, False),
        ("ethos-u65-512", (16, 8, 2), (40, 132), 8, False),
    ],
)
def test_what_is_copied(target: str, sizes: tuple[int, int, int], size: tuple[int, int], bits: int, copied: bool) -> None:
    """Where reading again and again takes longer than the convolution; not what is read once or does not fit on the chip."""
    assert copies(target, Entered(*sizes), size, bits) == (["head/0"] if copied else [])


def test_what_others_read_too_is_not_copied() -> None:
    assert copies("ethos-u85-512", Entered(16, 32, 3, twice=True), (40, 132), 8) == []
