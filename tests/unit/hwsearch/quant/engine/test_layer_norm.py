"""Layer normalization: the island against its own definition, double precision and ONNX Runtime; the chain of 16-bit tensors
against LiteRT's reference kernels and TFLite Micro."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from hwsearch.formats.tflite import litert, tflm
from hwsearch.formats.tflite.writing.file import FlatModel, Options
from hwsearch.quant.engine.operators.activation import Library
from hwsearch.quant.engine.operators.grid import Grid
from hwsearch.quant.engine.operators.layer_norm import Chain, island, reference

CHANNELS = 60
F32 = np.float32


def tokens(seed: int, count: int, spread: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens of 60 channels, three of them ten times as large as the others, whose norms vary by ``e^spread`` as deviation; and
    gamma and beta."""
    rng = np.random.default_rng(seed)
    channel = np.exp(rng.normal(0, 0.5, CHANNELS))
    channel[rng.choice(CHANNELS, 3, replace=False)] *= 10
    real = (rng.normal(0, 1, (count, CHANNELS)) + rng.normal(0, 0.3, CHANNELS)) * channel
    return real * np.exp(rng.normal(0, spread, (count, 1))), rng.normal(1, 0.2, CHANNELS), rng.normal(0, 0.1, CHANNELS)


def sqnr_db(wanted: np.ndarray, got: np.ndarray) -> float:
    return float(10 * np.log10((wanted**2).mean() / ((wanted - got) ** 2).mean()))


def symmetric(kind: str, real: np.ndarray) -> Grid:
    most = 127 if kind == "int8" else 32767
    return Grid(kind, float(F32(np.abs(real).max() / most)))  # type: ignore[arg-type]


def test_the_island_is_its_definition() -> None:
    """One token, every operation written out in single precision."""
    grid, y = Grid("int16", 0.01, 0), Grid("int16", 0.001, 0)
    codes, gamma, beta = np.array([[100, -250, 37, 4000]], np.int16), F32([1.5, -1, 0.25, 2]), F32([0, 0.5, 0, -1])
    v = [F32(F32(code) * F32(0.01)) for code in codes[0]]
    mean = F32(F32(F32(F32(v[0] + v[1]) + v[2]) + v[3]) / F32(4))
    d = [F32(value - mean) for value in v]
    squares = [F32(value * value) for value in d]
    power = F32(F32(F32(squares[0] + squares[1]) + squares[2]) + squares[3])
    root = F32(F32(1) / np.sqrt(F32(F32(power / F32(4)) + F32(1e-5))))
    by_hand = [np.rint(F32(F32(F32(F32(a * root) * g) + b) / F32(0.001))) for a, g, b in zip(d, gamma, beta, strict=True)]
    assert island(codes, grid, y, gamma, beta)[0].tolist() == [int(code) for code in by_hand]


@pytest.mark.parametrize(("away", "wanted"), [(False, [2, -2, 0, 0]), (True, [2, -2, 1, -1])])
def test_halves_go_away_from_zero_in_tflite_and_to_the_even_code_in_onnx(away: bool, wanted: list[int]) -> None:
    """``gamma`` is zero, so that ``beta`` alone is written: 1.5, -1.5, 0.5 and -0.5 steps."""
    grid, y = Grid("int8", 1.0, 0), Grid("int8", 0.5, 0)
    beta = F32([0.75, -0.75, 0.25, -0.25])
    codes = island(np.array([[1, 2, 3, 4]], np.int8), grid, y, np.zeros(4, F32), beta, away=away)
    assert codes[0].tolist() == wanted


@pytest.mark.parametrize(("kinds", "least_db"), [(("int16", "int16"), 50), (("int16", "int8"), 33), (("int8", "int8"), 9)])
def test_the_island_loses_what_its_tensors_lose(kinds: tuple[str, str], least_db: float) -> None:
    real, gamma, beta = tokens(0, 2048, 0.7)
    wanted = reference(real, gamma, beta)
    grid, y = symmetric(kinds[0], real), symmetric(kinds[1], wanted)
    got = sqnr_db(wanted, y.decode(island(grid.encode(real), grid, y, gamma, beta)))
    assert least_db < got < least_db + 9
    # Nothing is lost but the two roundings: the same, in double precision, between the same tensors.
    exact = y.decode(y.encode(reference(grid.decode(grid.encode(real)), gamma, beta)))
    assert got == pytest.approx(sqnr_db(wanted, exact), abs=0.05)


def test_onnx_runtime_differs_by_the_order_of_its_sums_only() -> None:
    real, gamma, beta = tokens(1, 2048, 0.0)
    grid, y = symmetric("int16", real), symmetric("int16", reference(real, gamma, beta))
    codes = grid.encode(real)
    fixed = {"sx": grid.step, "sy": y.step, "z": np.int16(0), "gamma": gamma.astype(F32), "beta": beta.astype(F32)}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "sx", "z"], ["f"]),
        helper.make_node("LayerNormalization", ["f", "gamma", "beta"], ["g"], axis=-1, epsilon=1e-5),
        helper.make_node("QuantizeLinear", ["g", "sy", "z"], ["y"]),
    ]
    ports = (helper.make_tensor_value_info(name, TensorProto.INT16, shape) for name, shape in (("x", codes.shape), ("y", None)))
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in fixed.items()]
    graph = helper.make_graph(nodes, "layer norm", [next(ports)], [next(ports)], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    theirs = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": codes})[0]
    apart = np.abs(island(codes, grid, y, gamma, beta).astype(np.int32) - theirs.astype(np.int32))
    assert apart.max() <= 1
    assert (apart > 0).mean() < 1e-3


def chain_file(chain: Chain, count: int, constants: dict[str, np.ndarray], library: Library) -> bytes:
    """The chain as one TFLite file."""
    model, shape, narrow = FlatModel(), (count, CHANNELS), (count, 1)

    def tensor(name: str, of: tuple[int, ...], data: np.ndarray | None = None) -> int:
        return model.tensor(name, of, "int16", scale=getattr(chain, name).scale, data=data)

    fused, reducer = Options("MulOptions", {"FusedActivationFunction": 0}), Options("ReducerOptions", {"KeepDims": True})
    axis = model.tensor("axis", (1,), "int32", data=np.array([1], np.int32))
    fixed = {name: tensor(name, data.shape, data) for name, data in constants.items()}
    x = tensor("x", shape)
    mean = model.op("MEAN", [x, axis], tensor("mean", narrow), reducer)
    minus, plus = (Options(table, {"FusedActivationFunction": 0}) for table in ("SubOptions", "AddOptions"))
    difference = model.op("SUB", [x, mean], tensor("difference", shape), minus)
    if library == "litert":
        square = model.op("MUL", [difference, difference], tensor("square", shape), fused)
    else:
        square = model.op("SQUARED_DIFFERENCE", [x, mean], tensor("square", shape), Options("SquaredDifferenceOptions"))
    variance = model.op("MEAN", [square, axis], tensor("variance", narrow), reducer)
    shifted = model.op("ADD", [variance, fixed["epsilon"]], tensor("shifted", narrow), plus)
    root = model.op("RSQRT", [shifted], tensor("root", narrow))
    normal = model.op("MUL", [difference, root], tensor("normal", shape), fused)
    scaled = model.op("MUL", [normal, fixed["gamma"]], tensor("scaled", shape), fused)
    y = model.op("ADD", [scaled, fixed["beta"]], tensor("y", shape), plus)
    return model.serialize([x], [y], "layer norm", {})


@pytest.mark.parametrize("spread", [0.0, 0.7])
@pytest.mark.parametrize("library", ["litert", "tflm"])
def test_the_chain_is_that_of_the_runtime(library: Library, spread: float) -> None:
    real, gamma, beta = tokens(2, 64, spread)
    chain = Chain.fitted(real, gamma, beta)
    codes = chain.x.encode(real)
    ours = chain.run(codes, gamma, beta, library=library)
    data = chain_file(chain, len(codes), {name: ours[name] for name in ("gamma", "beta", "epsilon")}, library)
    if library == "litert":
        (theirs,) = litert.invoke(litert.interpreter(data, reference=True), codes)
    else:
        made = tflm.interpreter(data)
        made.set_input(codes, 0)
        made.invoke()
        theirs = made.get_output(0)
    np.testing.assert_array_equal(ours["y"], theirs)


def test_the_chain_needs_tokens_of_one_norm() -> None:
    """What the module says of it: good where all tokens are about as large, worthless in LiteRT where they are not."""
    measured = {}
    for spread in (0.0, 0.7):
        real, gamma, beta = tokens(0, 2048, spread)
        wanted, chain = reference(real, gamma, beta), Chain.fitted(real, gamma, beta)
        for library in ("litert", "tflm"):
            got = chain.run(chain.x.encode(real), gamma, beta, library=library)["y"]  # type: ignore[arg-type]
            measured[spread, library] = sqnr_db(wanted, chain.y.decode(got))
    assert measured[0.0, "litert"] > 40
    assert measured[0.0, "tflm"] > 40
    assert measured[0.7, "litert"] < 20
    assert measured[0.7, "litert"] < measured[0.7, "tflm"] < 40


def test_bounds_narrower_than_the_container_are_kept() -> None:
    real, gamma, beta = tokens(3, 8, 0.0)
    grid = symmetric("int16", real)
    y = replace(symmetric("int8", reference(real, gamma, beta)), low=-7, high=7)
    codes = island(grid.encode(real), grid, y, gamma, beta)
    assert codes.min() >= -7
    assert codes.max() <= 7
