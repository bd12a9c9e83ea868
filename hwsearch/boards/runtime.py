"""Timing networks in ONNX Runtime on this machine, beside a yardstick that shows how fast the machine is at that moment.

Shared cores, hyper-threads and clocks make one computation take twice as long from one second to the next. Every timing therefore
stands between two timings of a fixed convolution, and what counts is their ratio: its median over rounds, times the yardstick's
time on an undisturbed machine (its 10 % quantile over the whole session). Rounds go through all subjects in turn. With one
thread the clock is that of the thread, which stands still while somebody else has the core.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from hwmodels import numbers
from hwmodels.fitting.constants import Measurement
from hwmodels.numbers import Int, Precision
from hwsearch.formats.onnx import write
from hwsearch.formats.onnx.float_network import to_float_model
from hwsearch.quant.calibrate import calibrate
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerFloats, LayerIntegers, QuantizedGraph
from searchspaces.ir.graph import Graph, Node
from searchspaces.ir.lower import to_workload
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.input import Input
from searchspaces.ops.maps.activation import Activation, PRelu, Relu
from searchspaces.space import build_space

INT8 = Precision.integers(8, 8)
FP32 = Precision.floating(numbers.FP32)
WARM_UP_RUNS = 2
YARDSTICK = (16, 128)
"""Channels of the yardstick's 3x3 convolution, and side of its picture: about 40 million multiply-accumulates."""
FEWEST_ROUNDS = 5
SETTLED = 0.02
"""Standard error, as a share, at which a subject is timed no more: far below what the model gets wrong."""
NORMAL_DEVIATION = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""
SHORTEST_S = 2e-3
"""Runs shorter than this are repeated within a round until they last as long."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A graph at one input size in one precision (``FP32`` or ``INT8``). ``group``: what is left out together in a check."""

    label: str
    graph: Graph
    height: int
    width: int
    precision: Precision
    group: str

    def measured(self, latency_s: float) -> Measurement:
        workload = to_workload(self.graph, self.height, self.width)
        return Measurement(workload, self.precision, latency_s, self.label)


def arbitrary_integers(graph: Graph) -> QuantizedGraph:
    """``graph`` in 8 bits with arbitrary integers: the time of a run does not depend on the values, so none are calibrated."""
    rng = np.random.default_rng(0)
    layers: dict[str, LayerIntegers | LayerFloats] = {}
    for node in graph.convs:
        shape = tuple(node.weights["weight"].shape)
        codes = rng.integers(-127, 128, shape).astype(np.int8)
        codes.reshape(-1)[0] = 127  # full range in every layer, however small
        scale = np.full(shape[0], 0.01, dtype=np.float32)
        layers[node.name] = LayerIntegers(8, codes, scale, np.zeros(shape[0], dtype=np.int64))
    tensor = TensorFormat(Int(8), scale=float(np.float32(0.02)), zero_point=128)
    return QuantizedGraph(graph, {node.name: tensor for node in graph.nodes}, layers)


def session(subject: Subject, threads: int) -> onnxruntime.InferenceSession:
    """What is timed: our int8 export, or the float network."""
    made = to_float_model(subject.graph) if subject.precision.is_float else write.to_model(integers(subject))
    return write.session(made.SerializeToString(), threads=threads, flush=True)


def integers(subject: Subject) -> QuantizedGraph:
    """The graph of ``subject`` in 8 bits: arbitrary ones where only convolutions have numbers, else calibrated on noise."""
    graph = subject.graph
    if all(isinstance(node.op, Conv) for node in graph.nodes if node.weights):
        return arbitrary_integers(graph)
    workload = to_workload(graph, subject.height, subject.width)
    picture = torch.rand(1, graph.channels, subject.height, subject.width, generator=torch.Generator().manual_seed(0))
    space = build_space(workload, (8,), (8,))
    return calibrate(graph, [picture], space, method="minmax").quantized(space.uniform(8, 8))


class StopWatch:
    """A stop-watch for sessions on this machine, with its yardstick.

    Args:
        threads: of ONNX Runtime.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        channels, side = YARDSTICK
        self._yardstick = Prepared(Subject("yardstick", conv_graph(channels, channels, 3), side, side, FP32, ""), threads)
        self._seen: list[float] = []

    def prepare(self, subject: Subject) -> Prepared:
        return Prepared(subject, self._threads)

    def ratio(self, prepared: Prepared) -> float:
        """Time of one run over that of the yardstick just before and after."""
        before = self._yardstick.seconds()
        taken = prepared.seconds()
        after = self._yardstick.seconds()
        self._seen += [before, after]
        return taken / (0.5 * (before + after))

    @property
    def yardstick_s(self) -> float:
        """The yardstick's time on an undisturbed machine, as far as it has been seen."""
        return float(np.quantile(self._seen, 0.1))


class Prepared:
    """A subject loaded and warmed up. Runs too short for the clock are repeated, and the one before them is not timed: others had
    the caches, and a network that works finds there what it left."""

    def __init__(self, subject: Subject, threads: int) -> None:
        self._session = session(subject, threads)
        self._clock = time.thread_time if threads == 1 else time.perf_counter
        self._input = {"input": np.full((1, subject.graph.channels, subject.height, subject.width), 0.5, np.float32)}
        self._repeats = 1
        self._repeats = max(1, round(SHORTEST_S / min(self.seconds() for _ in range(WARM_UP_RUNS))))

    def seconds(self) -> float:
        """Seconds of one run."""
        self._session.run(None, self._input)
        begun = self._clock()
        for _ in range(self._repeats):
            self._session.run(None, self._input)
        return (self._clock() - begun) / self._repeats


def settled(ratios: np.ndarray) -> np.ndarray:
    """``bool[N]``: whether the medians of ``ratios float64[rounds, N]`` are known to ``SETTLED``, by their standard error (that
    of a normal sample of the same median deviation)."""
    medians = np.median(ratios, axis=0)
    deviations = NORMAL_DEVIATION * np.median(np.abs(ratios - medians), axis=0)
    found: np.ndarray = np.sqrt(np.pi / 2 / len(ratios)) * deviations <= SETTLED * medians
    return found


def latencies(subjects: Sequence[Subject], threads: int, rounds: int, advance: Callable[[], None] = lambda: None) -> np.ndarray:
    """Latency of each subject on an undisturbed machine: ``float64[N]`` seconds.

    A subject whose time is known well enough after ``FEWEST_ROUNDS`` is not timed again.

    Args:
        rounds: the most of them.
        advance: called after each subject of each round, the preparation counting as one round.
    """
    bench, ready = StopWatch(threads), []
    for subject in subjects:
        ready.append(bench.prepare(subject))
        advance()
    ratios, known = np.full((rounds, len(ready)), np.nan), np.zeros(len(ready), dtype=bool)
    for done, row in enumerate(ratios):
        if done >= FEWEST_ROUNDS:
            known[~known] = settled(ratios[:done, ~known])
        for i, prepared in enumerate(ready):
            if not known[i]:
                row[i] = bench.ratio(prepared)
            advance()
    found: np.ndarray = np.nanmedian(ratios, axis=0) * bench.yardstick_s
    return found


def block_channels() -> int | None:
    """Channels of a block where this ONNX Runtime computes convolutions of single precision on blocks of channels (see
    ``hwmodels.classes.onnxruntime_float``), None where it does not: it pads the weights to whole ones."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "executed.onnx"
        write.session(to_float_model(conv_graph(32, 1, 3)).SerializeToString(), threads=1, optimized=path)
        graph = onnx.load(path).graph
    stored = {tensor.name: tensor.dims for tensor in graph.initializer}
    return next((int(stored[node.input[1]][0]) for node in graph.node if node.op_type == "Conv" and "nchwc" in node.domain), None)


ACTIVATIONS: Mapping[str, Activation | None] = {"none": None, "relu": Relu(), "prelu": PRelu()}


def conv_graph(inputs: int, outputs: int, kernel: int, groups: int = 1, activation: str = "none") -> Graph:
    """A network of one convolution that keeps the picture's size."""
    weight = torch.full((outputs, inputs // groups, kernel, kernel), 0.01)
    op = Conv(padding=(kernel // 2,) * 4, groups=groups, activation=ACTIVATIONS[activation])
    ends = Node("input", Input(inputs))
    weights = {"weight": weight, "bias": torch.zeros(outputs)}
    if activation == "prelu":
        weights["slope"] = torch.full((outputs,), 0.1)
    kind = "depthwise" if groups > 1 else activation if activation != "none" else "conv"
    return Graph(f"{kind} {inputs}->{outputs} {kernel}x{kernel}", (ends, Node("conv", op, ("input",), weights)))
