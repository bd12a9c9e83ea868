"""Layers around matrix products that a GPU's runtime executes inside of another layer's kernel.

TensorRT documents element-wise fusion behind products (bias, GELU and the like), a fused kernel for attention (both products with
the scaling, masks and softmax between them), and that reshapes move nothing. So:

- a view costs nothing;
- transposes behind or in front of a product are the strides with which its kernel writes or reads;
- an element-wise operation on the result of a product that nobody else reads is done as that kernel writes: of its operands only
  the others are read;
- a softmax between two products of tensors is in their kernel, and what is between these two is neither written nor read.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodels.workload import Workload


class Joined(NamedTuple):
    """What layers cost beside arithmetic, ``float64[L]`` each: 1 or 0 launches, and the shares of what they read and write that
    pass a memory."""

    launches: np.ndarray
    read: np.ndarray
    written: np.ndarray


def joined(workload: Workload, products: bool) -> Joined:
    """What is left of every layer; ``products``: whether the runtime fuses around matrix products, else views alone are free."""
    found = Joined(*(np.ones(len(workload.layers)) for _ in range(3)))
    main: dict[int, int] = {}
    for row, layer in enumerate(workload.layers):
        if layer.moves("view") or (products and _strides(workload, main, row)):
            _skip(found, row)
        elif products and layer.maps():
            _element_wise(workload, main, found, row)
        elif products and layer.is_softmax:
            _softmax(workload, main, found, row)
    return found


def _skip(found: Joined, row: int) -> None:
    for shares in found:
        shares[row] = 0.0


def _strides(workload: Workload, main: dict[int, int], row: int) -> bool:
    """Whether a layer is a transpose behind or in front of a product."""
    return workload.layers[row].moves("transpose") and max(_made_by(workload, main, row), _goes_to(workload, row)) >= 0


def _element_wise(workload: Workload, main: dict[int, int], found: Joined, row: int) -> None:
    layer = workload.layers[row]
    for place, tensor in enumerate(layer.inputs):
        same = workload.tensors[tensor].elements == workload.tensors[layer.output].elements
        if same and layer.inputs.count(tensor) == 1 and _origin(workload, main, tensor) >= 0:
            others = sum(workload.tensors[i].elements for i in layer.inputs if i != tensor)
            _skip(found, row)
            found.read[row] = others / (others + workload.tensors[tensor].elements)
            main[row] = place
            return


def _softmax(workload: Workload, main: dict[int, int], found: Joined, row: int) -> None:
    scores, context = _made_by(workload, main, row), _goes_to(workload, row)
    if scores < 0 or context < 0 or not workload.layers[scores].of_tensors or not workload.layers[context].of_tensors:
        return
    _skip(found, row)
    found.written[scores] = 0.0
    found.launches[context] = 0.0
    read = sum(workload.tensors[i].elements for i in workload.layers[context].inputs)
    found.read[context] = 1.0 - workload.tensors[workload.layers[row].output].elements / read


def _made_by(workload: Workload, main: dict[int, int], row: int) -> int:
    """The product whose result the only input of a layer is, -1 where there is none."""
    return _origin(workload, main, workload.layers[row].inputs[0])


def _origin(workload: Workload, main: dict[int, int], number: int) -> int:
    """The product that makes a tensor, through what is done to its result alone and costs nothing; -1 where there is none."""
    while True:
        tensor = workload.tensors[number]
        if tensor.producer < 0 or len(tensor.readers) != 1:
            return -1
        layer = workload.layers[tensor.producer]
        if layer.product:
            return tensor.producer
        if not layer.moves("view", "transpose") and tensor.producer not in main:
            return -1
        number = layer.inputs[main.get(tensor.producer, 0)]


def _goes_to(workload: Workload, row: int) -> int:
    """The product that alone reads what a layer writes, moved at most; -1 where there is none."""
    while True:
        readers = workload.tensors[workload.layers[row].output].readers
        if len(readers) != 1:
            return -1
        (row,) = readers
        if workload.layers[row].product:
            return row
        if not workload.layers[row].moves("view", "transpose"):
            return -1
