"""Whether the integers beside a plan are its own: what they say of network and widths against what the plan says.

Digests tell that something differs; this tells what. It also tells for plans of earlier versions, which have no seal.
"""

from __future__ import annotations

from collections.abc import Mapping

from hwmodels.numbers import Width, bits_of
from hwsearch.documents.plan import Plan
from hwsearch.formats.running.reach import enlargement
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.data.scale import scale_text


def differences(plan: Plan, integers: QuantizedGraph) -> list[str]:
    """What ``integers`` and ``plan`` say differently, in words; empty where they are one."""
    found = []
    if integers.graph.name != plan.network:
        found.append(f"the network is {plan.network} in the plan and {integers.graph.name} in the integers")
    # A network that refines what was enlarged before it enlarges by 1, whatever the plan's scale; at scale 1 nothing is
    # asked, as a classifier gives no picture.
    scale = enlargement(integers.graph) if plan.scale != 1 else 1
    if scale not in (1, plan.scale):
        found.append(f"the scale is {scale_text(plan.scale)} in the plan and {scale_text(scale)} in the integers")
    if integers.rule != plan.requantization:
        found.append(f"rounding is {plan.requantization} in the plan and {integers.rule} in the integers")
    owners = {users[0] for users in integers.graph.weight_groups.values()}
    layers = {name: layer.bits for name, layer in integers.layers.items() if name in owners}
    found += _widths("layer", plan.weight_bits, layers)
    groups = {name: integers.formats[name].bits for name in integers.graph.width_groups().values()}
    return found + _widths("tensor", plan.activation_bits, groups)


def joined(plan: Plan, integers: QuantizedGraph) -> list[str]:
    """Tensors that have a width of their own in the plan, and share another's in networks as this version reads them: the plan
    is of an earlier version, and so are the numbers of such a tensor in its integers."""
    leaders = integers.graph.width_groups()
    return [name for name in plan.activation_bits if leaders.get(name, name) != name]


def _widths(kind: str, planned: Mapping[str, Width], stored: dict[str, int]) -> list[str]:
    said = []
    for name in dict.fromkeys([*planned, *stored]):
        if name not in stored:
            said.append(f"the integers have no {kind} {name}")
        elif name not in planned:
            said.append(f"the plan has no {kind} {name}")
        elif bits_of(planned[name]) != stored[name]:
            said.append(f"{kind} {name} has {bits_of(planned[name])} bits in the plan and {stored[name]} in the integers")
    return said
