"""Reading weights. safetensors, or a ``.pth`` with ``weights_only=True``; nothing else is ever unpickled."""

from __future__ import annotations

import hashlib
import json
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from hwmodels.errors import FileError

_AGAIN = "Copy or save the file again, and compare its size with the original's."
_WRAPPERS = ("params_ema", "params", "state_dict", "model_state_dict", "model")
"""Keys under which training scripts nest the state dict; an averaged copy is preferred."""


def sha256(path: str | Path) -> str:
    """Checksum of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_provenance(path: str | Path) -> dict[str, Any]:
    """The "provenance" metadata (JSON) of a safetensors file; empty when there is none."""
    if Path(path).suffix != ".safetensors":
        return {}
    with safe_open(str(path), framework="pt") as file:
        text = (file.metadata() or {}).get("provenance", "{}")
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict: key -> float32 tensor on the CPU (whole numbers, as in batch norm's counter, stay as they are).

    Nested files (``{"params": {...}}``) and the ``module.`` prefix of DataParallel are unwrapped.

    Raises:
        FileError: not there, truncated, of another format, or a pickle that holds more than tensors.
    """
    file = Path(path)
    if not file.is_file():
        raise FileError(f"{path}: no such weights file", "Pass a .safetensors, .pth or .pt file.")
    if file.suffix == ".safetensors":
        state = _read_safetensors(file)
    elif file.suffix in (".pth", ".pt"):
        state = _unwrap(_read_pth(file), file)
    else:
        raise FileError(f"{path}: weights of this kind are not read", "Pass a .safetensors, .pth or .pt file.")
    if state and all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    state = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    broken = [key for key, value in state.items() if value.is_floating_point() and not bool(torch.isfinite(value).all())]
    if broken:
        raise FileError(f"{path}: not finite: {', '.join(broken)}", "The training diverged, or the file is damaged.")
    if not state:
        raise FileError(f"{path}: no tensors in this file", "Save a state dict: torch.save(model.state_dict(), path).")
    return state


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    try:
        with safe_open(str(file), framework="pt") as opened:
            return {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError) as error:
        raise FileError(f"{file}: truncated, or not a safetensors file ({error})", _AGAIN) from None


def _read_pth(file: Path) -> Any:
    try:
        with warnings.catch_warnings():  # of old pickle protocols: what matters about them is below
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        first = str(error).strip().splitlines()[0]
        raise FileError(
            f"{file}: refused, because loading it could run code that is hidden in it ({first})",
            "Save tensors only: torch.save(model.state_dict(), path), or better a .safetensors file.",
        ) from None
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise FileError(f"{file}: truncated, or not a PyTorch weights file ({first})", _AGAIN) from None


def _unwrap(found: Any, file: Path) -> dict[str, Tensor]:
    while isinstance(found, Mapping):
        nested = next((found[key] for key in _WRAPPERS if isinstance(found.get(key), Mapping)), None)
        if nested is None:
            break
        found = nested
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise FileError(f"{file}: this file is not a state dict", "Save one by torch.save(model.state_dict(), path).")
    return {str(key): value for key, value in found.items()}


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
            f"{source}: these weights do not fit the network\n{lines}", "Check the network's name, scale and arguments."
        )
    module.load_state_dict(dict(state), strict=False)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
