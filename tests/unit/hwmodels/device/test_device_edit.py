"""Numbers changed in the text of a device file: everything else stays, letter for letter."""

from __future__ import annotations

import difflib

import pytest

from hwmodels.device import catalogue, reader
from hwmodels.device.edit import edited
from hwmodels.device.facts import number
from hwmodels.device.values import Quantity
from hwmodels.errors import DeviceFileError, FileError


def changed_lines(before: str, after: str) -> list[str]:
    return [line for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line[0] in "+-"]


@pytest.mark.parametrize("name", catalogue.names())
def test_every_number_of_every_shipped_file_can_be_changed(name: str) -> None:
    text = reader.shipped_text(name)
    loaded = catalogue.load_text(text, name)
    keys = [
        key for key, _ in loaded.quantities() if key.startswith(("rates.", "overhead.", "memory.")) and not key.endswith(".bytes")
    ]
    made = edited(text, name, {key: Quantity(value=1.5 * number(loaded, key), note='with "quotes"') for key in keys})
    again = catalogue.load_text(made, name)
    for key in keys:
        assert number(again, key) == pytest.approx(1.5 * number(loaded, key), rel=1e-4)
    assert len(changed_lines(text, made)) == 2 * len(keys)


def test_comments_and_layout_stay() -> None:
    text = reader.shipped_text("host").replace("[rates]\n", "[rates]  # as sold\nFP16 = 1e9 # a 'sign' # of \"one\"\n")
    made = edited(text, "x", {"rates.FP16": Quantity(value=2e9, note="fitted # here")})
    assert changed_lines(text, made) == [
        "- FP16 = 1e9 # a 'sign' # of \"one\"",
        '+ FP16 = { value = 2e+09, note = "fitted # here" }  # a \'sign\' # of "one"',
    ]


def test_a_number_that_only_had_its_default_is_added() -> None:
    text = reader.shipped_text("host")
    made = edited(text, "x", {"energy.static_w": Quantity(value=2.0), "cpu.kernels.FP32.pack_s": Quantity(value=1e-9)})
    assert number(catalogue.load_text(made, "x"), "energy.static_w") == 2.0
    assert all(line.startswith("+") for line in changed_lines(text, made))
    without = text.replace("[overhead]", "#[overhead]").replace("inference_s =", "#").replace("layer_s =", "#")
    assert (
        number(catalogue.load_text(edited(without, "x", {"overhead.layer_s": Quantity(value=1e-3)}), "x"), "overhead.layer_s")
        == 1e-3
    )


def test_a_processor_file_that_counts_single_taps_is_refused() -> None:
    """Before ``pack_s`` there was another meaning of ``tap_s``, by which prices would be wrong without a word."""
    earlier = "\n".join(line for line in reader.shipped_text("host").splitlines() if not line.startswith("pack_s"))
    with pytest.raises(DeviceFileError, match="calibrate host` again"):
        catalogue.load_text(earlier, "host.toml")


def test_words_are_changed_too() -> None:
    made = edited(reader.shipped_text("host"), "x", {}, {"summary": 'Mine, "really"'})
    assert catalogue.load_text(made, "x").summary == 'Mine, "really"'


def test_what_cannot_be_changed_is_refused() -> None:
    lines = [line for line in reader.shipped_text("host").splitlines() if not line.startswith("bytes")]
    inline = "\n".join(lines).replace("[memory.onchip]\n", "").replace("[memory.dram]", "[memory]\ndram = { bytes_per_s = 1e9 }")
    assert number(catalogue.load_text(inline, "x"), "memory.dram.bytes_per_s") == 1e9
    with pytest.raises(FileError):
        edited(inline, "x", {"memory.dram.bytes_per_s": Quantity(value=2e9)})
    with pytest.raises(DeviceFileError):
        edited(reader.shipped_text("host"), "x", {"overhead.layer_s": Quantity(value=-1.0)})
