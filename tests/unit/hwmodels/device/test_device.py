"""Device files: what is read from them, and mistakes in one are reported so that they can be put right."""

from __future__ import annotations

import ast
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hwmodels.device import catalogue, reader
from hwmodels.device.facts import human
from hwmodels.device.tables import Packing
from hwmodels.device.values import Quantity
from hwmodels.errors import DeviceFileError, FileError, UsageError

GOLDEN = Path(__file__).parents[3] / "golden"

MINIMAL = """
schema = 1
name = "board"
title = "Board"
kind = "cpu"
runtime = "none"
summary = "For tests."
default_input = [48, 64]
[rates]
W8A8 = 1e9
[widths]
weights = ["int4", "int8"]
tensors = ["int8"]
[packing]
kind = "bits"
[memory.dram]
bytes_per_s = {value = 2e9, source = "sheet"}
[cpu]
threads = 2
[sources]
sheet = "Data sheet"
"""


NAMED = 'weights = ["int4", "int8"]\ntensors = ["int8"]'


def problems(text: str) -> list[str]:
    with pytest.raises(DeviceFileError) as caught:
        catalogue.load_text(text, "board.toml")
    assert caught.value.exit_code == 3
    return caught.value.problems


def test_both_forms_of_a_number() -> None:
    board = catalogue.load_text(MINIMAL, "board.toml")
    assert board.rates["W8A8"] == Quantity(value=1e9)
    facts = {fact.key: fact for fact in board.facts()}
    assert facts["rates.W8A8"] == ("rates.W8A8", "1 GMAC/s", None, "")
    assert facts["memory.dram.bytes_per_s"] == ("memory.dram.bytes_per_s", "2 GB/s", "Data sheet", "")
    assert "overhead.layer_s" not in facts, "defaults are not facts of the file"
    assert float(board.rates["W8A8"]) == 1e9
    assert catalogue.load_text(MINIMAL + "\n# a comment", "x").device_sha256 == board.device_sha256
    assert catalogue.load_text(MINIMAL.replace("1e9", "3e9"), "x").device_sha256 != board.device_sha256
    said = catalogue.load_text(MINIMAL + "\n[overhead]\nlayer_s = 0.0", "x")
    assert said == board
    assert said.device_sha256 == board.device_sha256, "a key with its default is as good as none"


def test_memory_by_name() -> None:
    board = catalogue.load_text(MINIMAL, "board.toml")
    assert "dram" in board.memory
    assert "flash" not in board.memory
    with pytest.raises(KeyError):
        board.memory["flash"]


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("memory.dram.bytes_per_s", 68e9, "68 GB/s"),
        ("limits.weight_bytes", 1048576, "1 MiB"),
        ("gpu.clock_hz", 625e6, "625 MHz"),
        ("overhead.layer_s", 10e-6, "10 us"),
        ("overhead.layer_s", 0, "0 s"),
        ("energy.j_per_mac.W8A8", 0.41e-9, "410 pJ/MAC"),
        ("energy.static_w", 3.0, "3 W"),
        ("rates.W8A8", 10e12, "10 TMAC/s"),
        ("mcu.cycles_per_mac.conv", 0.91, "0.91 cycles"),
        ("gpu.efficiency", 0.5, "0.5"),
    ],
)
def test_human_numbers(key: str, value: float, expected: str) -> None:
    assert human(key, value) == expected


def test_packing_bytes() -> None:
    bits = Packing(kind="bits")
    assert bits.weight_bytes(9 * 12 * 12, 12, 3) == 12 * math.ceil(108 * 3 / 8)
    assert bits.weight_bytes(10, 2, 3) == 4, "each channel is rounded up to a byte"
    assert Packing(kind="bytes").weight_bytes(100, 10, 4) == 100
    assert Packing(kind="bytes").weight_bytes(100, 10, 16) == 200
    stream = catalogue.load("ethos-u55-128").packing
    assert stream.weight_bytes(1000, 10, 8) == math.ceil(7.5 * 1000 / 8)
    assert stream.weight_bytes(1000, 10, 3) == math.ceil(2.15 * 1000 / 8)


def test_unpack_factor() -> None:
    mcu = catalogue.load("stm32h743-tflm")
    assert mcu.unpack_factor(4, 8) == 1.58
    assert mcu.unpack_factor(4, 16) == 1.58, "the factor of 8-bit activations stands for the wide ones"
    assert mcu.unpack_factor(8, 8) == 1.0


def test_every_mistake_at_once() -> None:
    with pytest.raises(DeviceFileError) as caught:
        catalogue.load_text((GOLDEN / "device_errors.toml").read_text(), "device_errors.toml")
    assert f"{caught.value}\n" == (GOLDEN / "device_errors.txt").read_text()


def test_negative_bandwidth() -> None:
    text = MINIMAL.replace("2e9", "-2e9")
    (problem,) = problems(text)
    assert problem.startswith("memory.dram.bytes_per_s: ")
    assert "-2" in problem
    assert "above 0" in problem


def test_unknown_key_names_the_closest() -> None:
    assert problems(MINIMAL.replace("threads", "treads")) == ["cpu.treads: unknown key. Did you mean threads?"]


@pytest.mark.parametrize(
    ("device", "now", "before", "where"),
    [
        ("nrf52840", "shuffle = {", "pixel_shuffle = {", "mcu.cycles_per_element.pixel_shuffle"),
        ("ethos-u55-128", "clamp = {", "relu = {", "npu.array.output_cycles.relu"),
        ("sa8255-hexagon", "normalize_function = {", "softmax = {", "npu.passes.softmax"),
    ],
)
def test_a_key_of_an_older_file_is_told_its_name_of_today(device: str, now: str, before: str, where: str) -> None:
    text = reader.shipped_text(device)
    assert f"\n{now}" in text
    said = problems(text.replace(f"\n{now}", f"\n{before}"))
    assert f"{where}: unknown key. It is called {now.removesuffix(' = {')} now." in said


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("schema = 1", "schema = 2", "schema: 2 given"),
        ('title = "Board"', "", "title: missing"),
        ('kind = "cpu"', 'kind = "gpu"', "gpu: missing"),
        ("1e9", "inf", "rates.W8A8: inf given"),
        ("1e9", "true", "rates.W8A8: True given"),
        ("1e9", '"1e9"', "rates.W8A8: '1e9' given"),
        ('["int4", "int8"]', '["int8", "int4"]', "widths.weights: int8, int4 given"),
        ('["int4", "int8"]', '["int8", "int16"]', "widths.weights: int16 given"),
        ('["int4", "int8"]', '["int8", "int9"]', "widths.weights[1]: 'int9' given"),
        ('tensors = ["int8"]', 'tensors = ["int8g32"]', "widths.tensors: groups given"),
        ('tensors = ["int8"]', 'tensors = ["int8", "int16"]', "widths: int4 beside int16 given; no precision"),
        ('["int4", "int8"]', '["int4g32", "int8"]', "widths: int4g32 beside int8 given; no precision"),
        (NAMED, "weight_bits = [8]", "widths: "),
        (NAMED, "weight_bits = [8, 16]\nactivation_bits = [8]", "widths: "),
        (NAMED, 'weight_bits = [8]\nactivation_bits = [8]\nwide = "fp12"', "widths: "),
        ('kind = "bits"', 'kind = "stream"', "packing.stored_bits_per_weight: missing for 4, 8"),
        ('source = "sheet"}', 'source = "shet"}', "memory.dram.bytes_per_s.source: 'shet' given"),
        ("bytes_per_s", "bytes", "memory.dram.bytes_per_s: missing"),
        ("threads = 2", "kernels.W8A8.depthwise = 1.5", "cpu.kernels.W8A8.depthwise: 1.5 given"),
    ],
)
def test_single_mistakes(old: str, new: str, where: str) -> None:
    assert old in MINIMAL
    assert any(problem.startswith(where) for problem in problems(MINIMAL.replace(old, new))), problems(MINIMAL.replace(old, new))


def test_broken_toml_names_the_line() -> None:
    with pytest.raises(FileError, match=r"board\.toml: broken TOML: .*line 3") as caught:
        catalogue.load_text('schema = 1\nname = "board"\ntitle = Board\n', "board.toml")
    assert caught.value.exit_code == 3


def test_unknown_device_names_the_closest() -> None:
    with pytest.raises(UsageError, match=r"unknown device 'jetsn'[\s\S]*Did you mean jetson") as caught:
        catalogue.load("jetsn")
    assert caught.value.exit_code == 2


def test_files_by_path(tmp_path: Path) -> None:
    path = tmp_path / "board.toml"
    path.write_text(MINIMAL)
    assert catalogue.load(str(path)) == catalogue.load_text(MINIMAL, "x")
    with pytest.raises(FileError, match="no such device file"):
        catalogue.load(str(tmp_path / "other.toml"))
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileError, match="UTF-8"):
        catalogue.load(str(path))
    with pytest.raises(FileError, match="cannot be read"):
        catalogue.load(f"{tmp_path}/")


def test_devices_do_not_change() -> None:
    with pytest.raises(Exception, match="frozen"):
        catalogue.load("host").name = "other"  # type: ignore[misc]


def test_light_imports() -> None:
    heavy = ("numba", "torch", "numpy")
    code = (
        f"import sys; from hwmodels.device.catalogue import load; load('jetson'); print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ast.literal_eval(done.stdout) == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8"])
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "board.toml"
    path.write_text(reader.shipped_text("stm32h743"), encoding=encoding)
    assert reader.load(str(path)) == reader.shipped("stm32h743")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_another_encoding_is_named(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "board.toml"
    path.write_text(reader.shipped_text("stm32h743"), encoding=encoding)
    with pytest.raises(FileError, match="UTF-16") as refused:
        reader.load(str(path))
    assert "UTF-8" in refused.value.hint


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (f"deep = {'[' * 5000}{']' * 5000}", "nested too deeply"),
        (f"deep = {'{a=' * 2000}1{'}' * 2000}", "nested too deeply"),
        (f"long = {'9' * 4301}", "a value that cannot be read"),
        (f"long = 0x{'f' * 5000}", "unknown key"),
        (f"default_input = [{2**70}, 4]", "at most"),
        ("default_input = [0, 4]", "1 or more"),
    ],
)
def test_what_no_reader_can_hold_is_a_mistake_of_the_file(line: str, cause: str) -> None:
    text = "\n".join(kept for kept in MINIMAL.splitlines() if not kept.startswith(line.split("=", maxsplit=1)[0]))
    with pytest.raises(FileError, match=cause):
        catalogue.load_text(f"{line}\n{text}", "board.toml")


@pytest.mark.parametrize("value", ["1e300", "1e-300", str(10**400), "0x" + "f" * 5000, "1e19"])
def test_magnitudes_of_nothing_are_refused(value: str) -> None:
    text = re.sub(r"(?m)^W8A8 = .*$", f"W8A8 = {value}", MINIMAL, count=1)
    assert value in text
    with pytest.raises(DeviceFileError, match="rates"):
        catalogue.load_text(text, "board.toml")


# Number formats on offer


@pytest.mark.parametrize(
    ("by_bits", "by_name"),
    [
        ("weight_bits = [4, 8]\nactivation_bits = [8]", NAMED),
        (
            'weight_bits = [8, 16]\nactivation_bits = [8, 16]\nwide = "fp16"',
            'weights = ["int8", "fp16"]\ntensors = ["int8", "fp16"]',
        ),
        ('weight_bits = [8]\nactivation_bits = [8, 16]\nwide = "int16"', 'weights = ["int8"]\ntensors = ["int8", "int16"]'),
    ],
)
def test_files_of_version_0_1_give_bits(by_bits: str, by_name: str) -> None:
    """They are the same device, digest included."""
    text = MINIMAL.replace("W8A8 = 1e9", "W8A8 = 1e9\nW8A16 = 1e9\nFP16 = 1e9")
    old, new = (catalogue.load_text(text.replace(NAMED, widths), "board.toml") for widths in (by_bits, by_name))
    assert old.widths == new.widths
    assert old.device_sha256 == new.device_sha256


def test_formats_are_written_by_bits_where_bits_tell_them() -> None:
    text = MINIMAL.replace("W8A8 = 1e9", "W8A8 = 1e9\nFP8E4M3 = 1e9\nBF16 = 1e9\nFP16 = 1e9")
    widths = 'weights = ["int4", "int4g32", "int8", "fp8e4m3"]\ntensors = ["int8", "fp8e4m3", "fp16", "bf16"]'
    device = catalogue.load_text(text.replace(NAMED, widths), "board.toml")
    assert device.offered.weight_widths == (4, "int4g32", 8, "fp8e4m3")
    assert device.offered.tensor_widths == (8, "fp8e4m3", 16, "bf16")
    assert str(device.offered.wide) == "fp16"


def test_granules_of_an_array_are_at_least_a_bank() -> None:
    text = (reader.FOLDER / "ethos-u55-32.toml").read_text()
    assert text.count("input_granule_bytes = { value = 2048") == 1
    (problem,) = problems(text.replace("input_granule_bytes = { value = 2048", "input_granule_bytes = { value = 1000"))
    assert "at least a bank of 1024 bytes" in problem
