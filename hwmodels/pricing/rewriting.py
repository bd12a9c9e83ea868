"""Layers of a workload taken apart into those that a file holds or a compiler makes of them.

What is decided is the network's: widths of its layers and tensors. What is priced may be other operations: a file may hold two
convolutions for one with slopes, a compiler may turn axes in several steps. ``rewrite`` makes a workload of such pieces and tells
whose they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hwmodels.workload import Layer, Piece, Tensor, Workload


@dataclass(frozen=True)
class Rewritten:
    """A workload of pieces; ``owner``: for each of its layers, the layer of the network that it belongs to."""

    workload: Workload
    owner: tuple[int, ...]


Rewrite = Callable[[Workload, int], Sequence[Piece]]
"""The pieces in place of a layer, by its row; empty where it stays."""


def itself(workload: Workload, row: int) -> Piece:
    """The layer as one piece, with what ends it."""
    layer = workload.layers[row]
    target = workload.tensors[layer.output]
    shape = (target.channels, target.height, target.width)
    return Piece(layer.work, tuple(range(len(layer.inputs))), shape, layer.finish, weighs=True, aside=layer.aside)


def rewrite(workload: Workload, pieces: Rewrite) -> Rewritten:
    """The workload with the pieces of every layer in its place. The network's own tensors keep their rows."""
    tensors, layers, owner = list(workload.tensors), list[Layer](), list[int]()
    for row, layer in enumerate(workload.layers):
        made: list[int] = []
        found = pieces(workload, row)
        if not found:
            layers.append(layer)
            owner.append(row)
        reads = next((number for number, piece in enumerate(found) if piece.weighs), 0)
        for number, piece in enumerate(found):
            last = number == len(found) - 1
            target = workload.tensors[layer.output]
            made.append(layer.output if last else len(tensors))
            if not last:
                channels, height, width = piece.shape
                tensors.append(Tensor(f"{layer.name}/{number}", channels, height, width, 0, (), target.group, target.picture))
            layers.append(
                replace(
                    layer,
                    name=layer.name if last else f"{layer.name}/{number}",
                    work=piece.work,
                    inputs=tuple(layer.inputs[i] if i >= 0 else made[number + i] for i in piece.inputs),
                    output=made[-1],
                    weight_count=layer.weight_count if piece.weighs else 0,
                    bias_count=layer.bias_count if piece.weighs else 0,
                    finish=piece.finish,
                    aside=piece.aside,
                    constants=layer.constants if number == reads else (),
                )
            )
            owner.append(row)
    producers = {layer.output: row for row, layer in enumerate(layers)}
    readers: list[list[int]] = [[] for _ in tensors]
    for row, layer in enumerate(layers):
        for i in dict.fromkeys(layer.inputs):
            readers[i].append(row)
    linked = (replace(t, producer=producers.get(i, -1), readers=tuple(readers[i])) for i, t in enumerate(tensors))
    made_of = Workload(
        workload.name,
        tuple(layers),
        tuple(linked),
        workload.group_names,
        workload.uncounted,
        number_bytes=workload.number_bytes,
    )
    return Rewritten(made_of, tuple(owner))


def followed(first: Rewritten, pieces: Rewrite) -> Rewritten:
    """One rewriting after another."""
    second = rewrite(first.workload, pieces)
    return Rewritten(second.workload, tuple(first.owner[row] for row in second.owner))
