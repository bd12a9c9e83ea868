"""Results that are no numbers: quotients, logarithms and roots of a tensor that was rounded to zero."""

from __future__ import annotations

from torch import Tensor


def finite(x: Tensor) -> Tensor:
    """``x`` with its largest finite magnitude in place of infinities, and 0 where it is undefined. Integers end at the last code
    of their tensor; tensors in floating point know no end, and a device goes on with what no picture can show."""
    if bool(x.isfinite().all()):
        return x
    largest = float(x.abs().nan_to_num(0.0, 0.0, 0.0).max())
    return x.nan_to_num(0.0, largest, -largest)
