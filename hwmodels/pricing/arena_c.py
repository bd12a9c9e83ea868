"""What the exported C keeps in RAM: its static arena, and the buffers of the caller.

Feature maps lie in the arena from the step that writes them to the last one that reads them. While a convolution runs it has its
weights there, unpacked to bytes, where they are stored in fewer than 8 bits, and a few gathered patches; depthwise and grouped
kernels gather nothing. A product of two tensors of 8 bits has the second one of a batch there, turned, with a sum for each of its
columns; one of 16 bits has it and a row of the first; a softmax of 16 bits has a row; an interpolation has rows of the output in
single precision. Operands that are brought into another order or repeated before a step are not counted: a
workload does not tell. The picture that goes in and the one that comes out lie in buffers of the caller, who gives them for the
whole call, as he does states of the frame before and of the next. There are no tables: constants are in flash.
"""

from __future__ import annotations

import numpy as np

from hwmodels.pricing.arena import Arena, When
from hwmodels.pricing.arena_build import Builder
from hwmodels.pricing.placement import NONE
from hwmodels.workload import Contract, Move, Reduce, Workload

ALIGNMENT = 8
MAX_PIXELS = 4
"""``HWS_MAX_PIXELS`` of the kernels: patches that are gathered at once."""
WHOLE_BITS = 8
SUM_BYTES = 4
WIDE_BYTES = 2
REAL_BYTES = 4


def arena(workload: Workload, element_bytes: np.ndarray, weight_bits: tuple[int, ...]) -> Arena:
    """The RAM of ``workload`` for the choices on offer: ``element_bytes float64[nA]`` and ``weight_bits``."""
    choices = max(len(element_bytes), len(weight_bits))
    width = np.pad(element_bytes, (0, choices - len(element_bytes)), mode="edge")
    packed = np.array([bits < WHOLE_BITS for bits in weight_bits] + [False] * (choices - len(weight_bits)))
    build, weights = Builder(choices), workload.weight_columns
    columns = [len(workload.weighted) + tensor.group for tensor in workload.tensors]

    def scaled(row: int, elements: int) -> When:
        return When(columns[row], NONE, np.tile(elements * width[:, None], choices))

    buffers: list[tuple[int, str, int, When]] = []
    for row, layer in enumerate(workload.layers):
        build.step(row)
        if layer.contracts and layer.weight_count:
            channels = workload.tensors[layer.inputs[0]].channels
            patch = MAX_PIXELS * layer.kernel[0] * layer.kernel[1] * channels if layer.groups == 1 else 0
            size = layer.weight_count * packed[:, None] + patch * width[None, :]
            buffers.append((row, f"{layer.name} scratch", row, When(weights[row], columns[layer.inputs[0]], size)))
        elif isinstance(layer.work, Reduce) and layer.work.is_softmax:
            size = WIDE_BYTES * layer.work.over * (width > 1)[None, :] * np.ones((choices, 1))
            buffers.append((row, f"{layer.name} scratch", row, When(columns[layer.inputs[0]], columns[layer.output], size)))
        elif layer.of_tensors and isinstance(layer.work, Contract):
            count, narrow = workload.tensors[layer.output].channels, width == 1
            both = narrow[:, None] & narrow[None, :]
            of_bytes = SUM_BYTES * count + (MAX_PIXELS + count) * layer.work.depth
            size = np.where(both, of_bytes, WIDE_BYTES * (1 + count) * layer.work.depth)
            groups = [columns[read] for read in layer.inputs]
            buffers.append((row, f"{layer.name} scratch", row, When(groups[0], groups[-1], size)))
        elif isinstance(layer.work, Move) and layer.work.taps:
            target = workload.tensors[layer.output]
            reals = layer.work.taps[0] * target.width * target.channels
            buffers.append((row, f"{layer.name} scratch", row, When(NONE, NONE, np.full((choices, choices), REAL_BYTES * reals))))
    for row, tensor in enumerate(workload.tensors):
        if tensor.producer < 0 or not tensor.readers:
            build.table(scaled(row, tensor.elements))
        else:
            last = max(tensor.readers)
            buffers.append((tensor.producer, tensor.name, last, scaled(row, tensor.elements)))
    for first, name, last, size_bytes in sorted(buffers, key=lambda buffer: buffer[:2]):
        buffer = build.buffer(name, size_bytes)
        for time in (first, last):
            build.use([buffer], time=time)
    build.lines(workload, lambda row, pixels: scaled(row, pixels * workload.tensors[row].channels))
    return build.build(alignment=ALIGNMENT, fixed_bytes=0, tables="input and output")
