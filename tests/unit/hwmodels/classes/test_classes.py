"""Classes of hardware are found by their files, and a new one is two files and no edit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hwmodels.classes import registry
from hwmodels.device import catalogue
from hwmodels.device.facts import number
from hwmodels.device.sections.found import SECTIONS
from hwmodels.device.sections.gpu import Gpu
from hwmodels.device.sections.npu import Npu

SECTION = '''
from __future__ import annotations

from hwmodels.device.sections.section import Section
from hwmodels.device.tables import Memories
from hwmodels.device.values import Positive


class Fpga(Section):
    """A pipeline that takes ``pixels_per_s`` whatever it computes."""

    kind = "fpga"

    pixels_per_s: Positive

    @classmethod
    def problems(cls, memory: Memories) -> list[str]:
        return [] if memory.onchip else ["memory.onchip: missing; an fpga needs it"]
'''

CLASS = """
from __future__ import annotations

from hwmodels.classes.registry import HardwareClass, Question
from hwmodels.device.sections.fpga import Fpga
from hwmodels.pricing.columns import Choices, Terms


class _Fpga(HardwareClass):
    def price(self, question: Question, terms: Terms) -> Choices:
        pixels = question.columns.out_h * question.columns.out_w
        terms.compute_s[:] = (pixels / question.device.own(Fpga).pixels_per_s.value)[:, None, None, None]
        terms.latency_s[:] = terms.compute_s
        return question.choices


CLASS = _Fpga()
"""

DEVICE = """
schema = 1
name = "pipeline"
title = "Pipeline"
kind = "fpga"
runtime = "none"
summary = "For tests."
default_input = [48, 64]
[rates]
W8A8 = 1e9
[widths]
weights = ["int8"]
tensors = ["int8"]
[packing]
kind = "bits"
[memory.MEMORY]
bytes = 1e6
[fpga]
pixels_per_s = 1e6
"""

PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
import hwmodels.classes, hwmodels.device.sections
hwmodels.device.sections.__path__.append({sections!r})
hwmodels.classes.__path__.append({classes!r})
from cost_twins import edsr
from hwmodels import cost
from hwmodels.device import catalogue, reader
from hwmodels.errors import DeviceFileError
from hwmodels.numbers import Precision
text = {text!r}
device = catalogue.load_text(text.replace("MEMORY", "onchip"), "pipeline.toml")
workload = edsr(blocks=1, width=8, height=20, pixels=30, scale=2)
pixels = sum(workload.tensors[layer.output].height * workload.tensors[layer.output].width for layer in workload.layers)
assert abs(cost.uniform(device, workload, Precision.parse("W8A8")).latency_s - pixels / 1e6) < 1e-12
try:
    catalogue.load_text(text.replace("MEMORY", "flash"), "pipeline.toml")
except DeviceFileError as error:
    assert error.problems == ["memory.onchip: missing; an fpga needs it"], error.problems
else:
    raise AssertionError("loaded without its memory")
assert "fpga" in reader.schema()["properties"]
"""


def test_a_new_class_is_two_files(tmp_path: Path) -> None:
    sections, classes = tmp_path / "sections", tmp_path / "classes"
    for folder, text in ((sections, SECTION), (classes, CLASS)):
        folder.mkdir()
        (folder / "fpga.py").write_text(text)
    tests = str(Path(__file__).parents[3] / "support")
    program = PROGRAM.format(tests=tests, sections=str(sections), classes=str(classes), text=DEVICE)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_shipped_device_has_its_table_and_its_class() -> None:
    used = set()
    for name in catalogue.names():
        device = catalogue.load(name)
        assert isinstance(device.section, SECTIONS[device.kind])
        assert isinstance(registry.of(device), registry.HardwareClass)
        used.add(device.section.priced_by)
    assert used == {"npu", "hexagon", "dataflow", "ethos.model", "gpu", "mcu", "cpu"}


def test_what_is_fitted_is_a_number_of_the_file() -> None:
    for name in ("host", "stm32h743", "snapdragon-8gen3-hexagon", "hailo-8"):
        device = catalogue.load(name)
        fitted = device.section.fitted([key for key in device.rates if device.kind != "cpu" or key in device.cpu.kernels])
        assert fitted
        assert all(number(device, key) >= 0 for key in fitted)
    assert not catalogue.load("jetson").section.fitted(["W8A8"])


def test_a_table_of_another_class_is_refused() -> None:
    jetson = catalogue.load("jetson")
    assert jetson.own(Gpu) is jetson.section
    with pytest.raises(TypeError, match="is a gpu, and describes no npu"):
        jetson.own(Npu)
    with pytest.raises(TypeError, match="no HardwareClass"):
        registry.named("registry")
