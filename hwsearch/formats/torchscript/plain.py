"""What TorchScript does with numbers, lists, words and conditions, beside operators on tensors.

Each takes the values of a node's inputs in their order. Lists and dictionaries are Python's own, changed in place where the
language changes them. Source of the meanings: PyTorch's TorchScript Language Reference, "Python Built-in Functions Support".
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch

from hwsearch.formats.torchscript.words import by_percent, formatted, joined

Function = Callable[..., Any]


def _truncated(value: Any) -> int:
    return int(value)


def _sliced(items: Any, start: Any = None, stop: Any = None, step: Any = None) -> Any:
    return items[start:stop:step]


def _set_item(items: Any, place: Any, value: Any) -> Any:
    items[place] = value
    return items


def _after(change: str) -> Function:
    """A method of lists that changes them; the language gives the list back."""

    def run(items: Any, *given: Any) -> Any:
        getattr(items, change)(*given)
        return items

    return run


def _removed(items: Any, place: Any) -> None:
    del items[place]


def _counted(value: float, digits: int | None = None) -> float:
    """Rounded: a float, as in the language, where Python gives a whole number."""
    return float(round(value, digits)) if digits is not None else float(round(value))


def _divided(one: Any, two: Any) -> Any:
    return one / two


ARITHMETIC: Mapping[str, Function] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": _divided, "floordiv": operator.floordiv,
    "remainder": operator.mod, "neg": operator.neg, "pow": operator.pow, "eq": operator.eq, "ne": operator.ne, "lt": operator.lt,
    "le": operator.le, "gt": operator.gt, "ge": operator.ge, "floor": math.floor, "ceil": math.ceil, "round": _counted,
    "sqrt": math.sqrt, "log": math.log, "exp": math.exp, "sin": math.sin, "cos": math.cos, "fabs": math.fabs, "abs": abs,
    "mathremainder": math.remainder, "__is__": operator.is_, "__isnot__": operator.is_not, "__not__": operator.not_,
    "__and__": operator.and_, "__or__": operator.or_, "__xor__": operator.xor, "Int": _truncated, "Float": float, "Bool": bool,
    "Complex": complex, "ScalarImplicit": lambda value: value, "IntImplicit": _truncated, "FloatImplicit": float,
    "__range_length": lambda low, high, step: len(range(low, high, step)),
    "__derive_index": lambda index, start, step: start + index * step, "is_grad_enabled": lambda: False,
    "is_autocast_enabled": lambda *_: False, "is_autocast_cpu_enabled": lambda: False, "device": torch.device,
    "len": len, "list": list, "format": formatted, "percentFormat": by_percent,
    "warn": lambda *_: None, "__contains__": operator.contains, "__getitem__": operator.getitem, "select": operator.getitem,
    "slice": _sliced, "_set_item": _set_item, "append": _after("append"), "extend": _after("extend"), "insert": _after("insert"),
    "reverse": _after("reverse"), "sort": _after("sort"), "clear": _after("clear"), "update": _after("update"),
    "pop": lambda items, *given: items.pop(*given), "copy": lambda items: items.copy(), "Delete": _removed,
    "index": lambda items, value: items.index(value), "count": lambda items, value: items.count(value),
    "keys": lambda items: [*items.keys()], "values": lambda items: [*items.values()], "items": lambda items: [*items.items()],
    "get": lambda items, *given: items.get(*given), "lower": lambda text: text.lower(), "upper": lambda text: text.upper(),
    "join": joined, "split": lambda text, *given: text.split(*given),
    "startswith": lambda text, *given: text.startswith(*given), "endswith": lambda text, *given: text.endswith(*given),
    "max": max, "min": min, "sum": sum,
}  # fmt: skip
"""Operators of ``aten`` where no tensor takes part, and those of ``OF_LISTS``."""
OF_LISTS = (
    *("len", "append", "extend", "insert", "reverse", "clear", "pop", "copy", "list", "__getitem__", "_set_item", "slice", "add"),
    *("__contains__", "__is__", "__isnot__", "keys", "values", "items", "get", "update", "Delete", "mul", "select"),
)
"""Those whose first input is a list or dictionary, which may hold tensors."""
IDENTITIES = ("__is__", "__isnot__")
"""Those that look at no value, not even a tensor's."""

DTYPES: Mapping[torch.dtype, int] = {
    torch.uint8: 0, torch.int8: 1, torch.int16: 2, torch.int32: 3, torch.int64: 4, torch.float16: 5, torch.float32: 6,
    torch.float64: 7, torch.complex32: 8, torch.complex64: 9, torch.complex128: 10, torch.bool: 11, torch.bfloat16: 15,
}  # fmt: skip
"""Number formats by which the language, whose formats are numbers, tells them (c10/core/ScalarType.h)."""


def _raised(message: Any = "", *_: Any) -> None:
    raise RuntimeError(str(message))


PRIMITIVES: Mapping[str, Function] = {
    "ListConstruct": lambda *items: [*items], "TupleConstruct": lambda *items: items, "TupleUnpack": tuple, "ListUnpack": tuple,
    "TupleIndex": operator.getitem, "DictConstruct": lambda *items: dict(zip(items[::2], items[1::2], strict=True)),
    "unchecked_cast": lambda value: value, "annotate": lambda value: value, "unchecked_unwrap_optional": lambda value: value,
    "Uninitialized": lambda: None, "RaiseException": _raised, "device": lambda x: x.device, "dtype": lambda x: DTYPES[x.dtype],
    "layout": lambda _: 0, "type": lambda device: device.type, "requires_grad": lambda _: False, "data": lambda x: x.detach(),
    "is_cuda": lambda _: False, "is_cpu": lambda _: True, "is_nested": lambda _: False, "is_quantized": lambda _: False,
    "is_sparse": lambda _: False, "is_sparse_csr": lambda _: False, "is_mkldnn": lambda _: False, "is_meta": lambda _: False,
    "is_vulkan": lambda _: False, "is_mps": lambda _: False, "is_xla": lambda _: False, "is_xpu": lambda _: False,
    "is_ipu": lambda _: False, "is_maia": lambda _: False, "is_leaf": lambda _: True, "shape": lambda x: [*x.shape],
    "StringIndex": operator.getitem, "rangelist": lambda *given: [*range(*given)],
    "max": max, "min": min, "abs": abs, "itemsize": lambda x: x.element_size(),
    "T": lambda x: x.T, "mT": lambda x: x.mT, "H": lambda x: x.H,
    "is_scripting": lambda: True,
}  # fmt: skip
"""Operators of ``prim``, those with blocks or attributes apart."""
