"""The widths that a model file had, as the plan that its search begins with."""

from __future__ import annotations

from random_networks import float_graph

from hwsearch.search.propose import given
from searchspaces.ir.lower import to_workload
from searchspaces.space import build_space


def test_the_widths_of_a_file_become_a_plan_of_the_device() -> None:
    graph = float_graph("fsrcnn-relu")
    space = build_space(to_workload(graph, 24, 32), (4, 8), (8, 16))
    layers, groups = space.layer_names, space.group_names
    widths = {layers[0]: 3, layers[1]: 8, f"-> {groups[0]}": 8}
    plan = given.plan(space, widths)
    assert plan is not None
    found = [space.widths(d)[plan[d]] for d in range(space.decisions)]
    assert found[: len(layers)] == [4, 8, *[8] * (len(layers) - 2)]
    assert found[len(layers) :] == [8, *[16] * (len(groups) - 1)]


def test_a_network_without_widths_has_no_plan() -> None:
    graph = float_graph("fsrcnn-relu")
    assert given.plan(build_space(to_workload(graph, 24, 32), (4, 8), (8, 16)), {}) is None
