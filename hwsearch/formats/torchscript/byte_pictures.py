"""Conversions of pictures from and to bytes at the ends of a TorchScript program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hwsearch.formats.reading.byte_pictures import FLOATING, BytePictures, Wiring, conversions
from hwsearch.formats.torchscript.plain import DTYPES
from hwsearch.formats.torchscript.steps import Block, Step

KINDS = {
    **dict.fromkeys(("permute", "transpose", "contiguous", "squeeze", "unsqueeze", "cpu", "detach", "flip"), "moves"),
    **dict.fromkeys(("clamp", "clip", "clamp_min", "clamp_max", "relu", "minimum", "maximum"), "bounds"),
    "round": "rounds", "floor": "cuts", "add": "adds",
}  # fmt: skip
"""Operators as ``Wiring`` knows them."""
BYTES = DTYPES[torch.uint8]
FLOATS = tuple(DTYPES[kind] for kind in (torch.float16, torch.float32, torch.float64, torch.bfloat16))


def find(block: Block) -> tuple[BytePictures, Mapping[Step, int]]:
    """Whether a program takes and gives bytes, and the steps that round and convert what it gives, each with the value that
    stands for what it writes. A program does not say what it takes: bytes, where it gives bytes and begins with a conversion."""
    constants = {step.outputs[0]: step.constant() for step in block.steps if (step.space, step.name) == ("prim", "Constant")}

    def kind(step: Step) -> str:
        name = step.name.removesuffix("_")
        if step.space != "aten":
            return ""
        if name == "add" and constants.get(step.inputs[-1], 1) != 1:  # times another number
            return ""
        if name == "round" and len(step.inputs) != 1:
            return ""
        return "converts" if _dtype(step, constants) == BYTES else KINDS.get(name, "")

    writers = {place: step for step in block.steps for place in step.outputs}
    reads = Counter(place for step in block.steps for place in (*step.inputs, *(step.reads - {*step.inputs})))
    reads.update(block.outputs)
    half = {place for place, value in constants.items() if _is_half(value)}
    found = conversions(Wiring(writers, reads, kind, lambda step: step.inputs, half.__contains__), block.outputs[0])
    if not found:
        return FLOATING, {}
    first = [step for step in block.steps if block.inputs[-1] in step.reads]
    taken = bool(first) and all(_dtype(step, constants) in FLOATS for step in first)
    return BytePictures(taken, given=True), dict(found)


def _is_half(value: Any) -> bool:
    return (isinstance(value, float) and value == 0.5) or (
        isinstance(value, Tensor) and value.numel() == 1 and float(value) == 0.5
    )


def _dtype(step: Step, constants: Mapping[int, Any]) -> int | None:
    """The format that a step converts to; None where it is no conversion, or none to a format that the program says."""
    named = {"byte": BYTES, "float": DTYPES[torch.float32], "half": DTYPES[torch.float16], "double": DTYPES[torch.float64]}
    if step.space != "aten" or step.name not in ("to", *named):
        return None
    if step.name != "to":
        return named[step.name]
    schema = str(step.node.schema())
    place = 2 if "to.device(" in schema else 1 if "dtype(" in schema else None
    found = None if place is None else constants.get(step.inputs[place])
    return found if isinstance(found, int) else None
