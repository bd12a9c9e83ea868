"""Weights of a network: read from a file by the network's own names, checked, and put into it, all or nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from hwmodels.errors import FileError
from searchspaces.networks import checkpoint, shards
from searchspaces.networks.prefixes import choose

DIVERGED = "The training diverged, or the file is damaged: use an earlier checkpoint."
"""What to do about numbers that are not finite."""
QUANTIZED = (
    "Integers of a quantized network mean nothing without its scales: give the weights of the floating-point network, "
    "or a quantized model file (.onnx, .tflite) by --model."
)
"""What to do about integers."""


def state_sha256(module: nn.Module) -> str:
    """Checksum of the numbers in a module, wherever they come from: one that draws its own is another one every time."""
    digest = hashlib.sha256()
    for name, values in module.state_dict().items():
        digest.update(f"{name}{tuple(values.shape)}".encode())
        digest.update(values.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def read_provenance(path: str | Path) -> dict[str, Any]:
    """The "provenance" metadata (JSON) of a safetensors file; empty when there is none."""
    if Path(path).suffix != ".safetensors":
        return {}
    with safe_open(str(path), framework="pt") as file:
        text = (file.metadata() or {}).get("provenance", "{}")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True)
class Weights:
    """A network's tensors under its own names (float32 on the CPU; whole numbers stay so), and what was done to find them."""

    state: dict[str, Tensor]
    remarks: tuple[str, ...] = ()


def read_weights(path: str | Path, wanted: Mapping[str, Tensor]) -> Weights:
    """The tensors of a network in a file: prefixes and wrappers of training frameworks are taken off, and said.

    Args:
        wanted: the network's state dict, whose names are looked for; sizes may differ.
    Raises:
        FileError: not there, damaged, not weights, a pickle that would run code, or a weight that is no real number or not
            finite.
    """
    found = checkpoint.read(path)
    chosen = choose(found.tensors, wanted, path)
    _check_real(chosen.state, wanted, path)
    remarks = list(chosen.remarks)
    if found.unread:
        remarks.append(f"not read, because loading them could run code: {', '.join(found.unread)}")
    return Weights(as_numbers(chosen.state, path), tuple(f"{Path(path).name}: {remark.removesuffix('.')}." for remark in remarks))


def _check_real(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: str | Path) -> None:
    """Raises FileError where a file holds integers in the place of a network's real numbers."""
    real = sum(value.is_floating_point() for value in wanted.values())
    if found := integers(state, wanted):
        kind = str(state[found[0]].dtype).removeprefix("torch.")
        raise FileError(
            f"{path}: integers where the network has real numbers: {found[0]} is of {kind} ({len(found)} of {real} tensors)",
            QUANTIZED,
        )


def integers(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor] | None = None) -> list[str]:
    """The tensors of integers in the place of real numbers.

    Args:
        wanted: the network's state dict; None where it is not known: real are then those that are called weight or bias.
    """
    found = [key for key, value in state.items() if not value.is_floating_point()]
    if wanted is None:
        return [key for key in found if key.endswith(("weight", "bias"))]
    return [key for key in found if key in wanted and wanted[key].is_floating_point()]


def as_numbers(state: Mapping[str, Tensor], path: str | Path) -> dict[str, Tensor]:
    """As float32.

    Raises:
        FileError: names every tensor that holds what is no finite number.
    """
    numbers = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    check_finite(numbers, str(path))
    return numbers


def check_finite(state: Mapping[str, Tensor], source: str) -> None:
    """Raises FileError when a tensor holds NaN or infinity, or a variance below zero, whose root is none; naming each."""
    if broken := not_finite(state):
        raise FileError(f"{source}: not finite: {', '.join(broken)}", DIVERGED)


def refused(broken: Sequence[str]) -> str:
    """What is said of a file with tensors that ``not_finite`` names, where it is only looked at."""
    return f"Not finite: {', '.join(broken)}. {DIVERGED}"


def not_finite(state: Mapping[str, Tensor]) -> list[str]:
    """The tensors that ``check_finite`` refuses."""
    broken = [key for key, value in state.items() if value.is_floating_point() and not bool(torch.isfinite(value.float()).all())]
    return broken + [
        f"{key} (a variance below zero)" for key, value in state.items() if key.endswith("running_var") and (value < 0).any()
    ]


def put(module: nn.Module, state: Mapping[str, Tensor], source: str | Path) -> None:
    """Load ``state`` into ``module``, all of it or nothing.

    Raises:
        FileError: lists every missing, unexpected and wrong-shaped key at once.
    """
    wanted = module.state_dict()
    optional = {key for key in wanted if key.endswith("num_batches_tracked")}
    problems = [f"missing: {key} {_shape(wanted[key])}" for key in wanted if key not in state and key not in optional]
    problems += [f"unexpected: {key} {_shape(value)}" for key, value in state.items() if key not in wanted]
    problems += [
        f"{key}: the file has {_shape(state[key])}, the network {_shape(value)}"
        for key, value in wanted.items()
        if key in state and state[key].shape != value.shape
    ]
    if problems:
        lines = "\n".join(f"  - {problem}" for problem in problems)
        raise FileError(
            f"{source}: these weights do not fit the network\n{lines}",
            f"{shards.one_of_several(source)} Check the network's name, scale and arguments.".strip(),
        )
    module.load_state_dict(dict(state), strict=False)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
