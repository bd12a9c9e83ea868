"""Agreement with Vela, Arm's compiler for Ethos-U (estimates, not silicon), in fifteen systems (tests/oracle/vela.py)."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from oracle import vela
from scipy.stats import kendalltau

from hwmodels import cost
from hwmodels.classes.ethos import encoded_weights
from hwmodels.device import catalogue, device
from hwmodels.workload import Workload

U85_MEDIAN, MEDIAN, TENTH = 0.15, 0.05, 0.20


def test_single_layers(shared: Path) -> None:
    """Operation cycles of convolutions, depthwise and transposed convolutions, additions: median, and nine of ten."""
    targets, errors = vela.systems(shared), defaultdict(list)
    for name, row, workload in vela.single_layers(shared):
        predicted = sum(vela.cycles(targets[name], workload, row["act_bits"])[1])
        errors[name].append(abs(predicted / row["op_cycles"] - 1))
    assert len(errors) == 15
    for name, found in errors.items():
        print(f"\n{name}: {len(found)} layers, median {np.median(found):.2%}, 9 of 10 within {np.quantile(found, 0.9):.1%}")
    for name, found in errors.items():
        assert len(found) > 400
        assert np.median(found) <= (U85_MEDIAN if "u85" in name else MEDIAN), name
        assert "u85" in name or np.quantile(found, 0.9) <= TENTH, name


def test_networks(shared: Path) -> None:
    """Cycles of whole networks, their order, and on-chip memory."""
    targets = vela.systems(shared)
    cycles: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    memory = defaultdict(list)
    for name, run, workload in vela.networks(shared):
        layers = zip(vela.cycles(targets[name], workload, run["act_bits"])[1], workload.layers, strict=True)
        ours = sum(c for c, layer in layers if vela.counted(layer))
        cycles[name, run["act_bits"]].append((ours, run["summary"]["cycles_total"]))
        used = cost.onchip_bytes(targets[name], workload, run["act_bits"])
        memory[name].append(abs(used / 1024 / run["summary"]["sram_memory_used"] - 1))
    for name in targets:
        both = cycles[name, 8] + cycles[name, 16]
        errors = np.abs([ours / theirs - 1 for ours, theirs in both])
        taus = [kendalltau(*zip(*cycles[name, bits], strict=True)).statistic for bits in (8, 16)]
        print(
            f"\n{name}: {len(errors)} networks, median {np.median(errors):.2%}, 9 of 10 within {np.quantile(errors, 0.9):.1%}, "
            f"tau {taus[0]:.3f} (int8) {taus[1]:.3f} (int16), on-chip memory {np.median(memory[name]):.1%}"
        )
        assert np.median(errors) <= (U85_MEDIAN if "u85" in name else MEDIAN), name
        assert "u85" in name or np.quantile(errors, 0.9) <= TENTH, name
        assert min(taus) >= 0.95, name
        assert np.median(memory[name]) <= 0.1, name


def test_encoded_weights_of_single_layers(shared: Path) -> None:
    """Bytes of the weight streams of layers of at least 300 weights, beside 9 bits a weight."""
    targets, errors, flat = vela.systems(shared), defaultdict(list), defaultdict(list)
    for name, row, workload in vela.single_layers(shared):
        if row["orig_weight_bytes"] < 300 or row["act_bits"] > 8:
            continue
        encoded = encoded_weights.encoded_bytes(targets[name], workload, (8,), 1)[0, 0]
        errors[name.split("|")[0]].append(abs(encoded / row["encoded_weight_bytes"] - 1))
        flat[name.split("|")[0]].append(abs(9 / 8 * row["orig_weight_bytes"] / row["encoded_weight_bytes"] - 1))
    assert len(errors) == 11
    for name, found in errors.items():
        median, tenth = np.median(found), np.quantile(found, 0.9)
        print(
            f"\n{name}: {len(found)} layers, median {median:.1%}, 9 of 10 within {tenth:.1%}; 9 bits: {np.median(flat[name]):.1%}"
        )
        assert median <= 0.035, name
        assert tenth <= 0.20, name
        assert median <= 0.3 * np.median(flat[name]), name


def test_encoded_weights_of_networks(shared: Path) -> None:
    targets, errors = vela.systems(shared), []
    for name, run, workload in vela.networks(shared):
        if run["act_bits"] == 8:
            encoded = encoded_weights.encoded_bytes(targets[name], workload, (8,), 1).sum()
            errors.append(abs(encoded / run["summary"]["total_npu_encoded_weights"] - 1))
    print(f"\n{len(errors)} networks, median {np.median(errors):.1%}, largest {max(errors):.1%}")
    assert np.median(errors) < 0.02
    assert max(errors) < 0.12


def test_encoded_weights_by_width(shared: Path) -> None:
    """FSRCNN with weights of 8 to 2 bits, on three arrays."""
    targets, networks = vela.systems(shared), vela.compiled_networks(shared)
    runs = [run for run in vela.weight_bits(shared) if run["net"] in networks and run["act_bits"] == 8]
    assert {run["weight_bits"] for run in runs} == set(range(2, 9))
    for run in runs:
        encoded = encoded_weights.encoded_bytes(targets[run["config"]], networks[run["net"]], (run["weight_bits"],), 1).sum()
        theirs = run["summary"]["total_npu_encoded_weights"]
        assert encoded == pytest.approx(theirs, rel=0.10), (run["config"], run["weight_bits"])


def test_shipped_devices_are_compiled_systems(shared: Path) -> None:
    """Memories and clocks of the shipped devices are those of a system that was compiled."""
    compiled = defaultdict(list)
    for name, target in vela.systems(shared).items():
        compiled[name.split("|")[0]].append(target)
    assert len(compiled) == 11
    for name, targets in compiled.items():
        shipped = catalogue.load(name)

        def facts(target: device.Device) -> list[tuple[str, float]]:
            wanted = ("memory.", "npu.clock_hz", "rates.")
            return sorted((k, round(q.value, 15)) for k, q in target.quantities() if k.startswith(wanted) and "j_per" not in k)

        assert facts(shipped) in [facts(target) for target in targets], name


@pytest.mark.parametrize("bits", [8, 16])
def test_weight_widths_save_no_cycles(shared: Path, bits: int) -> None:
    """On an array of 8-bit multipliers narrower weights shrink the stream only."""
    found = vela.network({"input": [90, 160, 1], "layers": [{"name": "a", "op": "conv2d", "k": 3, "cout": 16}]})
    assert isinstance(found, Workload)
    target = vela.systems(shared)["ethos-u55-128|Ethos_U55_High_End_Embedded|Shared_Sram"]
    tables = [cost.lower(target, found, vela.Uniform(found, bits, weights)) for weights in (3, 8)]
    assert tables[0].compute_s[0] == tables[1].compute_s[0]
    assert tables[0].weight_bytes[0] < tables[1].weight_bytes[0]
