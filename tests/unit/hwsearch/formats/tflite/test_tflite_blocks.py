"""Pixel shuffles of files for an Ethos-U: SLICE, CONCATENATION, RESHAPE in place of one operator, with the same codes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from random_networks import quantize
from torch import Tensor, nn

from hwmodels.errors import FileError
from hwsearch.formats.tflite import litert
from hwsearch.formats.tflite.read import load
from hwsearch.formats.tflite.tables import load as load_tables
from hwsearch.formats.tflite.write import to_bytes
from hwsearch.quant.engine import integer
from searchspaces.tracing.trace import trace

SIZE = (12, 18)


class BackAndForth(nn.Module):
    """Pixels of blocks as channels, convolutions, and pixels again; ``shown``: what a shuffle wrote is read once more."""

    def __init__(self, down: int, up: int, *, shown: bool) -> None:
        super().__init__()
        self.down, self.up, self.shown = nn.PixelUnshuffle(down) if down > 1 else nn.Identity(), nn.PixelShuffle(up), shown
        self.head, self.tail = nn.Conv2d(3 * down**2, 16, 3, padding=1), nn.Conv2d(16, 3 * up**2, 3, padding=1)
        self.last = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.up(self.tail(torch.relu(self.head(self.down(x)))))
        return self.last(y) + y if self.shown else y


@pytest.mark.parametrize("bits", [4, 8, 16])
@pytest.mark.parametrize(("down", "up", "shown"), [(2, 4, False), (3, 3, True), (1, 2, True)])
def test_codes_are_those_of_the_engine(down: int, up: int, shown: bool, bits: int, tmp_path: Path) -> None:
    scale = up // down
    graph = trace(BackAndForth(down, up, shown=shown).eval(), 3, "blocks", scale)
    quantized = quantize(graph, 8, bits, size=SIZE)
    file = tmp_path / "net.tflite"
    file.write_bytes(to_bytes(quantized, flavour="ethos", size=SIZE))
    names = [operator.name for operator in load_tables(file).operators]
    assert not {"DEPTH_TO_SPACE", "SPACE_TO_DEPTH", "TRANSPOSE"} & set(names)
    assert "CONCATENATION" in names
    x = torch.randint(0, 256, (1, 3, *SIZE), generator=torch.Generator().manual_seed(1)) / 255
    theirs = litert.of_file(replace(quantized, rule="xnnpack"), file.read_bytes())
    ours = integer.run(theirs.executed, x)
    assert len(ours.unique()) > 3
    assert torch.equal(theirs.run(x), ours)
    # The file by its operators, without the network that it carries.
    assert torch.equal(integer.run(load(file), x), ours)
    assert [node.op for node in load(file).graph.nodes if node.op.moves] == [node.op for node in graph.nodes if node.op.moves]


def test_what_is_joined_otherwise_is_no_shuffle(tmp_path: Path) -> None:
    """Slices of channels side by side in another order: nothing is taken for what it is not."""
    graph = trace(BackAndForth(1, 2, shown=False).eval(), 3, "blocks", 2)
    file = tmp_path / "net.tflite"
    data = to_bytes(quantize(graph), {"plan": "plan-01"}, flavour="ethos", size=SIZE)
    begin, other = (torch.tensor([0, 0, 0, first], dtype=torch.int32).numpy().tobytes() for first in (6, 3))
    assert data.count(begin) == 1
    file.write_bytes(data.replace(begin, other))
    with pytest.raises(FileError, match="no pixel shuffle"):
        load(file)


@pytest.mark.parametrize("flavour", ["litert", "ethos"])
def test_large_blocks(flavour: str, tmp_path: Path) -> None:
    """The order of channels is found at the size of the file, which has whole blocks, whatever their size."""
    graph = trace(BackAndForth(32, 32, shown=False).eval(), 3, "blocks", 1)
    quantized = quantize(graph, 8, 8, size=(64, 64))
    file = tmp_path / "net.tflite"
    file.write_bytes(to_bytes(quantized, flavour=flavour, size=(64, 64)))
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    assert torch.equal(integer.run(load(file), x), integer.run(replace(quantized, rule="xnnpack"), x))
