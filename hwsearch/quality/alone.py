"""One choice alone quantized, everything else in floating point: what the proxies that measure one at a time share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from hwsearch.quality.damage import Damage
from hwsearch.quality.errors import Errors, Report, tensors
from hwsearch.quality.finite import finite
from hwsearch.quality.proxy_run import ProxyRun
from hwsearch.quant.calibrate import Calibration
from searchspaces.ir.graph import Graph, Node, apply, execute
from searchspaces.tasks.task import Sample, Task

MACS = 8e10
"""Multiply-accumulates spent on all choices together; larger pictures are cut down to fit."""

Judge = Callable[[Task, Tensor, Tensor, Sample], float]
"""(the task, output with one choice quantized, floating-point output, the sample) -> noise power."""


def measure(
    name: str,
    judge: Judge,
    calibration: Calibration,
    pairs: Sequence[Sample],
    seed: int,
    progress: Report | None,
    task: Task | None,
) -> Damage:
    """Damage of every choice as ``judge`` sees it, averaged over pictures, at least 0."""
    count = int(calibration.space.allowed.sum())
    work = ProxyRun(calibration, pairs, MACS / count, seed, progress, task)
    errors, graph = work.errors, work.graph
    noise = np.zeros(work.space.allowed.shape)
    with torch.no_grad():
        for pair in work.samples(name):
            sized = graph.at(*pair.low.shape[2:])
            values = tensors(graph, pair.low)
            reference = values[graph.output.name]
            for decision, choice_of, is_weight, choice in errors.choices():
                if graph.remembered:
                    output = _disturbed_clip(errors, sized, pair.low, choice_of, is_weight, choice)
                else:
                    output = _disturbed(errors, sized, values, choice_of, is_weight, choice)
                noise[decision, choice] += judge(work.task, output, reference, pair)
    return work.damage(name, np.maximum(noise / len(work.used), 0.0), forward_passes=len(work.used) * (1 + count))


def _disturbed(errors: Errors, graph: Graph, values: dict[str, Tensor], name: str, is_weight: bool, choice: int) -> Tensor:
    """The output with one choice quantized. Tensors that the choice does not reach are taken from ``values``; ``graph`` is for
    pictures of their size."""
    changed: dict[str, Tensor] = {}
    rounded, layers = ((), errors.users[name]) if is_weight else (errors.members[name], ())

    def value(node: Node) -> Tensor:
        if node.name in layers:
            node = errors.changed(node.name, choice)
        elif not any(source in changed for source in node.inputs):
            return values[node.name]
        return finite(apply(node, [changed.get(source, values[source]) for source in node.inputs]))

    for node in graph.nodes:
        reached = any(source in changed for source in node.inputs) or node.name in layers
        if not reached and node.name not in rounded:
            continue
        x = value(node)
        if node.name in rounded:
            x = x + errors.tensor(node.name, choice, x)
        changed[node.name] = x
    return changed.get(graph.output.name, values[graph.output.name])


def _disturbed_clip(errors: Errors, graph: Graph, clip: Tensor, name: str, is_weight: bool, choice: int) -> Tensor:
    """The same of a network with state, where every frame disturbs those that follow: the whole clip is run anew."""
    if is_weight:
        return execute(graph.replaced({name: errors.changed(name, choice)}), clip, lambda _, y: finite(y))

    def rounded(node: Node, y: Tensor) -> Tensor:
        return y + errors.tensor(node.name, choice, y) if node.name in errors.members[name] else finite(y)

    return execute(graph, clip, rounded)
