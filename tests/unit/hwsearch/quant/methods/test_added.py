"""What QArtSR and QuantVSR train beside bounds: it leaves the function, ends in integers, and is trained in its order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from hwsearch.quant.calibrate import calibrate
from hwsearch.quant.engine import integer
from hwsearch.quant.engine.simulate import as_real
from hwsearch.quant.learn.bounds import Student, train
from hwsearch.quant.learn.distillation import Distillation, Phase
from hwsearch.quant.learn.features import of_directions, of_squares
from hwsearch.quant.learn.modules import modules
from hwsearch.quant.methods.learned import qartsr, quantvsr
from hwsearch.quant.methods.weights.hadamard import rotated
from searchspaces.ir import branches
from searchspaces.ir.graph import Graph, apply, execute
from searchspaces.ir.lower import to_workload
from searchspaces.space import build_space
from searchspaces.tracing.trace import trace

RANKS = {"body.0": 3, "body.2": 4}


class Net(nn.Module):
    """Luma x2: two layers around a residual, whose first narrows, so that its branch has its whole kernel behind."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(16, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 16, 3, padding=1))
        self.tail = nn.Sequential(nn.Conv2d(16, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, x):
        y = self.head(x)
        return self.tail(y + self.body(y))


@pytest.fixture(scope="module")
def graph() -> Graph:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Net().eval()
    with torch.no_grad():
        module.tail[2].bias.fill_(0.5)
        module.tail[2].weight.mul_(10)  # pictures of some contrast
    return trace(module, 1, "net")


@pytest.fixture(scope="module")
def pictures() -> list[torch.Tensor]:
    return [torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]


def draft_of(graph: Graph, pictures, weights: int, tensors: int, method: str = "mse"):
    space = build_space(to_workload(graph, 16, 16), (2, 3, 4, 8), (4, 8, 16))
    return calibrate(graph, pictures, space, method=method).draft(space.uniform(weights, tensors))


def distillation(*added: str, phases=(), rank: int = 0) -> Distillation:
    return Distillation(phases, 0.0, of_directions, 2, rank=rank, added=added, output=of_squares)


def spoilt(student: Student, what: str, size: float) -> None:
    generator = torch.Generator().manual_seed(1)
    for change in student.parameters(what):
        change.data += size * torch.randn(change.shape, generator=generator)


def error(quantized, graph: Graph, x: torch.Tensor) -> float:
    return float((integer.run(quantized, x).clamp(0, 1) - execute(graph, x).clamp(0, 1)).square().mean())


@pytest.mark.parametrize("bits", [(3, 4), (8, 8)])
def test_the_student_computes_what_its_integers_compute(graph, pictures, bits) -> None:
    draft = draft_of(branches.branched(graph, RANKS), pictures, *bits)
    student, x = Student(draft, distillation("scales", "branches", "biases", rank=2)), pictures[0]
    spoilt(student, "all", 0.1)
    with torch.no_grad():
        output, _ = student(x)
    quantized = student.quantized()
    codes = (output - integer.run(quantized, x)).abs() / quantized.formats[quantized.graph.output.name].scale
    assert float((codes > 0.5).float().mean()) < 0.01


def test_scales_of_channels_leave_the_function_and_change_the_integers(graph, pictures) -> None:
    draft, x = draft_of(graph, pictures, 8, 8), pictures[0]
    student = Student(draft, distillation("scales"))
    # Behind the residual's beginning and sum there are sums, which do not fold; the other two are behind a ReLU.
    assert {name: len(scales.change) for name, scales in student.scales.items()} == {"body.0": 12, "tail.0": 8}
    for name, scales in student.scales.items():  # down, so that no range is passed; weights that read it become larger
        scales.change.data += torch.linspace(-0.8, 0, len(scales.change))
        (reader,) = graph.readers(name)
        student.layers[reader.name].change.data += 0.8
    quantized = student.quantized()
    for name in student.scales:
        ratio = quantized.layers[name].scale / draft.quantized.layers[name].scale
        np.testing.assert_allclose(
            np.log(ratio), np.linspace(-0.8, 0, len(ratio)) + student.layers[name].change.numpy(force=True), atol=1e-5
        )
        (reader,) = graph.readers(name)
        assert not np.array_equal(quantized.layers[reader.name].weight, draft.quantized.layers[reader.name].weight)
    spread = float(execute(graph, x).clamp(0, 1).var())
    assert error(quantized, graph, x) < 3e-3 * spread
    seen = {}
    execute(graph, x, lambda node, value: seen.update({node.name: value}))
    with torch.no_grad():  # as the floating-point network has it
        (tensor,) = student.shown(x, ["tail.0"])
    assert float((tensor - seen["tail.0"]).square().mean()) < 3e-3 * float(seen["tail.0"].var())


def test_the_product_of_the_factors_is_what_the_rest_is_without(graph) -> None:
    branched = branches.branched(graph, RANKS)
    assert branches.given(branched) == {name: (f"{name}.down", f"{name}.up") for name in RANKS}
    assert not branches.given(graph)
    kernels = set()
    for name, (down, up) in branches.given(branched).items():
        both = [branched[part].weights["weight"] for part in (down, up)]
        kernels.add(both[1].shape[2])
        torch.testing.assert_close(branches.product(*both) + branched[name].weights["weight"], graph[name].weights["weight"])
    assert kernels == {1, 3}  # either of the two may have the kernel


def test_what_is_left_of_a_layer_moves_as_its_branch_does(graph, pictures) -> None:
    """Factors that are moved far, at 8 bits: with the rest that follows, the function stays."""
    draft, x = draft_of(branches.branched(graph, RANKS), pictures, 8, 16), pictures[0]
    whole, factors_alone = Student(draft, distillation("branches")), Student(draft, distillation("branches"))
    for layer in factors_alone.layers.values():
        layer.beside = None
    assert len(whole.parameters("branches")) == 4
    for student in (whole, factors_alone):
        spoilt(student, "branches", 0.3)
    beside, alone = (error(student.quantized(), graph, x) for student in (whole, factors_alone))
    assert beside < 0.1 * alone


def test_phases_of_quantvsr_change_what_they_are_named_after(graph, pictures) -> None:
    draft = draft_of(branches.branched(graph, RANKS), pictures, 3, 8)
    of_branches = train(draft, distillation("branches", "biases", phases=(Phase("branches", 30, 1e-2, 1e-3),)))
    of_biases = train(draft, distillation("biases", phases=(Phase("biases", 30, 1e-1, 1e-2),)))

    def changed(quantized) -> set[str]:
        own = draft.quantized.layers
        return {name for name, layer in quantized.layers.items() if not np.array_equal(layer.weight, own[name].weight)}

    parts = {f"{name}{part}" for name in RANKS for part in ("", ".down", ".up")}
    assert changed(of_branches)
    assert changed(of_branches) <= parts
    assert not changed(of_biases)
    assert any(not np.array_equal(layer.bias, draft.quantized.layers[name].bias) for name, layer in of_biases.layers.items())
    assert draft.quantized.formats == of_branches.formats == of_biases.formats  # ranges are not trained
    errors = [np.mean([error(q, graph, x) for x in pictures]) for q in (draft.quantized, of_branches, of_biases)]
    assert max(errors[1:]) < errors[0]


def test_quantvsr_rotates_as_hadamard_does(graph, pictures) -> None:
    branched = branches.branched(graph, {"body.2": 4})
    space = build_space(to_workload(branched, 16, 16), (4, 8), (4, 8))
    own, wanted = calibrate(branched, pictures, space, method="quantvsr").graph, rotated(branched)
    for node in wanted.convs:
        assert torch.equal(own[node.name].weights["weight"], node.weights["weight"])
    # What is left and the branch still are the layer, in the coordinates of its stream.
    (down, up) = branches.given(own)["body.2"]
    total = branches.product(own[down].weights["weight"], own[up].weights["weight"]) + own["body.2"].weights["weight"]
    assert float(total.norm()) == pytest.approx(float(graph["body.2"].weights["weight"].norm()), rel=1e-4)


def test_modules_are_what_lies_between_ends(graph) -> None:
    (end,) = [node.name for node in graph.nodes if node.op.kind == "add"]
    first, last = modules(graph, [end])
    assert first.end == end
    assert last.end == graph.output.name
    assert not first.before
    assert first.nodes == last.before
    assert first.nodes | last.nodes == {node.name for node in graph.nodes}


def test_a_module_reads_the_floating_point_network_and_is_followed_by_integers(graph, pictures) -> None:
    draft, x = draft_of(graph, pictures, 3, 4), pictures[0]
    student = Student(draft, distillation("scales"))
    _, last = modules(graph, student.kept)
    seen: dict[str, torch.Tensor] = {}
    execute(graph, x, lambda node, value: seen.update({node.name: value}))
    formats, value = draft.quantized.formats, None
    for node in graph.nodes:  # by hand: what is read is stored, then each layer with its integers
        if node.name in last.nodes:
            read = formats[node.inputs[0]].fake(seen[node.inputs[0]]) if value is None else value
            layer = draft.quantized.layers.get(node.name)
            value = apply(node if layer is None else as_real(node, layer, formats[node.inputs[0]]), [read])
            value = value if node.op.moves else formats[node.name].fake(value)
    with torch.no_grad():
        (output,) = student.shown(x, [last.end], last.before)
        (all_quantized,) = student.shown(x, [last.end])
    assert float((output - value).abs().mean()) < 0.05 * float((all_quantized - value).abs().mean())


def test_each_number_is_trained_with_the_last_module_that_uses_it(graph, pictures) -> None:
    student = Student(draft_of(graph, pictures, 3, 4), distillation("scales", rank=2))
    parts = modules(graph, student.kept)
    of_modules = [{id(tensor) for tensor in student.parameters("all", module)} for module in parts]
    assert not of_modules[0] & of_modules[1]
    assert of_modules[0] | of_modules[1] == {id(tensor) for tensor in student.parameters("all")}
    end = student.tensors[graph.quantizer_groups()[parts[0].end]]
    assert id(end.change) in of_modules[1]  # what the first writes is rounded for the second to read
    # Neither error of the last module reaches the first, which is in floating point then.
    (output,) = student.shown(pictures[0], [graph.output.name], parts[1].before)
    first = student.parameters("weights", parts[0])
    assert all(found is None for found in torch.autograd.grad(output.square().mean(), first, allow_unused=True))


def test_reversed_training_lowers_the_error_of_the_picture(graph, pictures) -> None:
    draft = draft_of(branches.branched(graph, {"body.2": 4}), pictures, 3, 4, "qartsr")
    quick = replace(qartsr.DISTILLATION, phases=(Phase("modules", 60, 1e-2, 1e-3),))
    trained = train(draft, quick)
    errors = [np.mean([error(q, graph, x) for x in pictures]) for q in (draft.quantized, trained)]
    assert errors[1] < 0.7 * errors[0]


def test_both_are_listed_with_what_is_reconstructed() -> None:
    assert "LPIPS" in qartsr.INFO.reconstructed
    assert "timestep" in qartsr.INFO.reconstructed
    assert "no networks with state" in quantvsr.INFO.reconstructed
