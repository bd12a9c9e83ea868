"""What is priced of a TFLite file is what the exporter writes: operator by operator, shape by shape."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from file_networks import KINDS, draw
from random_networks import quantize
from torch import Tensor, nn

from hwmodels.device import catalogue
from hwmodels.pricing.rewriting import rewrite
from hwmodels.workload import Constant, Contract, Layer, Map, Move, Workload, Written
from hwsearch.formats.tflite import tables, write
from hwsearch.formats.tflite.written import for_array, written
from hwsearch.formats.writing import exporters
from searchspaces.ir.lower import to_workload
from searchspaces.tracing.trace import trace

HEIGHT, WIDTH = 20, 28
MOVES = {
    "shuffle": "DEPTH_TO_SPACE",
    "transpose": "TRANSPOSE",
    "concat": "CONCATENATION",
    "slice": "SLICE",
    "resize": "RESIZE_NEAREST_NEIGHBOR",
    "repeat": "RESIZE_NEAREST_NEIGHBOR",
}
AROUND = {"RESHAPE", "PAD", "GATHER"}
"""What lies between operators: other names of a shape, and what compilers read as part of the convolution behind it."""


def operator(layer: Layer) -> str:
    """The operator of the format that does a row's work."""
    match layer.work:
        case Contract():
            return "DEPTHWISE_CONV_2D" if layer.channelwise else "CONV_2D"
        case Map(function="add"):
            return "ADD"
        case Map(function="compare"):
            return "MAXIMUM"
        case Move(how=how):
            return MOVES[how]
    raise AssertionError(layer)


def operators(workload: Workload) -> list[tuple[str, int]]:
    """What is priced: operators, and the elements that each writes."""
    return [(operator(k), workload.tensors[k.output].elements) for k in workload.layers if not k.moves("view")]


@pytest.mark.parametrize(("flavour", "holds"), [("litert", written), ("ethos", for_array)])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", KINDS)
def test_the_operators_of_the_file_are_priced(kind: str, bits: int, flavour: str, holds: Written, tmp_path: Path) -> None:
    graph = draw(kind, 3)
    file = tables.load(write.export(quantize(graph, 8, bits), tmp_path / "net.tflite", size=(HEIGHT, WIDTH), flavour=flavour))
    held = []
    for each in file.operators:
        if each.name not in AROUND:
            count = 1
            for side in file.tensors[each.outputs[0]].shape:
                count *= side
            held.append((each.name, count))
    priced = rewrite(to_workload(graph, HEIGHT, WIDTH), lambda whole, row: holds(whole, row, bits // 8))
    assert operators(priced.workload) == held


class Repeated(nn.Module):
    """A picture, repeated nine times in one of two orders, added to what a pixel shuffle reads."""

    def __init__(self, order: str, *, added: bool = True, unshuffled: bool = False) -> None:
        super().__init__()
        self.head, self.shuffle = nn.Conv2d(3, 27, 3, padding=1), nn.PixelShuffle(3)
        self.order, self.added = order, added
        self.unshuffle = nn.PixelUnshuffle(2) if unshuffled else nn.Identity()
        self.alone = nn.Conv2d(12, 12, 3, padding=1, groups=12) if unshuffled else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        if not isinstance(self.unshuffle, nn.Identity):
            return self.alone(self.unshuffle(x))  # type: ignore[no-any-return]
        repeated = torch.cat([x] * 9, 1) if self.order == "one after the other" else x.repeat_interleave(9, 1)
        return self.shuffle(self.head(x) + repeated if self.added else repeated)  # type: ignore[no-any-return]


@pytest.mark.parametrize("flavour", ["litert", "ethos"])
@pytest.mark.parametrize(
    ("network", "count"),
    [
        pytest.param(Repeated("one after the other"), 1, id="added"),
        pytest.param(Repeated("one after the other", added=False), 1, id="alone"),
        pytest.param(Repeated("interleaved"), 0, id="in the order of blocks"),
        pytest.param(Repeated("", unshuffled=True), 1, id="unshuffled, each channel alone"),
    ],
)
def test_another_order_of_channels_is_priced(network: nn.Module, count: int, flavour: str, tmp_path: Path) -> None:
    """The exporter writes a GATHER where it cannot give channels the order that is needed, and the price has it."""
    graph, held_for = trace(network.eval(), 3, "repeated"), {"litert": written, "ethos": for_array}[flavour]
    path = write.export(quantize(graph, 8, 8), tmp_path / "net.tflite", size=(HEIGHT, WIDTH), flavour=flavour)
    file = tables.load(path)
    sizes = [np.prod(file.tensors[each.outputs[0]].shape) for each in file.operators if each.name == "GATHER"]
    pieces = rewrite(to_workload(graph, HEIGHT, WIDTH), lambda whole, row: held_for(whole, row, 1)).workload
    assert len(sizes) == count
    assert [pieces.tensors[layer.output].elements for layer in pieces.layers if layer.moves("gather")] == sizes
    rows = {layer.output: row for row, layer in enumerate(pieces.layers)}
    assert all(rows.get(i, -1) < row for row, layer in enumerate(pieces.layers) for i in layer.inputs)


def test_behind_a_gather_a_layer_keeps_its_slopes_and_constants() -> None:
    class Sloped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down, self.slopes, self.up = nn.PixelUnshuffle(2), nn.PReLU(12), nn.PixelShuffle(2)

        def forward(self, x: Tensor) -> Tensor:
            return self.up(torch.sigmoid(self.slopes(self.down(x))))

    workload = to_workload(trace(Sloped().eval(), 3, "sloped"), HEIGHT, WIDTH)
    row = next(row for row, layer in enumerate(workload.layers) if layer.maps("slopes"))
    layers = list(workload.layers)
    layers[row] = replace(layers[row], constants=(Constant(7),))
    found = rewrite(replace(workload, layers=tuple(layers)), lambda whole, row: written(whole, row, 1))
    gather, itself = (found.workload.layers[at] for at, owner in enumerate(found.owner) if owner == row)
    assert gather.moves("gather")
    assert (gather.bias_count, gather.constants) == (0, ())
    assert (itself.work, itself.bias_count, itself.constants) == (layers[row].work, 12, (Constant(7),))


def test_a_device_that_is_handed_tflite_is_priced_so() -> None:
    workload = to_workload(draw("slopes", 0), HEIGHT, WIDTH)
    assert exporters.shipped(workload, catalogue.load("ethos-u55-128")).written is for_array
    assert exporters.shipped(workload, catalogue.load("coral-edgetpu")).written is written
    shipped = exporters.shipped(workload, catalogue.load("jetson-orin-nano"))
    assert shipped == replace(workload, number_bytes=4)  # an ONNX file, whose constants have single precision


def test_what_is_written_costs_what_it_is() -> None:
    """Slopes cost a second convolution; a network without them costs what it did."""
    from hwmodels import cost
    from hwmodels.numbers import Precision

    device, precision = catalogue.load("ethos-u55-128"), Precision.integers(8, 8)
    for kind, more in (("slopes", True), ("residual", False)):
        workload = to_workload(draw(kind, 1), HEIGHT, WIDTH)
        alone, shipped = (cost.uniform(device, w, precision) for w in (workload, replace(workload, written=written)))
        assert (shipped.weight_bytes > 1.05 * alone.weight_bytes) is more
        assert more or shipped == alone
