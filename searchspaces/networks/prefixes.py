"""Which of a checkpoint's tensors are the network's: what training frameworks put around, before and beside their names.

Frameworks wrap a network (``torch.compile``: ``_orig_mod.``, DataParallel: ``module.``, Lightning: ``model.``, BasicSR:
``net_g.``, ``params_ema.``), nest these, and store a discriminator, an averaged copy or the optimizer's state beside it. No list
of such names is complete, so the network itself is asked: a prefix is right when the names behind it are those that it wants.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.errors import FileError
from searchspaces.networks.reparametrised import in_words, put_together

WRAPPERS = (
    *("params_ema", "state_dict_ema", "ema_state_dict", "model_ema", "ema", "generator_ema", "params", "state_dict"),
    *("model_state_dict", "model", "module", "_orig_mod", "net_g", "netG", "generator", "net", "network"),
)
"""Names that are known to stand before a network's own; an averaged copy is preferred."""
_INSIDE = re.compile(r"(?<![^.])(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""What wrappers of single modules leave in the middle of a name, and no network calls a layer."""
_COUNTED = re.compile(r"(?:.*\.)?total_(?:ops|params)")
"""What a profiler of operations (thop) leaves in every module that it has counted."""
_AVERAGED = re.compile(r"(^|[._])(ema|swa|averaged)([._]|$)", re.IGNORECASE)
"""Marks of a running average of the weights, which tests better than the weights of the last step."""


@dataclass(frozen=True)
class Chosen:
    """The network's own tensors under its own names, and sentences about what was taken off or left out."""

    state: dict[str, Tensor]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Candidate:
    """A prefix: how many wanted names stand behind it, how many of them with the wanted shape, how many are missing."""

    prefix: str
    names: int
    shapes: int
    averaged: bool

    @property
    def rank(self) -> tuple[int, int, bool, int]:
        return self.names, self.shapes, self.averaged, -len(self.prefix)


def choose(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: object) -> Chosen:
    """The tensors of the network among all those of a file.

    Args:
        wanted: the network's own state dict; sizes may differ where a network's sizes are read off its weights.
    Raises:
        FileError: two different sets of tensors fit alike, and nothing says which is meant.
    """
    whole, joined = put_together(tensors, kept=put_together(wanted)[1])  # a network may keep weights in parts itself
    counted = [key for key in whole if _COUNTED.fullmatch(key) and key not in wanted]
    for key in counted:
        del whole[key]
    inside = any(_INSIDE.search(key) for key in wanted)
    bare = whole if inside else _without_inside(whole)
    candidates = _candidates(bare, wanted)
    best = max(candidates, key=lambda candidate: candidate.rank)
    needed = sum(not key.endswith("num_batches_tracked") for key in wanted)
    known = all(part in WRAPPERS for part in best.prefix.split(".")[:-1])
    if not (best.names >= needed or known or all(key.startswith(best.prefix) for key in bare)):
        best = _Candidate("", 0, 0, False)
    if best.names == 0:
        best = _Candidate(_known_prefix(bare), 0, 0, False)
    state = _behind(best.prefix, bare)
    rivals = [c for c in candidates if c is not best and c.rank[:3] == best.rank[:3] and best.names]
    for rival in rivals:
        if not _same(state, _behind(rival.prefix, bare), wanted):
            raise FileError(
                f"{source}: two networks in this file fit: {_shown(best.prefix)} and {_shown(rival.prefix)}",
                "Save the one that is meant in a file of its own.",
            )
    under = {key if bare is whole else _INSIDE.sub("", key): what for key, what in joined.items()}
    said = in_words({key: what for key, what in under.items() if key.startswith(best.prefix)})
    said += [f"what a profiler counted is left out ({len(counted)} tensors)"] if counted else []
    return Chosen(state, (*said, *_remarks(whole, bare, best, candidates)))


def _without_inside(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without ``_orig_mod.`` anywhere; names stay as they are where two would become one."""
    bare = {_INSIDE.sub("", key): value for key, value in tensors.items()}
    return bare if len(bare) == len(tensors) else dict(tensors)


def _candidates(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[_Candidate]:
    """Every prefix behind which at least one wanted name stands; no prefix is always one of them."""
    prefixes = {""}
    for key in tensors:
        parts = key.split(".")
        tails = (".".join(parts[i:]) for i in range(1, len(parts)))
        prefixes |= {key.removesuffix(tail) for tail in tails if tail in wanted}
    found = []
    for prefix in prefixes:
        there = [name for name in wanted if prefix + name in tensors and not name.endswith("num_batches_tracked")]
        alike = sum(tensors[prefix + name].shape == wanted[name].shape for name in there)
        found.append(_Candidate(prefix, len(there), alike, bool(_AVERAGED.search(prefix))))
    return sorted(found, key=lambda candidate: candidate.prefix)


def views(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """The tensors of a file under every name that could be a network's own: as they are, then without one known wrapper after
    the other. For those who tell a network by its names, and cannot be asked which names it wants."""
    bare = _without_inside(tensors)
    for prefix in _known_prefixes(bare):
        yield prefix, _behind(prefix, bare)


def _known_prefix(tensors: Mapping[str, Tensor]) -> str:
    """The wrappers around the tensors of a file that does not fit the network, so that the refusal names bare keys."""
    return [*_known_prefixes(tensors)][-1]


def _known_prefixes(tensors: Mapping[str, Tensor]) -> Iterator[str]:
    """No prefix, then with one known wrapper more each; the outermost may be one of several things in a file."""
    prefix = ""
    while True:
        yield prefix
        firsts = {key.removeprefix(prefix).partition(".")[0] for key in tensors if key.startswith(prefix)}
        inner = next((name for name in WRAPPERS if name in firsts and f"{prefix}{name}" not in tensors), None)
        if inner is None or (prefix and len(firsts) > 1):
            return
        prefix += f"{inner}."


def _behind(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _same(one: Mapping[str, Tensor], other: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> bool:
    """Whether two copies hold the same numbers in what the network wants, as where a framework keeps a network twice."""
    shared = [name for name in wanted if name in one and name in other]
    return all(one[name].shape == other[name].shape and torch.equal(one[name], other[name]) for name in shared)


def _remarks(
    tensors: Mapping[str, Tensor], bare: Mapping[str, Tensor], best: _Candidate, candidates: list[_Candidate]
) -> list[str]:
    said = []
    inside = sorted({found for key in tensors if key not in bare for found in _INSIDE.findall(key)})
    taken = [*inside, *([best.prefix] if best.prefix else [])]
    if taken:
        said.append(f"{', '.join(taken)} is taken off the names of its tensors")
    others = [c.prefix for c in candidates if c.names == best.names and c.prefix != best.prefix]
    if best.averaged and others:
        said.append(f"the averaged weights ({_shown(best.prefix)}) were taken, not those of {', '.join(map(_shown, others))}")
    left = [key for key in bare if not key.startswith(best.prefix)]
    if left:
        groups = sorted({f"{key.partition('.')[0]}." if "." in key else key for key in left})
        said.append(f"{len(left)} other tensors are left out ({', '.join(groups[:4])}{', ...' if len(groups) > 4 else ''})")
    return said


def _shown(prefix: str) -> str:
    return prefix or "the names without a prefix"
