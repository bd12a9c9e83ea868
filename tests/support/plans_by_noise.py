"""Plans for tests of the quantizer, chosen on calibration crops alone: each choice is priced by the noise that it causes
alone."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hwsearch.quant.calibrate import Calibration
from searchspaces.ir.graph import execute
from searchspaces.space import PlanLike
from searchspaces.tasks.luma import output_luma

BYTES_PER_CHANNEL = 8
"""A 32-bit bias and a 32-bit scale for each output channel."""


def noise(calibration: Calibration, plan: np.ndarray, x: Tensor, target: Tensor) -> float:
    """Mean squared error of the output's luma against the floating-point network, 0..255 scale."""
    return float(torch.mean((output_luma(calibration.simulate(plan, x)) - target) ** 2))


def float_bytes(calibration: Calibration) -> int:
    return 4 * sum(n.weights["weight"].numel() + n.weights["weight"].shape[0] for n in calibration.graph.convs)


def plan_bytes(calibration: Calibration, plan: np.ndarray) -> int:
    """Packed weights, biases and scales."""
    total = 0
    for node, choice in zip(calibration.graph.convs, plan, strict=False):
        weight = node.weights["weight"]
        total += -(-weight.numel() * calibration.space.weight_bits[choice] // 8) + BYTES_PER_CHANNEL * weight.shape[0]
    return total


def cheapest(calibration: Calibration, crops: Sequence[Tensor], base: PlanLike, ratios: Sequence[float]) -> list[np.ndarray]:
    """For each ratio the plan (activations as in ``base``) of least summed noise whose bytes are that share of the float
    network's."""
    x = torch.cat(list(crops))
    target = output_luma(execute(calibration.graph, x))
    space = calibration.space
    layers, widths = len(space.layer_names), len(space.weight_bits)
    cost, damage = np.zeros((layers, widths), dtype=int), np.zeros((layers, widths))
    for i, choice in itertools.product(range(layers), range(widths)):
        plan = np.array(base)
        plan[i] = choice
        damage[i, choice] = noise(calibration, plan, x, target)
        weight = calibration.graph.convs[i].weights["weight"]
        cost[i, choice] = -(-weight.numel() * space.weight_bits[choice] // 8) + BYTES_PER_CHANNEL * weight.shape[0]
    front: dict[int, tuple[float, tuple[int, ...]]] = {0: (0.0, ())}
    for i in range(layers):
        longer: dict[int, tuple[float, tuple[int, ...]]] = {}
        for (spent, (lost, picked)), choice in itertools.product(front.items(), range(widths)):
            here = (lost + damage[i, choice], (*picked, choice))
            total = spent + int(cost[i, choice])
            if total not in longer or here < longer[total]:
                longer[total] = here
        front = {}
        least = np.inf
        for total in sorted(longer):
            if longer[total][0] < least:
                least = longer[total][0]
                front[total] = longer[total]
    plans = []
    for ratio in ratios:
        plan = np.array(base)
        plan[:layers] = min(value for total, value in front.items() if total <= float_bytes(calibration) / ratio)[1]
        plans.append(plan)
    return plans


def best_wide_pair(calibration: Calibration, crops: Sequence[Tensor], base: PlanLike, wide: int) -> np.ndarray:
    """``base`` with the two tensors at choice ``wide`` that leave the least noise."""
    x = torch.cat(list(crops))
    target = output_luma(execute(calibration.graph, x))
    first = len(calibration.space.layer_names)
    best, least = base, np.inf
    for pair in itertools.combinations(range(first, calibration.space.decisions), 2):
        plan = np.array(base)
        plan[list(pair)] = wide
        found = noise(calibration, plan, x, target)
        if found < least:
            best, least = plan, found
    return best
