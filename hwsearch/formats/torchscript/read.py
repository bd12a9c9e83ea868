"""TorchScript programs as networks: interpreted by torch while torch.export looks on, and traced as a module is.

An interpreter keeps its weights to itself; here they stand in a module under the same names, which hands them over before each
run, so that they are parameters of the exported program and layers keep their names.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from hwmodels.errors import FileError
from hwsearch.formats.exported.read import check, inspected
from hwsearch.formats.reading.readers import Inspected
from hwsearch.formats.torchscript.archive import safe
from searchspaces.ir.graph import Graph
from searchspaces.tracing.sizes import runs
from searchspaces.tracing.trace import trace

__all__ = ["check", "read"]

KERNEL_AXES = 4
SIZES = ((64, 64), (48, 64), (128, 128), (256, 256))
"""Pictures that a program is tried on; one of them most networks take."""


def read(path: Path) -> Inspected:
    """Read a program.

    Raises:
        FileError: none, damaged, something in it could reach out of it, or no network from picture to picture.
    """
    module = Interpreted(_loaded(path))
    channels = _channels(module, path)

    def traced(size: tuple[int, int] | None) -> Graph:
        try:
            return trace(module, channels, path.stem, size=size)
        except FileError as error:
            if "TorchScript interpreter" not in str(error):
                raise
            hint = "Save the network by torch.export.save (.pt2) or torch.onnx.export (.onnx)."
            raise FileError(f"{path}: it computes the sizes of pictures in a way that cannot be followed", hint) from None

    return inspected(path, "torchscript", f"torch.jit, read by PyTorch {torch.__version__}", traced, None)


_RUN = "(program)"
"""No part of a program has such a name."""


class Interpreted(nn.Module):
    """A TorchScript program whose parameters and buffers this module holds."""

    def __init__(self, program: Any) -> None:
        super().__init__()
        slots: list[tuple[Any, nn.Module, str]] = []
        parameters = {name for name, _ in program.named_parameters()}
        for name, value in (*program.named_parameters(), *program.named_buffers()):
            path, _, leaf = name.rpartition(".")
            holder, theirs = cast("nn.Module", self), program
            for part in path.split(".") if path else ():
                if part not in holder._modules:
                    holder._modules[part] = nn.Module()  # whatever its name: attributes of a class are no modules
                holder, theirs = cast("nn.Module", holder._modules[part]), getattr(theirs, part)
            own = value.detach()
            if name in parameters and own.is_floating_point():
                holder._parameters[leaf] = nn.Parameter(own, requires_grad=False)
            else:
                holder._buffers[leaf] = own
            slots.append((theirs, holder, leaf))

        def run(x: torch.Tensor) -> Any:
            for theirs, holder, leaf in slots:
                held = holder._parameters.get(leaf)
                setattr(theirs, leaf, holder._buffers[leaf] if held is None else held)
            return program(x)

        self.__dict__[_RUN] = run  # no module of this one: the weights would be found twice

    def forward(self, x: torch.Tensor) -> Any:
        return self.__dict__[_RUN](x)


def _loaded(path: Path) -> Any:
    content = safe(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.jit.load(content, map_location="cpu").eval()
    except Exception as error:  # torch's loader raises whatever its own reading of damaged programs raises
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise FileError(f"{path}: PyTorch {torch.__version__} does not load this program: {first}", "Save it again.") from None


def _channels(module: Interpreted, path: Path) -> int:
    """Channels of the picture: those that some kernel reads, or one or three.

    Raises:
        FileError: the program runs on pictures of none of them.
    """
    kernels = (value.shape[1] for value in module.parameters() if value.ndim == KERNEL_AXES)
    reason: str | None = ""
    for channels in dict.fromkeys((*kernels, 3, 1)):
        for size in SIZES:
            reason = runs(module, channels, size)
            if reason is None:
                return channels
    raise FileError(f"{path}: the program runs on no picture that was tried: {reason}", "It should map [N, C, H, W] to another.")
