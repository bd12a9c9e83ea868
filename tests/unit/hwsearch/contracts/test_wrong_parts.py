"""Parts that do not keep their contract, and what they are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn

from hwmodels.errors import UsageError
from hwmodels.parts import plugins
from hwsearch.contracts import check_exporter, check_method, check_network, check_proxy, check_task
from hwsearch.contracts.parts import tiny_calibration
from hwsearch.quant import methods
from searchspaces.tasks.image import SuperResolution

METHOD = """
from hwsearch.quant.method import MethodInfo
from hwsearch.quant.static import Static

INFO = MethodInfo(title="Wrong", summary="wrong ranges", source="a test")

def ends(spread, number):
    return {}

def observe(seen):
    return Static(seen, ends)
"""


@pytest.fixture
def method(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    def write(ends: str) -> str:
        name = f"wrong_{abs(hash((ends, str(tmp_path)))):x}"
        (tmp_path / f"{name}.py").write_text(METHOD.format(ends))
        plugins.use([tmp_path / f"{name}.py"])
        return name

    yield write
    plugins.use([])


@pytest.mark.parametrize("ends", ["(1.0, -1.0)", "(float('nan'), 1.0)", "spread.low", "None", "(0.0, 1.0, 2.0)"])
def test_a_range_that_is_none_is_told(method: Callable[[str], str], ends: str) -> None:
    with pytest.raises(UsageError, match="the method's range of") as refused:
        check_method(method(ends))
    assert "two finite numbers" in refused.value.hint


def test_ranges_that_hold_nothing_are_noticed(method: Callable[[str], str]) -> None:
    with pytest.raises(AssertionError, match="with 8 bits the error is"):
        check_method(method("(-1e30, 1e30)"))


def test_a_method_that_trains_must_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    module = methods.load("ptq4sr")
    monkeypatch.setattr(module, "INFO", replace(module.INFO, trains=False))
    with pytest.raises(AssertionError, match="training bounds, and the method does not say"):
        check_method("ptq4sr")


def test_zero_stays_a_code_of_a_range_beyond_it(method: Callable[[str], str]) -> None:
    calibration = tiny_calibration((8,), (8,), method("(0.5, 1.0)"))
    formats = calibration.quantized(calibration.space.uniform(8, 8)).formats.values()
    assert {(one.zero_point, round(one.scale * one.qmax, 6)) for one in formats} == {(0, 1.0)}


class Twice(nn.Upsample):
    def __init__(self) -> None:
        super().__init__(scale_factor=2)


def test_a_class_is_no_network() -> None:
    with pytest.raises(AssertionError, match=r"pass MyNet\(\)"):
        check_network(Twice, 1, 2)  # type: ignore[arg-type]


def test_a_proxy_returns_a_table() -> None:
    with pytest.raises(AssertionError, match="returns ndarray, not a Damage"):
        check_proxy(lambda *_, **__: np.zeros(3))  # type: ignore[arg-type, return-value]


def nothing(qgraph: Any, path: Path, *, metadata: dict[str, str]) -> Path:
    return path


def changes(qgraph: Any, path: Path, *, metadata: dict[str, str]) -> Path:
    for layer in qgraph.layers.values():
        layer.weight[...] = 0
    path.write_text("x")
    return path


@pytest.mark.parametrize(("export", "said"), [(nothing, "nothing was written"), (changes, "changed the network")])
def test_an_exporter_writes_and_changes_nothing(export: Callable[..., Path], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_exporter(export)


class Unnamed(SuperResolution):
    name, summary = "lists", "samples as a list"

    def samples(self, source: Path | None, seed: int, network: Callable[[Tensor], Tensor]) -> Any:
        return []


def test_samples_have_roles() -> None:
    with pytest.raises(AssertionError, match="samples gives list, not Samples"):
        check_task(Unnamed)
