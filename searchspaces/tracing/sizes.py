"""Picture sizes that a module accepts: found by running it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hwmodels.errors import FileError
from hwmodels.parts.elsewhere import reason

Size = tuple[int, int]
EXAMPLE = (12, 16)
"""Height and width at which modules are exported, if they accept them."""
OTHER = (17, 14)
"""A second size, at which the graph must compute the same function."""
THIRD = (9, 20)
"""A third one."""
PLAIN_SIZES: tuple[Size, ...] = (EXAMPLE, OTHER, THIRD)
STEPS = (1, 2, 4, 8, 16, 3, 6, 12, 24, 32, 7, 10, 14, 20, 48, 64, 128)
"""Multiples that networks ask for, the usual ones first."""
PLAIN: tuple[Size, ...] = ((19, 37), (41, 71), (74, 26))
"""Sizes that are multiples of nothing that networks ask for: a network that takes them takes any that is large enough. Those of
the first two leave different rests by every window but 2, so that a rest is not taken for a constant; the third are even. Rounded
up to windows of 8, 16 or 32, height, width and area of the first two are all different, so that none is taken for another; of
windows that are too large for that, the third shows it."""
RETURNS = "it returns"
"""How ``runs`` begins of a module that gives no tensor."""
_PRIMES = (3, 5, 7, 11, 13, 17, 19, 23)
_LARGE_ENOUGH = 20
SQUARES = (8, 16, 24, 32, 48, 64, 96, 128, 224, 256)
"""Sides of pictures for networks that take one size alone."""


def runs(module: nn.Module, channels: int, size: Size, count: int = 1) -> str | None:
    """None where the module gives a tensor for pictures of this size; otherwise what it raised."""
    x = torch.rand(count, channels, *size, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            found = module(x)
    except Exception as error:  # whatever the module's own code raises
        return reason(error)
    return None if isinstance(found, Tensor) else f"{RETURNS} {type(found).__name__}"


def accepted(module: nn.Module, channels: int, name: str, asked: Size | None = None) -> tuple[int, tuple[Size, ...]]:
    """The multiple that height and width must be of, and three sizes that the module accepts, the smallest first; only one size
    where only one is known.

    Args:
        asked: a size that somebody says the module takes; it is tried where it takes none of the usual ones.
    Raises:
        FileError: none of the sizes that are tried; with what the module said to the last.
    """
    said: str | None = ""
    for factor in (1, 2, 3):  # large enough is more than a multiple
        for step in STEPS:
            if factor > 1 and step > 16:
                continue
            found = tuple((h * factor, w * factor) for h, w in multiples(step))
            said = runs(module, channels, found[0])
            if said is None and all(runs(module, channels, other) is None for other in found[1:]):
                return step, found
    for side in SQUARES:
        said = runs(module, channels, (side, side))
        if said is None:
            return side, ((side, side),)
    if asked is not None:
        said = runs(module, channels, asked)
        if said is None:
            return 1, (asked,)
    tried = f"up to {SQUARES[-1]}x{SQUARES[-1]} pixels" + (f", then {asked[0]}x{asked[1]}" if asked is not None else "")
    raise FileError(
        f"{name}: the network runs on no picture that was tried, {tried}: {said}",
        "A network must take one picture tensor [N, channels, height, width]; where that is of one size alone: --input HxW.",
    )


def multiples(step: int) -> tuple[Size, ...]:
    """Three sizes that are multiples of a step, for each of which height and width are others."""
    if step == 1:
        return PLAIN
    if step >= 16:
        return ((step, 2 * step), (3 * step, step), (2 * step, 3 * step))
    first = next(place for place, prime in enumerate(_PRIMES) if step * prime >= _LARGE_ENOUGH)
    one, two, three = _PRIMES[first : first + 3]
    return ((step * one, step * two), (step * three, step * one), (step * two, step * three))
