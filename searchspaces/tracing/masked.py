"""Places chosen by a mask of ones and zeros that the network knows: ``y[:, self.kept]``.

``torch.export`` lets every mask decide by its values how many places are taken, also one that is a buffer; nothing behind it has
a size then. While a module is exported, such a mask becomes the places that it has.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import _disable_current_modes

MADE = ("tensor", "arange", "zeros", "ones", "full", "eye", "linspace", "scalar_tensor")
"""Functions that make a constant of numbers alone."""
OVER = ("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "lshift", "rshift")
"""Python's operators that can be written with an equals sign behind them."""
_INDEXES = (Tensor.__getitem__, torch.ops.aten.index.Tensor)
_Value = Callable[[], Tensor]


class KnownMasks(TorchFunctionMode):
    """Makes the places of masks out of them, where parameters, buffers and constants alone decide about those.

    Args:
        module: what is exported, before it is.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.real: Mapping[str, Tensor] = _tensors(module)
        self.first: Tensor | None = None
        self.names: dict[int, str] = {}
        self.computed: dict[int, tuple[Any, _Value]] = {}
        """By identity: what a function gave (kept, so that no other has that identity), and how its numbers are computed."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _INDEXES and isinstance(args[0], Tensor):
            args = (args[0], self._places(args[1]))
        found = func(*args, **kwargs)
        if _writes(func, kwargs):
            if args and isinstance(args[0], Tensor) and self._value(args[0]) is not None:
                self.real = {}  # whatever is a view of it is not known either
                self.computed.clear()
        elif isinstance(found, Tensor):
            self._note(func, args, kwargs, found)
        return found

    def _places(self, index: Any) -> Any:
        several = index if isinstance(index, tuple | list) else (index,)
        places: list[Any] = []
        for one in several:
            mask = self._value(one) if isinstance(one, Tensor) and one.dtype == torch.bool and one.ndim else None
            if mask is None:
                places.append(one)
                continue
            with _disable_current_modes():
                taken = [axis.tolist() for axis in mask().nonzero(as_tuple=True)]
            places += [torch.tensor(axis, dtype=torch.int64) for axis in taken]
        return type(several)(places) if several is index or len(places) > 1 else places[0]

    def _note(self, func: Any, args: Any, kwargs: Any, found: Tensor) -> None:
        leaves, form = pytree.tree_flatten((args, kwargs))
        known: list[_Value] = []
        for leaf in leaves:
            value = self._value(leaf) if isinstance(leaf, Tensor) else None
            if isinstance(leaf, torch.SymInt) or (value is None and isinstance(leaf, Tensor)):
                return
            known += [value] if value is not None else []
        if not known and _name(func).split(".")[0] not in MADE:
            return

        def computed() -> Tensor:
            values = iter(known)
            real = [next(values)() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
            again, named = pytree.tree_unflatten(real, form)
            return func(*again, **named)  # type: ignore[no-any-return]  # it gave a tensor before

        self.computed[id(found)] = found, computed

    def _value(self, tensor: Tensor) -> _Value | None:
        """How the numbers of a tensor are computed; None where the picture, or what is not followed, has a part in them."""
        if (noted := self.computed.get(id(tensor))) is not None:
            return noted[1]
        if not isinstance(tensor, FakeTensor):  # a constant of the program: everything else is traced
            return lambda: tensor
        first = next(itertools.chain(self.module.parameters(), self.module.buffers()), None)
        if first is not self.first:  # the exporter has put others in the place of those before
            self.first, self.names = first, {id(held): name for name, held in _tensors(self.module).items()}
        real = self.real.get(self.names.get(id(tensor), ""))
        return None if real is None else lambda: real


def _writes(func: Any, kwargs: Mapping[str, Any]) -> bool:
    """Whether a function writes to what it is given."""
    schema = getattr(func, "_schema", None)
    if schema is not None:
        return bool(schema.is_mutable)
    name = _name(func)
    special = name == "__setitem__" or name in {f"__i{operator}__" for operator in OVER}
    return special or "out" in kwargs or (name.endswith("_") and not name.endswith("__"))


def _name(func: Any) -> str:
    return str(getattr(func, "__name__", ""))


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}
