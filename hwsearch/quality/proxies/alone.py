"""One choice alone quantized, everything else in floating point: what the proxies that measure one at a time share."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from hwsearch.quality.damage import Damage
from hwsearch.quality.proxies.errors import Errors, Progress, float_mse, tensors, windows
from hwsearch.quant.calibrate import Calibration
from hwsearch.quant.observe.gains import macs_per_pixel
from searchspaces.data.pictures import Pair
from searchspaces.ir.graph import Node, apply

MACS = 8e10
"""Multiply-accumulates spent on all choices together; larger pictures are cut down to fit."""

Judge = Callable[[Tensor, Tensor, Pair], float]
"""(output with one choice quantized, floating-point output, the picture) -> noise power; outputs ``[1, C, H, W]`` in 0..1."""


def measure(
    name: str, judge: Judge, calibration: Calibration, pairs: Sequence[Pair], seed: int, progress: Progress | None
) -> Damage:
    """Damage of every choice as ``judge`` sees it, averaged over pictures, at least 0."""
    started = time.monotonic()
    errors, graph = Errors(calibration), calibration.graph
    choices = list(errors.choices())
    used = windows(pairs, MACS / len(choices) / macs_per_pixel(graph, pairs[0].low.shape[1]))
    noise = np.zeros(calibration.space.allowed.shape)
    with torch.no_grad():
        for number, pair in enumerate(used):
            values = tensors(graph, pair.low)
            reference = values[graph.output.name]
            for decision, choice_of, is_weight, choice in choices:
                output = _disturbed(errors, values, choice_of, is_weight, choice)
                noise[decision, choice] += judge(output, reference, pair)
            if progress:
                progress(name, (number + 1) / len(used))
    return Damage(
        name,
        np.maximum(noise / len(used), 0.0),
        float_mse(graph, used),
        seed,
        tuple(pair.name for pair in used),
        time.monotonic() - started,
        forward_passes=len(used) * (1 + len(choices)),
    )


def _disturbed(errors: Errors, values: dict[str, Tensor], name: str, is_weight: bool, choice: int) -> Tensor:
    """The output with one choice quantized. Tensors that the choice does not reach are taken from ``values``."""
    graph = errors.graph
    changed: dict[str, Tensor] = {}
    rounded = () if is_weight else errors.members[name]

    def value(node: Node) -> Tensor:
        if is_weight and node.name == name:
            node = errors.changed(name, choice)
        elif not any(source in changed for source in node.inputs):
            return values[node.name]
        return apply(node, [changed.get(source, values[source]) for source in node.inputs])

    for node in graph.nodes:
        reached = any(source in changed for source in node.inputs) or (is_weight and node.name == name)
        if not reached and node.name not in rounded:
            continue
        x = value(node)
        if node.name in rounded:
            x = x + errors.tensor(node.name, choice, x)
        changed[node.name] = x
    return changed.get(graph.output.name, values[graph.output.name])
