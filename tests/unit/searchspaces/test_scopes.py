"""The scopes of published tables, against what those papers quantize and the bit operations that follow from it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from hwmodels.counting import Counting
from hwmodels.numbers import FP32, NumberFormat
from hwmodels.workload import Workload
from hwsearch.problem.pose import pose
from hwsearch.problem.request import Request
from searchspaces.ir.lower import to_workload
from searchspaces.networks import registry
from searchspaces.networks.registry import LoadedNetwork
from searchspaces.scopes import SCOPES
from searchspaces.space import SearchSpace, build_space
from searchspaces.tracing import trace

SIDE = 16


@pytest.fixture(scope="module")
def edsr() -> Workload:
    """EDSR-baseline x4: 16 blocks of 64 channels."""
    return to_workload(trace.trace(registry.build("edsr", 4), 3, "edsr"), SIDE, SIDE)


def space_of(workload: Workload, scope: str, bits: int, outside: int | NumberFormat) -> tuple[SearchSpace, Counting]:
    space = build_space(workload, (bits,), (bits,), scope=scope, outside=(outside, outside))  # type: ignore[arg-type]
    assert space.counting is not None
    return space, space.counting


def by_hand(workload: Workload, kept: str) -> list[str]:
    """Names of the layers with weights that hold none of the words in ``kept``."""
    return [
        workload.layers[row].name
        for row in workload.weighted
        if not any(word in workload.layers[row].name for word in kept.split())
    ]


@pytest.mark.parametrize(
    ("scope", "kept", "layers", "mega_bitops"),
    [
        # Per pixel of the small picture. The published networks have 1,983,168 MACs there; the upsampler has 37.2 % of them.
        ("body", "head tail", 33, 68.5),
        ("not-first-last", "head.0 tail.1", 35, 33.1),
        ("all", "nothing", 37, 1_983_168 * 16 / 1e6),
    ],
)
def test_edsr_w4a4_has_the_bit_operations_of_the_papers(
    edsr: Workload, scope: str, kept: str, layers: int, mega_bitops: float
) -> None:
    space, counting = space_of(edsr, scope, 4, 8)
    plan = space.uniform(4, 4)
    weights, _ = space.named(plan)
    narrow = [name for name, bits in weights.items() if bits == 4]
    assert narrow == by_hand(edsr, kept)
    assert len(narrow) == layers
    assert counting.bitops(plan)[0] / SIDE**2 / 1e6 == pytest.approx(mega_bitops, abs=0.05)
    assert counting.mean_bits(plan, counting.inside)[0] == 4


def test_residual_blocks_alone_gain_2_4_times_over_floating_point(edsr: Workload) -> None:
    space, counting = space_of(edsr, "blocks", 4, FP32)
    plan = space.uniform(4, 4)
    weights, _ = space.named(plan)
    # Two convolutions of each of the 16 blocks: neither the one behind them nor the upsampler.
    assert [name for name, bits in weights.items() if bits == 4] == [f"body.{i}.body.{j}" for i in range(16) for j in (0, 2)]
    assert edsr.macs * 32 * 32 / counting.bitops(plan)[0] == pytest.approx(2.4, abs=0.02)


def test_linear_layers_alone_read_narrow_tensors_and_the_stream_stays_wide() -> None:
    """MobileSR: four linear layers in each of five stages, behind two normalizations, the attention, and GELU."""
    workload = to_workload(trace.trace(registry.build("mobilesr", 4), 3, "mobilesr"), SIDE, SIDE)
    space, _ = space_of(workload, "linear", 4, 16)
    weights, tensors = space.named(space.uniform(4, 4))
    parts = ("attn.qkv", "attn.proj_out", "mlp.fc.0", "mlp.fc.2")
    narrow = [f"body.layers.{stage}.0.{part}" for stage in range(5) for part in parts]
    assert [name for name, bits in weights.items() if bits == 4] == narrow
    read = {workload.tensors[row].group for layer in workload.layers if layer.name in narrow for row in layer.inputs}
    assert {workload.group_names[group] for group in read} == {name for name, bits in tensors.items() if bits == 4}
    assert len(read) == 20


def test_a_network_without_linear_layers_has_its_body(edsr: Workload) -> None:
    assert SCOPES["linear"].inside(edsr) == SCOPES["body"].inside(edsr)


@pytest.mark.parametrize("scope", ["body", "not-first-last", "blocks"])
def test_layers_outside_keep_one_width_and_read_it(edsr: Workload, scope: str) -> None:
    space = build_space(edsr, (2, 3, 4), (4, 6), scope=scope, outside=(8, 16))  # type: ignore[arg-type]
    assert (space.weight_bits, space.activation_bits) == ((2, 3, 4, 8), (4, 6, 16))
    inside = SCOPES[scope].inside(edsr)
    read_inside = {edsr.tensors[t].group for row in inside for t in edsr.layers[row].inputs}
    for d, row in enumerate(edsr.weighted):
        own = [space.weight_bits[c] for c in space.choices(d)]
        assert own == ([2, 3, 4] if row in inside else [8])
        for tensor in edsr.layers[row].inputs:
            group = edsr.tensors[tensor].group
            wide = [space.activation_bits[c] for c in space.choices(len(space.layer_names) + group)]
            assert wide == ([4, 6] if group in read_inside else [16])


@pytest.mark.parametrize(
    ("name", "scale", "body", "blocks"),
    [("fsrcnn", 2, 4, 4), ("vdsr", 2, 18, 18), ("abpn", 3, 4, 5)],
)
def test_networks_without_residual_blocks(name: str, scale: int, body: int, blocks: int) -> None:
    module = registry.build(name, scale)
    channels = registry.spec(name).channels or 1
    workload = to_workload(trace.trace(module, channels, name), SIDE, SIDE)
    assert len(SCOPES["body"].inside(workload)) == body
    assert len(SCOPES["blocks"].inside(workload)) == blocks


def test_a_block_that_ends_in_a_longer_skip_is_told_from_it() -> None:
    class Nested(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c, self.d, self.e = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(5))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            start = self.a(x)
            inner = start + self.c(self.b(start))
            return self.e(self.d(inner) + start)

    workload = to_workload(trace.trace(Nested(), 4, "nested"), SIDE, SIDE)
    names = {workload.layers[row].name for row in SCOPES["blocks"].inside(workload)}
    assert names == {"b", "c"}


@pytest.mark.parametrize(
    ("target", "scope", "searched", "outside"),
    [("jetson", "body", 8, 8), ("jetson", "blocks", 8, 16), ("stm32h743", "body", 4, 8)],
)
def test_a_device_keeps_its_width_outside_even_where_fewer_bits_are_searched(
    target: str, scope: str, searched: int, outside: int
) -> None:
    network = LoadedNetwork(registry.build("edsr", 2, n_feats=4, n_blocks=2), "edsr", 2, 3, "low", "", {})
    request = Request(target=target, input_size=(SIDE, SIDE), scope=scope, weight_bits=(searched,))  # type: ignore[arg-type]
    space = pose(request, network).space
    weights, tensors = space.named(space.uniform(2, 2))
    assert weights["head.0"] == weights["tail.1"] == outside
    assert tensors[space.group_names[0]] == outside
    assert weights["body.0.body.0"] == searched


def test_counts_of_random_plans_equal_a_sum_by_hand(edsr: Workload) -> None:
    space = build_space(edsr, (2, 4, 8), (4, 8, 16), scope="not-first-last")
    counting = space.counting
    assert counting is not None
    plans = space.random(np.random.default_rng(0), 5)
    for plan, mean, operations in zip(plans, counting.of_plans(plans)["mean_bits"], counting.bitops(plans), strict=True):
        weights, tensors = space.named(plan)
        bits, parameters, total = 0, 0, 0
        for row in edsr.weighted:
            layer = edsr.layers[row]
            total += layer.macs * weights[layer.name] * tensors[edsr.group_names[edsr.tensors[layer.inputs[0]].group]]
            if layer.name not in ("head.0", "tail.1"):
                bits, parameters = bits + layer.weight_count * weights[layer.name], parameters + layer.weight_count
        assert mean == pytest.approx(bits / parameters, rel=1e-12)
        assert operations == total
        assert counting.mean_bits(plan)[0] != mean


def test_a_scope_that_names_nothing_says_what_is_searched_instead(edsr: Workload) -> None:
    fsrcnn = to_workload(trace.trace(registry.build("fsrcnn", 2), 1, "fsrcnn"), SIDE, SIDE)
    body = SCOPES["body"].inside(fsrcnn)
    for name in ("blocks", "linear"):
        assert SCOPES[name].inside(fsrcnn) == body
        assert f"its body is searched instead ({len(body)} layers)" in SCOPES[name].told(fsrcnn)
    assert [name for name in SCOPES if SCOPES[name].told(edsr)] == ["linear"]
