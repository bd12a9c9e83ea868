"""What ONNX Runtime makes of a network in single precision on a processor, as far as it tells in time.

Convolutions are computed on tensors whose channels lie in blocks as wide as a vector, behind each other the pixels of one block
("NCHWc": the rules are those of its graph transformer ``nchwc_transformer.cc``, which inserts ``ReorderInput`` and
``ReorderOutput``). What follows element by element stays so; a transpose, a pixel shuffle or a slope for every channel reads and
writes planes. A tensor is converted once, however many read it in the other layout. A convolution adds another tensor to what it
writes for nothing, and a product of two tensors has a factor (``matmul_scale_fusion.cc``).

Not followed, because a workload does not tell them apart: an interpolation to the nearest pixel stays in blocks, and a bound from
above behind an addition asks for planes.
"""

from __future__ import annotations

from typing import NamedTuple

from hwmodels.workload import Contract, Layer, Map, Reduce, Workload

KEPT = ("add", "mul", "clamp", "function")
"""Element-wise operations that have a kernel for blocks."""

ALIGNED = 4
"""Input channels of a convolution that reads blocks are a multiple of this."""


class Executed(NamedTuple):
    """``converted [L]``: the tensors that are brought into the other layout for each layer; ``fused [L]``: whether a layer is
    done by its neighbour; ``planes [L]``: whether it is a convolution of planes, which gathers patches for a matrix product."""

    converted: list[tuple[int, ...]]
    fused: list[bool]
    planes: list[bool]


def executed(workload: Workload, lanes: int) -> Executed:
    """What becomes of a network where blocks have ``lanes`` channels. It is given planes, and gives planes back."""
    origin: dict[int, int] = {}  # of tensors in blocks: the tensor whose size they have, as far as ONNX Runtime follows it
    done = set[int]()
    converted, fused, planes = [], [], []
    for layer in workload.layers:
        convolves = _convolves_blocks(workload, layer, lanes)
        keeps = not convolves and _keeps_blocks(workload, layer, lanes, origin)
        wanted = keeps or (convolves and _reads_blocks(workload, layer, lanes))
        changed = [i for i in dict.fromkeys(layer.inputs) if (i in origin) != wanted and i not in done]
        done.update(changed)
        sums = keeps and layer.maps("add") and len(set(layer.inputs)) > 1 and len({origin[i] for i in layer.inputs}) == 1
        sums = sums and any(_ends_in_sum(workload, i) for i in layer.inputs)
        fused.append(sums or _is_factor_of_product(workload, layer))
        if keeps or convolves:
            output = workload.tensors[layer.output]
            if not output.readers or layer.finish == "slopes":  # slopes have no kernel for blocks
                changed.append(layer.output)
            else:
                first = layer.inputs[0]
                same = layer.stride == 1 and output.height == workload.tensors[first].height
                origin[layer.output] = origin.get(first, first) if same else layer.output
        converted.append(tuple(changed))
        planes.append(isinstance(layer.work, Contract) and not layer.product and not convolves)
    return Executed(converted, fused, planes)


def _ends_in_sum(workload: Workload, tensor: int) -> bool:
    """Whether a tensor is written by a convolution, changed by no function, and read once."""
    made = workload.tensors[tensor]
    layer = workload.layers[made.producer]
    return made.producer >= 0 and layer.contracts and layer.finish == "none" and len(made.readers) == 1


def _is_factor_of_product(workload: Workload, layer: Layer) -> bool:
    """Whether a layer multiplies what a product of two tensors reads or has written by one number."""
    if not layer.maps("mul") or [constant.elements for constant in layer.constants] != [1]:
        return False
    source, output = workload.tensors[layer.inputs[0]], workload.tensors[layer.output]
    behind = source.producer >= 0 and workload.layers[source.producer].of_tensors and len(source.readers) == 1
    return behind or (len(output.readers) == 1 and workload.layers[output.readers[0]].of_tensors)


def _convolves_blocks(workload: Workload, layer: Layer, lanes: int) -> bool:
    """Whether a layer is a convolution that has a kernel for blocks."""
    if not isinstance(layer.work, Contract) or layer.work.form == "product":
        return False
    outputs = workload.tensors[layer.output].channels
    inputs, groups = workload.tensors[layer.inputs[0]].channels // layer.work.groups, layer.work.groups
    if groups == 1:
        return inputs < lanes or inputs % ALIGNED == 0
    if inputs == 1 and outputs == groups:
        return True  # filled up to whole blocks
    return inputs % lanes == 0 and (outputs // groups) % lanes == 0


def _reads_blocks(workload: Workload, layer: Layer, lanes: int) -> bool:
    """Whether such a convolution reads blocks, too: with fewer input channels than a block has, it reads planes."""
    return layer.channelwise or workload.tensors[layer.inputs[0]].channels // layer.groups >= lanes


def _keeps_blocks(workload: Workload, layer: Layer, lanes: int, origin: dict[int, int]) -> bool:
    """Whether a layer takes the blocks that it is given, and gives some back."""
    tensors = [workload.tensors[i] for i in layer.inputs]
    if not all(i in origin for i in layer.inputs):
        return False
    if layer.moves("concat") or (isinstance(layer.work, Reduce) and layer.work.kernel is not None):
        return all(tensor.channels % lanes == 0 for tensor in tensors)
    alike = all(tensor.elements == workload.tensors[layer.output].elements for tensor in tensors)
    return isinstance(layer.work, Map) and layer.work.function in KEPT and alike and not layer.constants
