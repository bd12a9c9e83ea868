"""The device files that come with the package are sound."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from hwmodels.device import catalogue, reader
from hwmodels.numbers import Int, Precision

FSRCNN_CHANNELS = 56 + 12  # the widest pair of feature maps of FSRCNN(56,12,4) that is alive at once

NAMES = catalogue.names()
MCUS = [name for name in NAMES if catalogue.load(name).kind == "mcu"]


def test_the_promised_devices_are_there() -> None:
    gpus = {"jetson-nano", "jetson-xavier-nx", "jetson-orin-nano", "jetson-agx-orin", "adreno-740", "mali-g78"}
    npus = {
        "jetson-agx-orin-dla",
        "snapdragon-8gen2-hexagon",
        "snapdragon-8gen3-hexagon",
        "coral-edgetpu",
        "hailo-8",
        "rk3588",
        "gap9",
    }
    ethos = {"ethos-u55-128", "ethos-u55-256", "ethos-u65-512", "ethos-u85-512"}
    mcus = {"stm32h743", "stm32f746", "stm32l4r5", "nrf52840", "cortex-m55", "gap8", "esp32-s3"}
    promised = gpus | npus | ethos | mcus | {"bitserial-npu", "host"}
    assert set(promised) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_shipped_file(name: str) -> None:
    loaded = catalogue.load(name)
    assert loaded.name == name
    assert {q.source for _, q in loaded.quantities() if q.source} == set(loaded.sources), (
        "a source that nothing uses, or the reverse"
    )
    assert all(citation.strip() for citation in loaded.sources.values())
    assert loaded.hypothetical == ("HYPOTHETICAL" in loaded.title)
    assert loaded.memory.onchip or loaded.memory.dram
    for weight in loaded.weight_formats:
        for activation in loaded.tensor_formats:
            runs = loaded.runs_as(weight, activation)
            assert str(runs) in loaded.rates
            assert runs.weight_bits >= weight.bits
            assert runs.activation_bits >= activation.bits
            assert loaded.unpack_factor(weight.bits, activation.bits) >= 1
            assert runs.is_float or not (weight.is_float or activation.is_float)


def test_unsourced_numbers_say_why() -> None:
    numbers = [(f"{name}: {key}", quantity) for name in NAMES for key, quantity in catalogue.load(name).quantities()]
    unsourced = {place: quantity.note for place, quantity in numbers if quantity.source is None}
    assert 0 < len(unsourced) < len(numbers)
    assert [place for place, note in unsourced.items() if not note] == []


def test_times_that_are_told_in_cycles_are_those_of_the_clock() -> None:
    told = 0
    for name in NAMES:
        device = catalogue.load(name)
        clock_hz = getattr(device.section, "clock_hz", None)
        for key, quantity in device.quantities():
            cycles = re.fullmatch(r"(\d+) cycles", quantity.note)
            if key.endswith("_s") and cycles and clock_hz is not None:
                assert quantity.value * clock_hz.value == pytest.approx(int(cycles[1])), (name, key)
                told += 1
    assert told > 40


def test_names_and_aliases_are_unique() -> None:
    aliases = [alias for name in NAMES for alias in catalogue.load(name).aliases]
    assert len(set(aliases) | set(NAMES)) == len(aliases) + len(NAMES)
    assert catalogue.load("jetson").name == "jetson-orin-nano"
    assert catalogue.load(" STM32H743 ").name == "stm32h743"


@pytest.mark.parametrize("name", MCUS)
def test_microcontroller(name: str) -> None:
    """FSRCNN fits its default input, 8-bit; its rate is clock over cycles; the limits are its memories."""
    mcu = catalogue.load(name)
    height, width = mcu.default_input
    assert mcu.mcu is not None
    assert mcu.limits.peak_activation_bytes is not None
    assert FSRCNN_CHANNELS * height * width <= mcu.limits.peak_activation_bytes.value
    assert mcu.limits.weight_bytes == mcu.memory["flash"].bytes
    cycles = mcu.mcu.clock_hz.value / mcu.rates["W8A8"].value
    assert cycles == pytest.approx(mcu.mcu.cycles_per_mac.conv.value, rel=0.002)


def test_only_devices_with_units_for_it_are_faster_at_narrow_weights() -> None:
    faster = {n for n in NAMES if catalogue.load(n).runs_as(Int(2), Int(8)).weight_bits < 8}
    assert faster == {"gap9", "bitserial-npu"}


def test_bit_serial_rates_follow_the_bit_product() -> None:
    npu = catalogue.load("bitserial-npu")
    for key, rate in npu.rates.items():
        precision = Precision.parse(key)
        assert rate.value == pytest.approx(64e12 / (precision.weight_bits * precision.activation_bits), rel=1e-3)


def test_numbers_of_research_notes(shared: Path) -> None:
    """What the files say where they name a source is what the notes say, for a sample that needs no conversion by hand."""
    notes = {d["id"]: d for d in json.loads((shared / "notes" / "devices.json").read_text())["devices"]}
    for ours, theirs, key, precision in (
        ("jetson-orin-nano", "orin-nano-8gb-gpu", "w8a8", "W8A8"),
        ("jetson-agx-orin", "agx-orin-gpu", "w8a8", "W8A8"),
        ("jetson-agx-orin-dla", "agx-orin-dla", "w8a8", "W8A8"),
        ("jetson-nano", "jetson-nano-gpu", "fp16", "FP16"),
        ("mali-g78", "mali-g78-mp20", "fp16", "FP16"),
        ("hailo-8", "hailo-8", "w8a8", "W8A8"),
        ("coral-edgetpu", "coral-edgetpu", "w8a8", "W8A8"),
    ):
        rate = catalogue.load(ours).rates[precision]
        noted = notes[theirs]["peak_macs_per_s"][key]
        assert rate.value == pytest.approx(noted["value"], rel=1e-3)
        assert rate.source == noted["src"]
    for ours, theirs in (
        ("jetson-orin-nano", "orin-nano-8gb-gpu"),
        ("jetson-nano", "jetson-nano-gpu"),
        ("adreno-740", "adreno-740"),
    ):
        bandwidth = catalogue.load(ours).memory["dram"].bytes_per_s
        assert bandwidth is not None
        assert bandwidth.value == notes[theirs]["memory"]["dram_GBps"]["value"] * 1e9
    for name in ("ethos-u55-128", "ethos-u55-256"):
        ethos = catalogue.load(name)
        assert ethos.rates["W8A8"].value == notes[name]["macs_per_cycle"]["w8a8"]["value"] * notes[name]["clock_hz"]["value"]
        assert ethos.npu is not None
        assert ethos.npu.array is not None
        assert ethos.npu.array.microblocks[0] == tuple(map(int, notes[name]["ofm_microblock_HxWxC"]["value"].split("x")))
        assert (
            ethos.npu.array.output_cycles.conv_a16.value == notes[name]["output_cycles_per_element"]["conv_int16_acc40"]["value"]
        )


def test_schema_file_is_current() -> None:
    assert (reader.FOLDER / "device.schema.json").read_text() == reader.schema_text(), "run python -m hwmodels.device.reader"


def test_no_file_quotes_a_research_id() -> None:
    """Sources are citations that a reader can follow."""
    for path in reader.FOLDER.glob("*.toml"):
        for citation in tomllib.loads(path.read_text()).get("sources", {}).values():
            assert len(re.findall(r"\w+", citation)) >= 5, f"{path.name}: {citation!r}"
