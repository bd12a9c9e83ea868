"""Which network a weights file is of: told by the names and shapes of its tensors. Built-in networks first, then those that
spandrel knows."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from hwmodels.errors import FileError, UsageError
from searchspaces.data.scale import Scale, scale_text
from searchspaces.networks import checkpoint, shards, through_spandrel
from searchspaces.networks.input_channels import InputChannels
from searchspaces.networks.prefixes import choose
from searchspaces.networks.registry import NETWORKS
from searchspaces.networks.reparametrised import put_together
from searchspaces.networks.spec import NetworkSpec, blueprint
from searchspaces.networks.weights import integers

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recognised:
    """A network; ``scale`` is None where its weights are the same for several.

    ``scales``: those that the weights are for; ``channels`` of pictures, ``value_range`` that its published weights expect;
    ``arguments``: its sizes, as the weights show them; ``family``: what it is, where another library knows the network;
    ``integers``: the tensors that are integers where the network has real numbers, for which loading refuses the file.
    """

    name: str
    scale: Scale | None
    scales: tuple[Scale, ...] = field(default=(), compare=False)
    channels: int = field(default=3, compare=False)
    value_range: str = field(default="0..1", compare=False)
    arguments: Mapping[str, Any] = field(default_factory=dict, compare=False)
    family: str = field(default="", compare=False)
    integers: tuple[str, ...] = field(default=(), compare=False)

    @property
    def words(self) -> str:
        """Itself in a line: family, scale, colours, range."""
        colours = {1: "luma", 3: "RGB"}.get(self.channels, f"{self.channels} channels")
        name = f"{self.family} (by {self.name})" if self.family else self.name
        return f"{name} {' or '.join(f'x{scale_text(s)}' for s in self.scales)}, {colours}, values {self.value_range}"


@dataclass(frozen=True)
class _Fit:
    """How a network of one scale fits: tensors of the right shape, of how many that one of them has."""

    spec: NetworkSpec
    scale: int
    arguments: Mapping[str, Any]
    alike: int
    all: int
    integers: tuple[str, ...] = ()


def recognise(path: Path, scale: Scale | None = None, made: InputChannels | None = None) -> Recognised:
    """What ``look`` finds, and logs it."""
    found = look(path, scale, made)
    _log.warning("%s: recognised as %s.", path.name, found.words)
    if len(found.scales) > 1:
        _log.warning("%s: its weights are for several scales; say by --scale which, where it is not the usual one.", path.name)
    return found


def look(path: Path, scale: Scale | None = None, made: InputChannels | None = None) -> Recognised:
    """The network whose weights a file holds: a built-in one, or one that spandrel knows.

    Args:
        scale: the enlargement, where it is known. made: how what it reads is made from a picture, where spandrel knows it.
    Raises:
        UsageError: several networks fit, or the file fits one at other scales.
        FileError: the file cannot be read, or fits none.
    """
    tensors, _ = put_together(checkpoint.read(path).tensors)
    fits = list(_fits(tensors, path))
    whole = [fit for fit in fits if fit.alike == fit.all]
    found = [fit for fit in whole if scale in (None, fit.scale)]
    names = sorted({fit.spec.name for fit in found})
    if not names and whole and scale is not None:
        there = ", ".join(f"{fit.spec.name} x{fit.scale}" for fit in whole)
        raise UsageError(f"{path}: weights of {there}, not of scale {scale_text(scale)}", "Leave --scale out.")
    if not names:
        return _elsewhere(path, scale, made, f"{path}: weights of none of the built-in networks{_nearest(fits)}")
    if len(names) > 1:
        raise UsageError(f"{path}: weights of {' or '.join(names)}", f"Say which: --network {names[0]}.")
    channels = found[0].spec.channels or int(found[0].arguments["channels"])
    scales, values = tuple(fit.scale for fit in found), found[0].spec.value_range or "0..1"
    known = scale or (scales[0] if len(scales) == 1 else None)
    return Recognised(names[0], known, scales, channels, values, found[0].arguments, integers=found[0].integers)


def _elsewhere(path: Path, scale: Scale | None, made: InputChannels | None, none: str) -> Recognised:
    """What spandrel knows, where it can be asked.

    Args:
        none: the words for a file of no built-in network.
    """
    found = through_spandrel.look(path, made)
    hint = f"{shards.one_of_several(path)} {_HINT}".strip()
    if isinstance(found, through_spandrel.Unavailable):
        raise FileError(f"{none}; {found.reason}", f"{hint} {found.remedy}")
    if found is None:
        raise FileError(f"{none}, nor of those that spandrel knows", hint)
    if scale is not None and scale != found.scale:
        raise UsageError(
            f"{path}: weights of {found.title} x{scale_text(found.scale)}, not of scale {scale_text(scale)}", "Leave --scale out."
        )
    return Recognised(through_spandrel.NAME, found.scale, (found.scale,), found.channels, family=found.title)


_SHARE = 10
_HINT = "Name the network: --network NAME (`hwsearch networks`), or your own: --model my_net.py:build."


def _nearest(fits: list[_Fit]) -> str:
    best = max(fits, key=lambda fit: fit.alike / max(fit.all, 1), default=None)
    if best is None or not best.alike:
        return ""
    return f" (the nearest is {best.spec.name}: {best.alike} of {best.all} tensors fit)"


def _fits(tensors: Mapping[str, Tensor], path: Path) -> Iterator[_Fit]:
    tails = {name for key in tensors for name in _tails(key)}
    for spec in NETWORKS.values():
        usual = blueprint(spec, spec.scales[0], spec.arguments)
        if not _resembles(tensors, tails, usual):
            continue
        for scale in spec.scales:
            fit = _fit(spec, scale, tensors, path)
            if fit is not None:
                yield fit


def _resembles(tensors: Mapping[str, Tensor], tails: Set[str], usual: Mapping[str, Tensor]) -> bool:
    """Whether a network is worth a closer look: a tenth of its names occur in the file, or of the file's in it. A file may hold
    more blocks than usual, fewer, or a second network."""
    there = sum(name in tails for name in usual)
    foreign = sum(any(name in usual for name in _tails(key)) for key in tensors)
    return there * _SHARE >= len(usual) or foreign * _SHARE >= len(tensors)


def _tails(key: str) -> Iterator[str]:
    """A name, and what is left of it without each prefix."""
    parts = key.split(".")
    return (".".join(parts[i:]) for i in range(len(parts)))


def _fit(spec: NetworkSpec, scale: int, tensors: Mapping[str, Tensor], path: Path) -> _Fit | None:
    """How a network fits; None where its sizes, read off these weights, make none."""
    try:
        wanted = blueprint(spec, scale, spec.arguments)
        state = spec.own(choose(tensors, wanted, path).state, scale)
        arguments = {**spec.arguments, **spec.infer(state)}
        if arguments != spec.arguments:
            wanted = blueprint(spec, scale, arguments)
    except (FileError, UsageError, ValueError, TypeError, RuntimeError, KeyError, IndexError, ZeroDivisionError):
        return None
    names = {name for name in wanted if not name.endswith("num_batches_tracked")}
    alike = sum(name in state and state[name].shape == wanted[name].shape for name in names)
    foreign = sum(name not in wanted for name in state)
    return _Fit(spec, scale, arguments, alike, len(names) + foreign, tuple(integers(state, wanted)))
