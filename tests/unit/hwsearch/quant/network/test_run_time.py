"""Decode tables and normalizations as operators of a workload: rows, readers and bytes by hand, and prices that only grow."""

from __future__ import annotations

import numpy as np

from hwmodels import cost
from hwmodels.device import catalogue
from hwmodels.workload import Map, Reduce, Workload
from hwsearch.contracts import tiny_graph
from hwsearch.quant.network.run_time import decoding, normalizing
from searchspaces.ir.lower import to_workload
from searchspaces.space import build_space


def check_rows(found: Workload) -> None:
    """Layers and tensors name each other, and what is read was written before."""
    for row, tensor in enumerate(found.tensors):
        producer = found.layers[tensor.producer] if tensor.producer >= 0 else None
        assert producer is None or producer.output == row
        assert {i for i, layer in enumerate(found.layers) if row in layer.inputs} == set(tensor.readers)
        assert all(reader > tensor.producer for reader in tensor.readers)


def test_a_look_up_stands_between_a_tensor_and_whoever_computes_with_it() -> None:
    workload = to_workload(tiny_graph(), 16, 16)
    head, body, tail = (workload.layers[row] for row in workload.weighted)
    found, groups = decoding(workload, {head.name, tail.name})
    assert groups == (f"{head.name} decoded",)  # what the last layer writes is moved alone
    assert len(found.layers) == len(workload.layers) + 1
    new = next(layer for layer in found.layers if layer.name == groups[0])
    assert new.work == Map("function")
    names = [layer.name for layer in found.layers]
    assert names.index(new.name) == names.index(head.name) + 1
    check_rows(found)
    reads = {layer.name: [found.tensors[i].name for i in layer.inputs] for layer in found.layers}
    assert reads[new.name] == [head.name]
    assert reads[body.name] == [new.name]
    assert reads[tail.name] == [body.name]
    assert found.weight_count == workload.weight_count
    assert found.macs == workload.macs


def test_without_tensors_nothing_changes() -> None:
    workload = to_workload(tiny_graph(), 16, 16)
    assert decoding(workload, set()) == (workload, ())


def test_the_price_is_that_of_one_more_operation_and_of_products_of_bytes() -> None:
    """On hardware with 4-bit units, where the plain plan multiplies 4 bits by 4."""
    device, workload = catalogue.load("bitserial-npu"), to_workload(tiny_graph(), 64, 64)
    head = workload.layers[workload.weighted[0]]
    found, groups = decoding(workload, {head.name})

    def priced(of, wanted):
        space = build_space(of, (4, 8), (4, 8))
        return cost.estimate(cost.lower(device, of, space), space.nearest(wanted))

    layers = len(workload.weighted)
    plain = priced(workload, [4] * layers + [4] * len(workload.group_names))
    decoded = priced(found, [4] * layers + [4] * len(workload.group_names) + [8] * len(groups))
    assert decoded.latency_s[0] > plain.latency_s[0]
    assert decoded.energy_j[0] > plain.energy_j[0]
    assert decoded.weight_bytes[0] == plain.weight_bytes[0]
    elements = next(tensor.elements for tensor in workload.tensors if tensor.name == head.name)
    assert decoded.peak_activation_bytes[0] - plain.peak_activation_bytes[0] <= elements
    assert np.isfinite(decoded.latency_s).all()


def test_a_normalized_tensor_is_written_wide_seen_whole_and_rounded_before_it_is_read() -> None:
    workload = to_workload(tiny_graph(), 16, 12)
    head, body, _ = (workload.layers[row] for row in workload.weighted)
    found, groups = normalizing(workload, {head.name})
    check_rows(found)
    assert groups == (f"{head.name} wide",)
    names = [layer.name for layer in found.layers]
    new = found.layers[names.index(head.name) + 1]
    assert new.work == Reduce(16 * 12, keeps=True)
    wide = found.tensors[found.layers[names.index(head.name)].output]
    assert wide.name == groups[0]
    assert [found.tensors[row].name for row in new.inputs] == [wide.name]
    assert found.tensors[new.output].name == head.name
    assert found.tensors[found.layers[names.index(body.name)].inputs[0]].name == head.name
    assert normalizing(workload, {workload.tensors[0].name}) == (workload, ())  # the picture is not computed


def test_a_normalization_costs_more_than_a_look_up() -> None:
    device, workload = catalogue.load("bitserial-npu"), to_workload(tiny_graph(), 64, 64)
    head = workload.layers[workload.weighted[0]]
    measured, wide = normalizing(workload, {head.name})
    found, decoded = decoding(measured, {head.name})
    check_rows(found)
    assert (*found.group_names,) == (*workload.group_names, *wide, *decoded)
    plain = [4] * (len(workload.weighted) + len(workload.group_names))
    prices = []
    for of, more in ((workload, []), (decoding(workload, {head.name})[0], [8]), (found, [16, 16])):
        space = build_space(of, (4, 8), (4, 8, 16))
        prices.append(cost.estimate(cost.lower(device, of, space), space.nearest([*plain, *more])))
    latencies, energies = ([float(getattr(price, name)[0]) for price in prices] for name in ("latency_s", "energy_j"))
    assert latencies == sorted(set(latencies))
    assert energies == sorted(set(energies))
