"""Weights of networks that are not built in, recognised by spandrel: a library that knows some forty families by their keys.

It is an optional part (the extra ``spandrel``). It is given tensors that ``checkpoint`` has read, so no pickle is run. Its
networks are for values 0..1 (its ``ImageModelDescriptor``), and their sizes are read off the weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hwmodels.errors import FileError, UsageError
from searchspaces.data.scale import Scale, exact, scale_text
from searchspaces.networks import checkpoint
from searchspaces.networks.input_channels import InputChannels, ways
from searchspaces.networks.prefixes import views
from searchspaces.networks.registry import LoadedNetwork
from searchspaces.networks.reparametrised import in_words, put_together
from searchspaces.networks.several_outputs import picture_alone
from searchspaces.networks.shards import sha256
from searchspaces.networks.weights import as_numbers

NAME = "spandrel"
"""What such a network is called in a request, beside its weights; the weights tell which of the families it is."""
_SIDE = 24
"""Pixels, at least, of the picture on which a network is compared with what spandrel makes of it."""
_CLOSE = 1e-5
"""Of the range; the two run the same layers."""
INDEX = "https://download.pytorch.org/whl"
"""Where builds of torch and torchvision for one kind of processor are (PyTorch, "Get started")."""
_BUILD = re.compile(r"cpu|xpu|cu\d+|rocm[\d.]+")


@dataclass(frozen=True)
class Found:
    """A network of one of spandrel's families, with its weights.

    ``title``: the family and its sizes in words; ``identity``: the family's name without blanks; ``channels`` of pictures;
    ``remarks``: what was taken off the names of the tensors, and which of several results is the picture.
    """

    identity: str
    title: str
    scale: Scale
    channels: int
    module: nn.Module
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unavailable:
    """Why spandrel cannot be asked, and the command that mends it."""

    reason: str
    remedy: str


def look(path: str | Path, made: InputChannels | None = None) -> Found | Unavailable | None:
    """The network whose weights a file holds; None where spandrel knows none.

    Args:
        made: how what it reads is made from a picture, where that is not the picture itself.
    Raises:
        FileError: the file cannot be read, its numbers are not finite, or a family's keys hold tensors of other shapes.
        UsageError: the network of the family needs more than a picture.
    """
    library = _library()
    if isinstance(library, Unavailable):
        return library
    read = checkpoint.read(path).tensors
    whole, joined = put_together(read)  # a family may keep its weights in parts itself
    for tensors, said in ((read, []), *([(whole, in_words(joined))] if joined else [])):
        for prefix, state in views(tensors):
            for support in library.MAIN_REGISTRY.architectures("detection"):
                if _detects(support, state):
                    found = _found(library, _loaded(support.architecture, as_numbers(state, path), path), path, made)
                    off = [f"{prefix} is taken off the names of its tensors"] if prefix else []
                    return replace(found, remarks=(*(f"{Path(path).name}: {words}." for words in (*said, *off)), *found.remarks))
    return None


def load(
    weights: str | Path | None, scale: Scale | None, arguments: Mapping[str, Any], made: InputChannels | None = None
) -> LoadedNetwork:
    """The network of a file of weights, ready to be searched.

    Raises:
        UsageError: no weights, another scale, arguments, or spandrel cannot be asked.
        FileError: as ``look``, or spandrel does not know these weights.
    """
    if weights is None:
        raise UsageError(f"--network {NAME}: its networks are recognised by their weights", "Pass --weights FILE.")
    if arguments:
        raise UsageError(f"--network {NAME} has no arguments: sizes are read off the weights", "Leave --arg out.")
    found = look(weights, made)
    if isinstance(found, Unavailable):
        raise UsageError(found.reason, found.remedy)
    if found is None:
        raise FileError(
            f"{weights}: weights of none of the networks that spandrel knows", "`hwsearch inspect` tells what it holds."
        )
    if scale is not None and scale != found.scale:
        raise UsageError(
            f"{weights}: weights of {found.title} x{scale_text(found.scale)}, not of scale {scale_text(scale)}",
            "Leave --scale out.",
        )
    return LoadedNetwork(
        found.module,
        found.identity,
        found.scale,
        found.channels,
        "low",
        sha256(weights),
        {"family": found.title},
        remarks=found.remarks,
    )


def _library() -> Any:
    """Spandrel, or why it cannot be imported."""
    try:
        import spandrel
    except ModuleNotFoundError as error:
        if error.name == "spandrel":
            return Unavailable("spandrel, which knows some forty more families, is not installed", remedy(torch.__version__))
        return _broken(error)
    except Exception as error:  # what its dependencies raise: a torchvision of another torch raises RuntimeError or OSError
        return _broken(error)
    return spandrel


def _broken(error: Exception) -> Unavailable:
    return Unavailable(f"spandrel is installed, but its import fails ({_first(error)})", remedy(torch.__version__, again=True))


def _detects(support: Any, state: Mapping[str, Tensor]) -> bool:
    """Whether the keys of a state dict are those of a family; what its test of shapes trips over is another's."""
    try:
        return bool(support.detect(dict(state)))
    except Exception:
        return False


def remedy(version: str, *, again: bool = False) -> str:
    """The commands that install spandrel beside a torch.

    A build of torch from an index of its own names it (``2.13.0+cpu``), and torchvision must come from the same one: that of
    PyPI is made for PyPI's torch and does not load beside others.

    Args:
        version: of torch, as it says it. again: whether a torchvision may be there that is of another torch.
    """
    number, _, build = version.partition("+")
    index = f" --index-url {INDEX}/{build}" if _BUILD.fullmatch(build) else ""
    commands = ["pip uninstall -y torchvision"] if again else []
    if index or again:
        commands.append(f'pip install "torch=={number}" torchvision{index}')
    why = "torchvision must come from the index that torch is from: " if index or again else "Install it: "
    return why + " && ".join([*commands, "pip install spandrel"])


def _loaded(architecture: Any, state: Mapping[str, Tensor], path: str | Path) -> Any:
    """What spandrel makes of a state dict of one of its families."""
    try:
        return architecture.load(dict(state))
    except Exception as error:  # whatever the code of forty families raises on shapes that it does not expect
        raise FileError(
            f"{path}: its keys are those of {architecture.name}, but its tensors do not fit ({_first(error)})",
            "It may hold a part of the network, or a variant that spandrel does not know. Your own: --model my_net.py:build.",
        ) from None


def _found(library: Any, descriptor: Any, path: str | Path, made: InputChannels | None) -> Found:
    """A network that reads one picture and gives one.

    Raises:
        UsageError: it needs more, such as a mask or a level of noise, or spandrel does more with the picture than the network.
    """
    title = " ".join([descriptor.architecture.name, *descriptor.tags])
    own = "Write the call as a module of your own: --model my_net.py:build."
    if not isinstance(descriptor, library.ImageModelDescriptor):
        raise UsageError(f"{path}: weights of {title}, which needs a mask beside the picture", own)
    reads, module = int(descriptor.input_channels), descriptor.model.eval()
    channels = reads if made is None else made.picture(reads)
    if channels != descriptor.output_channels:
        colours = f"{reads} channels, and gives {descriptor.output_channels}"
        raise UsageError(
            f"{path}: weights of {title}, which reads {colours}", ways(reads) or "A network must give the channels that it reads."
        )
    wants = descriptor.size_requirements
    side = -(-max(wants.minimum, _SIDE) // wants.multiple_of) * wants.multiple_of
    side *= 1 if made is None else made.multiple
    picture = torch.rand(1, channels, side, side, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            expected = descriptor(picture if made is None else made.made(picture))
            _settle(module)
            if made is not None:
                made.before(module)
            output = module(picture)
            said = picture_alone(module, output, channels)
            output = output if said is None else module(picture)
    except Exception as error:  # whatever the network's code raises
        raise UsageError(f"{path}: weights of {title}, which does not run on a picture alone ({_first(error)})", own) from None
    if not isinstance(output, Tensor) or not torch.allclose(output.clamp(0, 1), expected, rtol=0, atol=_CLOSE):
        raise UsageError(f"{path}: weights of {title}, of which spandrel makes pictures by more than running it", own)
    remarks = [] if said is None else [f"{path}: {said}"]
    remarks += [] if made is None else [made.remark]
    scale = int(descriptor.scale) if made is None else exact(Fraction(output.shape[2], side))
    return Found(str(descriptor.architecture.id), title, scale, channels, module, tuple(remarks))


def _settle(module: nn.Module) -> None:
    """Some networks (SPAN) fold convolutions into one anew whenever they run, which cannot be traced: let them do it for the last
    time."""
    for inner in module.modules():
        fold = getattr(inner, "update_params", None)
        if callable(fold) and isinstance(getattr(inner, "eval_conv", None), nn.Conv2d):
            fold()
            setattr(inner, "update_params", _nothing)  # noqa: B010  # a method in the place of one, which modules are not typed for


def _nothing() -> None:
    """In the place of folding what is folded."""


def _first(error: Exception) -> str:
    """The first line of an error's words, behind its kind."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
