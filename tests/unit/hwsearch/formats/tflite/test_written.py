"""What is priced of a TFLite file is what the exporter writes: operator by operator, shape by shape."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from file_networks import KINDS, draw
from random_networks import quantize

from hwmodels.device import catalogue
from hwmodels.pricing.rewriting import rewrite
from hwmodels.workload import Contract, Layer, Map, Move, Workload, Written
from hwsearch.formats.tflite import tables, write
from hwsearch.formats.tflite.written import for_array, written
from hwsearch.formats.writing import exporters
from searchspaces.ir.lower import to_workload

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
