"""What a device file says of operators that its neural processor does not hold, in ``[npu.fallback]``."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from hwmodels.device.values import FormatName, Positive, Quantity, Table

WorkKey = Literal[
    "matrix", "depthwise_tap", "map", "picture", "move", "resample", "window_tap", "normalize_function", "normalize"
]
WORK: tuple[WorkKey, ...] = get_args(WorkKey)
"""Names of the kinds of work of ``hexagon``, in its order."""


class Unheld(Table):
    """An operator that runs elsewhere: at which formats of its tensors, and how often the steps that it consists of there read or
    write a value (``touches``): of its result, of what it reads where it makes one of many, a product where it sums products."""

    touches: Positive
    tensors: Annotated[tuple[FormatName, ...], Field(min_length=1)]


class Fallback(Table):
    """Where a runtime runs what the neural processor does not hold.

    ``processor``: its name. ``bytes_per_s``: what it reads and writes in element-wise steps. ``element_bytes``: of a value there
    and on its way there and back, which takes ``npu.host_bytes_per_s``; beside an array, which shares its memory, a value moves
    as it is stored. ``operators``: by kind of work (see ``Passes``; "matrix" for convolutions and products, "map" for
    element-wise work). Behind each of them the neural processor is started anew (``overhead.inference_s``). What the compiler of
    an array leaves is known without this table, which says how long it takes.
    """

    processor: str = "CPU"
    bytes_per_s: Positive
    element_bytes: Positive = Quantity(value=4.0)
    operators: Annotated[dict[WorkKey, Unheld], Field(min_length=1)]
