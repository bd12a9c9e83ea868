"""Microcontrollers against measurements: MLPerf Tiny with one network left out, published kernels, counted instructions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from oracle import Row, instructions, mcu_kernels, mlperf_tiny, tiny_networks

from hwmodels import cost
from hwmodels.device import catalogue
from hwmodels.device.facts import number
from hwmodels.numbers import Precision


@pytest.fixture(scope="module")
def every_row(shared: Path) -> list[Row]:
    return mlperf_tiny.rows(shared)


@pytest.fixture(scope="module")
def left_out(every_row: list[Row]) -> list[Row]:
    return [row for row in every_row if row.source == mlperf_tiny.SOURCE]


def errors(rows: list[Row]) -> np.ndarray:
    return np.array([abs(row.predicted / row.measured - 1) for row in rows])


def baseline(rows: list[Row]) -> np.ndarray:
    return np.array([abs(row.baselines[0][1] / row.measured - 1) for row in rows])


def test_networks_are_the_benchmark_s(shared: Path) -> None:
    table = json.loads((shared / "oracle" / "measured_mlperf_tiny.json").read_text())["networks"]
    for name, published in table.items():
        ours = tiny_networks.network(name)
        assert sorted(layer.macs for layer in ours.layers) == sorted(layer["macs"] for layer in published["layers"])
        assert len(ours.layers) == len(published["layers"])
    assert tiny_networks.ds_cnn().macs == pytest.approx(2.66e6, rel=0.002)
    assert tiny_networks.autoencoder().macs == pytest.approx(0.264e6, rel=0.002)


def test_latency_of_a_network_left_out(left_out: list[Row]) -> None:
    rows = [row for row in left_out if row.quantity == "latency_s"]
    assert len(rows) > 100
    assert np.median(errors(rows)) < 0.05
    assert np.quantile(errors(rows), 0.9) < 0.15
    assert np.median(errors(rows)) < 0.25 * np.median(baseline(rows))
    boards = {row.device for row in rows}
    assert len(boards) > 12
    for board in boards:
        assert np.median(errors([row for row in rows if row.device == board])) < 0.15, board


def test_every_board_and_library_left_out(left_out: list[Row]) -> None:
    """The hardest is the first release of Plumerai's library on Cortex-M4, whose depthwise layers took half as long again beside
    its convolutions as on Cortex-M33."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in left_out:
        if row.quantity == "latency_s":
            library = row.label.split(", ", 1)[1].split(" (")[0]
            found.setdefault((row.device, library), []).append(row)
    assert len(found) > 25
    for group, rows in found.items():
        assert np.median(errors(rows)) < 0.20, group


@pytest.mark.parametrize(("quantity", "count"), [("latency_s", 100), ("energy_j", 40)])
def test_a_family_on_a_library_that_nothing_is_known_of(every_row: list[Row], quantity: str, count: int) -> None:
    """Two families; each from the other one, the library's depthwise cost from the other libraries of its generation."""
    rows = [row for row in every_row if row.source == mlperf_tiny.UNSEEN and row.quantity == quantity]
    assert len(rows) >= count
    assert {row.network for row in rows} == {"resnet8", "mobilenet_v1_025"}
    assert np.median(errors(rows)) < 0.15
    assert np.quantile(errors(rows), 0.9) < 0.30
    assert np.quantile(errors(rows), 0.9) < 0.5 * np.quantile(baseline(rows), 0.9)


def test_a_library_s_generation_is_what_has_to_be_known(shared: Path) -> None:
    """Without it, what the other libraries' depthwise layers cost is a guess between two, a factor of five apart."""
    rows = [row for row in mlperf_tiny.unseen_rows(shared, generation_known=False) if row.quantity == "latency_s"]
    assert 0.20 < np.median(errors(rows)) < 0.30
    assert 0.40 < np.quantile(errors(rows), 0.9) < 0.50
    assert np.median(errors(rows)) < np.median(baseline(rows))


def test_counted_cycles_of_helium_are_those_measured(shared: Path) -> None:
    """Nothing of Cortex-M85 is fitted, and no core without Helium foretells it: from ResNet8 to MobileNetV1 cycles per MAC rise
    2.6 times, on Cortex-M4 and M7 at most twice."""
    (group,) = (group for group in mlperf_tiny.groups(shared) if group.counted)
    for name, seconds in group.seconds.items():
        counted = cost.uniform(group.shape(name), tiny_networks.network(name), Precision.integers(8, 8)).latency_s
        assert counted == pytest.approx(seconds, rel=0.20)


def test_energy_of_a_network_left_out(left_out: list[Row]) -> None:
    rows = [row for row in left_out if row.quantity == "energy_j"]
    assert len(rows) > 40
    assert np.median(errors(rows)) < 0.10
    assert np.median(errors(rows)) < 0.4 * np.median(baseline(rows))


def test_published_kernels_of_esp32_s3(shared: Path) -> None:
    rows = mcu_kernels.rows(shared)
    assert len(rows) == 7
    assert np.median(errors(rows)) < 0.20


@pytest.mark.parametrize("name", sorted(instructions.DEVICES.values()))
def test_instructions_of_whole_networks(name: str, shared: Path) -> None:
    """Three networks with six plans each, none of them seen by the fit."""
    rows = [row for row in instructions.rows(shared) if row.device == name]
    assert len(rows) == 18
    assert np.median(errors(rows)) < 0.02
    assert errors(rows).max() < 0.10
    assert np.median(errors(rows)) < 0.15 * np.median(baseline(rows))


def test_unpacking_factors_are_the_counted_ones(shared: Path) -> None:
    counted = json.loads((shared / "oracle" / "measured_mcu_bitwidth.json").read_text())["pulp_nn_mixed"]["relative_to_w8"]
    for bits in ("4", "2"):
        assert catalogue.load("gap8").unpack_factor(int(bits), 8) == pytest.approx(counted[bits], rel=0.03)


@pytest.mark.parametrize("name", ["stm32l4r5-cubeai", "stm32h7a3-cubeai", "stm32u575-cubeai"])
def test_shipped_power_is_measured(name: str, shared: Path) -> None:
    """Joules over seconds of both networks under the newest library on the board."""
    groups = [g for g in mlperf_tiny.groups(shared) if g.board == name and g.joules and g.library == "x-cube-ai 8.1 and later"]
    newest = max(groups, key=lambda group: group.entry)
    for network, joules in newest.joules.items():
        for shipped in (name, name.removesuffix("-cubeai")):
            assert joules / newest.seconds[network] == pytest.approx(number(catalogue.load(shipped), "energy.static_w"), rel=0.05)


def test_cmsis_nn_beside_x_cube_ai_on_the_same_chip(shared: Path) -> None:
    """Depthwise networks under CMSIS-NN take 1.7 times X-CUBE-AI 7.3 on STM32H743, and that took twice X-CUBE-AI 9 on STM32H7A3:
    the cycles of the two shipped devices differ as much."""
    published = json.loads((shared / "oracle" / "measured_mcu_kernels.json").read_text())["tinyengine"]["rows"]
    to_7_3 = np.median([row["cmsis_nn_ms"] / row["x_cube_ai_7_3_ms"] for row in published if row["cmsis_nn_ms"]])
    vww = "mlperf_tiny_vww_mobilenetv1_025_96"
    seconds = {group.entry: group.seconds.get(vww) for group in mlperf_tiny.groups(shared)}
    old, new = seconds["Krai v1.1 NUCLEO-H7A3ZI-Q_X-CUBE-AI-7.3"], seconds["STMicroelectronics v1.2 NUCLEO_H7A3ZI_Q"]
    assert old is not None
    assert new is not None
    network = tiny_networks.network(vww)
    shipped = [catalogue.load(name) for name in ("stm32h743-tflm", "stm32h7a3-cubeai")]
    cycles = [cost.uniform(d, network, Precision.integers(8, 8)).latency_s * number(d, "mcu.clock_hz") for d in shipped]
    assert cycles[0] / cycles[1] == pytest.approx(to_7_3 * old / new, rel=0.20)
