"""The contract of an operator."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from hwsearch.formats.onnx import ort, write
from hwsearch.formats.support import tables
from hwsearch.formats.writing.exporters import EXPORTERS
from hwsearch.quant.calibrate import calibrate
from hwsearch.quant.engine import integer
from hwsearch.quant.engine.steps import exact
from searchspaces.ir.graph import Graph, Node, execute
from searchspaces.ir.lower import to_workload
from searchspaces.ir.shapes import shapes
from searchspaces.ops.base import Op
from searchspaces.ops.input import Input
from searchspaces.ops.moves.move import Flip
from searchspaces.ops.registry import from_document, operators, to_document
from searchspaces.space import build_space

CHANNELS = 4


def check_operator(op: Op, weights: Mapping[str, Tensor] | None = None) -> None:
    """An operator of pictures: it is found by its kind and stored in files; its shape rule says what it computes; the engine, the
    simulation and the ONNX file agree on the codes that it gives, unless a table tells why they cannot.

    Args:
        op: reads as many pictures of ``CHANNELS`` channels as it must; ``weights`` are what it needs beside, by role.
    """
    assert operators().get(op.kind) is type(op), f"the registry has no operator {op.kind!r}, or another"
    assert from_document(*to_document(op)) == op, "as plain data it becomes another operator"
    sides = max(op.arity[0], 1)
    nodes = [Node("x", Input(CHANNELS)), *(Node(f"x{i}", Flip((2 + i % 2,)), ("x",)) for i in range(1, sides))]
    graph = Graph(op.kind, (*nodes, Node("y", op, tuple(node.name for node in nodes), weights or {})))
    pictures = [torch.rand(1, CHANNELS, *size, generator=torch.Generator().manual_seed(1)) for size in ((8, 12), (12, 10))]
    for x in pictures:
        found: dict[str, tuple[int, ...]] = {}
        execute(graph, x, lambda node, y, found=found: found.__setitem__(node.name, tuple(y.shape)))  # type: ignore[misc]  # one dict a picture
        assert found == shapes(graph, *x.shape[2:]), f"it computes {found['y']}, its shape rule says otherwise"
    silent = [name for name, table in tables().items() if table.get(op) is None and not table.reason(op)]
    assert not silent, f"neither there nor with a reason why not: {', '.join(silent)}"
    space = build_space(to_workload(graph, 8, 12), (8,), (8,))
    calibration = calibrate(graph, pictures[:1] * 2, space, method="minmax")
    quantized = calibration.quantized(space.uniform(8, 8))
    ours, fast = integer.run(quantized, pictures[0]), calibration.simulate(space.uniform(8, 8), pictures[0])
    step = quantized.formats["y"].scale
    assert ours.shape == fast.shape, f"the engine gives {tuple(ours.shape)}, the simulation {tuple(fast.shape)}"
    assert float((ours - fast).abs().max()) <= 1.01 * step, "engine and simulation differ by more than one code"
    if EXPORTERS["onnx"].operators.get(op) is not None:
        theirs = ort.run_onnx(write.to_model(quantized).SerializeToString())(pictures[0])
        allowed = 0.01 if exact(op, *(quantized.formats[name] for name in (*graph["y"].inputs, "y"))) else 1.01
        assert float((ours - theirs).abs().max()) <= allowed * step, "the ONNX file gives other codes than the engine"
