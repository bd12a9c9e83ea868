"""Options that belong together: declared once, taken by a command as one value, and read into fields of a request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Annotated, get_type_hints

import typer

from hwmodels.errors import UsageError
from hwsearch.cli import notations, options
from hwsearch.documents.url import StorageUrl

QUICK = 12
"""Probes and evaluations of a quick run."""


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """A command as typer wants it, one parameter an option.

    A parameter of ``command`` that is annotated with a dataclass stands for the options that are its fields, in their order and
    in its place; ``command`` gets the dataclass. Its parameters are passed by name.
    """
    hints = get_type_hints(command, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if isinstance(hint, type) and is_dataclass(hint)}
    parameters: list[Parameter] = []
    for parameter in signature(command).parameters.values():
        group = groups.get(parameter.name)
        if group is None:
            parameters.append(parameter.replace(annotation=hints[parameter.name]))
            continue
        of_group = get_type_hints(group, include_extras=True)
        parameters += [
            Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=of_group[field.name])
            for field in fields(group)
        ]

    @wraps(command)
    def ungrouped(**values: object) -> None:
        made = {name: group(**{field.name: values.pop(field.name) for field in fields(group)}) for name, group in groups.items()}
        command(**made, **values)

    ungrouped.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
    ungrouped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return ungrouped


@dataclass(frozen=True)
class NetworkOptions:
    """Which network, and what it expects of pictures. An option is called as the field of a request that it becomes; one that has
    to be read first is read in ``fields``."""

    network: options.Network = None
    scale: options.Scale = None
    weights: options.Weights = None
    model: options.Model = None
    arguments: options.Arg = None
    input_channels: options.InputChannels = None
    value_range: options.ValueRange = None
    order: options.Order = None
    dropped: options.Drop = None
    branches: options.Branches = None

    def fields(self) -> dict[str, object]:
        """The fields of a request, only those that were given.

        Raises:
            UsageError: two networks, weights of several, or an argument that cannot be read.
            FileError: weights alone, of no network that is known; or a file that holds no numbers.
        """
        if self.network is not None and self.model is not None:
            raise UsageError("--network and --model both name a network", "Keep one of them.")
        model, arguments = notations.read_model(self.model), notations.read_arguments(self.arguments)
        if model is not None and arguments:
            from searchspaces.networks.own_code import OwnCode

            code = OwnCode.read(model)
            if code is not None:  # the name of code holds its arguments
                model, arguments = str(code.given(arguments)), {}
        network, scale = self.network, notations.read_scale(self.scale)
        input_channels = notations.read_input_channels(self.input_channels)
        if self.weights is not None and network is None and model is None:
            from searchspaces.networks.input_channels import parse
            from searchspaces.networks.recognition import recognise

            recognised = recognise(self.weights, scale, parse(input_channels or ()))
            network, scale = recognised.name, recognised.scale
        read = {"network": network, "model": model, "scale": scale, "arguments": arguments, "input_channels": input_channels}
        return notations.given({**vars(self), **read})


@dataclass(frozen=True)
class NetworkWithPicturesOptions(NetworkOptions):
    """The same where branches may go by what layers read of pictures."""

    branches: options.BranchesByComplexity = None


@dataclass(frozen=True)
class NetworkSearchOptions(NetworkOptions):
    """The same where a search may decide about blocks and branches."""

    dropped: options.DropAuto = None
    branches: options.BranchesAuto = None


@dataclass(frozen=True)
class PictureOptions:
    """What the network is measured on."""

    images: options.Images = None
    task: options.TaskName = None
    input_size: options.Input = None

    def fields(self) -> dict[str, object]:
        """The fields of a request, only those that were given.

        Raises:
            UsageError: ``--input`` is no size.
        """
        return notations.given({**vars(self), "input_size": notations.read_size(self.input_size)})


@dataclass(frozen=True)
class SpaceOptions:
    """Which widths may be chosen."""

    scope: options.Scope = None
    weight_bits: options.WeightBits = None
    activation_bits: options.ActivationBits = None
    pins: options.Pin = None

    def fields(self) -> dict[str, object]:
        """The fields of a request, only those that were given.

        Raises:
            UsageError: one of them cannot be read.
        """
        return notations.given(
            {
                "scope": notations.read_scope(self.scope),
                "weight_bits": notations.read_bits("--weight-bits", self.weight_bits),
                "activation_bits": notations.read_bits("--activation-bits", self.activation_bits),
                "pins": notations.read_pins(self.pins),
            }
        )


@dataclass(frozen=True)
class TilingOptions:
    """How fast pictures come, and how each is cut."""

    fps: options.Fps = None
    tile: options.Tile = None
    halo: options.Halo = None

    def fields(self) -> dict[str, object]:
        """The fields of a request, only those that were given.

        Raises:
            UsageError: one of them cannot be read, or a halo where nothing is cut.
        """
        return notations.given({"fps": notations.read_fps(self.fps), **notations.read_tile(self.tile, self.halo)})


@dataclass(frozen=True)
class BudgetOptions:
    """What a plan may cost."""

    budget: options.Budget = None
    equal_bits: options.EqualBits = None
    bitops: options.Bitops = None

    def limits(self) -> dict[str, float]:
        """The budgets in SI units, by name.

        Raises:
            UsageError: one of them cannot be read, or is given twice.
        """
        from hwsearch.problem import budgets

        return budgets.read(self.budget, self.equal_bits, self.bitops)


@dataclass(frozen=True)
class SearchOptions:
    """How a search goes: what it simulates, by which methods, and what it takes from earlier runs."""

    evaluations: Annotated[
        int | None,
        typer.Option(help="Number of plans to simulate while refining the front. Default: 120.", min=1, show_default=False),
    ] = None
    probes: Annotated[
        int | None,
        typer.Option(help="Number of random plans on which the proxies are checked. Default: 200.", min=3, show_default=False),
    ] = None
    sampler: options.Sampler = None
    method: options.Methods = None
    quantizers: options.Quantizers = None
    finalists: Annotated[
        int | None,
        typer.Option(
            help="Number of plans that are polished before one is recommended, where it has less than 8 bits. Default: 3; 1 with "
            "--method.",
            min=1,
            show_default=False,
        ),
    ] = None
    batch: Annotated[
        int | None, typer.Option(help="Number of plans proposed at a time. Default: 8.", min=1, show_default=False)
    ] = None
    force: options.Force = False
    quick: options.Quick = False
    no_cache: options.NoCache = False
    seed: options.Seed = None

    def fields(self) -> dict[str, object]:
        """The fields of a request, only those that were given. ``force`` and ``no_cache`` are of one start, not of the job.

        Raises:
            UsageError: there is no such sampler or method.
        """
        return notations.given(
            {
                "evaluations": QUICK if self.quick and self.evaluations is None else self.evaluations,
                "probes": QUICK if self.quick and self.probes is None else self.probes,
                "quick": self.quick or None,
                "sampler": notations.read_sampler(self.sampler),
                "methods": notations.read_methods(self.method, self.quantizers),
                "finalists": self.finalists,
                "batch": self.batch,
                "seed": self.seed,
            }
        )


@dataclass(frozen=True)
class SharingOptions:
    """The study that workers share."""

    storage: options.Storage = None
    study: Annotated[
        str | None, typer.Option(help="The name under which workers find this run (see `hwsearch worker`).", show_default=False)
    ] = None
    grace: Annotated[
        int | None, typer.Option(help="Seconds without a sign of life after which a worker counts as dead. Default: 60.", min=1)
    ] = None

    def fields(self) -> dict[str, object]:
        """The fields of a request, only those that were given.

        Raises:
            UsageError: the database is no PostgreSQL URL.
        """
        storage = self.storage and StorageUrl.read(self.storage)
        return notations.given({"storage": storage, "study": self.study, "grace_s": self.grace})

    def without_password(self, word: str) -> str:
        """A word of a command line as it may be written down."""
        return word if self.storage is None else word.replace(self.storage, StorageUrl.read(self.storage))
