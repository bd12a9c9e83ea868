"""CondiQuant, Hadamard rotation and merged increments: closed forms, functions that stay, and what is left at run time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from hwmodels.numbers import Int
from hwsearch.contracts import tiny_calibration, tiny_pairs
from hwsearch.quant.calibrate import calibrate
from hwsearch.quant.engine import integer
from hwsearch.quant.learn.bounds import Student, train
from hwsearch.quant.learn.distillation import FULL, Distillation, Phase
from hwsearch.quant.learn.features import of_directions
from hwsearch.quant.methods.learned.condiquant import conditioned, proximal
from hwsearch.quant.methods.weights.hadamard import rotated, rotation, streams
from hwsearch.quant.network.rewriting import AS_IT_IS
from searchspaces.ir.graph import execute
from searchspaces.ir.lower import to_workload
from searchspaces.networks.cnn.edsr import EDSR
from searchspaces.space import build_space
from searchspaces.tracing.trace import trace


def spread_of(weight):
    values = np.linalg.svd(weight, compute_uv=False)
    return 0.5 * np.sum((values - values.mean()) ** 2)


def test_the_proximal_map_of_condiquant_is_the_minimum() -> None:
    weight, t = np.random.default_rng(0).normal(size=(3, 4)), 0.7
    found = minimize(
        lambda x: 0.5 * np.sum((x.reshape(3, 4) - weight) ** 2) + t * spread_of(x.reshape(3, 4)), weight.ravel(), tol=1e-12
    )
    np.testing.assert_allclose(proximal(weight, t), found.x.reshape(3, 4), atol=1e-4)


def test_conditioning_brings_singular_values_together_where_the_input_does_not_see_it() -> None:
    """Inputs of rank 6 in 12 dimensions: the rest of the weights is free."""
    rng = np.random.default_rng(1)
    basis = rng.normal(size=(6, 12))
    second = basis.T @ basis
    weight = rng.normal(size=(8, 12)) * np.logspace(0, -3, 8)[:, None]
    found = conditioned(weight, second)
    assert np.linalg.cond(found) < np.linalg.cond(weight) / 2

    def power(w):
        return np.trace(w @ second @ w.T)

    assert power(found - weight) < 0.01 * power(weight)
    assert np.array_equal(conditioned(weight, np.zeros((12, 12))), weight)


def test_condiquant_rounds_conditioned_weights() -> None:
    calibration = tiny_calibration((4, 8), (8, 16), "condiquant")
    method, plain = calibration._cache.method, tiny_calibration((4, 8), (8, 16), "twodquant")._cache.method
    changed = [
        not np.array_equal(method.layer(name, Int(4), AS_IT_IS).integers, plain.layer(name, Int(4), AS_IT_IS).integers)
        for name in calibration.space.layer_names
    ]
    assert any(changed)


@pytest.mark.parametrize("channels", [1, 8, 12, 48])
def test_rotations_are_orthogonal(channels: int) -> None:
    turn = rotation(channels)
    torch.testing.assert_close(turn @ turn.T, torch.eye(channels))
    if channels == 12:
        assert torch.count_nonzero(turn) == 3 * 16


@pytest.fixture(scope="module")
def edsr():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = EDSR(scale=2, n_feats=16, n_blocks=2)
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if name.startswith("head") and name.endswith("weight"):
                    parameter[3] *= 30  # one channel of the residual stream far above all others
        return trace(module.eval(), 3, "edsr")


def test_the_residual_stream_of_edsr_is_rotated_and_its_function_stays(edsr) -> None:
    found = streams(edsr)
    assert max(len(stream) for stream in found) >= 5  # head, and a convolution and a sum for each block
    turned = rotated(edsr)
    x = torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = execute(edsr, x)
        torch.testing.assert_close(execute(turned, x), expected, atol=1e-4 * float(expected.abs().max()), rtol=1e-4)
    largest = max(found, key=len)
    seen: dict[str, float] = {}

    def reach(node, value):
        if node.name in largest:
            of_channel = value.abs().amax(dim=(0, 2, 3))
            seen[node.name] = float(of_channel.max() / of_channel.median())

    execute(edsr, x, reach)
    before = dict(seen)
    execute(turned, x, reach)
    outlying = [name for name in largest if before[name] > 5]  # what the head's channel is in
    assert len(outlying) >= 3
    assert all(seen[name] < before[name] / 2 for name in outlying)


def test_a_rotated_network_is_quantized_better_where_one_channel_stands_out(edsr) -> None:
    x = [torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(i)) for i in range(2)]
    space = build_space(to_workload(edsr, 24, 24), (8,), (4, 8))
    errors = {}
    groups = edsr.width_groups()
    widths = {groups[name] for name in max(streams(edsr), key=len)}
    plan = space.plan(dict.fromkeys(space.layer_names, 8), {name: 4 if name in widths else 8 for name in space.group_names})
    for method in ("mse", "hadamard"):
        quantized = calibrate(edsr, x, space, method=method).quantized(plan)
        errors[method] = float(np.mean([float((integer.run(quantized, y) - execute(edsr, y)).square().mean()) for y in x]))
    assert errors["hadamard"] < errors["mse"]


def test_networks_without_linear_streams_stay() -> None:
    graph = tiny_calibration().graph
    assert rotated(graph) is graph
    assert not streams(graph)


def test_increments_are_merged_before_rounding() -> None:
    calibration = tiny_calibration((3, 8), (8, 16), "minmax")
    draft = calibration.draft(calibration.space.uniform(3, 8))
    plain, student = Student(draft), Student(draft, Distillation((), 0.0, of_directions, 1, rank=2))
    x = tiny_pairs()[0].low
    with torch.no_grad():
        assert torch.equal(plain(x)[0], student(x)[0])  # they begin as nothing
        for change in student.parameters("increments"):
            change.add_(0.3 * torch.randn(change.shape, generator=torch.Generator().manual_seed(1)))
        output, quantized = student(x)[0], student.quantized()
    codes = (output - integer.run(quantized, x)).abs() / quantized.formats[quantized.graph.output.name].scale
    assert float((codes > 0.5).float().mean()) < 0.01
    for name, layer in student.layers.items():
        up, down = layer.increment
        added = layer.weight - draft.network[name].weights["weight"]
        assert np.linalg.matrix_rank((up @ down).detach().numpy()) == 2
        assert float(added.detach().abs().max()) > 0
        assert quantized.layers[name].weight.shape == draft.quantized.layers[name].weight.shape
    trained = train(draft, Distillation((Phase("increments", 60, 2e-2, 1e-3),), 1.0, of_directions, 2, rank=2))
    target = integer.run(calibration.quantized(calibration.space.uniform(8, 8)), x)
    before, after = (float((integer.run(q, x) - target).square().mean()) for q in (draft.quantized, trained))
    assert after < before


def test_lsq_trains_any_change_of_the_weights() -> None:
    calibration = tiny_calibration((2, 8), (8, 16), "minmax")
    draft = calibration.draft(calibration.space.uniform(2, 8))
    student, x = Student(draft, Distillation((), 0.0, of_directions, 1, rank=FULL)), tiny_pairs()[0].low
    with torch.no_grad():
        assert torch.equal(Student(draft)(x)[0], student(x)[0])
    gradients = torch.autograd.grad(student(x)[0].square().mean(), student.parameters("increments"))
    assert all(float(gradient.abs().max()) > 0 for gradient in gradients)
    trained = train(draft, Distillation((Phase("all", 80, 5e-3, 1e-4),), 0.0, of_directions, 2, rank=FULL))
    bounds_alone = train(draft, Distillation((Phase("all", 80, 5e-3, 1e-4),), 0.0, of_directions, 2))
    target = integer.run(calibration.quantized(calibration.space.uniform(8, 8)), x)
    errors = [float((integer.run(q, x) - target).square().mean()) for q in (trained, bounds_alone, draft.quantized)]
    assert max(errors[:2]) < errors[2] / 3  # which of the two comes nearer is up to the seed: 2 bits jump
    assert any(not np.array_equal(trained.layers[name].weight, bounds_alone.layers[name].weight) for name in trained.layers)
