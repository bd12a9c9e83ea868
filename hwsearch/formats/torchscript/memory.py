"""An end to the memory that a program of unknown origin takes.

Every operator is run on tensors without numbers first (PyTorch's device "meta"), which tells the shapes that it gives.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from hwsearch.formats.torchscript.fast_paths import Unfollowed
from hwsearch.formats.torchscript.known import Known

_COUNTED = ("repeat_interleave", "one_hot", "bincount")
"""Operators whose result is as long as numbers in their tensors say: its shape is not known before."""
_WORD_BYTES = 8


def most_bytes() -> int:
    """What the tensors of a run may take together: half of the computer's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


class Memory:
    """What the tensors of one run take.

    Attributes:
        values: of the run, by the numbers of the program; others are gone.
    """

    def __init__(self, values: Mapping[int, Any]) -> None:
        self.values = values
        self.most = most_bytes()
        self._taken = 0

    def before(self, name: str, overload: Any, args: list[Any], kwargs: Mapping[str, Any]) -> None:
        """Raises Unfollowed where an operator would take more than there is."""
        if name in _COUNTED:
            self._take(_counted(args))
        self.foresee(overload, args, _on_meta(overload, kwargs))

    def foresee(self, function: Callable[..., Any], args: list[Any], kwargs: Mapping[str, Any]) -> None:
        """The same of anything that computes with tensors, for what it makes on the way too."""
        largest = _Largest()
        try:
            with torch.no_grad(), _disable_current_modes(), largest:
                found = function(*map(_blank, args), **kwargs)
        except Exception:  # it looks at numbers, has no kernel for this device, or refuses what it is given, which it will tell
            found = None
        if largest.bytes > self.most:
            self._refuse()
        self._take(_bytes([found]))

    def after(self, found: Any) -> None:
        """The same of a result without numbers, whatever made it."""
        if _bytes([found]) > self.most:
            self._refuse()

    def _take(self, count: int) -> None:
        if self._taken + count > self.most:  # most of it is gone, as a rule
            self._taken = sum(storages(self.values.values()).values())
        if self._taken + count > self.most:
            self._refuse()
        self._taken += count

    def _refuse(self) -> None:
        raise Unfollowed(f"tensors of more than {self.most / 2**30:.3g} GiB, half of this computer's memory")


class _Largest(TorchDispatchMode):
    """What the largest tensor takes that an operator makes on the way.

    Attributes:
        bytes: of that tensor.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own is not annotated
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        self.bytes = max(self.bytes, _bytes([found]))
        return found


def storages(values: Iterable[Any]) -> dict[int, int]:
    """Storage -> bytes, of all tensors among values."""
    found: dict[int, int] = {}
    stack = [*values]
    while stack:
        item = stack.pop()
        if isinstance(item, Known):
            item = item.value
        if isinstance(item, Tensor):
            storage = item.untyped_storage()
            found[storage._cdata] = storage.nbytes()
        elif isinstance(item, list | tuple):
            stack.extend(item)
        elif isinstance(item, dict):
            stack.extend(item.values())
    return found


def _bytes(values: Iterable[Any]) -> int:
    """Of all that tensors claim to hold, views too: whatever reads one of them takes that long."""
    total = 0
    for item in values:
        if isinstance(item, Tensor):
            total += item.numel() * item.element_size()
        elif isinstance(item, list | tuple):
            total += _bytes(item)
    return total


def _counted(args: list[Any]) -> int:
    """At least as many bytes as an operator gives that counts by numbers in its tensors."""
    tensors = [item for item in args if isinstance(item, Tensor) and item.numel()]
    counts = [item for item in tensors if not item.is_floating_point() and item.device.type != "meta"]
    largest = max([1, *(int(item.abs().max()) for item in counts), *(item for item in args if isinstance(item, int))])
    return _WORD_BYTES * largest * max([1, *(item.numel() for item in tensors)])


def _blank(value: Any) -> Any:
    """A value with tensors that have no numbers."""
    if isinstance(value, list | tuple):
        return [_blank(item) for item in value]
    return value.to("meta") if isinstance(value, Tensor) else value


def _on_meta(overload: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    blank = {name: _blank(value) for name, value in kwargs.items()}
    if any(argument.name == "device" for argument in overload._schema.arguments):
        blank["device"] = torch.device("meta")
    return blank
