"""The clock decides between kernels once for a layer, and what it said is kept for the next process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from words import make_node

from hwmodels.numbers import Int
from hwsearch.quant.engine.kernels import choice, cpu, timing
from hwsearch.quant.engine.kernels.bands import BandConv
from hwsearch.quant.engine.kernels.pair_conv import PairConv
from hwsearch.quant.engine.kernels.winograd import Winograd
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers

pytestmark = pytest.mark.skipif(not cpu.multiplies_pairs(), reason="no AVX2 here")
NODE = make_node("y", "conv", ("x",), {"stride": 1, "padding": (1, 1, 1, 1), "dilation": 1, "groups": 1})
SOURCE = TensorFormat(Int(8), 1.0, 100)
KINDS: list[type[BandConv]] = [Winograd, PairConv]


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is kept, and later tests find what was."""
    monkeypatch.setattr(timing, "directory", lambda file: tmp_path)
    timing._known.cache_clear()
    yield
    timing._known.cache_clear()


def layer(outputs: int = 8) -> LayerIntegers:
    weight = np.ones((outputs, 4, 3, 3), np.int8)
    return LayerIntegers(8, weight, np.ones(outputs, np.float32), np.zeros(outputs, np.int64))


def count(monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float]) -> list[int]:
    """Let measurements give these seconds; the returned list grows with each."""
    made: list[int] = []

    def measured(kinds: list[type], *_: object) -> dict[str, float]:
        made.append(len(kinds))
        return {kind.__name__: seconds[kind.__name__] for kind in kinds}

    monkeypatch.setattr(timing, "_measured", measured)
    return made


def test_a_layer_is_measured_once_and_another_process_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made = count(monkeypatch, {"Winograd": 2.0, "PairConv": 1.0})
    assert [timing.fastest(KINDS, NODE, layer(), SOURCE) for _ in range(2)] == [PairConv, PairConv]
    assert made == [2]
    timing._known.cache_clear()  # as in another process
    assert timing.fastest(KINDS, NODE, layer(), SOURCE) is PairConv
    assert made == [2]
    timing.fastest(KINDS, NODE, layer(16), SOURCE)
    assert made == [2, 2]
    assert timing.fastest([Winograd], NODE, layer(24), SOURCE) is Winograd
    assert made == [2, 2]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"a": 1}', "\x00", "[" * 100000, '{"KEY": {"Winograd": "1"}}', '{"KEY": {"Other": 1.0}}']
)
def test_a_damaged_file_is_measured_again(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = count(monkeypatch, {"Winograd": 1.0, "PairConv": 2.0})
    file = timing._file()
    assert file is not None
    file.write_text(text.replace("KEY", timing._key(KINDS, NODE, layer())))
    assert timing.fastest(KINDS, NODE, layer(), SOURCE) is Winograd
    assert made == [2]
    assert json.loads(file.read_text())[timing._key(KINDS, NODE, layer())] == {"Winograd": 1.0, "PairConv": 2.0}


def test_processes_keep_what_others_wrote_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    made = count(monkeypatch, {"Winograd": 1.0, "PairConv": 2.0})
    timing.fastest(KINDS, NODE, layer(), SOURCE)
    file = timing._file()
    assert file is not None
    file.write_text(json.dumps({"other": {"PairConv": 1.0}}))
    timing.fastest(KINDS, NODE, layer(16), SOURCE)
    assert made == [2, 2]
    assert set(json.loads(file.read_text())) == {"other", *(timing._key(KINDS, NODE, layer(n)) for n in (8, 16))}


@pytest.mark.parametrize("folder", [None, Path("/proc/no/such/folder")], ids=["no folder", "not writable"])
def test_without_a_cache_each_process_measures(folder: Path | None, monkeypatch: pytest.MonkeyPatch) -> None:
    made = count(monkeypatch, {"Winograd": 1.0, "PairConv": 2.0})
    monkeypatch.setattr(timing, "directory", lambda file: folder)
    assert [timing.fastest(KINDS, NODE, layer(), SOURCE) for _ in range(2)] == [Winograd, Winograd]
    assert made == [2]


def test_the_clock_measures_what_is_chosen_from() -> None:
    """With the real kernels: times for each kind, all above zero."""
    kinds = [kind for kind in choice.SELF_TEST if choice.works(kind)]
    found = timing.fastest(kinds, NODE, layer(), SOURCE)
    times = timing._known()[timing._key(kinds, NODE, layer())]
    assert set(times) == {kind.__name__ for kind in kinds}
    assert min(times.values()) > 0
    assert times[found.__name__] == min(times.values())
