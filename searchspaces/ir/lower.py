"""From the canonical graph to the table of layers and tensors that is priced: shapes, kinds of work, width groups."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from hwmodels import workload as table
from searchspaces.ir.graph import CONSTANTS, MASK, Graph, Node
from searchspaces.ir.shapes import channel_axes, shapes
from searchspaces.ops.base import Shape, elements
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.input import Unknown


def to_workload(graph: Graph, height: int, width: int) -> table.Workload:
    """The layers and tensors of ``graph`` for an input of ``height`` x ``width`` pixels.

    Slopes of PReLU and factors of a normalization count among a layer's biases. A layer that is called twice has two rows, and
    weights that several layers have are those of the first (``weights_of``). Operations that could not be traced have a row of
    element-wise work, the shape of their first input, and stand in ``uncounted``.

    A state is a tensor that comes in, as the picture does; what is remembered goes out, as the output does.
    """
    graph = graph.at(height, width)
    found = shapes(graph, height, width)
    axes = channel_axes(graph, found)
    leaders = graph.width_groups()
    group_names = tuple(dict.fromkeys(leaders[node.name] for node in graph.nodes))
    tensor_of = {node.name: i for i, node in enumerate(graph.nodes)}
    given = {node.name for node in graph.sources}
    computed = [node for node in graph.nodes if node.name not in given]
    row_of = {node.name: row for row, node in enumerate(computed)}
    owners = {name: users[0] for name, users in graph.weight_groups.items()}
    layers = tuple(_layer(node, found, tensor_of, owners.get(node.name, node.name), graph.repeated) for node in computed)
    readers: list[list[int]] = [[] for _ in graph.nodes]
    for row, layer in enumerate(layers):
        for source in dict.fromkeys(layer.inputs):
            readers[source].append(row)
    tensors = tuple(
        table.Tensor(
            node.name,
            *_places(found[node.name], axes[node.name]),
            row_of.get(node.name, -1),
            tuple(readers[i]),
            group_names.index(leaders[node.name]),
            is_picture(found[node.name], axes[node.name]),
            tuple(found[node.name]),
        )
        for i, node in enumerate(graph.nodes)
    )
    return table.Workload(graph.name, layers, tensors, group_names, graph.uncounted)


def is_picture(shape: Shape, axis: int) -> bool:
    """Whether a tensor with its channels on ``axis`` is one picture ``[1, C, H, W]``."""
    return len(shape) == 4 and axis == 1 and shape[0] == 1


def _places(shape: Shape, axis: int) -> tuple[int, int, int]:
    """Channels, height and width as ``Tensor`` has them."""
    if is_picture(shape, axis):
        return shape[1], shape[2], shape[3]
    return shape[axis], elements(shape) // max(shape[axis], 1), 1


def _layer(
    node: Node, found: Mapping[str, Shape], tensor_of: Mapping[str, int], owner: str, repeated: Collection[tuple[str, str]]
) -> table.Layer:
    inputs, weights = [found[source] for source in node.inputs], node.weight_shapes
    sizes = {role: elements(shape) for role, shape in weights.items()}
    weight_count = sizes.pop(node.op.quantized, 0)
    constants = tuple(
        table.Constant(sizes.pop(role), role == MASK, (node.name, role) in repeated) for role in CONSTANTS if role in sizes
    )
    return table.Layer(
        node.name,
        node.op.work(inputs, found[node.name], weights),
        tuple(tensor_of[source] for source in node.inputs),
        tensor_of[node.name],
        weight_count,
        sum(sizes.values()),
        node.op.finish,
        None if isinstance(node.op, Unknown) else node.op.window(weights),
        _label(node, inputs),
        "" if owner == node.name else owner,
        constants,
    )


def _label(node: Node, inputs: list[Shape]) -> str:
    depthwise = isinstance(node.op, Conv) and node.op.depthwise(inputs[0][1], node.weight_shapes["weight"])
    return "depthwise" if depthwise else node.op.word
