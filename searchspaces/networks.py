"""The networks by name, and the loading of weights into them, or into a person's own module.

A network's widths and depths are read off its weights, so that ``--weights FILE`` alone is enough; without weights
they are arguments.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from hwmodels.errors import FileError, UsageError, closest
from searchspaces import abpn, ecbsr, edsr, espcn, fsrcnn, imdn, vdsr
from searchspaces.pictures import InputKind
from searchspaces.spec import NetworkSpec
from searchspaces.weights import put, read_provenance, read_state, sha256

NETWORKS: dict[str, NetworkSpec] = {
    module.SPEC.name: module.SPEC for module in (fsrcnn, abpn, ecbsr, espcn, edsr, vdsr, imdn)
}


@dataclass(frozen=True, eq=False)
class LoadedNetwork:
    """A network with weights, in evaluation mode. ``provenance`` says where shipped weights come from; empty for others."""

    module: nn.Module
    name: str
    scale: int
    channels: int
    input_kind: InputKind
    weights_sha256: str
    arguments: Mapping[str, Any]
    provenance: Mapping[str, Any] = field(default_factory=dict)


def spec(name: str) -> NetworkSpec:
    """Look a network up.

    Raises:
        UsageError: unknown; names the closest.
    """
    if name not in NETWORKS:
        raise UsageError(f"no network is called {name!r}", closest(name, NETWORKS))
    return NETWORKS[name]


def build(name: str, scale: int = 2, **arguments: Any) -> nn.Module:
    """A network with random weights, in evaluation mode.

    Raises:
        UsageError: unknown name, scale or argument.
    """
    known = spec(name)
    known.check_scale(scale)
    for argument, value in arguments.items():
        known.check_argument(argument, value)
    return known.build(scale=scale, **{**known.arguments, **arguments}).eval()


def load(name: str, scale: int | None = None, weights: str | Path | None = None, **arguments: Any) -> LoadedNetwork:
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
    known.check_scale(scale)
    path = Path(weights) if weights is not None else known.weights(scale)
    if path is None:
        shipped = ", ".join(f"{other.name} x{s}" for other in NETWORKS.values() for s in other.shipped if other.weights(s))
        raise UsageError(
            f"no weights ship for {name} x{scale}", f"Pass --weights FILE.safetensors (or .pth). Shipped: {shipped or 'none'}."
        )
    state = read_state(path)
    chosen = {**known.arguments, **known.infer(state), **arguments}
    module = build(name, scale, **chosen)
    put(module, state, path)
    channels = known.channels if known.channels is not None else int(chosen["channels"])
    return LoadedNetwork(
        module, name, scale, channels, known.input_kind, sha256(path), chosen, read_provenance(path) if weights is None else {}
    )


def load_file(target: str, weights: str | Path | None = None, scale: int = 2) -> LoadedNetwork:
    """A person's own network: ``path/to/file.py:callable``, where ``callable()`` returns an ``nn.Module`` that maps
    ``[N, C, H, W]`` in 0..1 to ``[N, C, scale*H, scale*W]``. C (1 or 3) is that of the first convolution.

    The file is executed, as any Python module is when it is imported.

    Raises:
        UsageError: not of that form, no such callable, or it does not return a module.
        FileError: the file cannot be imported, or the weights cannot be read or do not fit.
    """
    file, colon, attribute = target.rpartition(":")
    if not colon or not file.endswith(".py") or not attribute:
        raise UsageError(f"{target!r} does not name a callable in a file", "Write it as path/to/file.py:callable.")
    module = _call(_import(Path(file)), attribute, file).eval()
    digest = ""
    if weights is not None:
        put(module, read_state(weights), weights)
        digest = sha256(weights)
    convs = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    if not convs or convs[0].in_channels not in (1, 3):
        found = f"its first convolution reads {convs[0].in_channels} channels" if convs else "it has no convolution"
        raise UsageError(f"{target}: {found}", "A network must read pictures of 1 (luma) or 3 (RGB) channels.")
    return LoadedNetwork(module, Path(file).stem, scale, convs[0].in_channels, "low", digest, {"model": target})


def _import(path: Path) -> Any:
    if not path.is_file():
        raise FileError(f"{path}: no such file")
    location = importlib.util.spec_from_file_location(f"_user_{path.stem}", path)
    assert location is not None
    assert location.loader is not None
    imported = importlib.util.module_from_spec(location)
    sys.modules[location.name] = imported
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        location.loader.exec_module(imported)
    except Exception as error:
        raise FileError(f"{path}: cannot be imported ({type(error).__name__}: {error})") from error
    finally:
        sys.path.pop(0)
    return imported


def _call(imported: Any, attribute: str, file: str) -> nn.Module:
    maker = getattr(imported, attribute, None)
    if not callable(maker):
        names = [name for name, value in vars(imported).items() if callable(value) and not name.startswith("_")]
        raise UsageError(f"{file} has no callable {attribute!r}", closest(attribute, names))
    try:
        made = maker() if not isinstance(maker, nn.Module) else maker
    except Exception as error:
        raise FileError(f"{file}: {attribute}() failed ({type(error).__name__}: {error})") from error
    if not isinstance(made, nn.Module):
        raise UsageError(f"{file}: {attribute}() returned {type(made).__name__}, not a torch.nn.Module")
    return made
