"""A request, posed as a network on a device."""

from __future__ import annotations

from dataclasses import dataclass

from hwmodels.device import catalogue
from hwmodels.device.device import Device
from hwmodels.errors import UncountedError, UsageError
from hwmodels.pricing.table import CostTable
from hwmodels.tiling import tiles, tiling
from hwmodels.workload import Workload
from hwsearch.documents.bounds import Width
from hwsearch.formats.writing import exporters
from hwsearch.problem import traced
from hwsearch.problem.network import load_network
from hwsearch.problem.request import UNSIZED, Request
from hwsearch.problem.sizes import read_size, sized
from hwsearch.quant import methods
from searchspaces.ir.graph import Graph
from searchspaces.ir.lower import to_workload
from searchspaces.ir.tiled import check_tiled
from searchspaces.networks.registry import LoadedNetwork
from searchspaces.scopes import SCOPES
from searchspaces.space import SearchSpace, build_space

MUCH = 0.05
"""Share of the parameters from which constant operands are told of."""
CONSTANTS = (
    "Constant operands (masks and biases of attention, for a picture of this size) hold {:,} numbers beside {:,} parameters: "
    "sizes of weights and latencies count them, for they are stored with the weights and read for every picture."
)


@dataclass(frozen=True, eq=False)
class Problem:
    """A network on a device, ready to be priced: everything that needs no picture. ``input_size`` is (height, width); ``tiled``:
    the whole picture, or the tiles that were asked for."""

    network: LoadedNetwork
    graph: Graph
    input_size: tuple[int, int]
    workload: Workload
    device: Device
    space: SearchSpace
    tiled: tiles.PricedTiling
    whole: Graph | None = None
    """The network with the blocks that ``graph`` is without; None where it has all."""

    @property
    def table(self) -> CostTable:
        return self.tiled.table

    @property
    def beside_weights(self) -> tuple[str, ...]:
        """What is stored beside the weights and counts among their sizes, where it is much."""
        constants, parameters = self.graph.constants, self.graph.parameters
        if constants < MUCH * parameters:
            return ()
        return (CONSTANTS.format(constants, parameters),)


def pose(request: Request, network: LoadedNetwork | None = None) -> Problem:
    """Trace the network and lower it onto the device.

    Raises:
        UncountedError: the network has operations that cannot be traced or priced; all are named.
        UsageError: the picture cannot be cut as asked for, or no file format carries what one of the methods makes.
    """
    methods.check_exported(request.methods)
    device = catalogue.load(request.target)
    network, graph, (height, width) = sized(request, network or load_network(request), device.default_input)
    size = read_size(network, height, width)
    if graph.uncounted:
        raise UncountedError(
            list(graph.uncounted),
            "A search that ignored them would be wrong about price and quality. Replace them by supported operations, or move "
            "them out of the module (see `hwsearch networks --operations`).",
        )
    workload = exporters.shipped(to_workload(graph, *size), device)
    offered, kept = device.offered, SCOPES[request.scope]
    space = build_space(
        workload,
        _offered("--weight-bits", request.weight_bits, offered.weight_widths, device),
        _offered("--activation-bits", request.activation_bits, offered.tensor_widths, device),
        wide=offered.wide,
        symmetric_activations=device.widths.symmetric_activations,
        scope=request.scope,
        outside=(kept.format_outside(offered.weight_formats), kept.format_outside(offered.tensor_formats)),
        pins=request.pins,
        stored=device.keeps,
    )
    cut = None if request.tile in (None, *UNSIZED) else tiling.parse(str(request.tile), request.halo)
    if cut is not None:
        check_tiled(graph)
    tiled = tiles.lower(device, workload, space, cut)
    whole = None
    if network.whole is not None:
        whole = traced.traced(network.whole, network.channels, network.name, otherwise=size, keep=request.cache)
    return Problem(network, graph, (height, width), workload, device, space, tiled, whole)


def _offered(option: str, wanted: tuple[Width, ...] | None, offered: tuple[Width, ...], device: Device) -> tuple[Width, ...]:
    if wanted is None:
        return offered
    if missing := [width for width in wanted if width not in offered]:
        raise UsageError(
            f"{option} {','.join(map(str, missing))}: {device.name} with {device.runtime} cannot store that",
            f"Widths there: {', '.join(map(str, offered))}.",
        )
    return wanted
