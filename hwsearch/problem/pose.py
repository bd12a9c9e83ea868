"""What is asked: a request in the user's words, posed as a network on a device, and the pictures that judge it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from hwmodels.device import catalogue
from hwmodels.device.device import Device
from hwmodels.errors import FileError, UncountedError, UsageError
from hwmodels.pricing.table import CostTable
from hwmodels.tiling import tiles, tiling
from hwmodels.workload import Workload
from hwsearch.documents.bounds import Amount, Many, Rate, Scale, Seed, Side, Text, Width
from hwsearch.documents.url import StorageUrl
from hwsearch.formats.reading import file_network, readers
from hwsearch.formats.writing import exporters
from hwsearch.problem import traced
from hwsearch.quant import methods
from searchspaces.data.scale import at_least, enlarged, exact, scale_text
from searchspaces.ir.graph import Graph
from searchspaces.ir.tiled import check_tiled
from searchspaces.networks import endings, input_channels, registry, through_spandrel
from searchspaces.networks.adapted import blocks, colours, value_range
from searchspaces.networks.registry import LoadedNetwork
from searchspaces.scopes import SCOPES, Scope
from searchspaces.space import SearchSpace, build_space
from searchspaces.tasks import registry as tasks
from searchspaces.tasks.task import Signature, Task
from searchspaces.tracing import trace
from searchspaces.tracing.recurrent import Recurrent

QUICK_CROPS = 4
"""A quick run calibrates on every fourth crop: for the built-in network its chosen plan loses 0.144 dB where all crops give
0.150."""
ANOTHER = "{} left out: losses are told against the network that remains."
"""What is said of a network without blocks."""
MUCH = 0.05
"""Share of the parameters from which constant operands are told of."""
CONSTANTS = (
    "Constant operands (masks and biases of attention, for a picture of this size) hold {:,} numbers beside {:,} parameters: "
    "sizes of weights and latencies count them, for they are stored with the weights and read for every picture."
)
AUTO = ("auto",)
"""What ``Request.dropped`` may be beside names: a search decides (see ``pipeline.left_out``)."""
UNSIZED = ("whole", "auto")
"""What ``Request.tile`` may be beside a size."""


@dataclass(frozen=True)
class Request:
    """One job, in the user's words.

    ``dropped``: blocks that the network is to be without (see ``networks.adapted.blocks``), or ``AUTO``. ``task``: its name (see
    ``searchspaces.tasks``), None: what the samples show. ``input_channels``: how what the network reads is made from a picture,
    where it is not the picture itself (see ``networks.input_channels``; numbers, not files). ``value_range``: what the network
    expects, where that is not 0..1 (see ``networks.adapted.value_range``); ``order``: of its colours, None or "rgb", "bgr".
    ``force``: go on with a network that the simplest method beats. Budgets are in seconds, bytes, dB and joules; ``input_size``
    is (height, width) of the low-resolution picture. ``tile`` is "whole", "auto", or height x width in pixels of the network's
    input, None: whole, but cut where memory demands it; ``halo``: "keep" or "recompute", None: whichever is better. ``fps``:
    pictures a second, one after another. ``batch``: plans that the refinement proposes together; the result depends on it,
    and not on how many processes measure them. ``sampler``: one of ``samplers.SAMPLERS``. ``methods``: quantization
    methods that every plan is measured with, the better one is kept.
    ``storage`` and ``study``: the database and the study that workers share; one that gives no sign of life for ``grace_s``
    seconds is taken for dead.
    ``quick``: a first answer: a quarter of the calibration, one proxy, and one plan proven, which is not polished.
    ``cache``: damage tables, scores and finished plans of earlier runs are used again (see ``runs.by_content``).
    """

    network: Text = "fsrcnn"
    model: Text | None = None
    weights: Path | None = None
    scale: Scale | None = None
    arguments: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    target: Text = "jetson"
    images: Path | None = None
    dropped: tuple[Text, ...] = ()
    task: Text | None = None
    input_channels: tuple[Text, ...] = ()
    value_range: Text | None = None
    order: Text | None = None
    force: bool = False
    input_size: tuple[Side, Side] | None = None
    tile: Text | None = None
    halo: Literal["keep", "recompute"] | None = None
    fps: Rate | None = None
    budgets: Mapping[str, Amount] = field(default_factory=dict)
    scope: Scope = "all"
    weight_bits: tuple[Width, ...] | None = None
    activation_bits: tuple[Width, ...] | None = None
    pins: Mapping[str, Width] = field(default_factory=dict)
    evaluations: Many = 120
    batch: Many = 8
    probes: Many = 200
    sampler: str = "exact"
    methods: tuple[str, ...] = (methods.USUAL,)
    seed: Seed = 0
    storage: str | None = None
    study: str | None = None
    grace_s: Many = 60
    cache: bool = True
    quick: bool = False
    run_dir: Path | None = None
    resume: bool = False
    command: Text = ""

    def __post_init__(self) -> None:
        methods.check(self.methods)
        given = self.input_channels
        object.__setattr__(self, "input_channels", (given,) if isinstance(given, str) else tuple(given))
        input_channels.parse(self.input_channels)
        if self.scale is not None:
            object.__setattr__(self, "scale", exact(self.scale))
        if (self.storage is None) != (self.study is None):
            raise UsageError("a shared study needs both --storage and --study", "Give the database and the name of the study.")
        if self.storage is not None:
            object.__setattr__(self, "storage", StorageUrl.read(self.storage))


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


@dataclass(frozen=True, eq=False)
class Pictures:
    """Disjoint samples of a task for its three uses; ``crops`` are those of the calibration, for pictures patches of them."""

    crops: list[Any]
    calibration: list[str]
    search: list[Any]
    evaluation: list[Any]
    task: Task

    @property
    def sha256(self) -> str:
        """Of all pixels that are used, and for what."""
        digest = hashlib.sha256()
        for pairs in (self.crops, self.search, self.evaluation):
            digest.update(len(pairs).to_bytes(8, "little"))
            for pair in pairs:
                digest.update(pair.low.numpy().tobytes())
                digest.update(pair.high.tobytes())
        return digest.hexdigest()


def load_network(request: Request) -> LoadedNetwork:
    """The built-in network, the user's module, the network of a model file, or one that spandrel knows, with its weights; as the
    request wants it."""
    return adapted(request, found_network(request))


def found_network(request: Request) -> LoadedNetwork:
    """The network of a request as it is found: with all blocks, and with the values and colours that it expects."""
    enlarges, made = request.task is None or tasks.task(request.task).enlarges, input_channels.parse(request.input_channels)
    if request.model is not None and readers.is_model(Path(request.model)):
        return file_network.load(Path(request.model), scale=request.scale, weights=request.weights, enlarges=enlarges, made=made)
    if request.model is not None:
        _check_model(request.model)
        return registry.load_file(request.model, weights=request.weights, scale=request.scale, enlarges=enlarges, made=made)
    if request.network == through_spandrel.NAME:
        return through_spandrel.load(request.weights, request.scale, request.arguments, made)
    if made is not None:
        raise UsageError(
            f"{input_channels.OPTION} is for networks of your own: {request.network} makes what it reads itself", "Leave it out."
        )
    return registry.load(request.network, scale=request.scale, weights=request.weights, **request.arguments)


def adapted(request: Request, network: LoadedNetwork) -> LoadedNetwork:
    """A network as it was found, without the blocks that a request drops, and taking values from 0 to 1 in red, green, blue.

    Raises:
        UsageError: it has no such block.
    """
    enlarges = request.task is None or tasks.task(request.task).enlarges
    returns = enlarges and not (network.task and request.task is None)

    def wrapped(network: LoadedNetwork) -> LoadedNetwork:
        expected = request.value_range or network.value_range
        if expected:
            network = value_range.wrapped(network, expected, returns=returns)
        return colours.wrapped(network, request.order, returns=returns) if request.order else network

    if not request.dropped:
        return wrapped(network)
    left = wrapped(blocks.without(network, request.dropped))
    return replace(left, whole=wrapped(network).module, remarks=(*left.remarks, ANOTHER.format(", ".join(left.dropped))))


def _check_model(model: str) -> None:
    """Raise UsageError where a network is neither a callable in a file nor a file that is read."""
    suffix = Path(model.partition(":")[0]).suffix.lower()
    if suffix in readers.endings() and not Path(model).exists():
        raise FileError(f"{model}: no such file")
    if suffix in endings.WEIGHTS:
        raise UsageError(f"{model}: weights, no network", "Weights go to --weights, beside --network, --model or alone.")
    if suffix != ".py":
        raise UsageError(
            f"{model!r} names no network", f"Write path/to/file.py:callable, or a model file ({', '.join(readers.endings())})."
        )


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


def pose(request: Request, network: LoadedNetwork | None = None) -> Problem:
    """Trace the network and lower it onto the device.

    Raises:
        UncountedError: the network has operations that cannot be traced or priced; all are named.
        UsageError: the picture cannot be cut as asked for, or no file format carries what one of the methods makes.
    """
    methods.check_exported(request.methods)
    device = catalogue.load(request.target)
    network, graph, (height, width) = sized(request, network or load_network(request), device.default_input)
    size = _read_size(network, height, width)
    if graph.uncounted:
        raise UncountedError(
            list(graph.uncounted),
            "A search that ignored them would be wrong about price and quality. Replace them by supported operations, or move "
            "them out of the module (see `hwsearch networks --operations`).",
        )
    workload = exporters.shipped(trace.to_workload(graph, *size), device)
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


def sized(request: Request, network: LoadedNetwork, usual: tuple[int, int]) -> tuple[LoadedNetwork, Graph, tuple[int, int]]:
    """The network, told which pictures it takes; its graph; and the height and width that it is priced for: those asked for, or
    ``usual``. Where the graph is for one size, that is no more than ``ONE_SIZE``, and than all pictures of the request hold.

    Masks or shapes in such a graph are made for the size that is priced. ``Graph.uncounted`` is to be looked at.

    Raises:
        UsageError: the network takes multiples of something, and the size that is asked for is none.
    """
    asked = request.input_size or network.size
    step = network.scale.denominator
    if asked is not None:
        _check_whole(network, asked)

    def at(height: int, width: int) -> Graph:
        size = _read_size(network, height, width)
        graph = traced.traced(network.module, network.channels, network.name, otherwise=size, keep=request.cache)
        return replace(graph, multiple=math.lcm(graph.multiple, step))

    height, width = asked or _whole(step, min(usual, ONE_SIZE, key=math.prod))
    graph = at(height, width)
    if graph.size is None:
        height, width = asked or usual
        scale = network.scale if network.input_kind == "upsampled" else 1
        if height * scale % graph.multiple or width * scale % graph.multiple:
            whole = tuple(max(side // graph.multiple, 1) * graph.multiple for side in (height, width))
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
    return replace(network, only=graph.size, multiple=graph.multiple), graph, (height, width)


def _read_size(network: LoadedNetwork, height: int, width: int) -> tuple[int, int]:
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
    """The size, cut to multiples of a step."""
    return size[0] // step * step, size[1] // step * step


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


def _offered(option: str, wanted: tuple[Width, ...] | None, offered: tuple[Width, ...], device: Device) -> tuple[Width, ...]:
    if wanted is None:
        return offered
    if missing := [width for width in wanted if width not in offered]:
        raise UsageError(
            f"{option} {','.join(map(str, missing))}: {device.name} with {device.runtime} cannot store that",
            f"Widths there: {', '.join(map(str, offered))}.",
        )
    return wanted


def choose_task(request: Request, network: LoadedNetwork) -> Task:
    """What quality means for this network: what was asked for, or what its samples show."""
    size = request.input_size or network.size or Signature.size
    contract = Signature(network.scale, network.channels, network.input_kind, size, network.only, network.multiple)
    return tasks.choose(request.task or network.task or None, request.images, contract)


def choose_pictures(request: Request, network: LoadedNetwork) -> Pictures:
    """Samples for calibration, search and evaluation, disjoint: the shipped photos, or the user's; in sizes that the network of
    a problem takes.

    Raises:
        FileError: they cannot be used, or are smaller than the one size that the network takes.
    """
    task = choose_task(request, network)
    if isinstance(network.module, Recurrent) and not task.sequences:
        raise UsageError(
            f"{network.name} keeps state between the frames of a video, and samples of the task {task.name} are single pictures",
            f"Ask for --task {' or '.join(name for name, other in tasks.known().items() if other.sequences)}.",
        )
    found = task.samples(request.images, request.seed, network.module)
    step = max(1, min(QUICK_CROPS, len(found.calibration) // 2)) if request.quick else 1  # calibration needs two
    crops = found.calibration[::step]
    return Pictures(task.fitted(crops), found.sources, task.fitted(found.search), task.fitted(found.evaluation), task)
