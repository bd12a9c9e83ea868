"""Sizes from which on a module computes otherwise: ``max(height, 48)``, ``if height * width > 5000``.

The sizes that a graph is compared at are small, so that what begins at a larger one goes by unseen. Here the module runs on
pictures without numbers (PyTorch's device "meta"), which cost the same at every size: its operators, their numbers and the sides
of what they give are looked at for what changes. What looks so is compared in numbers then (``trace``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from searchspaces.tracing.sizes import Size

RESTS: tuple[Size, ...] = ((24, 32), (43, 30))
"""Sizes for formulas: one that windows of 8 fit exactly, and one with another rest by 4, 8 and 16 in each direction, none of them
the same above and below."""
LARGE: tuple[Size, ...] = ((200, 136), (104, 72))
"""Sizes that are looked at, the second where something changes up to the first: comparing numbers there takes less."""
_Calls = list[tuple[str, tuple[float, ...]]]


class _Record(TorchDispatchMode):
    """Operators in their order, each with its numbers and the sides of what it gives."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own is not annotated
        self.calls: _Calls = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        self.calls.append((str(func), (*_numbers(args), *_numbers((found,)))))
        return found


def _numbers(values: Any) -> Iterator[float]:
    """Numbers among values, and the sides of tensors."""
    for value in values:
        if isinstance(value, Tensor):
            yield from map(int, value.shape)
        elif isinstance(value, list | tuple):
            yield from _numbers(value)
        elif isinstance(value, int | float):
            yield value


def changed(module: nn.Module, channels: int, known: Sequence[Size], multiple: int) -> list[Size]:
    """A size at which a module runs other operators than at two sizes that are known, or gives a side that does not follow the
    picture as it did there; none where it runs on as it did.

    Args:
        known: two sizes that differ in height and width.
        multiple: of what the sides of a picture must be.
    """
    one, two = (_calls(module, channels, size) for size in known[:2])
    if one is None or two is None or [name for name, _ in one] != [name for name, _ in two]:
        return []  # nothing is known of how it goes on
    found: list[Size] = []
    for size in (rounded(large, multiple) for large in LARGE):
        other = _calls(module, channels, size)
        if other is None or _alike((one, two, other), (known[0], known[1], size)):
            break
        found.append(size)
    return found[-1:]


def rounded(size: Size, multiple: int) -> Size:
    """The next size whose sides are multiples."""
    return (-(-size[0] // multiple) * multiple, -(-size[1] // multiple) * multiple)


def _calls(module: nn.Module, channels: int, size: Size) -> _Calls | None:
    """None where the module does not run so: it looks at numbers, or does not take the size."""
    tensors = {name: value.to("meta") for name, value in (*module.named_parameters(), *module.named_buffers())}
    kept = [(part, dict(part.__dict__)) for part in module.modules()]
    record = _Record()
    try:
        with torch.no_grad(), torch.device("meta"), record:
            torch.func.functional_call(module, tensors, (torch.empty(1, channels, *size),))
    except Exception:  # whatever the module's own code raises
        return None
    finally:
        for part, attributes in kept:  # what it keeps from one run to the next must not be without numbers
            part.__dict__.clear()
            part.__dict__.update(attributes)
    return record.calls


def _alike(runs: tuple[_Calls, _Calls, _Calls], sizes: tuple[Size, Size, Size]) -> bool:
    """Whether a third run goes on as two others did: the same operators, what was constant is constant, what was as many times
    the height or width still is."""
    if [name for name, _ in runs[2]] != [name for name, _ in runs[0]]:
        return False
    for calls in zip(*runs, strict=True):
        if len({len(numbers) for _, numbers in calls}) != 1:
            return False
        for one, two, three in zip(*(numbers for _, numbers in calls), strict=True):
            if one == two != three:
                return False
            for axis in (0, 1):
                a, b, c = (size[axis] for size in sizes)
                if a != b and one * b == two * a and one % a == 0 and three != one // a * c:
                    return False
    return True
