"""Sizes from which on a module computes otherwise: ``max(height, 48)``, ``if height * width > 5000``.

The sizes that a graph is compared at are small, so that what begins at a larger one goes by unseen. Here the module runs on
pictures without numbers (PyTorch's device "meta"), which cost the same at every size: its operators, their numbers and the sides
of what they give are looked at for what changes, up to the last of ``LARGE``; what begins beyond it, or ends again between two of
them, is not seen. What looks changed is compared in numbers at the smallest such size (``trace``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from searchspaces.tracing.sizes import Size

RESTS: tuple[Size, ...] = ((24, 32), (43, 30))
"""Sizes for formulas: one that windows of 8 fit exactly, and one with another rest by 4, 8 and 16 in each direction, none of them
the same above and below."""
LARGE: tuple[Size, ...] = ((104, 72), (200, 136), (520, 392), (1160, 2056))
"""Sizes that are looked at, up to high definition."""
COMPARED = 2**17
"""Pixels of the largest picture at which a change that is seen without numbers is looked for in numbers, too."""
_STEPS = 8
"""So often the smallest size that changes is narrowed down."""
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


def changed(module: nn.Module, channels: int, known: Sequence[Size], multiple: int) -> Size | None:
    """A size at which a module runs other operators than at two sizes that are known, or gives a side that does not follow the
    picture as it did there: about the smallest one. None where it runs on as it did.

    Args:
        known: two sizes that differ in height and width.
        multiple: of what the sides of a picture must be.
    """
    one, two = (_calls(module, channels, size) for size in known[:2])
    if one is None or two is None or [name for name, _ in one] != [name for name, _ in two]:
        return None  # nothing is known of how it goes on

    def goes_on(size: Size) -> bool | None:
        other = _calls(module, channels, size)
        return None if other is None else _alike((one, two, other), (known[0], known[1], size))

    below = known[0]
    for size in (rounded(large, multiple) for large in LARGE):
        found = goes_on(size)
        if found is None:  # it does not run without numbers, or not at all
            return None
        if not found:
            return _smallest(goes_on, below, size, multiple)
        below = size
    return None


def _smallest(goes_on: Callable[[Size], bool | None], below: Size, above: Size, multiple: int) -> Size:
    """The size nearest to ``below``, up to ``above``, that is found to change; with one side as it was, if that is enough."""
    for thin in ((above[0], below[1]), (below[0], above[1])):
        if goes_on(thin) is False:
            above = thin
            break
    for _ in range(_STEPS):
        middle = rounded(((below[0] + above[0]) // 2, (below[1] + above[1]) // 2), multiple)
        if middle in (below, above):
            break
        below, above = (below, middle) if goes_on(middle) is False else (middle, above)
    return above


def rounded(size: Size, multiple: int) -> Size:
    """The next size whose sides are multiples."""
    return (-(-size[0] // multiple) * multiple, -(-size[1] // multiple) * multiple)


def _calls(module: nn.Module, channels: int, size: Size) -> _Calls | None:
    """None where the module does not run so: it looks at numbers, or does not take the size."""
    tensors = {name: value.to("meta") for name, value in (*module.named_parameters(), *module.named_buffers())}
    kept = [(part, dict(part.__dict__), dict(part._parameters), dict(part._buffers)) for part in module.modules()]
    record = _Record()
    try:
        with torch.no_grad(), torch.device("meta"), record:
            torch.func.functional_call(module, tensors, (torch.empty(1, channels, *size),))
    except Exception:  # whatever the module's own code raises
        return None
    finally:
        # What it keeps from one run to the next must not be without numbers, nor what stands in it under two names: torch gives
        # back one of them.
        for part, attributes, parameters, buffers in kept:
            part.__dict__.clear()
            part.__dict__.update(attributes)
            part._parameters.update(parameters)
            part._buffers.update(buffers)
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
