"""TorchScript programs as networks: run node by node while torch.export looks on, and traced as a module is."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hwmodels.errors import FileError
from hwsearch.formats.exported.read import check, inspected
from hwsearch.formats.reading.readers import Inspected
from hwsearch.formats.torchscript.archive import safe
from hwsearch.formats.torchscript.fast_paths import Unfollowed
from hwsearch.formats.torchscript.known import DECISION
from hwsearch.formats.torchscript.program import Interpreted
from searchspaces.ir.graph import Graph
from searchspaces.networks.several_outputs import picture_alone
from searchspaces.tracing import refusals
from searchspaces.tracing.sizes import RETURNS, SQUARES, Size, runs
from searchspaces.tracing.trace import trace

__all__ = ["check", "read"]

KERNEL_AXES = 4
HINT = "Save the network by torch.export.save (.pt2) or torch.onnx.export (.onnx)."
SIZES = (
    (64, 64),
    (48, 64),
    (128, 128),
    (256, 256),
    *((side, side) for side in SQUARES),
    (24, 32),
    (32, 48),
    (32, 64),
    (120, 160),
)
"""Pictures that a program is tried on; one of the first most networks take."""
UNCUT = 64
"""A side of a picture that nothing is known of."""
SMALLER = (1, 2, 4)
"""How many times smaller the tensor may be that falls into parts."""
PICTURE_AXES, LEAST, LARGEST, MOST = 4, 8, 512, 12
"""Axes of a picture; the smallest and largest side that is tried of those that parts show, and how many of them."""
OTHER = ((64, 64), (128, 128), (128, 64))
"""A program that takes none of these either is for the one size that it was traced with."""


def read(path: Path) -> Inspected:
    """Read a program.

    Raises:
        FileError: none, damaged, something in it could reach out of it, or no network from picture to picture.
    """
    program = _loaded(path)
    module = Interpreted(program)
    if module.missing:
        raise FileError(
            f"{path}: its program takes {', '.join(module.missing[:4])} beside the picture",
            "Save a program that takes the picture alone: the others as constants of the module, or with values by default.",
        )
    channels, size, which = _picture(module, path, sizes_of_parts(program))
    _compare(module, channels, size, path)

    def traced(size: tuple[int, int] | None) -> Graph:
        return trace(module, channels, path.stem, size=size)

    only = None if any(runs(module, channels, other) is None for other in OTHER if other != size) else size
    found = inspected(path, "torchscript", f"torch.jit, read by PyTorch {torch.__version__}", traced, only)
    remarks, pictures = tuple(filter(None, [module.of_bytes.remark, which])), module.of_bytes
    if only is not None and found.graph.size is not None:
        found = replace(found, again=lambda other: _at(module, channels, other, traced, found.graph))
    return replace(found, of_bytes=pictures, value_range=pictures.value_range(""), remarks=remarks)


def _at(module: Interpreted, channels: int, size: Size, traced: Callable[[Size | None], Graph], known: Graph) -> Graph:
    """The graph at another size than the one that was found, where the program runs there.

    Raises:
        UsageError: it does not.
    """
    return traced(size) if runs(module, channels, size) is None else known.at(*size)


def sizes_of_parts(program: Any) -> tuple[Size, ...]:
    """Sizes at which a picture, or one a few times smaller, falls into as many parts as the program takes apart: a traced loop
    over the parts has so many turns, whatever picture comes. A side that is not cut is ``UNCUT``."""
    sides: dict[int, set[int]] = {2: set(), 3: set()}
    graph = program.inlined_graph  # which its nodes do not keep
    nodes = [*graph.findAllNodes("aten::split"), *graph.findAllNodes("aten::unbind")]
    for node in nodes:
        *part, dim = (given.toIValue() for given in [*node.inputs()][1:])
        counts = [len([*use.user.outputs()]) for use in node.output().uses() if use.user.kind() == "prim::ListUnpack"]
        lengths = [value for value in part if isinstance(value, int)] if part else [1]
        if isinstance(dim, int) and dim % PICTURE_AXES in sides:
            sides[dim % PICTURE_AXES].update(f * length * count for f in SMALLER for length in lengths for count in counts)
    rows, columns = (sorted(side for side in found if LEAST <= side <= LARGEST)[:MOST] or [UNCUT] for found in sides.values())
    found = tuple((height, width) for height in rows for width in columns)
    return () if found == ((UNCUT, UNCUT),) else found


def _compare(module: Interpreted, channels: int, size: Size, path: Path) -> None:
    """Against torch's own interpreter, on one picture: it may do so now that every operator took what it was given."""
    x = torch.rand(1, channels, *size, generator=torch.Generator().manual_seed(0))
    x = (x * 255).round() if module.of_bytes.taken else x
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        before = torch.random.get_rng_state()
        ours = module(x)
        if not torch.equal(torch.random.get_rng_state(), before):
            raise FileError(
                f"{path}: the program draws random numbers (noise, dropout): no two of its pictures are the same", HINT
            )
        if not ours.is_floating_point():
            kind = str(ours.dtype).removeprefix("torch.")
            raise FileError(
                f"{path}: the program gives pictures of {kind}; networks are traced in floating point",
                "Let it end in floating point, or by a conversion to uint8 (0..255), which is left out.",
            )
        try:
            theirs = module.by_torch(x)
        except Exception as error:  # whatever torch's interpreter raises
            first = (str(error).strip().splitlines() or [""])[-1][:200]
            raise FileError(f"{path}: PyTorch's own interpreter does not run this program: {first}", HINT) from None
    if not isinstance(theirs, Tensor) or not bool(ours.isfinite().all() and theirs.isfinite().all()):
        raise FileError(f"{path}: values of the program's picture are infinite or no numbers", HINT)
    if module.of_bytes.given and ours.shape == theirs.shape:  # it rounds, or cuts off
        theirs = torch.where((ours - theirs).abs() <= 1, ours, theirs.to(ours.dtype))
    near = 1e-4 * float(theirs.abs().max())
    if ours.shape != theirs.shape or not torch.allclose(ours, theirs, rtol=1e-3, atol=near):
        raise FileError(f"{path}: read operator by operator, the program gives another picture than in PyTorch", HINT)


def _gives(module: Interpreted, channels: int, size: Size) -> bool:
    """Whether a picture comes back with as many channels."""
    with torch.no_grad():
        return tuple(module(torch.zeros(1, channels, *size)).shape[1:2]) == (channels,)


def _loaded(path: Path) -> Any:
    content = safe(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.jit.load(content, map_location="cpu").eval()
    except Exception as error:  # torch's loader raises whatever its own reading of damaged programs raises
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise FileError(f"{path}: PyTorch {torch.__version__} does not load this program: {first}", "Save it again.") from None


def _picture(module: Interpreted, path: Path, more: tuple[Size, ...] = ()) -> tuple[int, Size, str | None]:
    """Channels of the picture, those that some kernel reads, or one or three, if there are such those that come back; a size that
    the program runs on; and what is said of a program with several results, of which the picture is taken from now on.

    Args:
        more: sizes to try beside ``SIZES``.
    Raises:
        FileError: it runs on pictures of none of them.
    """
    kernels = (value.shape[1] for value in module.parameters() if value.ndim == KERNEL_AXES)
    first, which = "", None
    runs_on: tuple[int, Size, str | None] | None = None
    for channels in dict.fromkeys((*kernels, 3, 1)):
        for size in dict.fromkeys((*SIZES, *more)):
            reason = runs(module, channels, size)
            if reason is None and _gives(module, channels, size):
                return channels, size, which
            if reason is None:  # a constant of other channels may have made more of them
                runs_on = runs_on or (channels, size, which)
                break
            if runs_on is not None:
                continue
            if reason.startswith(RETURNS) and which is None:
                with torch.no_grad():
                    which = picture_alone(module, module(torch.zeros(1, channels, *size)), channels)
                if which is not None and runs(module, channels, size) is None:
                    return channels, size, which
            if (unfollowed := reason.removeprefix(f"{Unfollowed.__name__}: ")) != reason:
                hint = refusals.ONE_COURSE if unfollowed.startswith(DECISION) else HINT
                raise FileError(f"{path}: the program has {unfollowed}", hint)
            first = first or f"{reason} (at {size[0]}x{size[1]})"
    if runs_on is not None:
        return runs_on
    kinds = {str(value.dtype).removeprefix("torch.") for value in module.parameters() if value.is_floating_point()}
    if kinds and "float32" not in kinds:
        raise FileError(
            f"{path}: its weights are {' and '.join(sorted(kinds))}; such a program does not run on pictures in single precision",
            "Save it in single precision: torch.jit.script(network.float()), or the same with torch.jit.trace.",
        )
    raise FileError(
        f"{path}: the program runs on no picture that was tried: {first}",
        "It should map [N, C, H, W] to another. A traced program keeps numbers of the picture that it was traced with where it "
        "took them as Python numbers: trace it with a picture of 64x64.",
    )
