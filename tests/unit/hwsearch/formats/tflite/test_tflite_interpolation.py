"""Bilinear interpolation in exported TFLite files: each runtime has the codes of the engine under its rule."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import tflite as schema
import torch
import torch.nn.functional as F
from called import Called
from random_networks import quantize
from torch import Tensor, nn

from hwmodels.errors import FileError
from hwsearch.formats.running.runtime import Runtime, Tolerance
from hwsearch.formats.tflite import litert, tflm
from hwsearch.formats.tflite.read import load
from hwsearch.formats.tflite.write import to_bytes
from hwsearch.quant.engine import integer
from hwsearch.quant.engine.operators import bilinear
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.ir.graph import Graph
from searchspaces.ops.moves.resize import Resize
from searchspaces.tracing.trace import trace

SIZE = (10, 12)
OPEN = {"litert": litert.open_plan, "reference": lambda q: litert.open_plan(q, reference=True), "micro": tflm.open_plan}


class Skip(nn.Module):
    """A body beside its enlarged input, as super-resolution networks have it."""

    def __init__(self, factor: float = 2, corners: bool = False) -> None:
        super().__init__()
        torch.manual_seed(int(8 * factor))
        self.factor, self.corners = factor, corners
        self.body, self.last = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 3, 3, padding=1)

    def enlarge(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=self.factor, mode="bilinear", align_corners=self.corners)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.enlarge(F.relu(self.body(x)))) + self.enlarge(x)


def resized(height: int, width: int, corners: bool = False) -> Called:
    return Called(lambda x: F.interpolate(x - 0.25, (height, width), mode="bilinear", align_corners=corners))


def graph(module: nn.Module) -> Graph:
    return trace(module.eval(), 3, "skip", size=SIZE if isinstance(module, Called) else None)


MODULES: dict[str, nn.Module] = {
    "twice": Skip(),
    "four times, corners": Skip(4, corners=True),
    "three times": Skip(3),
    "half": Skip(0.5),
    "to any size": resized(13, 31),
    "to any size, corners": resized(13, 31, corners=True),
    "to fewer pixels": resized(4, 5),
}
WIDTHS: dict[str, tuple[int, int]] = {"8": (8, 8), "5": (5, 5), "16": (16, 16), "8 to 16": (8, 16), "16 to 8": (16, 8)}


def quantized(name: str, widths: str) -> QuantizedGraph:
    found = graph(MODULES[name])
    first, rest = WIDTHS[widths]
    groups = sorted(set(found.quantizer_groups().values()))
    return quantize(found, 8, {group: first if group == found.input.name else rest for group in groups}, size=SIZE)


def differing(q: QuantizedGraph, plan: Runtime) -> int:
    x = torch.randint(0, 256, (1, 3, *SIZE), generator=torch.Generator().manual_seed(5)) / 255
    ours, theirs = integer.run(plan.executed, x), plan.run(x)
    assert len(ours.unique()) > 8
    return int(((ours - theirs).abs() > plan.executed.formats[q.graph.output.name].scale / 2).sum())


@pytest.mark.parametrize("runtime", OPEN)
@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("name", MODULES)
def test_codes_are_those_of_the_runtime(name: str, widths: str, runtime: str) -> None:
    q = quantized(name, widths)
    wide = any(q.formats[t].is_wide for n in q.graph.nodes if isinstance(n.op, Resize) for t in (n.name, n.inputs[0]))
    if runtime == "micro" and wide:
        with pytest.raises(FileError, match="no RESIZE_BILINEAR of 16-bit tensors"):
            to_bytes(q, flavour="micro", size=SIZE)
        return
    plan = OPEN[runtime](q)
    if plan.tolerance == Tolerance():
        assert differing(q, plan) == 0
    else:  # LiteRT's vectorized addition of 16-bit tensors
        assert runtime == "litert"
        assert max(WIDTHS[widths]) > 8


def test_a_picture_that_keeps_its_grid_takes_one_operator() -> None:
    q = quantize(graph(Called(lambda x: F.interpolate(x, scale_factor=2.0, mode="bilinear"))), 8, 8, size=SIZE)
    q = replace(q, formats=dict.fromkeys(q.formats, q.formats["input"]))
    model = schema.Model.GetRootAs(to_bytes(q, size=SIZE)).Subgraphs(0)
    assert model.OperatorsLength() == 1


@pytest.mark.parametrize("runtime", ["reference", "micro"])
def test_steps_of_1024ths_that_lead_elsewhere_are_refused(runtime: str) -> None:
    """Three times 600 pixels: 1024 / 3 cut off, 1,799 times, are more than half a pixel. XNNPACK does not count so."""
    q = quantize(graph(Skip(3)), 8, 8)
    with pytest.raises(FileError, match="in steps that lead elsewhere"):
        to_bytes(q, flavour=runtime, size=(12, 600))
    assert to_bytes(q, flavour="litert", size=(12, 600))
    assert not bilinear.follows(600, 1800, False, "whole")
    assert bilinear.follows(600, 1200, False, "whole")


def test_what_is_no_bilinear_interpolation_is_refused() -> None:
    for module in (Called(lambda x: F.interpolate(x, scale_factor=2.0, mode="bicubic")),
                   Called(lambda x: F.interpolate(x, (5, 6), mode="bilinear", antialias=True))):  # fmt: skip
        with pytest.raises(FileError, match="TFLite has no kernel of resize"):
            to_bytes(quantize(graph(module), 8, 8, size=SIZE), size=SIZE)


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("size", [(20, 24), (13, 31)])
def test_an_exported_file_is_read_again(size: tuple[int, int], corners: bool, tmp_path: Path) -> None:
    """By its operators: files for microcontrollers do not say what network they hold."""
    module = Called(lambda x: F.interpolate(x, size, mode="bilinear", align_corners=corners))
    q = quantize(graph(module), 8, 8, size=SIZE)
    q = replace(q, formats=dict.fromkeys(q.formats, q.formats["input"]))
    (tmp_path / "net.tflite").write_bytes(to_bytes(q, flavour="micro", size=SIZE))
    x = torch.randint(0, 256, (1, 3, *SIZE), generator=torch.Generator().manual_seed(6)) / 255
    assert torch.equal(integer.run(load(tmp_path / "net.tflite"), x), tflm.open_plan(q).run(x))
