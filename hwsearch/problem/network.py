"""The network that a request names, with its weights, taking values from 0 to 1 in red, green, blue."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hwmodels.errors import FileError, UsageError
from hwsearch.formats.reading import file_network, readers
from hwsearch.problem.request import Request, refuse_auto
from searchspaces.networks import endings, input_channels, registry, through_spandrel
from searchspaces.networks.adapted import blocks, colours, value_range
from searchspaces.networks.own_code import HOW, OwnCode
from searchspaces.networks.registry import LoadedNetwork
from searchspaces.tasks import registry as tasks

ANOTHER = "{} left out: losses are told against the network that remains."
"""What is said of a network without blocks."""


def load_network(request: Request) -> LoadedNetwork:
    """The built-in network, the user's module, the network of a model file, or one that spandrel knows, with its weights; as the
    request wants it."""
    return adapted(request, found_network(request))


def found_network(request: Request) -> LoadedNetwork:
    """The network of a request as it is found: with all blocks, and with the values and colours that it expects.

    Raises:
        UsageError: arguments for a model file, which takes none.
    """
    if request.model is not None and request.arguments:
        raise UsageError(
            f"--arg is for networks that are built: {request.model} is taken as it is",
            f"Leave it out, or name code: {HOW.removeprefix('Write it as ')}",
        )
    enlarges, made = request.task is None or tasks.task(request.task).enlarges, input_channels.parse(request.input_channels)
    if request.model is not None and readers.is_model(Path(request.model)):
        return file_network.load(Path(request.model), scale=request.scale, weights=request.weights, enlarges=enlarges, made=made)
    if request.model is not None:
        _check_model(request.model)
        return registry.load_file(
            request.model,
            weights=request.weights,
            scale=request.scale,
            enlarges=enlarges,
            made=made,
            asked=request.input_size,
        )
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
    refuse_auto("--drop", request.dropped)
    left = wrapped(blocks.without(network, request.dropped))
    return replace(left, whole=wrapped(network).module, remarks=(*left.remarks, ANOTHER.format(", ".join(left.dropped))))


def _check_model(model: str) -> None:
    """Raise UsageError where a network is neither a callable in a file nor a file that is read."""
    if OwnCode.read(model) is not None:
        return
    suffix = Path(model.partition(":")[0]).suffix.lower()
    if suffix in readers.endings() and not Path(model).exists():
        raise FileError(f"{model}: no such file")
    if endings.is_weights(Path(model.partition(":")[0])):
        raise UsageError(f"{model}: weights, no network", "Weights go to --weights, beside --network, --model or alone.")
    if suffix != ".py":
        readers.refuse_foreign(Path(model.partition(":")[0]))
        raise UsageError(
            f"{model!r} names no network", f"Write path/to/file.py:callable, or a model file ({', '.join(readers.endings())})."
        )
