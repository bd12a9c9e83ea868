"""Several methods in one plan: each layer and tensor by the one that harms it least, and nothing else is different."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from recursive_network import USES, Recursive
from torch import Tensor

from hwmodels.errors import UsageError
from hwmodels.numbers import Int
from hwmodels.parts import plugins
from hwsearch.contracts import check_method, tiny_calibration
from hwsearch.quant import methods
from hwsearch.quant.calibrate import Calibration, calibrate
from hwsearch.quant.engine import integer
from hwsearch.quant.mixture import MadeBy
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers
from hwsearch.quant.network.rewriting import AS_IT_IS
from hwsearch.quant.ranges.ranges import clamped
from hwsearch.quant.weights.rounder import exchanged
from searchspaces.ir.graph import Graph, Node, execute
from searchspaces.ir.lower import to_workload
from searchspaces.space import PlanRow, build_space
from searchspaces.tasks.luma import output_luma
from searchspaces.tracing.trace import trace

PARTS = ("aciq", "minmax", "percentile", "mse", "gptq")
MIXTURE = "+".join(PARTS)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return tiny_calibration((2, 3, 4, 8), (3, 4, 8, 16), MIXTURE)


def plans(calibration: Calibration) -> list[PlanRow]:
    return [
        *calibration.space.random(np.random.default_rng(0), 6),
        calibration.space.uniform(3, 3),
        calibration.space.uniform(8, 16),
    ]


@pytest.mark.parametrize("name", ["mse+gptq", MIXTURE, "output_noise+nearest", "nearest+output_noise"])
def test_mixtures_keep_the_contract_of_methods(name: str) -> None:
    check_method(name)


def noise(calibration: Calibration, nodes: Mapping[str, Node], formats: Mapping[str, TensorFormat]) -> float:
    """Mean squared error of the output on all calibration pictures with some layers exchanged, and some tensors rounded."""
    graph, errors = calibration.graph, []

    def see(at: Node, y: Tensor) -> Tensor | None:
        return formats[at.name].fake(y) if at.name in formats else None

    with torch.no_grad():
        for x in calibration._seen.crops:
            changed, right = execute(graph.replaced(nodes), x, see), execute(graph, x)
            errors.append((output_luma(changed) - output_luma(right)).double().square().mean())
    return float(torch.stack(errors).mean())


def layers_of(calibration: Calibration, bits: int, by: Mapping[str, str]) -> float:
    """What all layers do to the output, each of them as a method rounds it."""
    graph = calibration.graph
    made = {name: calibration.by(method)._cache.method.layer(name, Int(bits), AS_IT_IS) for name, method in by.items()}
    return noise(calibration, {name: exchanged(graph[name], layer) for name, layer in made.items()}, {})


def tensors_of(calibration: Calibration, bits: int, by: Mapping[str, str]) -> float:
    """What all tensors that methods decide about do to the output."""
    graph, groups = calibration.graph, calibration.graph.quantizer_groups()
    made = {group: calibration.by(method)._cache.method.tensor(group, Int(bits), AS_IT_IS) for group, method in by.items()}
    rounded = [node for node in graph.nodes if groups[node.name] in made and not node.op.moves]
    return noise(calibration, {}, {node.name: clamped(made[groups[node.name]], node) for node in rounded})


@pytest.mark.parametrize("bits", [3, 4, 8])
def test_no_method_alone_is_better_on_the_calibration_pictures_nor_another_one_at_the_last_choice(
    calibration: Calibration, bits: int
) -> None:
    plan = calibration.space.uniform(bits, bits)
    made, mixed = calibration.made_by(plan), 0
    assert made.layers.keys() == {node.name for node in calibration.graph.convs}
    assert made.tensors
    for told, harm in ((made.layers, layers_of), (made.tensors, tensors_of)):
        least = harm(calibration, bits, told)
        assert least <= min(harm(calibration, bits, dict.fromkeys(told, part)) for part in PARTS)
        last = [*told][-1]
        assert least == min(harm(calibration, bits, {**told, last: part}) for part in PARTS)
        mixed += len(set(told.values())) > 1
    assert mixed or bits != 4, "methods that never differ show nothing"


def test_all_numbers_are_those_of_the_method_that_is_told(calibration: Calibration) -> None:
    graph, groups = calibration.graph, calibration.graph.quantizer_groups()
    for plan in plans(calibration):
        made, own = calibration.made_by(plan), calibration.quantized(plan)
        assert made.layers.keys() == {node.name for node in graph.convs}
        for name, method in made.layers.items():
            alone = calibration.by(method).quantized(plan).layers[name]
            assert np.array_equal(own.layers[name].weight, alone.weight)
            assert np.array_equal(own.layers[name].scale, alone.scale)  # type: ignore[union-attr]
        for name, group in groups.items():
            if group in made.tensors:
                assert own.formats[name] == calibration.by(made.tensors[group]).quantized(plan).formats[name]
        told = {name for name, group in groups.items() if group in made.tensors}
        assert {graph.input.name, graph.output.name}.isdisjoint(told)  # grids of pictures are given


def test_of_equals_the_first_named_is_told() -> None:
    for name, first in (("mse+gptq", "mse"), ("gptq+mse", "gptq")):
        found = tiny_calibration((4, 8), (4, 8), name)
        assert set(found.made_by(found.space.uniform(4, 4)).tensors.values()) == {first}


def test_other_methods_name_no_maker(calibration: Calibration) -> None:
    assert calibration.by("mse").made_by(calibration.space.uniform(4, 4)) == MadeBy()


def test_what_is_settled_is_not_chosen(calibration: Calibration) -> None:
    plan = calibration.space.uniform(3, 3)
    made = calibration.made_by(plan)
    layer, tensor = next(iter(made.layers)), next(iter(made.tensors))
    worst = {
        name: next(part for part in PARTS if part != of[name]) for name, of in ((layer, made.layers), (tensor, made.tensors))
    }
    for given in (MadeBy({layer: worst[layer]}), MadeBy(tensors={tensor: worst[tensor]})):
        again = calibration.settled(given)
        assert again.made_by(plan) == MadeBy({**made.layers, **given.layers}, {**made.tensors, **given.tensors})
        assert calibration.made_by(plan) == made
    assert calibration.settled(made).made_by(plan) == made
    assert calibration.settled(MadeBy()) is calibration
    for wrong in (MadeBy({"nothing": "mse"}), MadeBy({layer: "octav"}), MadeBy(tensors={"nothing": "mse"})):
        with pytest.raises(UsageError, match="mixture"):
            calibration.settled(wrong)
    with pytest.raises(UsageError, match="all layers"):
        calibration.by("mse").settled(made)


def test_choosing_ahead_tells_how_far_it_is_and_chooses_the_same(calibration: Calibration) -> None:
    told: list[tuple[str, float]] = []
    ahead = tiny_calibration((2, 3, 4, 8), (3, 4, 8, 16), MIXTURE)
    ahead.decide(lambda doing, share: told.append((doing, share)))
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert list(dict.fromkeys(doing for doing, _ in told)) == [
        *(f"methods of layers at int{bits}" for bits in (2, 3, 4, 8)),
        *(f"methods of tensors at int{bits}" for bits in (3, 4, 8, 16)),
    ]
    for plan in plans(calibration):
        assert ahead.made_by(plan) == calibration.made_by(plan)


def test_one_plan_is_chosen_for_alone() -> None:
    told: list[str] = []
    found = tiny_calibration((2, 3, 4, 8), (3, 4, 8, 16), "mse+minmax")
    found.decide(lambda doing, share: told.append(doing), found.space.uniform(4, 8))
    assert {doing for doing in told if "layers" in doing} == {"methods of layers at int4"}
    assert "methods of tensors at int4" not in told
    found.by("mse").decide(lambda doing, share: pytest.fail("one method has nothing to choose"))


def test_weights_that_several_layers_use_are_chosen_once() -> None:
    graph: Graph = trace(Recursive(), 1, "recursive")
    generator = torch.Generator().manual_seed(1)
    crops = [torch.rand(1, 1, 24, 24, generator=generator) for _ in range(4)]
    space = build_space(to_workload(graph, 12, 16), (3, 8), (4, 8))
    found = calibrate(graph, crops, space, method=MIXTURE)
    plan = space.uniform(3, 8)
    quantized, made = found.finished(plan), found.made_by(plan).layers
    assert [name for name in USES if name in made] == [graph.weight_groups[USES[0]][0]]
    own = [quantized.layers[name] for name in USES]
    assert all(isinstance(one, LayerIntegers) and np.array_equal(one.weight, own[0].weight) for one in own)
    step = quantized.formats[graph.output.name].scale
    differing = ((found.simulate(plan, crops[0]) - integer.run(quantized, crops[0])).abs() / step > 0.5).float().mean()
    assert float(differing) < 0.02


def test_the_first_named_finishes() -> None:
    found = tiny_calibration((4, 8), (4, 8), "nearest+output_noise")
    plan = found.space.uniform(4, 8)
    polished = found._cache.method.finish(found.draft(plan), 0)
    alone = found.by("nearest")._cache.method.finish(found.draft(plan), 0)
    assert all(np.array_equal(polished.layers[name].weight, alone.layers[name].weight) for name in alone.layers)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mse+ptq4sr", "ptq4sr cannot be mixed"),
        ("mse+nearest", "mse and nearest cannot be mixed"),
        ("mse+mse", "twice"),
        ("mse+", "''"),
        ("mse+nearer", "'nearer'"),
    ],
)
def test_what_cannot_be_mixed_is_refused(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        methods.check([name])
    assert not methods.is_known(name)


PRICED = """
from hwsearch.quant.method import MethodInfo
from hwsearch.quant.ranges import bounds
from hwsearch.quant.static import Static

INFO = MethodInfo("Own", "as minmax", "this test", price={price!r}, exported={exported}, family="as traced")


def observe(seen):
    return Static(seen, bounds.min_max)
"""


@pytest.fixture
def no_plugins() -> Iterator[None]:
    yield
    plugins.use([])


@pytest.mark.usefixtures("no_plugins")
@pytest.mark.parametrize(("price", "exported"), [("none", True), ("none", False), ("a table", True)])
def test_a_method_of_somebody_else_is_mixed_where_price_and_files_allow(tmp_path: Path, price: str, exported: bool) -> None:
    (tmp_path / "own_method.py").write_text(PRICED.format(price=price, exported=exported))
    plugins.use([tmp_path / "own_method.py"])
    if price != "none":
        with pytest.raises(UsageError, match="at run time"):
            methods.load("mse+own_method")
        return
    assert methods.load("own_method+mse").INFO.exported is methods.load("mse+own_method").INFO.exported is exported
    assert "own_method" in next(alike for alike in methods.families() if "mse" in alike)
    if exported:
        check_method("own_method+mse")
    else:
        with pytest.raises(UsageError, match="no file format"):
            methods.check_exported(["mse+own_method"])


def test_what_is_mixed_here_is_not_told_as_published() -> None:
    info = methods.load("mse+gptq").INFO
    assert info.source.startswith("hwsearch")
    assert all(methods.load(part).INFO.source in info.source for part in ("mse", "gptq"))


def test_methods_of_one_family_answer_for_one_network_and_rescale_alike() -> None:
    for alike in methods.families():
        first = tiny_calibration((2, 4, 8), (4, 8, 16), alike[0])
        for other in alike[1:]:
            own = first.by(other)
            assert own.graph is first.graph
            assert methods.load(other).INFO.price == methods.load(alike[0]).INFO.price
            for plan in first.space.random(np.random.default_rng(0), 4):
                one, two = (found._cache.method.rewrite(found.numbers(plan)) for found in (first, own))
                assert {name: scales.key for name, scales in one.items()} == {name: scales.key for name, scales in two.items()}
