"""What a program computes without its picture: numbers, and tensors made of sizes, constants and weights alone.

A program may decide by them (``if self.flag.sum() > 0``), as it may not by its picture. Where torch.export looks on, tensors have
no numbers; what decides is computed once more then, from the weights themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils.weak import WeakIdKeyDictionary

from hwsearch.formats.torchscript.fast_paths import Unfollowed

DECISION = "a decision by numbers that it computes from the picture"


class Known:
    """A tensor that sizes and constants of the program alone decide, at hand while everything else is traced."""

    def __init__(self, value: Tensor) -> None:
        self.value = value


def tensors_in(values: Iterable[Any]) -> list[Tensor | Known]:
    """Tensors among values, and among the items of lists."""
    several = (value if isinstance(value, list | tuple) else [value] for value in values)
    return [item for items in several for item in items if isinstance(item, Tensor | Known)]


class Origins:
    """For each tensor of a run that the picture has no part in, how it is computed with numbers.

    Args:
        tensors: parameters and buffers of the program as the run sees them.
        weights: the same with their numbers.
    """

    def __init__(self, tensors: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
        self._made: Any = WeakIdKeyDictionary()
        self._asked, self._held = False, {value.untyped_storage().data_ptr() for value in weights.values()}
        for name, seen in tensors.items():
            if name in weights:
                self._made[seen] = lambda value=weights[name]: value

    def hold(self, constant: Tensor) -> None:
        """A tensor of the program's own has its numbers."""
        self._made[constant] = None

    def note(self, overload: Any, given: list[Any], kwargs: Mapping[str, Any], read: Iterable[Tensor], found: Any) -> None:
        """An operator gave ``found`` for what it was given. ``read``: tensors among that which are not ``Known``."""
        tensors = [*read]
        fixed = all(tensor in self._made for tensor in tensors)
        if not fixed or overload._schema.is_mutable or torch.Tag.nondeterministic_seeded in overload.tags:
            return
        several = isinstance(found, list | tuple)
        for place, item in enumerate(found if several else [found]):
            if not isinstance(item, Tensor):
                continue
            if not torch.compiler.is_exporting() and item.device.type != "meta":
                self._made[item] = None
            elif several:
                self._made[item] = lambda place=place: self._again(overload, given, kwargs)[place]
            else:
                self._made[item] = lambda: self._again(overload, given, kwargs)

    def wrote(self, tensors: Iterable[Tensor], where: str) -> None:
        """Tensors were written in place. ``where``: as in ``number``.

        Raises:
            Unfollowed: weights were, of a program that decides by what it holds: the next picture would be decided by this one.
        """
        for tensor in tensors:
            if tensor in self._made:
                self._made.clear()  # it may be a view of any of the others
            real = not torch.compiler.is_exporting() and tensor.device.type != "meta"
            if self._asked and real and tensor.untyped_storage().data_ptr() in self._held:
                raise Unfollowed(f"{DECISION} before{where}")

    def number(self, tensor: Tensor, where: str) -> Any:
        """The number that a tensor holds. ``where``: the place that asks, in brackets.

        Raises:
            Unfollowed: it depends on the picture, or on what was written in place.
        """
        if tensor not in self._made:
            raise Unfollowed(f"{DECISION}{where}")
        self._asked = True
        with torch.no_grad(), _disable_current_modes():
            return self._value(tensor).item()

    def _value(self, item: Any) -> Any:
        """A value with its numbers."""
        if isinstance(item, list | tuple):
            return [self._value(one) for one in item]
        if not isinstance(item, Tensor) or (again := self._made.get(item)) is None:
            return item
        value = again()
        self._made[item] = lambda: value
        return value

    def _again(self, overload: Callable[..., Any], given: list[Any], kwargs: Mapping[str, Any]) -> Any:
        return overload(*map(self._value, given), **{name: self._value(value) for name, value in kwargs.items()})
