"""What a method's arithmetic costs at run time: operators of their own in the workload, so that the models of hardware price them
without knowing the method.

A decode table (``TensorFormat.levels``) is a look-up for every value: the tensor is stored in its few bits, and read as the bytes
that the table makes of them. Priced is what a runtime without such a table in its load path does: one more element-wise operation
after the tensor is written, and a byte tensor while its readers run. A device that stores no tensor so narrow needs no table: it
stores the bytes.

Ranges of every picture and channel (``network.normalized``) are known when the whole tensor is: it is written in 16 bits, read
for its extremes, read again and rounded; whoever computes with it multiplies the 16 bits that its codes stand for. In the
published sum, over narrow codes, each channel has a scale of its own, so partial sums are rescaled for each input channel: ``P
C_in C_out`` wide multiplications, a share of ``1 / k^2`` of a layer's products and all of them where the kernel is 1x1. Where
arithmetic takes as much longer as its operands have bits, that is 0.7 times the price told here for a 3x3 kernel of 4 bits, and 4
times for a 1x1 one.

Widths of every picture (AdaBM; ``QuantizedGraph.by_picture``) are priced as the mean over pictures, with buffers for the widest.

What published methods ask for at run time and nothing here computes, exports or prices:

* Widths of every layer for every picture, found while it runs (CADyQ).
* Branches of low rank in floating point (QuantVSR, QArtSR): they need two results of one layer summed before rounding. Here they
  are integer layers, and their sum an addition (``--branches``).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from hwmodels.workload import Layer, Map, Reduce, Tensor, Workload


def normalizing(workload: Workload, tensors: Collection[str]) -> tuple[Workload, tuple[str, ...]]:
    """The workload with a normalization after whatever computes some tensors, by name: they are written wide, seen as a whole,
    and then stored as they were.

    Returns:
        The workload, and the names of its new width groups: of 16 bits.
    """
    named = (row for row, tensor in enumerate(workload.tensors) if tensor.name in tensors)
    computed = [row for row in named if workload.tensors[row].producer >= 0 and not _writer(workload, row).moves()]
    wide = {row: len(workload.tensors) + i for i, row in enumerate(computed)}
    layers: list[Layer] = []
    at: dict[int, int] = {}
    """Row of a layer -> its new row."""
    rounds: dict[int, int] = {}
    """Row of a tensor -> the row of the layer that rounds it."""
    for index, layer in enumerate(workload.layers):
        at[index] = len(layers)
        layers.append(replace(layer, output=wide.get(layer.output, layer.output)))
        if layer.output in wide:
            tensor = workload.tensors[layer.output]
            rounds[layer.output] = len(layers)
            seen = Reduce(tensor.height * tensor.width, keeps=True)
            layers.append(Layer(f"{tensor.name} normalized", seen, (wide[layer.output],), layer.output, window=None))
    old = [
        replace(tensor, producer=rounds.get(row, at.get(tensor.producer, -1)), readers=tuple(at[r] for r in tensor.readers))
        for row, tensor in enumerate(workload.tensors)
    ]
    groups = len(workload.group_names)
    new = [
        replace(tensor, name=f"{tensor.name} wide", producer=at[tensor.producer], readers=(rounds[row],), group=groups + i)
        for i, (row, tensor) in enumerate((row, workload.tensors[row]) for row in computed)
    ]
    names = tuple(tensor.name for tensor in new)
    found = replace(workload, layers=tuple(layers), tensors=(*old, *new), group_names=(*workload.group_names, *names))
    return found, names


def decoding(workload: Workload, tensors: Collection[str]) -> tuple[Workload, tuple[str, ...]]:
    """The workload with a look-up after each of some tensors, by name, that has readers which compute.

    Returns:
        The workload, and the names of its new width groups: of bytes, or of what else readers multiply.
    """
    wanted = [row for row, tensor in enumerate(workload.tensors) if tensor.name in tensors and _computing(workload, tensor)]
    decoded = {row: len(workload.tensors) + i for i, row in enumerate(wanted)}
    layers: list[Layer] = []
    at: dict[int, int] = {}
    """Row of a layer -> its new row; of a look-up, by its tensor: ``lookups``."""
    lookups: dict[int, int] = {}

    def look_up(row: int) -> None:
        lookups[row] = len(layers)
        name = f"{workload.tensors[row].name} decoded"
        layers.append(Layer(name, Map("function"), (row,), decoded[row], finish="none", label="decode table"))

    for row in (row for row in wanted if workload.tensors[row].producer < 0):
        look_up(row)
    for index, layer in enumerate(workload.layers):
        at[index] = len(layers)
        computes = not layer.moves()
        layers.append(replace(layer, inputs=tuple(decoded.get(i, i) if computes else i for i in layer.inputs)))
        if layer.output in decoded:
            look_up(layer.output)
    groups = {row: len(workload.group_names) + i for i, row in enumerate(wanted)}
    old = []
    for row, tensor in enumerate(workload.tensors):
        readers = [at[r] for r in tensor.readers if row not in decoded or workload.layers[r].moves()]
        readers += [lookups[row]] if row in decoded else []
        old.append(replace(tensor, producer=at.get(tensor.producer, -1), readers=tuple(sorted(readers))))
    new = [
        replace(
            workload.tensors[row],
            name=f"{workload.tensors[row].name} decoded",
            producer=lookups[row],
            readers=tuple(at[r] for r in workload.tensors[row].readers if not workload.layers[r].moves()),
            group=groups[row],
        )
        for row in wanted
    ]
    names = tuple(tensor.name for tensor in new)
    found = replace(workload, layers=tuple(layers), tensors=(*old, *new), group_names=(*workload.group_names, *names))
    return found, names


def _computing(workload: Workload, tensor: Tensor) -> bool:
    return any(not workload.layers[row].moves() for row in tensor.readers)


def _writer(workload: Workload, row: int) -> Layer:
    return workload.layers[workload.tensors[row].producer]
