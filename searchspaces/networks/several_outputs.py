"""Networks that return more than a picture: an estimate of the quality beside it, or pictures of several sizes.

Searched is what the picture needs. It is taken by a hook, so that layers keep their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

PICTURE_AXES = 4


def picture_alone(module: nn.Module, output: Any, channels: int) -> str | None:
    """Make a module return one picture; says which, or None where it does so by itself or gives none.

    Args:
        output: what it gave for a picture ``[N, channels, H, W]``.
    """
    if isinstance(output, Tensor) or not isinstance(output, tuple | list | Mapping):
        return None
    named = list(output.items()) if isinstance(output, Mapping) else list(enumerate(output))
    pictures = [(key, value) for key, value in named if isinstance(value, Tensor) and value.ndim == PICTURE_AXES]
    pictures = [(key, value) for key, value in pictures if value.shape[1] == channels]
    if not pictures:
        return None
    key = max(pictures, key=lambda pair: pair[1].shape[2] * pair[1].shape[3])[0]  # the first of those

    def take(module: nn.Module, given: Any, found: Any) -> Any:
        return found[key]

    module.register_forward_hook(take)
    place = repr(key) if isinstance(key, str) else f"number {int(key) + 1}"
    return f"it returns {len(named)} results; the picture among them, {place}, is taken, and nothing else is computed."
