"""Tracing: every network and many spellings become canonical graphs that compute the same; what cannot is named."""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from small_networks import SMALL
from torch import Tensor, nn
from words import fused

from hwmodels.errors import FileError, UsageError
from searchspaces.ir.graph import Graph, Node, execute
from searchspaces.ir.lower import to_workload
from searchspaces.networks.registry import NETWORKS, build
from searchspaces.ops.maps.affine import Affine
from searchspaces.tracing.compared import check
from searchspaces.tracing.trace import trace

SIZES = SMALL | {
    "fsrcnn": {"d": 10, "s": 4, "m": 2, "activation": "prelu"},
    "abpn": {"m": 2, "c": 8},
    "edsr": {"n_feats": 8, "n_blocks": 2, "res_scale": 0.1},
    "vdsr": {"depth": 4, "width": 6},
}


class Made(nn.Module):
    """A module of a few layers and a function of them: ``forward(self, x)`` is ``body(self, x)``."""

    def __init__(self, body: Callable[[Made, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self, x)


def _traced(body: Callable, channels: int = 3, scale: int | None = None, **layers: nn.Module) -> Graph:  # type: ignore[type-arg]
    torch.manual_seed(0)
    return trace(Made(body, **layers), channels, "made", scale)


def _conv(before: int = 3, after: int = 8, **options: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=1, **options)  # type: ignore[arg-type]


def _ops(graph: Graph) -> list[str]:
    return [node.op.word for node in graph.nodes]


@pytest.mark.parametrize(("name", "scale"), [(name, scale) for name, known in NETWORKS.items() for scale in known.scales])
def test_built_in_networks(name: str, scale: int) -> None:
    """Executing the graph equals the module, also at a size at which it was not traced."""
    torch.manual_seed(scale)
    module = build(name, scale, **SIZES[name])
    known = NETWORKS[name]
    channels = known.channels or int({**known.arguments, **SIZES[name]}["channels"])
    factor = 1 if known.input_kind == "upsampled" else scale
    graph = trace(module, channels, name, None if known.task else factor)
    assert graph.uncounted == ()
    assert graph.multiple in (1, 4 // scale if name == "rrdb" else 1)
    sizes = ((16, 20), (18, 26)) if graph.size is None else (graph.size,)
    assert check(graph, module, channels, None if known.task else factor, sizes) < 1e-5
    count, size = (2, (18, 24)) if graph.size is None else (1, graph.size)
    x = torch.rand(count, channels, *size)
    with torch.no_grad():
        assert torch.allclose(execute(graph, x), module(x), atol=1e-5 * max(1.0, float(module(x).abs().max())))
    kinds = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
    layers = [path for path, layer in module.named_modules() if isinstance(layer, kinds) and ".pos." not in path]
    means = ("sub", "add", "mul", "div", "cat.constant")  # means that are taken off and put back, channels of one value
    found = [node.name for node in graph.convs if node.name.partition("@")[0] not in means and not node.name.endswith(".mul")]
    again = {"carn_m": 2 * 3 * 3, "eswt": 2 * 2}.get(name, 0)  # a block used three times; a shifted convolution is two
    if again:
        assert len(found) == len(layers) + again
        found = sorted({one.partition("@")[0] for one in found})
    assert sorted(found) == sorted(layers)


def test_fsrcnn_is_a_chain_of_fused_convolutions() -> None:
    graph = trace(build("fsrcnn"), 1, "fsrcnn", 2)
    assert _ops(graph) == ["input"] + ["conv"] * 8 + ["pixel_shuffle"]
    assert [fused(node) for node in graph.convs] == ["relu"] * 7 + ["none"]
    assert graph["last_part"].weights["weight"].shape == (4, 56, 5, 5)
    assert graph.output.name == "last_part.shuffle"


def test_edsr_baseline_is_traced_quickly() -> None:
    module = build("edsr", 4)
    trace(build("fsrcnn"), 1, "warm-up", 2)  # the exporter's own imports are not what is measured
    started = time.process_time()
    graph = trace(module, 3, "edsr", 4)
    assert time.process_time() - started < 4
    assert len(graph.convs) == 37
    assert _ops(graph).count("add") == 17
    assert {fused(node) for node in graph.convs} == {"none", "relu"}


def test_workload_of_vdsr_by_hand() -> None:
    """64x48 pixels: MACs are pixels times weights; the residual ties input and last convolution."""
    workload = to_workload(trace(build("vdsr"), 1, "vdsr", 1), 48, 64)
    assert workload.macs == 48 * 64 * 9 * (64 + 18 * 64 * 64 + 64)
    assert workload.weight_count == 9 * (64 + 18 * 64 * 64 + 64)
    assert [layer.label for layer in workload.layers] == ["conv"] * 20 + ["add"]
    assert workload.layers[3].bias_count == 64
    assert workload.layers[3].kernel == (3, 3)
    source, last = workload.tensors[0], workload.tensors[20]
    assert source.readers == (0, 20)
    assert source.group == last.group
    assert len(workload.group_names) == 21
    assert (workload.tensors[5].channels, workload.tensors[5].height, workload.tensors[5].width) == (64, 48, 64)


def test_workload_of_mixed_shapes() -> None:
    graph = _traced(
        lambda s, x: F.pixel_shuffle(s.up(s.down(F.prelu(s.depthwise(x), s.slope.weight))), 2),
        depthwise=nn.Conv2d(3, 3, 3, padding=1, groups=3),
        slope=nn.PReLU(3),
        down=nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
        up=nn.Conv2d(8, 12, 1),
    )
    workload = to_workload(graph, 20, 30)
    ops = {layer.name: layer for layer in workload.layers}
    assert ops["depthwise"].channelwise
    assert ops["depthwise"].macs == 20 * 30 * 27
    assert ops["depthwise"].bias_count == 3 + 3  # bias and slope
    assert ops["depthwise"].finish == "slopes"
    assert (ops["down"].stride, ops["down"].macs, ops["down"].bias_count) == (2, 10 * 15 * 216, 0)
    shapes = {tensor.name: (tensor.channels, tensor.height, tensor.width) for tensor in workload.tensors}
    assert shapes["down"] == (8, 10, 15)
    assert shapes[graph.output.name] == (3, 20, 30)


def test_workload_of_imdn_has_all_kinds_of_rows() -> None:
    workload = to_workload(trace(build("imdn"), 3, "imdn", 2), 24, 32)
    kinds = {layer.label for layer in workload.layers}
    assert kinds == {"conv", "slice", "concat", "pool", "add", "mul", "unary", "pixel_shuffle"}
    assert workload.weight_count == 694_404 - sum(layer.bias_count for layer in workload.layers)
    pooled = [t for t in workload.tensors if t.producer >= 0 and workload.layers[t.producer].reduces]
    assert len(pooled) == 12
    assert {(t.channels, t.height, t.width) for t in pooled} == {(64, 1, 1)}


FUSED = {
    "relu": (nn.ReLU(), "relu"),
    "relu in place": (nn.ReLU(inplace=True), "relu"),
    "clamp at zero": (Made(lambda s, x: x.clamp(min=0)), "relu"),
    "relu6": (nn.ReLU6(), "relu6"),
    "leaky": (nn.LeakyReLU(0.2, inplace=True), "leaky_relu"),
    "prelu": (nn.PReLU(8), "prelu"),
    "prelu of one slope": (nn.PReLU(), "prelu"),
}


@pytest.mark.parametrize("name", FUSED)
def test_activations_fuse(name: str) -> None:
    layer, kind = FUSED[name]
    graph = _traced(lambda s, x: s.act(s.conv(x)), conv=_conv(), act=layer)
    assert _ops(graph) == ["input", "conv"]
    assert fused(graph["conv"]) == kind
    added = _traced(lambda s, x: s.act(s.a(x) + s.b(x)), a=_conv(), b=_conv(), act=layer)
    assert added.output.op.kind == "add"
    assert fused(added.output) == kind
    if "prelu" in name:
        assert added.output.weights["slope"].shape == (8,)


def test_activation_with_two_readers_of_its_source_stands_alone() -> None:
    def body(s: Made, x: Tensor) -> Tensor:
        y = s.conv(x)  # type: ignore[operator]
        return F.relu(y) + y

    graph = _traced(body, conv=_conv())
    assert _ops(graph) == ["input", "conv", "unary", "add"]
    assert fused(graph["conv"]) == "none"


def test_activation_behind_a_pixel_shuffle_fuses_through_it() -> None:
    """Upscaling by transposed convolution, then PReLU: one convolution and a shuffle."""
    graph = _traced(lambda s, x: s.act(s.up(x)), up=nn.ConvTranspose2d(3, 5, 4, stride=2, padding=1), act=nn.PReLU(5, init=0.1))
    assert _ops(graph) == ["input", "conv", "pixel_shuffle"]
    assert graph["up"].weights["slope"].shape == (20,)


SPELLINGS: dict[str, tuple[Callable[[Made, Tensor], Tensor], list[str]]] = {
    "slices": (lambda s, x: torch.cat([x[:, 2:], x[:, :-2], x[:, 0:3]], 1), ["slice", "slice", "concat"]),
    "slice from far before the first": (lambda s, x: torch.cat([x[:, -9:2], x[:, 2:99]], 1), ["slice", "slice", "concat"]),
    "split": (lambda s, x: torch.cat(torch.split(s.conv(x), [3, 5], dim=1)[::-1], 1), ["conv", "slice", "slice", "concat"]),
    "chunk": (lambda s, x: torch.add(*s.conv(x).chunk(2, dim=1)), ["conv", "slice", "slice", "add"]),
    "gate": (lambda s, x: _gated(s.conv(x)), ["conv", "unary"]),
    "silu": (lambda s, x: F.silu(s.conv(x)), ["conv", "unary"]),
    "hyperbolic": (lambda s, x: torch.tanh(s.conv(x)), ["conv", "unary"]),
    "clamp": (lambda s, x: s.conv(x).clamp(0.1, 0.9), ["conv", "unary"]),
    "subtraction": (lambda s, x: s.conv(x) - s.other(x), ["conv", "conv", "add"]),
    "weighted sum": (lambda s, x: torch.add(s.conv(x), s.other(x), alpha=0.3), ["conv", "conv", "add"]),
    "scaled residual": (lambda s, x: s.three(x) * 0.1 + x, ["conv", "add"]),
    "division": (lambda s, x: s.conv(x) / 255.0, ["conv"]),
    "negation": (lambda s, x: 1 - s.conv(x), ["conv"]),
    "mean shift": (lambda s, x: s.conv(x - s.mean) * 2 + 1, ["conv", "conv"]),
    "mean shift in the picture's format": (lambda s, x: s.conv(x - s.mean.type_as(x)), ["conv", "conv"]),
    "normalisation": (lambda s, x: s.norm(s.conv(x)), ["conv"]),
    "normalisation and relu": (lambda s, x: F.relu(s.norm(s.conv(x))), ["conv"]),
    "normalisation first": (lambda s, x: s.conv(F.relu(s.norm3(x))), ["conv", "conv"]),
    "dropout": (lambda s, x: s.drop(s.conv(x)).contiguous(), ["conv"]),
    "nearest": (lambda s, x: F.interpolate(s.conv(x), scale_factor=2), ["conv", "resize"]),
    "bilinear": (
        lambda s, x: F.interpolate(x, scale_factor=3, mode="bilinear", align_corners=False),
        ["resize"],
    ),
    "bicubic": (lambda s, x: F.interpolate(x, scale_factor=2, mode="bicubic"), ["resize"]),
    "repeat": (lambda s, x: x.repeat(1, 2, 1, 1), ["concat"]),
    "interleave": (lambda s, x: x.repeat_interleave(4, dim=1), ["repeat"]),
    "padded": (lambda s, x: s.valid(F.pad(x, (1, 1, 2, 0))), ["conv"]),
    "padded twice": (lambda s, x: s.conv(F.pad(F.pad(x, (1, 0)), (0, 1, 1, 1))), ["conv"]),
    "cut": (lambda s, x: s.conv(x)[:, :, 1:, :-1], ["conv"]),
    "same padding": (lambda s, x: s.same(x), ["conv"]),
    "dilated": (lambda s, x: s.dilated(x), ["conv"]),
    "std": (lambda s, x: x * x.std((2, 3), correction=0, keepdim=True), ["pool", "mul"]),
    "biased std": (lambda s, x: x * x.std((3, 2), unbiased=False, keepdim=True), ["pool", "mul"]),
    "root of variance": (lambda s, x: x * x.var((2, 3), unbiased=False, keepdim=True).sqrt(), ["pool", "mul"]),
    "moments in steps": (lambda s, x: x * _contrast(x), ["pool", "pool", "add", "mul"]),
    "squeeze and excite": (
        lambda s, x: x * torch.sigmoid(s.fc2(F.relu(s.fc1(F.adaptive_avg_pool2d(x, 1).flatten(1))))).view(-1, 3, 1, 1),
        ["pool", "conv", "conv", "unary", "mul"],
    ),
    "function with a layer's weight": (lambda s, x: F.conv2d(x, s.conv.weight * 2, s.conv.bias, padding=1), ["conv"]),
    "in place after use": (lambda s, x: _rectified_in_place(s, s.conv(x)), ["conv", "conv", "add"]),
}


def _gated(y: Tensor) -> Tensor:
    return y * torch.sigmoid(y)


def _rectified_in_place(s: Made, y: Tensor) -> Tensor:
    """The second operand of the addition has been rectified, too."""
    return s.other8(F.relu_(y)) + y  # type: ignore[operator]


def _contrast(x: Tensor) -> Tensor:
    """Mean plus deviation in the elementary operations that published code uses."""
    area = x.size(2) * x.size(3)
    mean = x.sum(3, keepdim=True).sum(2, keepdim=True) / area
    variance = (x - mean).pow(2).sum(3, keepdim=True).sum(2, keepdim=True) / area
    return variance.pow(0.5) + mean


def _layers() -> dict[str, nn.Module]:
    norm, norm3 = nn.BatchNorm2d(8), nn.BatchNorm2d(3)
    for layer in (norm, norm3):
        nn.init.uniform_(layer.weight, 0.5, 2)
        nn.init.uniform_(layer.bias)
        layer.running_mean.uniform_(-1, 1)  # type: ignore[union-attr]
        layer.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    layers: dict[str, nn.Module] = {
        "conv": _conv(),
        "other": _conv(),
        "three": _conv(3, 3),
        "other8": _conv(8, 8),
        "valid": nn.Conv2d(3, 8, 3),
        "same": nn.Conv2d(3, 8, (5, 2), padding="same"),
        "dilated": nn.Conv2d(3, 8, 3, padding=2, dilation=2),
        "norm": norm,
        "norm3": norm3,
        "drop": nn.Dropout2d(0.5),
        "fc1": nn.Linear(3, 2),
        "fc2": nn.Linear(2, 3),
    }
    return layers


@pytest.mark.parametrize("name", SPELLINGS)
def test_spellings(name: str) -> None:
    """``trace`` itself compares graph and module at two sizes; here also the canonical form is what is wanted."""
    torch.manual_seed(0)
    body, ops = SPELLINGS[name]
    module = Made(body, **_layers())
    module.register_buffer("mean", torch.rand(1, 3, 1, 1))
    graph = trace(module, 3, name)
    assert graph.uncounted == ()
    assert _ops(graph) == ["input", *ops]
    assert check(graph, module, 3) < 1e-5


def test_layer_that_is_called_twice_stands_twice() -> None:
    graph = _traced(lambda s, x: s.conv(F.relu(s.conv(x))), conv=_conv(3, 3))
    assert [node.name for node in graph.convs] == ["conv", "conv@2"]
    assert torch.equal(graph["conv"].weights["weight"], graph["conv@2"].weights["weight"])


def test_dead_code_leaves_no_trace() -> None:
    graph = _traced(lambda s, x: (s.other(x), s.conv(x))[1], conv=_conv(), other=_conv())
    assert _ops(graph) == ["input", "conv"]


def test_what_cannot_be_expressed_is_named() -> None:
    """Operator, module and source line; the rest of the graph is there, and is priced."""

    class Sorted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sort(dim=1)[0]

    graph = _traced(lambda s, x: s.tail(s.act(s.head(x)) + s.head(x).cumprod(1)), head=_conv(), act=Sorted(), tail=_conv(8, 3))
    order, total = graph.uncounted
    assert order.startswith("aten.sort.default at act (test_trace.py:")
    assert total.startswith("aten.cumprod")
    assert _ops(graph).count("unknown") == 2
    assert {"head", "tail"} <= {node.name for node in graph.convs}
    workload = to_workload(graph, 8, 8)
    assert workload.uncounted == graph.uncounted
    assert workload.weight_count == 216 + 216  # the head is called twice and stored once
    assert "sort" in graph["act.sort"].op.operation


UNCOUNTED: dict[str, tuple[Callable[[Made, Tensor], Tensor], str]] = {
    "batch_norm": (lambda s, x: F.batch_norm(x, None, None, training=True), "not in evaluation mode"),
    "where": (lambda s, x: torch.where(x > 0.5, x, -torch.inf), "fills with infinity where values of the picture decide"),
    "index": (lambda s, x: x[:, x.mean((0, 2, 3)).argsort()], "an index that depends on the picture"),
    "conv_transpose2d": (lambda s, x: F.conv_transpose2d(x, x[:, :, :3, :3].mT.permute(1, 0, 2, 3)), "weights are computed"),
    "max_pool2d": (lambda s, x: F.max_pool2d(x, 2, 1, dilation=2), "dilated windows"),
    "avg_pool2d": (lambda s, x: F.avg_pool2d(x, 5, 5, ceil_mode=True), "cut off by the border"),
    "linalg_vector_norm": (lambda s, x: x / torch.linalg.vector_norm(x, ord=3, dim=1, keepdim=True), "of order 3"),
}


@pytest.mark.parametrize("name", UNCOUNTED)
def test_uncounted_operations(name: str) -> None:
    """The reason is the true one, and the line that of the call."""
    body, reason = UNCOUNTED[name]
    graph = _traced(body)
    lines = [line for line in graph.uncounted if name in line]
    assert lines, graph.uncounted
    assert any(reason in line and "(test_trace.py:" in line for line in lines), lines
    to_workload(graph, 16, 16)


def test_modules_that_cannot_be_traced() -> None:
    cases: list[tuple[Callable, str]] = [  # type: ignore[type-arg]
        (lambda s, x: x if x.sum() > 0 else -x, "x if x.sum.*decides by values of the picture"),
        (lambda s, x: (x, s.conv(x)), "one picture tensor"),
        (lambda s, x: torch.ones(1, 3, 4, 4), "one picture tensor"),
        (lambda s, x: s.wide(x), "runs on no picture.*expected input.* to have 5 channels"),
    ]
    for body, message in cases:
        with pytest.raises(FileError, match=message):
            _traced(body, conv=_conv(), wide=_conv(5, 3))


def test_what_no_formula_can_give_is_not_exported_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A constant that grows with the picture grows for any number of pictures: one more export at another size is enough."""
    exported: list[tuple[int, ...]] = []
    export = torch.export.export

    def noted(module: nn.Module, given: tuple[Tensor, ...], **options: bool) -> object:
        exported.append(tuple(given[0].shape))
        return export(module, given, **options)

    monkeypatch.setattr(torch.export, "export", noted)
    module = Made(lambda s, x: s.conv(x) + torch.arange(x.shape[2])[:, None], conv=_conv())
    assert trace(module, 3, "sized").size is not None
    assert len({shape[2:] for shape in exported}) == len(exported)


def test_a_network_that_decides_by_the_size_is_for_one_size() -> None:
    """It can be traced at any, and says for which it was."""
    torch.manual_seed(0)
    module = Made(lambda s, x: s.conv(x) * x.shape[2] + torch.arange(x.shape[2])[:, None], conv=_conv())
    graph = trace(module, 3, "sized")
    assert graph.size is not None
    asked = trace(module, 3, "sized", size=(6, 20))
    assert asked.size == (6, 20)
    x = torch.rand(1, 3, 6, 20)
    assert torch.allclose(execute(asked, x), module(x), atol=1e-5)
    with pytest.raises(UsageError, match=r"traced for 6x20 pixels \(height x width\), not for 8x8"):
        execute(asked, torch.rand(1, 3, 8, 8))


def test_wrong_scale_is_noticed() -> None:
    with pytest.raises(FileError, match="Check the scale"):
        trace(build("fsrcnn", scale=2), 1, "fsrcnn", 3)


def test_nothing_of_the_module_is_changed() -> None:
    module = build("ecbsr", **SIZES["ecbsr"])
    before = {key: value.clone() for key, value in module.state_dict().items()}
    graph = trace(module, 3, "ecbsr", 2)
    graph.convs[0].weights["weight"].zero_()
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_constant_channels_beside_those_of_a_picture() -> None:
    """A number spread over the picture is traced for any size; with a map that is not even the graph is for one."""
    spread = torch.tensor([0.25, -1.5]).view(1, 2, 1, 1)
    graph = _traced(lambda s, x: s.conv(torch.cat([x, spread.expand(x.shape[0], -1, *x.shape[2:])], 1)), conv=_conv(5))
    assert (graph.uncounted, graph.size, graph.multiple) == ((), None, 1)
    x = torch.rand(1, 3, 9, 7)
    seen: dict[str, Tensor] = {}
    execute(graph, x, lambda node, value: seen.setdefault(node.name, value))
    (joined,) = (seen[node.name] for node in graph.nodes if node.op.word == "concat")
    assert torch.equal(joined, torch.cat([x, spread.expand(1, 2, 9, 7)], 1))

    def with_ramp(made: Made, x: Tensor) -> Tensor:
        ramp = torch.linspace(0, 1, x.shape[2]).view(1, 1, -1, 1)
        found: Tensor = made.conv(torch.cat([x, ramp.expand(1, 1, *x.shape[2:])], 1))
        return found

    ramped = _traced(with_ramp, conv=_conv(4))
    assert (ramped.uncounted, ramped.size) == ((), (12, 16))


def test_rounding_that_a_network_blows_up_is_no_difference() -> None:
    """A convolution less itself with its channels summed the other way round, large: the graph has no such difference."""
    conv, turned = _conv(3, 3), _conv(3, 3)
    turned.load_state_dict({"weight": conv.weight.flip(1), "bias": conv.bias})
    module = Made(lambda s, x: x + 1e5 * (s.conv(x) - s.turned(x[:, [2, 1, 0]])), conv=conv, turned=turned)
    graph = trace(module, 3, "chaotic")
    assert (graph.size, graph.multiple) == (None, 1)
    x = torch.rand(1, 3, 12, 16)
    with torch.no_grad():
        assert float((execute(graph, x) - module(x)).abs().max()) > 1e-3


def _wild(s: Made, x: Tensor, gain: float) -> Tensor:
    """Where a pixel is far below its neighbours, what is zero but for its rounding, ``gain`` times."""
    sharp = F.relu(F.max_pool2d(x, 3, 1, 1) - x - 0.6)
    return x + gain * sharp * (s.conv(x) - s.turned(x[:, [2, 1, 0]]))  # type: ignore[operator]


def test_noise_that_no_precision_agrees_on_is_no_picture() -> None:
    """Rounding that is blown up beyond double precision: the two are compared on a smooth picture, where they must agree."""
    torch.manual_seed(0)
    conv, turned = _conv(3, 3), _conv(3, 3)
    turned.load_state_dict({"weight": conv.weight.flip(1), "bias": conv.bias})
    wild = Made(lambda s, x: _wild(s, x, 1e16), conv=conv, turned=turned)
    graph = trace(wild, 3, "chaotic")
    x = torch.rand(1, 3, 12, 16).double()
    exact = [replace(node, weights={role: weight.double() for role, weight in node.weights.items()}) for node in graph.nodes]
    with torch.no_grad():
        assert float((execute(replace(graph, nodes=tuple(exact)), x) - deepcopy(wild).double()(x)).abs().max()) > 1e-3
    half = {"scale": torch.full((3,), 0.5), "shift": torch.zeros(3)}
    other = replace(graph, nodes=(*graph.nodes, Node("half", Affine(), (graph.output.name,), half)))
    with pytest.raises(FileError, match="differs from the network"):
        check(other, wild, 3)
