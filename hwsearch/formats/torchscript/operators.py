"""Operators of ATen in a program, called as PyTorch calls them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from hwsearch.formats.reading.scales import scales_fault
from hwsearch.formats.torchscript.fast_paths import NESTED, Unfollowed
from hwsearch.formats.torchscript.known import Known, Origins, tensors_in
from hwsearch.formats.torchscript.memory import Memory

_BROADCAST = ("add", "sub", "rsub", "mul", "div", "floor_divide", "pow", "remainder")
"""Operators that take a number where they take a tensor."""
_TAKE_NUMBERS = ("add", "sub", "mul", "div", "floor_divide")
"""Those whose overloads for tensors do, too."""
_LAST = 10**5
"""A line number beyond this one is told as it."""
_LINE = re.compile(r'File "([^"]*)", line (\d+)')


def place_of(node: Any) -> str:
    """`` (code/__torch__/net.py:12)``: the line of the program's source that a node stands in; empty where it is not known."""
    found = _LINE.search(node.sourceRange())
    return f" ({found[1][-200:]}:{min(int(found[2]), _LAST)})" if found else ""


def called(node: Any, name: str, given: list[Any], memory: Memory, origins: Origins) -> Any:
    """An operator of ATen: at once where numbers and constants alone decide, else before the eyes of whoever traces.

    Raises:
        Unfollowed: PyTorch has none of that name for such arguments, what it gives takes too much memory, or it writes over
            numbers that are computed at once.
    """
    if name in NESTED:
        raise Unfollowed("sequences of different lengths at once")
    if (fault := scales_fault(name, given)) is not None:
        raise Unfollowed(fault)
    schema = torch._C.parse_schema(node.schema())
    packet = getattr(torch.ops.aten, name, None)
    if packet is None or not node.schema():
        raise Unfollowed(f"aten::{name}, which is not read")
    overload = getattr(packet, schema.overload_name or "default")
    tensors = tensors_in(given)
    at_once = bool(tensors) and all(isinstance(item, Known) for item in tensors)
    as_numbers = not at_once and name.removesuffix("_") in _BROADCAST
    if (
        not at_once and not as_numbers and isinstance(given[-1], Known) and hasattr(packet, "Scalar")
    ):  # ``fill_``, ``masked_fill``
        overload, as_numbers = packet.Scalar, True
    if name == "narrow" and isinstance(given[2], Known):  # where it begins is a size
        overload, given = packet.default, [*given[:2], int(given[2].value), *given[3:]]
    kinds = [argument.alias_info for argument in schema.arguments]
    written = tensors_in(value for value, kind in zip(given, kinds, strict=True) if kind is not None and kind.is_write)
    if not at_once and any(isinstance(item, Known) for item in written):
        raise Unfollowed(f"aten::{name}, which overwrites numbers of the program's own{place_of(node)}")
    plain = [_plain(value, scalars=as_numbers) for value in given]
    if name.removesuffix("_") not in _TAKE_NUMBERS and any(map(_is_asked, plain, schema.arguments)):
        by_number = next((getattr(packet, word) for word in ("Scalar", "Tensor_Scalar") if hasattr(packet, word)), None)
        if by_number is None or len(by_number._schema.arguments) != len(plain):
            asked = list(map(_is_asked, plain, schema.arguments))
            plain = [torch.tensor(value) if wanted else value for value, wanted in zip(plain, asked, strict=True)]
        else:
            overload = by_number
    args = [value for value, argument in zip(plain, schema.arguments, strict=True) if not argument.kwarg_only]
    kwargs = {argument.name: value for value, argument in zip(plain, schema.arguments, strict=True) if argument.kwarg_only}
    if at_once or not torch.compiler.is_exporting():
        memory.before(name, overload, args, kwargs)
    if at_once:
        with _disable_current_modes():
            return _as_known(overload(*args, **kwargs))
    found = _in_its_line(node, overload, args, kwargs)
    memory.after(found)
    origins.note(overload, args, kwargs, [item for item in tensors if isinstance(item, Tensor)], found)
    origins.wrote([item for item in written if isinstance(item, Tensor)], place_of(node))
    return found


def _is_asked(value: Any, argument: Any) -> bool:
    """Whether a number stands where an operator asks for a tensor: what was a size while the program was traced."""
    return str(argument.type) == "Tensor" and isinstance(value, int | float) and not isinstance(value, bool)


def _plain(value: Any, *, scalars: bool) -> Any:
    """A value as operators take it. ``scalars``: tensors of one number as that number."""
    if isinstance(value, list | tuple):
        return [_plain(item, scalars=False) for item in value]
    if isinstance(value, Known):
        return value.value.item() if scalars and not value.value.ndim else value.value
    return value


def _as_known(found: Any) -> Any:
    if isinstance(found, list | tuple):
        return [_as_known(item) for item in found]
    return Known(found) if isinstance(found, Tensor) else found


def _in_its_line(node: Any, overload: Any, args: list[Any], kwargs: Mapping[str, Any]) -> Any:
    """The operator called from the line of the program's source that it stands in: what cannot be traced is told with it."""
    found = _LINE.search(node.sourceRange())
    file, line = (found[1], min(int(found[2]), _LAST)) if found else ("program", 1)
    return _caller(file, line)(overload, args, kwargs)


@cache
def _caller(file: str, line: int) -> Any:
    """A function of that place; named as the tracer expects it of a network."""
    space: dict[str, Any] = {"__builtins__": {}}
    source = "\n" * (line - 1) + "def forward(call, args, kwargs): return call(*args, **kwargs)"
    exec(compile(source, file, "exec"), space)  # one fixed text, of which the place alone is the program's
    return space["forward"]
