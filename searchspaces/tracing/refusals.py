"""Why parts of a module cannot be traced, in words of its own code: the line, the module that it stands in, and what is wrong."""

from __future__ import annotations

import contextlib
import linecache
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, fx, nn

from hwmodels.errors import FileError
from searchspaces.tracing.aten import operator_name, packet
from searchspaces.tracing.sizes import runs
from searchspaces.tracing.spellings import LONGEST

_RECURRENT = "a recurrent layer: every place waits for the one before it, which nothing here computes in integers"
_SPECTRUM = "a Fourier transform: no device here has integers for complex values"
COMPLEX = "complex numbers, which no device here has integers for; real and imaginary parts as tensors of their own are traced"
_STRIDES = "a view by distances in memory; the same by `view`, `permute` or `unfold` is traced"
_PLACES = "which places it takes depends on the values of the picture"
_RUNNING = "a running total: every place waits for the one before it, which nothing here computes in integers"
_LONG = f"a running total over more than {LONGEST} places, each of which waits for the one before it"
_VMAP = "`torch.vmap`; the same for all at once, along an axis of the tensor, is traced"
OWN_PLACES = "every value has a place of its own; `index_select`, slices and `flip`, the same for a whole axis, are traced"
RANDOM = "random numbers: the network gives another picture at every run"
ONE_COURSE = (
    "A plan's integers are for one course of computation. Compute both branches and blend them by a tensor, or bring the branch "
    "that you use as a network of its own."
)
_NUMBER = "a number is taken out of a tensor that depends on the picture; leave it a tensor"
_REASONS: dict[str, tuple[str, ...]] = {
    _RECURRENT: ("gru", "lstm", "rnn_tanh", "rnn_relu", "gru_cell", "lstm_cell", "rnn_tanh_cell", "rnn_relu_cell"),
    _SPECTRUM: ("stft", "istft"),
    COMPLEX: ("complex", "polar", "view_as_complex", "view_as_real", "real", "imag", "angle"),
    _STRIDES: ("as_strided",),
    _PLACES: ("argmax", "argmin", "argsort", "sort", "topk", "kthvalue", "nonzero", "unique", "bincount", "bucketize",
              "searchsorted", "median", "nanmedian", "mode"),
    _LONG: ("cumsum",),
    _RUNNING: ("cumprod", "cummax", "cummin", "logcumsumexp"),
    _VMAP: ("_add_batch_dim", "_remove_batch_dim"),
    OWN_PLACES: ("gather", "scatter", "scatter_add", "scatter_reduce", "take_along_dim"),
    RANDOM: ("rand", "randn", "rand_like", "randn_like", "randint", "randint_like", "randperm", "normal", "bernoulli", "dropout",
              "multinomial"),
}  # fmt: skip
_REASON_OF = {name: reason for reason, names in _REASONS.items() for name in names}
_OURS = Path(__file__).parents[2]
_TORCH = Path(torch.__file__).parent
_INSTALLED = (*{str(Path(place)) + os.sep for place in (sys.prefix, sys.base_prefix, _TORCH)}, str(_OURS / "searchspaces"), "<")


def reason(call: fx.Node) -> str | None:
    """Why no canonical operator computes a call, however it is taken apart; None where that has to be tried."""
    name = packet(call) or operator_name(call)
    return _SPECTRUM if name.startswith("fft_") else _REASON_OF.get(name)


_SEEDED_IN_TRAINING = ("dropout", "rrelu", "attention", "norm")
"""Parts of the names of operators that draw numbers in training alone."""


def is_random(call: fx.Node) -> bool:
    """Whether a call draws numbers, also where no picture is asked for any."""
    seeded = torch.Tag.nondeterministic_seeded in getattr(call.target, "tags", ())
    name = packet(call)
    drawn = name in ("normal", "log_normal") or not any(word in name for word in _SEEDED_IN_TRAINING)
    return seeded and drawn and _REASON_OF.get(name, RANDOM) == RANDOM


def is_complex(call: fx.Node) -> bool:
    """Whether a call gives complex numbers, or is given one."""
    found = call.meta.get("val")
    return (isinstance(found, Tensor) and found.is_complex()) or any(isinstance(value, complex) for value in call.args)


def nothing_further(call: fx.Node) -> str | None:
    """Why nothing behind a call can be traced either; None where that can be tried."""
    found = call.meta.get("val")
    if isinstance(found, torch.SymInt | torch.SymFloat | torch.SymBool):
        return _NUMBER
    several = found if isinstance(found, list | tuple) else [found]
    if any(isinstance(side, torch.SymInt) for one in several if isinstance(one, Tensor) for side in one.shape):
        return "how many values it gives depends on those of the picture"
    return None


class _OwnPlaces:
    """All functions in files that are neither torch's, ours nor of an installed program: of a module, those that it calls."""

    def __contains__(self, place: tuple[str, str]) -> bool:
        return not place[0].startswith(_INSTALLED)


@contextlib.contextmanager
def own_lines() -> Iterator[None]:
    """While it exports, torch keeps the lines of functions that ``forward`` calls, too; alone it keeps those called ``forward``.
    Where a version of torch keeps no such list, lines are those of ``forward``."""
    before = getattr(fx.proxy, "_STACK_TRACE_ANCHORS", None)
    if before is None:
        yield
        return
    fx.proxy._STACK_TRACE_ANCHORS = _OwnPlaces()  # type: ignore[assignment]  # asked for what it holds, and nothing else
    try:
        yield
    finally:
        fx.proxy._STACK_TRACE_ANCHORS = before


def of_export(error: Exception, module: nn.Module, example: Tensor, name: str) -> FileError:
    """What torch.export raised, as what is wrong with a module, for a picture ``[N, C, H, W]``."""
    height, width = example.shape[2:]
    own = runs(module, example.shape[1], (height, width), len(example))
    if own is not None:
        return FileError(f"{name}: the network does not run on a picture of {height}x{width} pixels (height x width): {own}")
    where = _where(error, module)
    if "DataDependent" in type(error).__name__:
        return FileError(
            f"{name}: {where or 'the network'} decides by values of the picture",
            ONE_COURSE,
        )
    first = (str(error).strip().splitlines() or [""])[0]
    at = f" at {where}" if where else ""
    return FileError(
        f"{name}: torch.export cannot trace this network{at}: {type(error).__name__}: {first}",
        "A network must take one picture tensor, and compute with tensors of torch alone.",
    )


def _where(error: Exception, module: nn.Module) -> str:
    """``if x.mean() > 0.5:`` (net.py:12, in body.0): the innermost line of an error that is neither torch's nor ours."""
    for frame, line in reversed(list(_frames(error))):
        file = frame.f_code.co_filename
        if file.startswith((str(_TORCH) + os.sep, str(_OURS / "searchspaces" / "tracing") + os.sep)) or not os.path.isfile(file):
            continue
        text, names = linecache.getline(file, line).strip(), frame.f_code.co_varnames
        owner = frame.f_locals.get(names[0]) if names else None
        path = next((path for path, inner in module.named_modules() if inner is owner), "")
        return f"`{text}` ({Path(file).name}:{line}{f', in {path}' if path else ''})"
    return ""


def _frames(error: Exception) -> Iterator[tuple[FrameType, int]]:
    trace: Any = error.__traceback__
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next
