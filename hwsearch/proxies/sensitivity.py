"""Measured sensitivity: one choice alone is quantized, everything else stays in floating point, and the output's error is
measured.

Exact for that choice, and as blind as the other proxies to what choices do to each other. One forward pass per choice and
picture, from the quantized layer on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from hwsearch.damage import Damage, output_luma
from hwsearch.proxies.errors import Errors, Progress, float_mse, windows
from hwsearch.quant.calibrate import Calibration
from hwsearch.quant.observe import macs_per_pixel
from searchspaces.graph import Node, apply, execute
from searchspaces.pictures import Pair

MACS = 8e10
"""Multiply-accumulates spent on all choices together; larger pictures are cut down to fit."""


def measure(calibration: Calibration, pairs: Sequence[Pair], seed: int, progress: Progress | None = None) -> Damage:
    """Damage of every choice: mean squared error of the output luma against the float output. ``seed`` is not used."""
    started = time.monotonic()
    errors, space = Errors(calibration), calibration.space
    graph = calibration.graph
    choices = list(errors.choices())
    used = windows(pairs, MACS / len(choices) / macs_per_pixel(graph, pairs[0].low.shape[1]))
    noise = np.zeros(space.allowed.shape)
    with torch.no_grad():
        for number, pair in enumerate(used):
            values: dict[str, Tensor] = {}
            reference = execute(graph, pair.low, _keep(values))
            for decision, name, is_weight, choice in choices:
                output = _disturbed(errors, values, name, is_weight, choice)
                error = output_luma(output.clamp(0, 1)) - output_luma(reference.clamp(0, 1))
                noise[decision, choice] += float(error.double().square().mean())
            if progress:
                progress("measured sensitivity", (number + 1) / len(used))
    noise /= len(used)
    return Damage("sensitivity", noise, float_mse(graph, pairs), seed, tuple(p.name for p in pairs), time.monotonic() - started)


def _keep(values: dict[str, Tensor]) -> Callable[[Node, Tensor], None]:
    def observe(node: Node, value: Tensor) -> None:
        values[node.name] = value

    return observe


def _disturbed(errors: Errors, values: dict[str, Tensor], name: str, is_weight: bool, choice: int) -> Tensor:
    """The output with one choice quantized. Tensors that the choice does not reach are taken from ``values``."""
    graph = errors.graph
    changed: dict[str, Tensor] = {}
    rounded = () if is_weight else errors.members[name]

    def value(node: Node) -> Tensor:
        if is_weight and node.name == name:
            dw, db = errors.weight(name, choice)
            held = {"weight": node.weights["weight"] + dw}
            if db is not None:
                held["bias"] = node.weights["bias"] + db
            node = node.with_weights(**held)
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
