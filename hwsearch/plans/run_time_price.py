"""What a plan costs with the arithmetic that its method needs at run time (``network.run_time``)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from hwmodels import cost
from hwmodels.numbers import INT8, INT16, bits_of
from hwsearch.problem.pose import Problem
from hwsearch.quant.network.graph import QuantizedGraph
from hwsearch.quant.network.run_time import decoding, normalizing
from searchspaces.space import PlanRow, build_space


def mean_price(problem: Problem, bits: tuple[int, int], finished: QuantizedGraph, pictures: Sequence[Tensor]) -> cost.Objectives:
    """A plan's price; where its widths are those of each picture, the mean time and energy over pictures, and the largest
    memory of all widths that there might be."""
    stored = problem.space.uniform(*bits)
    if (switched := finished.by_picture) is None:
        return _price(problem, stored, finished)
    weights, tensors = problem.space.named(stored)
    groups = problem.workload.group_names
    prices = []
    for variant in (switched.fewer, finished, switched.more):
        widths = tensors | {groups[one.group]: variant.formats[one.name].bits for one in problem.workload.tensors}
        row = problem.space.nearest([*weights.values(), *widths.values()])
        prices.append(_price(problem, row, variant))
    seen = [prices[1 + finished.offset(picture)] for picture in pictures]
    return cost.Objectives(
        np.mean([price.latency_s for price in seen], axis=0),
        np.max([price.weight_bytes for price in prices], axis=0),
        np.max([price.peak_activation_bytes for price in prices], axis=0),
        np.mean([price.energy_j for price in seen], axis=0),
    )


def _price(problem: Problem, stored: PlanRow, finished: QuantizedGraph) -> cost.Objectives:
    """A plan's price with what its method's arithmetic needs at run time."""
    weights, tensors = problem.space.named(stored)
    workload, formats, wide = problem.workload, finished.formats, tuple[str, ...]()
    if read := {tensor.name for tensor in workload.tensors if formats[tensor.name].normalized is not None}:
        workload, wide = normalizing(workload, read)
        as_read = INT16
    else:
        groups, as_read = workload.group_names, INT8
        read = {
            tensor.name
            for tensor in workload.tensors
            if bits_of(tensors[groups[tensor.group]]) < INT8.bits and formats[tensor.name].levels is not None
        }
    if not read:
        return cost.estimate(problem.table, stored)
    workload, decoded = decoding(workload, read)
    space = build_space(
        workload,
        problem.space.weight_formats,
        problem.space.tensor_formats,
        wide=problem.space.wide,
        symmetric_activations=problem.space.symmetric_activations,
    )
    row = space.nearest([*weights.values(), *tensors.values(), *[INT16.bits] * len(wide), *[as_read.bits] * len(decoded)])
    return cost.estimate(cost.lower(problem.device, workload, space), row)
