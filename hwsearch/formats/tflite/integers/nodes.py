"""The nodes of a TFLite file's network in the making, with formats and integers: what all readers of operators write to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from hwsearch.formats.tflite.integers.convolution import NotCounted, StoredLayer, grid_of
from hwsearch.formats.tflite.tables import StoredModel, StoredOperator
from hwsearch.quant.engine.integer import same_grid
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers
from searchspaces.ir.graph import Node
from searchspaces.ops.base import Op
from searchspaces.ops.input import Input


class Nodes:
    """``node_of`` says which node computes a tensor of the file. Tensors between the steps of one canonical operation have no
    node: ``padding`` has what a PAD adds. ``reads``: how many operators read a tensor; the output counts as read."""

    def __init__(self, model: StoredModel) -> None:
        self.model = model
        self.nodes: dict[str, Node] = {}
        self.formats: dict[str, TensorFormat] = {}
        self.layers: dict[str, LayerIntegers] = {}
        self.stored: dict[str, StoredLayer] = {}
        self.node_of: dict[int, str] = {}
        self.padding: dict[int, tuple[int, int, int, int]] = {}
        self.reads = Counter(index for operator in model.operators for index in operator.inputs)
        self.reads[model.output] += 1

    def name(self, index: int) -> str:
        """The first of the names that converters join, made unique."""
        name = self.model.tensors[index].name.partition(";")[0] or f"tensor_{index}"
        return f"{name}#{index}" if name in self.nodes else name

    def put(
        self, index: int, op: Op, inputs: tuple[str, ...], weights: Mapping[str, Tensor] | None = None, parameter: str = ""
    ) -> str:
        """A node that computes tensor ``index``; returns its name."""
        name = "input" if isinstance(op, Input) else self.name(index)
        self.nodes[name] = Node(name, op, inputs, weights or {}, parameter)
        self.node_of[index] = name
        fmt = grid_of(self.model.tensors[index])
        if fmt is not None:
            self.formats[name] = fmt
        return name

    def source(self, index: int) -> str:
        """The node that computes a tensor.

        Raises:
            NotCounted: none does, or what does is half of an operation.
        """
        if index in self.padding:
            raise NotCounted("PAD in front of something that is no convolution")
        if index not in self.node_of:
            raise NotCounted(f"{self.model.tensors[index].name!r} is not computed from the picture")
        return self.node_of[index]

    def constant(self, operator: StoredOperator, place: int) -> np.ndarray:
        """The numbers of an operand.

        Raises:
            NotCounted: it is no constant.
        """
        data = self.model.tensors[operator.inputs[place]].data if len(operator.inputs) > place else None
        if data is None:
            raise NotCounted(f"{operator.name} without the constant that it needs")
        return data

    def bound(self, index: int, low: int, high: int) -> None:
        """Narrow the codes of a tensor."""
        fmt = self.formats.get(self.node_of[index])
        if fmt is not None:
            self.formats[self.node_of[index]] = replace(fmt, qmin=max(fmt.qmin, low), qmax=max(min(fmt.qmax, high), low))

    def alias(self, operator: StoredOperator, source: int) -> bool:
        """The output of ``operator`` is the tensor ``source`` itself, on one grid; False where it is not."""
        before, after = (grid_of(self.model.tensors[i]) for i in (source, operator.outputs[0]))
        if before is None or after is None or not same_grid(before, after):
            return False
        self.take_over(operator.outputs[0], source)
        return True

    def take_over(self, index: int, source: int) -> None:
        """Tensor ``index`` is computed by the node of ``source``, and names it if nobody else reads ``source``."""
        old = self.source(source)
        self.node_of[index] = old
        if isinstance(self.nodes[old].op, Input) or self.reads[source] > 1:
            return
        new = self.name(index)
        self.nodes = {new if name == old else name: node for name, node in self.nodes.items()}
        self.nodes[new] = replace(self.nodes[new], name=new)
        tables: tuple[dict[str, Any], ...] = (self.formats, self.layers, self.stored)
        for table in tables:
            if old in table:
                table[new] = table.pop(old)
        self.node_of = {i: new if name == old else name for i, name in self.node_of.items()}
