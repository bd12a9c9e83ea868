"""Layers fitted to what they read in the quantized network: nearer to the floating-point network, on the same mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from byte_ends import draft_of
from recursive_network import USES, Recursive
from shipped_plan import shipped_plan

from hwsearch.contracts import tiny_calibration
from hwsearch.quant.calibrate import calibrate
from hwsearch.quant.learn import reconstruct as module
from hwsearch.quant.learn import starts
from hwsearch.quant.learn.held_out import apart
from hwsearch.quant.learn.reconstruct import reconstruct
from hwsearch.quant.method import Draft
from hwsearch.quant.methods.learned import together
from hwsearch.quant.methods.weights import output_noise
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.ir.graph import execute
from searchspaces.ir.lower import to_workload
from searchspaces.space import build_space
from searchspaces.tracing.trace import trace


@pytest.fixture(scope="module")
def calibration():
    return tiny_calibration((3, 4, 8), (3, 4, 8), "together")


@pytest.fixture(scope="module")
def shipped() -> tuple[Draft, Callable[[QuantizedGraph], float]]:
    return shipped_plan(4, "output_noise")


def test_the_shipped_network_comes_nearer_on_photos_it_did_not_see() -> None:
    draft, noise = shipped_plan(3, "together")
    assert noise(reconstruct(draft)) < 0.8 * noise(draft.quantized)


def test_idle_channels_of_the_shipped_network_take_noise_away(shipped, monkeypatch: pytest.MonkeyPatch) -> None:
    draft, noise = shipped
    filled = module.with_reconstructed_layers(draft, 0)
    monkeypatch.setattr(module, "splits", lambda *args, **options: {})
    plain = module.with_reconstructed_layers(draft, 0)
    assert noise(filled.quantized) < 0.8 * noise(plain.quantized)
    with torch.no_grad():
        before, after = (execute(network, draft.pictures[0]) for network in (draft.network, filled.network))
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-3)


def test_what_is_trained_is_the_network_with_idle_channels_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights lean towards its weights, and biases follow the means of what its layers read; the target stays."""
    draft, _ = shipped_plan(4, "together")
    filled = module.with_reconstructed_layers(draft, 0)
    begun: list[Draft] = []
    monkeypatch.setattr(starts, "polish", lambda draft, **options: draft.quantized)
    monkeypatch.setattr(together, "train", lambda draft, *args: begun.append(draft) or draft.quantized)
    finish(draft, seed=0)
    (own,) = begun
    moved = set()
    for node in draft.network.convs:
        weight = own.network[node.name].weights["weight"]
        assert torch.equal(weight, filled.network[node.name].weights["weight"])
        moved |= set() if torch.equal(weight, node.weights["weight"]) else {node.name}
    assert moved
    assert own.target is draft.network
    assert own.pictures == draft.pictures


def test_what_a_layer_writes_keeps_its_mean_and_loses_noise(calibration) -> None:
    """One layer that reads noise: the means agree, and what is written errs less than with the weights as they were."""
    draft = draft_of(calibration, 8, 8)
    node = draft.network[next(node.name for node in draft.network.convs if node.inputs[0] != draft.network.input.name)]
    source = draft.quantized.formats[node.inputs[0]]
    generator = torch.Generator().manual_seed(0)
    shape, top = (1, node.weights["weight"][0].numel(), 4000), 100 * source.scale
    seen = []
    for _ in range(4):
        exact = torch.rand(shape, generator=generator).transpose(1, 2) * top
        seen.append((exact, exact + 0.3 * top * torch.randn(exact.shape, generator=generator) + 0.5 * top))
    layer = module._fitted(node, 8, (source, draft.quantized.formats[node.name]), seen, {})
    exact, rough = (torch.cat(parts, dim=1)[0].double().numpy() for parts in zip(*seen, strict=True))
    was = node.weights["weight"].flatten(1).double().numpy()
    now = layer.weight.reshape(len(layer.weight), -1) * layer.scale[:, None].astype(np.float64)
    wanted = exact @ was.T + node.weights["bias"].double().numpy()
    unit = layer.scale.astype(np.float64) * source.scale
    written = rough @ now.T + layer.bias * unit
    np.testing.assert_allclose(written.mean(axis=0), wanted.mean(axis=0), atol=1e-4 * np.abs(wanted).max() + unit.max())
    before = (rough @ was.T - wanted).var(axis=0)
    # Uniform of variance 1/12 under noise of 0.09: the best linear estimate leaves 0.48 of the noise.
    np.testing.assert_allclose((written - wanted).var(axis=0) / before, 0.48, atol=0.03)


def test_weights_of_a_layer_that_reads_constants_stay(calibration) -> None:
    """Nothing can be learned from what does not vary; rounding errors of its moments say anything."""
    draft = draft_of(calibration, 8, 8)
    node = draft.network[next(node.name for node in draft.network.convs if node.inputs[0] != draft.network.input.name)]
    source, weight = draft.quantized.formats[node.inputs[0]], node.weights["weight"].flatten(1)
    generator = torch.Generator().manual_seed(0)
    constant = torch.rand(weight.shape[1], generator=generator) * 100 * source.scale
    seen = [(torch.rand(1, 4000, weight.shape[1], generator=generator), constant.expand(1, 4000, -1)) for _ in range(4)]
    layer = module._fitted(node, 8, (source, draft.quantized.formats[node.name]), seen, {})
    now = layer.weight.reshape(len(layer.weight), -1) * layer.scale[:, None]
    np.testing.assert_allclose(now, weight.numpy(), atol=3 * float(weight.abs().max()) / 127)


def test_widths_and_formats_stay_and_the_same_seed_gives_the_same(calibration) -> None:
    draft = draft_of(calibration, 3, 4)
    first, again = reconstruct(draft, seed=1), reconstruct(draft, seed=1)
    assert first.formats == draft.quantized.formats
    for name, layer in draft.quantized.layers.items():
        assert first.layers[name].bits == layer.bits
        assert np.array_equal(first.layers[name].weight, again.layers[name].weight)
        assert np.abs(first.layers[name].weight).max() <= 2 ** (layer.bits - 1) - 1


def test_weights_that_several_layers_use_stay() -> None:
    graph = trace(Recursive(), 1, "recursive")
    generator = torch.Generator().manual_seed(1)
    crops = [torch.rand(1, 1, 24, 24, generator=generator) for _ in range(6)]
    space = build_space(to_workload(graph, 12, 16), (4,), (8,))
    draft = calibrate(graph, crops, space).draft(space.uniform(4, 8))
    found = reconstruct(draft)
    moved = {name for name, layer in draft.quantized.layers.items() if found.layers[name] is not layer}
    assert moved == set(draft.quantized.layers) - set(USES)


def test_two_copies_together_are_nearer_than_one_row_can_be(calibration) -> None:
    """A row and its copy: what their mean writes errs less than what the row writes alone."""
    draft = draft_of(calibration, 3, 8)
    node = draft.network[next(node.name for node in draft.network.convs if node.inputs[0] != draft.network.input.name)]
    taken, origin = 1, 0
    weight = node.weights["weight"].clone()
    weight[taken] = weight[origin]
    bias = node.weights["bias"].clone()
    bias[taken] = bias[origin]
    node = node.with_weights(weight=weight, bias=bias)
    formats = (draft.quantized.formats[node.inputs[0]], draft.quantized.formats[node.name])
    generator = torch.Generator().manual_seed(0)
    shape, top = (1, 4000, weight[0].numel()), 100 * formats[0].scale
    seen = [(x, x) for x in (top * torch.rand(shape, generator=generator) for _ in range(4))]
    layer = module._fitted(node, 3, formats, seen, {taken: origin})
    read = torch.cat([x for x, _ in seen], dim=1)[0].double().numpy()
    now = layer.weight.reshape(len(layer.weight), -1) * layer.scale[:, None].astype(np.float64)
    wrong = read @ (now - weight.flatten(1).double().numpy()).T
    noise = [column.var() for column in (wrong[:, origin], wrong[:, taken], wrong[:, [origin, taken]].mean(axis=1))]
    assert noise[2] < 0.5 * noise[0]
    written = (read @ now.T + layer.bias * (layer.scale.astype(np.float64) * formats[0].scale)).mean(axis=0)
    assert written[taken] - written[origin] == pytest.approx(formats[1].scale / 2, rel=0.05)


def finish(draft: Draft, seed: int) -> QuantizedGraph:
    """What the method makes of a draft; finishing needs nothing that it observed."""
    return object.__new__(together.Together).finish(draft, seed)


def test_pictures_that_decide_are_seen_by_no_training(calibration, monkeypatch: pytest.MonkeyPatch) -> None:
    draft, seen = draft_of(calibration, 4, 4), []

    def looked(draft: Draft, *args: object, **options: object):
        seen.extend(draft.pictures)
        return draft.quantized

    monkeypatch.setattr(module, "reconstruct", looked)
    monkeypatch.setattr(starts, "polish", looked)
    monkeypatch.setattr(together, "train", lambda draft, *args: draft.quantized)
    finish(draft, seed=3)
    held, others = apart(draft.pictures, 3)
    assert {id(x) for x in seen} == {id(x) for x in others}
    assert {id(x) for x in held}.isdisjoint(id(x) for x in seen)


def test_a_fit_that_does_harm_is_not_begun_with(calibration, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = draft_of(calibration, 4, 4)
    silent = {name: replace(layer, weight=np.zeros_like(layer.weight)) for name, layer in draft.quantized.layers.items()}
    begun = []
    monkeypatch.setattr(module, "reconstruct", lambda draft, *args: replace(draft.quantized, layers=silent))
    monkeypatch.setattr(starts, "polish", lambda draft, **options: begun.append(draft.quantized) or draft.quantized)
    monkeypatch.setattr(together, "train", lambda draft, *args: draft.quantized)
    finish(draft, seed=0)
    assert begun == [draft.quantized]


@pytest.mark.parametrize("worse", ["filled", "both", "none"])
def test_layers_are_fitted_as_they_are_where_idle_channels_at_work_do_harm(
    worse: str, shipped, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Harm: weights of zero."""
    draft, _ = shipped
    silent = {name: replace(layer, weight=np.zeros_like(layer.weight)) for name, layer in draft.quantized.layers.items()}
    made: list[tuple[bool, QuantizedGraph]] = []

    def fitted(shown: Draft, seed: int, copies: dict[str, dict[int, int]]) -> QuantizedGraph:
        filled = any(copies.values())
        spoilt = worse == "both" or (worse == "filled" and filled)
        made.append((filled, replace(draft.quantized, layers=silent) if spoilt else reconstruct(shown, seed, copies)))
        return made[-1][1]

    monkeypatch.setattr(module, "reconstruct", fitted)
    found = module.with_reconstructed_layers(draft, 0)
    assert [filled for filled, _ in made] == [True] + [False] * (worse != "none")
    assert found.quantized is {"filled": made[-1][1], "both": draft.quantized, "none": made[0][1]}[worse]
    moved = [not torch.equal(found.network[node.name].weights["weight"], node.weights["weight"]) for node in draft.network.convs]
    assert any(moved) == (worse == "none")


@pytest.mark.parametrize(("weights", "tensors", "few"), [(8, 8, False), (4, 8, True), (8, 4, True)])
def test_the_default_method_fits_plans_of_few_bits(calibration, monkeypatch: pytest.MonkeyPatch, weights, tensors, few) -> None:
    draft, begun = draft_of(calibration, weights, tensors), []
    for module_of_it in (output_noise, starts):
        monkeypatch.setattr(module_of_it, "polish", lambda draft, **options: begun.append(draft) or draft.quantized)
    object.__new__(output_noise.OutputNoise).finish(draft, seed=0)
    assert len(begun) == (2 if few else 1)  # from fitted layers, and as calibrated
    given = begun[0]
    assert (given is not draft) == few
    assert (len(given.pictures) < len(draft.pictures)) == few
    found = [layer.weight for layer in given.quantized.layers.values()]
    assert few == any((a != layer.weight).any() for a, layer in zip(found, draft.quantized.layers.values(), strict=True))
