"""The contracts of devices, networks, tasks, proxies, methods, rules of allocation and exporters; see the room's own text."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from hwmodels import cost
from hwmodels.device import catalogue
from hwmodels.numbers import Int
from hwsearch.quality.damage import Damage
from hwsearch.quality.proxies import PROXIES
from hwsearch.quant import methods
from hwsearch.quant.calibrate import Calibration, calibrate
from hwsearch.quant.engine import integer
from hwsearch.quant.network.graph import LayerIntegers, QuantizedGraph
from hwsearch.search.allocate.allocator import AllocatorInfo, Grounds
from hwsearch.search.exact.additive import lower
from searchspaces.data.pictures import Pair, make_pair
from searchspaces.data.scale import Scale, at_least, scale_text
from searchspaces.ir.graph import Graph, execute
from searchspaces.ir.lower import to_workload
from searchspaces.space import build_space
from searchspaces.tasks.image import SuperResolution
from searchspaces.tasks.task import Samples, Signature, Task
from searchspaces.tracing.trace import trace


class _Tiny(nn.Module):
    """Luma x2 with a wide and a narrow tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(8, 4, 1), nn.ReLU())
        self.tail = nn.Conv2d(4, 4, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.shuffle(self.tail(self.body(self.head(x))))
        return found


WITH_EIGHT_BITS = 0.05
"""Share of the output's variance that the error of a method with 8 bits everywhere may have."""


def tiny_graph(seed: int = 0) -> Graph:
    """A small luma x2 network with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return trace(_Tiny(), 1, "tiny")


def tiny_pairs(count: int = 2, seed: int = 0) -> list[Pair]:
    """Synthetic pictures of smooth shapes with some grain, luma x2."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:64, 0:64] / 64.0
    pairs = []
    for index in range(count):
        wave = np.sin(2 * np.pi * (rng.uniform(1, 4) * x + rng.uniform(1, 4) * y))
        picture = 127 + 80 * wave + rng.normal(0, 8, (64, 64))
        rgb = np.clip(np.repeat(picture[..., None], 3, axis=2), 0, 255).astype(np.uint8)
        pairs.append(make_pair(f"synthetic-{index}", rgb, 2, 1, "low"))
    return pairs


def tiny_calibration(
    weight_bits: tuple[int, ...] = (2, 4, 8), activation_bits: tuple[int, ...] = (8, 16), method: str = methods.USUAL
) -> Calibration:
    """The small network, calibrated on the synthetic pictures."""
    graph = tiny_graph()
    space = build_space(to_workload(graph, 32, 32), weight_bits, activation_bits)
    return calibrate(graph, [pair.low for pair in tiny_pairs()], space, method=method)


def check_device(name_or_path: str) -> None:
    """A device prices a small network: terms are finite and not negative, every plan takes time, and fewer bits of a weight
    never store more bytes."""
    device = catalogue.load(name_or_path)
    workload = to_workload(tiny_graph(), *device.default_input)
    space = build_space(
        workload,
        device.weight_formats,
        device.tensor_formats,
        wide=device.offered.wide,
        symmetric_activations=device.widths.symmetric_activations,
    )
    table = cost.lower(device, workload, space)
    for term in (table.compute_s, table.weight_s, table.activation_s, table.overhead_s):
        assert np.all(np.isfinite(term)), "a term of the latency is not finite"
        assert np.all(term >= 0), "a term of the latency is negative"
    plans = space.random(np.random.default_rng(0), 64)
    price = cost.estimate(table, plans)
    assert np.all(price.latency_s > 0), "a plan costs no time"
    assert np.all(np.diff(table.weight_bytes, axis=1) >= 0), "fewer weight bits store more bytes"


def check_network(module: nn.Module, channels: int, scale: Scale, upsampled_input: bool = False) -> None:
    """A network is traced whole, the canonical graph computes what the module computes, and the output has ``scale`` times
    the sides."""
    assert isinstance(module, nn.Module), "not a network, but what makes one: pass MyNet() instead of MyNet"
    module = module.eval()
    graph = trace(module, channels, type(module).__name__)
    assert not graph.uncounted, f"not traced: {', '.join(graph.uncounted)}"
    height, width = at_least(24, scale), at_least(20, scale)
    x = torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, got = module(x), execute(graph, x)
    factor = 1 if upsampled_input else scale
    assert expected.shape[-2:] == (height * factor, width * factor), (
        f"the output is {tuple(expected.shape[-2:])}, not {scale_text(factor)} times the input"
    )
    span = float(expected.abs().max()) or 1.0
    worst = float((expected - got).abs().max())
    assert worst <= 1e-4 * span, f"the traced graph differs from the module by {worst:.2g}"
    assert to_workload(graph, height, width).macs > 0, "no multiply-accumulates were counted"


def check_task(task: type[Task], source: Path | None = None) -> None:
    """A task of networks that enlarge twice: it has disjoint samples in all three roles, the same for the same seed; its quality
    is decibels of the error, which grows where the output is spoilt and is nearly that of ``view`` against ``target``; and a
    smaller set of samples is one.

    Args:
        source: where its samples lie, for a task that has none of its own.
    """
    assert all((task.name, task.summary, task.quality.name, task.quality.unit)), "the task does not say what it is"
    made = task(Signature(2, 1))
    network = nn.Upsample(scale_factor=2, mode="bilinear")
    samples, again = made.samples(source, 0, network), made.samples(source, 0, network)
    assert isinstance(samples, Samples), f"samples gives {type(samples).__name__}, not Samples"
    roles = {"calibration": samples.calibration, "search": samples.search, "evaluation": samples.evaluation}
    assert all(roles.values()), f"no samples for {', '.join(role for role, found in roles.items() if not found)}"
    names = [*samples.sources, *(one.name for one in (*samples.search, *samples.evaluation))]
    assert len(names) == len(set(names)), "a sample has two roles"
    for one, same in zip(samples.search, again.search, strict=True):
        assert torch.equal(one.low, same.low), "other samples for the same seed"
    sample = samples.search[0]
    with torch.no_grad():
        output = network(sample.low)
    error, figures = made.error(output, sample), made.figures(output, sample)
    assert figures.quality == made.quality_of(error, sample), "the figures tell another quality than the error"
    tenth = made.quality_of(10 * error, sample)
    assert abs(figures.quality - tenth - 10) < 1e-6, "ten times the error is not 10 dB"
    noise = torch.randn(output.shape, generator=torch.Generator().manual_seed(0))
    assert made.error(output + 0.3 * noise, sample) > error, "a spoilt output has no larger error"
    difference = made.view(made.displayed(output)).squeeze().double() - made.target(sample).squeeze().double()
    told = float(difference.square().mean())
    assert 0.5 < told / error < 2, f"view and target make an error of {told:.3g}, the task says {error:.3g}"
    few = made.windows(samples.search, 1000)
    assert 0 < sum(one.low.numel() for one in few) <= sum(one.low.numel() for one in samples.search), "windows are no fewer"


def check_proxy(measure: Callable[..., Damage]) -> None:
    """A proxy gives a finite table of the right shape, no damage where nothing may be chosen, the same table for the same
    seed, and on the whole more damage for fewer weight bits."""
    calibration, pairs = tiny_calibration(), tiny_pairs()
    damage = measure(calibration, pairs, 0)
    assert isinstance(damage, Damage), f"the proxy returns {type(damage).__name__}, not a Damage"
    space = calibration.space
    assert damage.noise.shape == space.allowed.shape, f"noise is {damage.noise.shape}, the space {space.allowed.shape}"
    assert not damage.noise[~space.allowed].any(), "damage on choices that are not allowed"
    assert len(damage.float_mse) == len(damage.pictures), "one error a picture is missing"
    assert np.array_equal(damage.noise, measure(calibration, pairs, 0).noise), "not reproducible with one seed"
    weights = damage.noise[: len(space.layer_names), : len(space.weight_bits)].sum(axis=0)
    assert np.all(np.diff(weights) < 0), f"more bits do not mean less damage: {weights}"


def check_method(name: str) -> None:
    """A quantization method keeps the network's function, gives every layer and tensor the width that is asked for, the same
    numbers for the same seed, less error for more bits, a small one for 8, and a finished plan whose integers do what is
    simulated, and no worse; methods of one family quantize one network at one price."""
    info = methods.load(name).INFO
    assert all((info.title, info.summary, info.source, info.price)), "the method does not say what it is"
    calibration, again = (tiny_calibration((2, 4, 8), (4, 8, 16), name) for _ in range(2))
    graph, space = calibration.graph, calibration.space
    pictures = [pair.low for pair in tiny_pairs()]
    with torch.no_grad():
        targets = [execute(tiny_graph(), x) for x in pictures]
        for x, target in zip(pictures, targets, strict=True):
            assert torch.allclose(execute(graph, x), target, atol=1e-4), "the rewritten network computes something else"

    def error(quantized: QuantizedGraph) -> float:
        pairs = zip(pictures, targets, strict=True)
        return float(np.mean([float((integer.run(quantized, x) - target).square().mean()) for x, target in pairs]))

    errors = []
    for bits in ((4, 4), (4, 8), (8, 8)):
        plan = space.uniform(*bits)
        drafted = calibration.quantized(plan)
        _check_widths(drafted, *bits)
        for layer, same in zip(drafted.layers.values(), again.quantized(plan).layers.values(), strict=True):
            assert np.array_equal(layer.weight, same.weight), "not reproducible with one seed"
        step = drafted.formats[graph.output.name].scale
        for x in pictures:
            codes = (calibration.simulate(plan, x) - integer.run(drafted, x)).abs() / step
            assert float((codes > 0.5).float().mean()) < 0.02, "the integers do not do what is simulated"
        errors.append(error(drafted))
    assert errors == sorted(errors, reverse=True), f"more bits do not mean less error: {errors}"
    shown = [target.clamp(0, 1) for target in targets]  # what pictures hold
    beside = [float((integer.run(drafted, x) - y).square().mean() / y.var()) for x, y in zip(pictures, shown, strict=True)]
    share = float(np.mean(beside))
    assert share < WITH_EIGHT_BITS, f"with 8 bits the error is {share:.2g} of the variance of the output: are the ranges right?"
    trained: list[str] = []
    finished = calibration.finished(space.uniform(4, 4), progress=lambda doing, share: trained.append(doing))
    assert info.trains or not trained, f"finishing a plan is {trained[0]}, and the method does not say that it trains"
    _check_widths(finished, 4, 4)
    for other in next((alike for alike in methods.families() if name in alike), ()):  # may be mixed with it
        assert calibration.by(other).graph is graph, f"quantizes another network than {other}, which is of its family"
        assert methods.load(other).INFO.price == info.price, f"costs something else at run time than {other}, of its family"
    assert error(finished) <= 1.05 * errors[0], f"finishing does harm: {errors[0]:.3g} before, {error(finished):.3g} after"


def check_allocator(info: AllocatorInfo) -> None:
    """A rule of bit allocation gives plans of the space, from wider to narrower ones, and the same for the same seed."""
    calibration, pairs = tiny_calibration((2, 4, 8), (4, 8, 16)), tiny_pairs()
    space = calibration.space
    table = cost.lower(catalogue.load("bitserial-npu"), to_workload(calibration.graph, 32, 32), space)

    @cache
    def damage(proxy: str) -> Damage:
        return PROXIES[proxy].measure(calibration, pairs, 0)

    problem = lower(table, np.zeros(space.allowed.shape), space)
    grounds = Grounds(calibration, pairs, SuperResolution.of(pairs), 0, damage, problem, "latency_s")
    plans = info.ladder(grounds)
    assert plans, "the rule has no plan"
    assert all(space.allows(plan) for plan in plans), "a plan chooses what the space does not allow"
    bits = [sum(fmt.bits for fmt in plan.formats) for plan in plans]
    assert bits == sorted(bits, reverse=True), f"the plans do not go from wide to narrow: {bits} bits in all"
    assert plans == info.ladder(grounds), "not reproducible with one seed"


def _check_widths(quantized: QuantizedGraph, weight_bits: int, activation_bits: int) -> None:
    for name, layer in quantized.layers.items():
        assert isinstance(layer, LayerIntegers), f"{name} is not in integers"
        assert layer.bits == weight_bits, f"{name} has {layer.bits} bits, not {weight_bits}"
        low, high = Int(weight_bits).weight_codes
        assert low <= layer.weight.min() <= layer.weight.max() <= high, f"{name}: integers beyond {weight_bits} bits"
    for name, fmt in quantized.formats.items():
        kept = 1 << fmt.bits if fmt.normalized is not None else fmt.qmax - fmt.qmin + 1  # of each channel, which has its own
        codes = kept if fmt.levels is None else len(fmt.levels)
        assert fmt.bits == activation_bits, f"{name} has {fmt.bits} bits, not {activation_bits}"
        assert codes <= 2**activation_bits, f"{name} has {codes} codes in {activation_bits} bits"


def check_exporter(export: Callable[..., object]) -> None:
    """An exporter writes a file or folder that depends on the network alone, leaves the network as it is, and nothing behind when
    it cannot write."""
    calibration = tiny_calibration()
    quantized: QuantizedGraph = calibration.quantized(calibration.space.uniform(8, 8))
    before = _integers(quantized)
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder, "a.out"), Path(folder, "b.out")
        export(quantized, first, metadata={"plan": "contract"})
        export(quantized, second, metadata={"plan": "contract"})
        assert first.exists(), f"nothing was written to the path that was given, {first.name}"
        assert all(_content(first).values()), "an exported file is empty"
        assert _integers(quantized) == before, "the exporter changed the network that it was given"
        assert _content(first) == _content(second), "two exports of one plan differ"
        Path(folder, "file").write_text("")
        missing = Path(folder, "file", "below-a-file.out")
        try:
            export(quantized, missing, metadata={"plan": "contract"})
        except Exception:
            pass
        else:
            raise AssertionError("a path that cannot be written to was accepted without an error")
        left = sorted(p.name for p in Path(folder).iterdir())
        assert left == ["a.out", "b.out", "file"], f"files left behind: {left}"


def _integers(quantized: QuantizedGraph) -> dict[str, bytes]:
    """The weights of every layer."""
    return {name: layer.weight.tobytes() for name, layer in quantized.layers.items() if isinstance(layer, LayerIntegers)}


def _content(path: Path) -> dict[str, bytes]:
    """Every file of an export by its place."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): file.read_bytes() for file in files}
