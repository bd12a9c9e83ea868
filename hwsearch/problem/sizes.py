"""Which size of picture a network is priced and searched for."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NoReturn

from hwmodels.errors import FileError, UsageError
from hwsearch.problem import traced
from hwsearch.problem.pictures import choose_task
from hwsearch.problem.request import COMPLEXITY, Request, refuse_auto
from searchspaces.data.scale import at_least, enlarged, scale_text
from searchspaces.ir import branches
from searchspaces.ir.graph import Graph
from searchspaces.networks.registry import LoadedNetwork

ONE_SIZE = (64, 64)
"""Height and width of the picture for which a network is searched that is another graph for each size, where none is asked for
and the device's is larger: such windows are what transformers are trained on. Where the pictures of a search are smaller, the
network is searched for what all of them hold."""
WINDOW = 8
"""Such sizes are multiples of this, so that windows of the usual sides are whole."""
_FOR_ONE_SIZE = (
    "The graph of {0} depends on the size of the picture (masks or shapes in it are made for one): it is priced and evaluated at "
    "{1}x{2} pixels (height x width). Choose another size with --input HxW."
)
_IN_MULTIPLES = (
    "The network takes pictures whose sides are multiples of {0} pixels: it is priced for {1}x{2} (height x width). Choose "
    "another size with --input HxW."
)


def sized(request: Request, network: LoadedNetwork, usual: tuple[int, int]) -> tuple[LoadedNetwork, Graph, tuple[int, int]]:
    """The network, told which pictures it takes; its graph, with the branches that are asked for; and the height and width
    that it is priced for: those asked for, or ``usual``. Where the graph is for one size, that is no more than ``ONE_SIZE``, and
    than all pictures of the request hold.

    Masks or shapes in such a graph are made for the size that is priced. ``Graph.uncounted`` is to be looked at.

    Raises:
        UsageError: the network takes multiples of something, and the size that is asked for is none; or a layer cannot have the
            branch that is asked for.
    """
    asked = request.input_size or network.size
    step = network.scale.denominator
    if asked is not None:
        _check_whole(network, asked)

    def at(height: int, width: int) -> Graph:
        size = read_size(network, height, width)
        graph = traced.traced(network.module, network.channels, network.name, otherwise=size, keep=request.cache)
        return replace(graph, multiple=math.lcm(graph.multiple, step))

    height, width = asked or _whole(step, min(usual, ONE_SIZE, key=math.prod))
    graph = at(height, width)
    if graph.size is None:
        height, width = asked or usual
        scale = network.scale if network.input_kind == "upsampled" else 1
        if height * scale % graph.multiple or width * scale % graph.multiple:
            whole = _whole(graph.multiple, (height, width))
            if asked is not None:
                raise UsageError(
                    f"{network.name} takes pictures whose sides are multiples of {graph.multiple} pixels, not {height}x{width}",
                    f"For example --input {whole[0]}x{whole[1]}.",
                )
            height, width = whole
            network = replace(network, remarks=(*network.remarks, _IN_MULTIPLES.format(graph.multiple, height, width)))
    elif asked is None:
        held = _whole(step, _held(request, network, (height, width)))
        if held != (height, width):
            height, width = held
            graph = at(height, width)
        network = replace(network, remarks=(*network.remarks, _FOR_ONE_SIZE.format(network.name, height, width)))
    network = replace(network, only=graph.size, multiple=graph.multiple)
    return network, branches.branched(graph, _ranks(request)), (height, width)


def _ranks(request: Request) -> dict[str, int]:
    """The branches that a request names. Raises UsageError beside a scope, whose layers would be others with them, or where
    a search is to decide."""
    refuse_auto("--branches", request.branches)
    if COMPLEXITY[0] in request.branches:
        raise UsageError(
            "--branches complexity looks at pictures, and none are looked at here",
            "Name branches and ranks; `hwsearch optimize` and the commands that compare say which they take.",
        )
    if request.branches and request.scope != "all":
        refuse_branches_beside(request.scope)
    return branches.read(request.branches)


def refuse_branches_beside(scope: str) -> NoReturn:
    """Raise UsageError: with branches, the layers of a scope would be others."""
    raise UsageError(f"--branches is for a search of all layers, not for the scope {scope}", "Leave one of them out.")


def read_size(network: LoadedNetwork, height: int, width: int) -> tuple[int, int]:
    """Height and width of what a network reads for a picture."""
    scale = network.scale if network.input_kind == "upsampled" else 1
    return enlarged(height, scale), enlarged(width, scale)


def _check_whole(network: LoadedNetwork, size: tuple[int, int]) -> None:
    """Raise UsageError where a picture of the size is not enlarged to whole pixels."""
    step = network.scale.denominator
    if any(side % step for side in size):
        least = (at_least(side, network.scale) for side in size)
        raise UsageError(
            f"a picture of {size[0]}x{size[1]} pixels (height x width), enlarged {scale_text(network.scale)} times, is no whole "
            "number of pixels",
            f"Sides must be multiples of {step}: --input {'x'.join(map(str, least))}.",
        )


def _whole(step: int, size: tuple[int, int]) -> tuple[int, int]:
    """The size, cut to multiples of a step, at least one."""
    height, width = (max(side // step, 1) * step for side in size)
    return height, width


def _held(request: Request, network: LoadedNetwork, size: tuple[int, int]) -> tuple[int, int]:
    """The size, or what all pictures of the request hold of it; the size where nothing tells (a price needs no pictures, so what
    is wrong with them is said when they are read)."""
    try:
        room = choose_task(request, network).smallest_input(request.images)
    except (UsageError, FileError):
        room = None
    if room is None or all(have >= wanted for have, wanted in zip(room, size, strict=True)):
        return size
    height, width = (min(wanted, have // WINDOW * WINDOW or have) for wanted, have in zip(size, room, strict=True))
    return height, width
