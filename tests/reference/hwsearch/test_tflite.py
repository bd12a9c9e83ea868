"""Exported TFLite files under LiteRT and TFLite Micro against the integer engine: every code of the output equal."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tflite as schema
import torch
from random_networks import float_graph, picture, quantize

from hwmodels.errors import FileError, UsageError
from hwmodels.numbers import FP16
from hwsearch.contracts import check_exporter
from hwsearch.formats.reading.readers import inspect
from hwsearch.formats.running.runtime import Tolerance, compare, judge
from hwsearch.formats.tflite import litert, tflm
from hwsearch.formats.tflite import write as exported
from hwsearch.formats.writing.exporters import exporter
from hwsearch.quant.engine import integer
from hwsearch.quant.network.graph import QuantizedGraph

NAMES = ("fsrcnn-relu", "fsrcnn-prelu", "abpn", "ecbsr", "edsr", "vdsr")
WIDTHS = ((8, 8), (4, 8), (3, 5), (2, 2), (8, 16), (5, 7))
RUNTIMES = {
    "XNNPACK": litert.open_plan,
    "reference": lambda q: litert.open_plan(q, reference=True),
    "Micro": tflm.open_plan,
}


def check(q: QuantizedGraph, name: str) -> None:
    """Every output code is equal, or within what the runtime states, on a picture that was not used to set ranges."""
    runtime = RUNTIMES[name](q)
    x = picture(q.graph, 14, 18, seed=77)
    ours = integer.run(runtime.executed, x)
    fmt = runtime.executed.formats[q.graph.output.name]
    assert len(ours.unique()) >= min(2**fmt.bits, 12) / 2
    wide_sums = any(n.op.kind == "add" and q.formats[n.name].bits > 8 for n in q.graph.nodes)
    assert runtime.tolerance == Tolerance() or (wide_sums and name == "XNNPACK")
    judge(runtime.tolerance, *compare(runtime.run(x), ours, fmt))


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(("weight_bits", "activation_bits"), WIDTHS)
@pytest.mark.parametrize("name", NAMES)
def test_every_code_is_equal(name: str, weight_bits: int, activation_bits: int, runtime: str) -> None:
    check(quantize(float_graph(name), weight_bits, activation_bits), runtime)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("bits", [8, 4])
def test_symmetric_activations_are_equal_too(bits: int, runtime: str) -> None:
    check(quantize(float_graph("edsr"), 8, bits, symmetric=True), runtime)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_slopes_above_one_and_slopes_of_zero(runtime: str) -> None:
    graph = float_graph("ecbsr")
    with torch.no_grad():
        for index, node in enumerate(n for n in graph.convs if "slope" in n.weights):
            node.weights["slope"].copy_(torch.linspace(-1.5, 2.5, 8) if index else torch.full((8,), 1.25))
            if index:
                node.weights["slope"][3] = 0
    check(quantize(graph), runtime)


@pytest.mark.parametrize(("rule", "flavour"), [("xnnpack", "litert"), ("gemmlowp", "micro")])
def test_every_tensor_in_between_is_equal(rule: str, flavour: str) -> None:
    """Not the output alone: each tensor that the file and the canonical graph both name."""
    q = quantize(float_graph("edsr"), {"head": 3, "tail.0": 5}, 6)
    q = exported.form(q, rule)
    x = picture(q.graph, 9, 11, seed=5)
    ours = integer.run_codes(q, x)
    made = litert.interpreter(exported.to_bytes(q, flavour=flavour, size=(9, 11)), reference=flavour == "micro", keep=True)
    litert.invoke(made, (ours["input"].numpy().transpose(0, 2, 3, 1) - 128).astype(np.int8))
    theirs = {detail["name"]: detail["index"] for detail in made.get_tensor_details()}
    shared = [name for name in ours if name in theirs]
    assert len(shared) == len(ours)
    for name in shared:
        got = made.get_tensor(theirs[name]).astype(np.int64).transpose(0, 3, 1, 2) + 128
        order = np.argsort(exported.Writer(q, 9, 11, packed=False).orders[name])
        assert np.array_equal(got[:, order], ours[name].numpy()), name


def test_narrow_tensors_inside_the_network_cost_no_operator() -> None:
    graph = float_graph("fsrcnn-relu")
    groups = graph.quantizer_groups()
    widths = dict.fromkeys(groups.values(), 5) | {groups[graph.output.name]: 8}
    data = exported.to_bytes(quantize(graph, 4, widths))
    codes = [code for _, code in operators(data)]
    assert codes == [schema.BuiltinOperator.CONV_2D] * len(graph.convs) + [schema.BuiltinOperator.DEPTH_TO_SPACE]
    # Whatever XNNPACK does not take would stand beside its one delegated node.
    assert litert.interpreter(data)._get_ops_details()[-1]["op_name"] == "DELEGATE"
    assert len(litert.interpreter(data)._get_ops_details()) == len(codes) + 1


def operators(data: bytes) -> list[tuple[str, int]]:
    """Name of the output and code of every operator, read with the schema's own classes."""
    model = schema.Model.GetRootAs(data)
    graph = model.Subgraphs(0)
    found = []
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        name = graph.Tensors(operator.Outputs(0)).Name().decode()
        found.append((name, model.OperatorCodes(operator.OpcodeIndex()).BuiltinCode()))
    return found


def test_narrow_weights_are_packed_where_kernels_take_them_and_the_rest_is_reported(tmp_path: Path) -> None:
    plain = float_graph("fsrcnn-relu")
    q = quantize(plain, {node.name: 3 for node in plain.convs[:-1]} | {plain.convs[-1].name: 6})
    sizes = [exporter(name)(q, tmp_path / name).stat().st_size for name in ("tflite-micro", "tflite")]
    model = schema.Model.GetRootAs((tmp_path / "tflite").read_bytes())
    carried = json.loads(model.Buffers(model.Metadata(0).Buffer()).DataAsNumpy().tobytes())["carried_network"]
    weights = [layer.weight.size for layer in q.layers.values()]
    assert abs((sizes[1] - len(carried) - sizes[0]) - sum(weights[:-1]) // 2) < 400
    assert exporter("tflite-micro").promote(q).summary.count("3 bits -> 4 bits") == len(plain.convs) - 1
    assert exporter("tflite").promote(q).same_numbers
    assert inspect(exporter("tflite")(quantize(plain), tmp_path / "plain.tflite")).remarks == ()


def test_the_file_says_where_it_comes_from(tmp_path: Path) -> None:
    q = quantize(float_graph("abpn"), 5)
    path = exporter("tflite-micro")(q, tmp_path / "x.tflite", metadata={"plan": "plan-07"}, size=(20, 30))
    model = schema.Model.GetRootAs(path.read_bytes())
    entry = model.Metadata(0)
    assert entry.Name() == b"hwsearch"
    facts = json.loads(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
    assert (facts["plan"], facts["requantization"]) == ("plan-07", "gemmlowp")
    assert "8 bits" in facts["promoted"]
    names = [name for name, code in operators(path.read_bytes()) if code == schema.BuiltinOperator.CONV_2D]
    assert names == [node.name for node in q.graph.convs]
    assert list(model.Subgraphs(0).Tensors(0).ShapeAsNumpy()) == [1, 20, 30, 3]


@pytest.mark.parametrize("name", ["tflite", "tflite-micro"])
def test_exporters_keep_the_contract(name: str) -> None:
    check_exporter(exporter(name))


def test_half_precision_is_refused(tmp_path: Path) -> None:
    q = quantize(float_graph("fsrcnn-relu"), 8, 16, wide=FP16)
    with pytest.raises(FileError, match="half precision"):
        exported.export(q, tmp_path / "x.tflite")
    assert not list(tmp_path.iterdir())
    with pytest.raises(UsageError, match="flavour"):
        exported.to_bytes(q, flavour="android")


def test_the_arena_of_tflite_micro_is_the_largest_pair_of_tensors() -> None:
    q = quantize(float_graph("fsrcnn-relu"))
    runtime = tflm.open_plan(q)
    runtime.run(picture(q.graph, 48, 64))
    largest = 48 * 64 * (16 + 6)  # the widest neighbours of this network, and some bytes of bookkeeping
    assert runtime.peak_bytes is not None
    assert largest <= runtime.peak_bytes < largest + 6000
