"""Steps of the engine on tokens beside runtimes and double precision: whatever the rule, the codes are those of its runtime."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import tflite_operators
import torch
from tflite_operators import Operator

from hwmodels.numbers import Int
from hwsearch.formats.onnx.write import notes, to_model
from hwsearch.quant.engine import integer
from hwsearch.quant.engine.operators.agreement import Runtime
from hwsearch.quant.engine.operators.grid import Grid
from hwsearch.quant.engine.operators.layer_norm import reference
from hwsearch.quant.engine.steps import Site, codes, prepared
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import QuantizedGraph
from hwsearch.quant.ranges.given import picture_format, share_format
from searchspaces.ir.graph import Graph, Node
from searchspaces.ops.base import Op
from searchspaces.ops.contractions.matmul import MatMul
from searchspaces.ops.input import Input
from searchspaces.ops.maps.activation import Activation, Exp, Gelu, Tanh
from searchspaces.ops.reductions.norm import LayerNorm
from searchspaces.ops.reductions.softmax import Softmax

RUNTIMES: dict[str, Runtime] = {"xnnpack": "litert reference", "gemmlowp": "tflm"}
"""Rule -> the runtime whose operators beside layers it has."""


def fmt(bits: int, reach: float, zero: int = 117) -> TensorFormat:
    """A format of values within about ``reach``."""
    if bits == 16:
        return TensorFormat(Int(16), float(np.float32(reach / 32767)), 32768, 0, 65535)
    return TensorFormat(Int(8), float(np.float32(2 * reach / 255)), zero, 0, 255)


def shifted(form: TensorFormat, *shape: int, seed: int = 0) -> torch.Tensor:
    q = np.random.default_rng(seed).integers(form.qmin, form.qmax + 1, shape)
    return torch.from_numpy(q - form.zero_point).to(torch.int16)


def step(op: Op, sources: list[TensorFormat], target: TensorFormat, rule: str, xs: list[torch.Tensor], **weights: torch.Tensor):  # type: ignore[no-untyped-def]
    """Shifted codes of what a step writes, for shifted codes of what it reads."""
    names = tuple(f"x{i}" for i in range(len(xs)))
    run = prepared(Site(Node("y", op, names, weights), sources, target, None, rule))
    return target.shifted(run([source.carried(x) for source, x in zip(sources, xs, strict=True)]))


def theirs(
    name: str, rule: str, xs: list[torch.Tensor], grids: list[Grid], y: Grid, shape: tuple[int, ...], options: tuple
) -> np.ndarray:  # type: ignore[type-arg]
    operator = Operator(name, tuple(tuple(x.shape) for x in xs), tuple(grids), shape, y, options)
    arrays = [(x.numpy().astype(np.int32) + grid.zero_point).astype(grid.dtype) for x, grid in zip(xs, grids, strict=True)]
    found = tflite_operators.run(operator, arrays, RUNTIMES[rule])
    assert found is not None
    return found.astype(np.int64) - y.zero_point


@pytest.mark.parametrize("rule", RUNTIMES)
@pytest.mark.parametrize("bits", [8, 16])
def test_products_are_those_of_the_runtime(rule: str, bits: int) -> None:
    a, b, y = fmt(bits, 1.3), fmt(bits, 0.8, 128), fmt(bits, 6.0, 90)
    xs = [shifted(a, 3, 2, 24, 10), shifted(b, 3, 2, 30, 10, seed=1)]
    ours = step(MatMul(transpose_b=True), [a, b], y, rule, xs)
    options = ("BatchMatMulOptions", (("AdjX", False), ("AdjY", True)))
    expected = theirs("BATCH_MATMUL", rule, xs, [codes.stored(a), codes.stored(b)], codes.stored(y), (3, 2, 24, 30), options)
    np.testing.assert_array_equal(ours.numpy(), expected)


@pytest.mark.parametrize("rule", RUNTIMES)
@pytest.mark.parametrize("bits", [8, 16])
def test_softmax_is_that_of_the_runtime(rule: str, bits: int) -> None:
    x, y = fmt(bits, 5.0), share_format(Int(bits), symmetric=False)
    xs = [shifted(x, 2, 3, 16, 16)]
    ours = step(Softmax(-1), [x], y, rule, xs)
    expected = theirs(
        "SOFTMAX", rule, xs, [codes.stored(x)], codes.stored(y), (2, 3, 16, 16), ("SoftmaxOptions", (("Beta", 1.0),))
    )
    np.testing.assert_array_equal(ours.numpy(), expected)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("op", "name", "options"), [
    (Gelu(), "GELU", ("GeluOptions", (("Approximate", False),))),
    (Gelu("tanh"), "GELU", ("GeluOptions", (("Approximate", True),))),
    (Exp(), "EXP", ("ExpOptions", ())),
])  # fmt: skip
def test_functions_are_those_of_litert(op: Activation, name: str, options: tuple, bits: int) -> None:  # type: ignore[type-arg]
    x, y = fmt(bits, 3.0), fmt(bits, 20.0, 4)
    xs = [shifted(x, 1, 40, 12)]
    ours = step(op, [x], y, "xnnpack", xs)
    np.testing.assert_array_equal(
        ours.numpy(), theirs(name, "xnnpack", xs, [codes.stored(x)], codes.stored(y), (1, 40, 12), options)
    )


@pytest.mark.parametrize("rule", ["f32", *RUNTIMES])
@pytest.mark.parametrize("widths", [(8, 16), (16, 8)])
def test_mixed_widths_lose_no_more_than_one_rounding(rule: str, widths: tuple[int, int]) -> None:
    """Beside double precision: products, softmax and GELU from 8 to 16 bits and back."""
    x, y = fmt(widths[0], 4.0), fmt(widths[1], 5.0)
    other, product = fmt(8, 1.0, 128), fmt(widths[1], 60.0)
    xs = [shifted(x, 2, 20, 12), shifted(other, 2, 12, 9, seed=1)]
    real, by = (v.double() * float(np.float32(f.scale)) for v, f in zip(xs, (x, other), strict=True))
    shares = share_format(Int(widths[1]), symmetric=False)
    for found, form, exact, slack in (
        (step(MatMul(), [x, other], product, rule, xs), product, real @ by, 0.51),
        (step(Softmax(-1), [x], shares, rule, xs[:1]), shares, real.softmax(-1), 0.51 if widths[1] == 8 else 16),
        (step(Gelu(), [x], y, rule, xs[:1]), y, torch.nn.functional.gelu(real), 0.6 if widths[1] == 8 else 16),
    ):
        low, high = form.qmin - form.zero_point, form.qmax - form.zero_point
        wanted = (exact / form.scale).clamp(low, high)
        assert (found.double() - wanted).abs().max() < slack + 0.5


@pytest.mark.parametrize("bits", [8, 16])
def test_layer_norm_is_that_of_double_precision(bits: int) -> None:
    x, y = fmt(16, 8.0), fmt(bits, 6.0)
    xs = [shifted(x, 1, 50, 24)]
    gamma, beta = torch.linspace(0.5, 1.5, 24), torch.linspace(-0.3, 0.3, 24)
    for axis in (-1, 1):
        moved = [xs[0].movedim(-1, axis)]
        found = step(LayerNorm((axis,)), [x], y, "f32", moved, weight=gamma, bias=beta).movedim(axis, -1)
        exact = reference(xs[0].numpy() * float(np.float32(x.scale)), gamma.numpy(), beta.numpy())
        wanted = np.clip(exact / y.scale, y.qmin - y.zero_point, y.qmax - y.zero_point)
        assert np.abs(found.numpy() - wanted).max() < (0.51 if bits == 8 else 1.5)


@pytest.mark.parametrize("bits", [(8, 8, 8), (16, 16, 16), (8, 16, 16), (16, 16, 8)])
def test_products_are_those_of_onnx_runtime(bits: tuple[int, int, int]) -> None:
    """Also where it has no integer kernel: the file then has a product of doubles."""
    a, b, y = picture_format(Int(bits[0]), symmetric=False), fmt(bits[1], 1.0, 0), fmt(bits[2], 6.0, 0)
    nodes = (Node("x", Input(3)), Node("t", Tanh(), ("x",)), Node("y", MatMul(transpose_b=True), ("x", "t")))
    qgraph = QuantizedGraph(Graph("product", nodes), {"x": a, "t": b, "y": y}, {})
    picture = torch.randint(0, 256, (1, 3, 20, 14), generator=torch.Generator().manual_seed(0)) / 255
    session = onnxruntime.InferenceSession(to_model(qgraph).SerializeToString(), providers=["CPUExecutionProvider"])
    answer = session.run(None, {"input": picture.numpy()})[0]
    np.testing.assert_array_equal(integer.run(qgraph, picture).numpy(), answer)
    assert len(np.unique(answer)) > 20


SHORT = {"one entry": (1, share_format(Int(8), symmetric=False)), "fine steps": (3, TensorFormat(Int(8), 1 / 1500))}


@pytest.mark.parametrize(("channels", "shares"), SHORT.values(), ids=SHORT)
def test_softmax_of_few_entries_is_that_of_its_file(channels: int, shares: TensorFormat) -> None:
    """ONNX Runtime's kernel overflows there, and writes zeros for ones."""
    nodes = (Node("x", Input(channels)), Node("shares", Softmax(1), ("x",)))
    formats = {"x": picture_format(Int(8), symmetric=False), "shares": shares}
    qgraph = QuantizedGraph(Graph("short", nodes), formats, {})
    picture = torch.rand(1, channels, 5, 6, generator=torch.Generator().manual_seed(1))
    session = onnxruntime.InferenceSession(to_model(qgraph).SerializeToString(), providers=["CPUExecutionProvider"])
    ours = integer.run(qgraph, picture)
    assert torch.equal(ours, torch.from_numpy(session.run(None, {"input": picture.numpy()})[0]))
    assert (ours - picture.softmax(1).clamp(max=float(ours.max()))).abs().max() < 0.004
    assert float(ours.min()) > 0


@pytest.mark.parametrize(("bits", "named"), [(8, ["norm (layer_norm)"]), (16, ["norm (layer_norm)", "shares (softmax)"])])
def test_files_name_their_float_islands(bits: int, named: list[str]) -> None:
    nodes = (Node("x", Input(3)), Node("norm", LayerNorm((-1,)), ("x",)), Node("shares", Softmax(), ("norm",)))
    formats = {
        "x": picture_format(Int(bits), symmetric=False),
        "norm": fmt(bits, 4.0),
        "shares": share_format(Int(bits), symmetric=False),
    }
    (said,) = (note for note in notes(QuantizedGraph(Graph("islands", nodes), formats, {})) if "islands" in note)
    assert said.endswith(": " + ", ".join(named) + ".")
