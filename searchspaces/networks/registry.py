"""The networks by name, and the loading of weights into them, or into a person's own module.

A network's widths and depths are read off its weights, so that ``--weights FILE`` alone is enough; without weights
they are arguments.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hwmodels.errors import FileError, UsageError
from hwmodels.parts.registry import Part, Registry, instances
from searchspaces.data.pictures import InputKind
from searchspaces.data.scale import Scale, scale_text
from searchspaces.networks.input_channels import PICTURES, InputChannels
from searchspaces.networks.own_code import HOW, OwnCode, taken_by
from searchspaces.networks.own_module import in_single_precision, picture_of, scale_of
from searchspaces.networks.shards import sha256
from searchspaces.networks.spec import NetworkSpec, blueprint
from searchspaces.networks.weights import Weights, check_finite, put, read_provenance, read_weights, state_sha256

_log = logging.getLogger(__name__)


def _built_in() -> list[Part[NetworkSpec]]:
    """The ``SPEC`` of every file in the folders beside this one."""
    found = []
    for folder in sorted(path for path in Path(__file__).parent.iterdir() if path.is_dir()):
        for file in sorted(folder.glob("*.py")):
            if file.stem != "__init__":
                module = importlib.import_module(f"{__package__}.{folder.name}.{file.stem}")
                if (spec := getattr(module, "SPEC", None)) is not None:
                    found.append(Part(spec.name, spec, str(file)))
    return sorted(found, key=lambda part: (part.value.place, part.name))


NETWORKS: Registry[NetworkSpec] = Registry(
    "network", "hwsearch.networks", _built_in, instances(NetworkSpec, lambda spec: spec.name)
)


MOST_NUMBERS = 1_000_000_000
"""Weights of a network that is made; 4 GB."""


@dataclass(frozen=True, eq=False)
class LoadedNetwork:
    """A network with weights, in evaluation mode.

    ``provenance`` says where shipped weights come from; empty for others. ``remarks``: what had to be done to find the weights
    in their file. ``only``: the one size of pictures that it can be traced for, None: any whose sides are multiples of
    ``multiple``; both are known once it is posed as a problem. ``size``: the (height, width) that it is made for, where it
    names one. Of a model file: ``widths``, bits of layers and tensors that it has already. ``value_range``: what it is known to
    expect, where that is not 0..1; ``task``: what it is for, where it returns no picture. ``dropped``: blocks that ``module`` is
    without (``networks.adapted.blocks``), and ``whole``: the module that has them.
    """

    module: nn.Module
    name: str
    scale: Scale
    channels: int
    input_kind: InputKind
    weights_sha256: str
    arguments: Mapping[str, Any]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    widths: Mapping[str, int] = field(default_factory=dict)
    value_range: str = ""
    task: str = ""
    only: tuple[int, int] | None = None
    multiple: int = 1
    dropped: tuple[str, ...] = ()
    whole: nn.Module | None = None


def spec(name: str) -> NetworkSpec:
    """Look a network up.

    Raises:
        UsageError: unknown; names the closest.
    """
    return NETWORKS.named(name)


def build(name: str, scale: Scale = 2, **arguments: Any) -> nn.Module:
    """A network with random weights, in evaluation mode.

    Raises:
        UsageError: unknown name, scale or argument, or there is no memory for a network of these arguments.
    """
    known = spec(name)
    scale = known.check_scale(scale)
    for argument, value in arguments.items():
        known.check_argument(argument, value)
    chosen = {**known.arguments, **arguments}
    numbers = sum(tensor.numel() for tensor in blueprint(known, scale, chosen).values()) if arguments else 0
    if numbers > MOST_NUMBERS:
        sizes = ", ".join(f"{key} {value}" for key, value in arguments.items())
        raise UsageError(f"{name} with {sizes} has {numbers:.1e} weights", f"At most {MOST_NUMBERS:.0e}: make it smaller.")
    return known.build(scale=scale, **chosen).eval()


def load(name: str, scale: Scale | None = None, weights: str | Path | None = None, **arguments: Any) -> LoadedNetwork:
    """A built-in network with weights.

    Args:
        scale: by default that of the shipped weights, or the first that the network is made for.
        weights: a safetensors or .pth file; by default the shipped weights.
        arguments: the network's own (width, depth, ...); what the weights show need not be said.
    Raises:
        UsageError: unknown name, scale or argument; no weights given, and none shipped.
        FileError: the weights cannot be read or do not fit.
    """
    known = spec(name)
    if scale is None:
        scale = next(iter(known.shipped), known.scales[0])
    scale = known.check_scale(scale)
    path = Path(weights) if weights is not None else known.weights(scale)
    if path is None:
        shipped = ", ".join(f"{other.name} x{s}" for other in NETWORKS.values() for s in other.shipped if other.weights(s))
        raise UsageError(
            f"no weights ship for {name} x{scale}", f"Pass --weights FILE.safetensors (or .pth). Shipped: {shipped or 'none'}."
        )
    read = _read(path, blueprint(known, scale, known.arguments))
    state = known.own(read.state, scale)
    chosen = {**known.arguments, **known.infer(state), **arguments}
    try:
        module = build(name, scale, **chosen)
    except UsageError as error:
        if arguments:
            raise
        raise FileError(f"{path}: {error.message}", error.hint) from None  # as the shapes of its tensors say
    put(module, state, path)
    channels = known.channels if known.channels is not None else int(chosen["channels"])
    provenance = read_provenance(path) if weights is None else {}
    return LoadedNetwork(
        module,
        name,
        scale,
        channels,
        known.input_kind,
        sha256(path),
        chosen,
        provenance,
        remarks=read.remarks,
        size=known.size,
        value_range=known.value_range,
        task=known.task,
    )


def _read(path: str | Path, wanted: Mapping[str, Tensor]) -> Weights:
    """The weights of a network, whose tensors are called as ``wanted``, in a file; what had to be done to find them is said."""
    read = read_weights(path, wanted)
    for remark in read.remarks:
        _log.warning(remark)
    return read


def load_file(
    target: str,
    weights: str | Path | None = None,
    scale: Scale | None = None,
    *,
    enlarges: bool = True,
    made: InputChannels | None = None,
    of_pictures: bool = True,
    asked: tuple[int, int] | None = None,
) -> LoadedNetwork:
    """A person's own network: ``path/to/file.py:callable`` or ``path/to/file.py:callable(key=value)`` (see ``own_code``), where
    the call returns an ``nn.Module`` that maps ``[N, C, H, W]`` in 0..1 to ``[N, C, scale*H, scale*W]``. C (1 or 3) is that of
    the first convolution, or what the module runs on.

    The file is executed, as any Python module is when it is imported.

    Args:
        scale: by default what the network does to a small picture.
        enlarges: whether the output must be a picture of ``scale`` times the size; else it may be anything, and the scale is 1.
        made: how what it reads is made from a picture, where that is not the picture itself; the scale is that of the picture.
        of_pictures: whether it must read pictures; else it may read other channels, and its scale is then 1.
        asked: height and width of a picture that it is said to take, if it takes none of the usual ones.
    Raises:
        UsageError: not of that form, no such callable or argument, it returns no module, or the module is not of that scale.
        FileError: the file cannot be imported, or the weights cannot be read or do not fit.
    """
    code = OwnCode.read(target)
    if code is None or not code.name:
        raise UsageError(f"{target!r} does not name a callable in a file", HOW)
    maker = code.executed()
    module = code.module(maker).eval()
    digest = ""
    remarks = in_single_precision(module, target)
    if weights is not None:
        read = _read(weights, module.state_dict())
        put(module, read.state, weights)
        digest, remarks = sha256(weights), (*remarks, *read.remarks)
    check_finite(module.state_dict(), target)
    digest = digest or state_sha256(module)
    if made is not None:
        made.before(module)
        remarks = (*remarks, made.remark)
    channels, size = picture_of(module, target, made, others=not of_pictures, asked=asked)
    enlarges = enlarges and channels in PICTURES
    found_scale, said = scale_of(module, channels, size, target) if enlarges else (1, None)
    if said is not None:
        remarks = (*remarks, f"{target}: {said}")
        _log.warning(remarks[-1])
    if scale is not None and scale != found_scale and channels in PICTURES:
        raise UsageError(
            f"{target}: this network enlarges {scale_text(found_scale)} times, not {scale_text(scale)} times",
            f"Build it so: --arg scale={scale_text(scale)}." if "scale" in (taken_by(maker) or ()) else "Leave --scale out.",
        )
    return LoadedNetwork(
        module, Path(code.file).stem, found_scale, channels, "low", digest, {"model": str(code)}, remarks=remarks
    )
