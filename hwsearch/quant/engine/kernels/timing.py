"""Which of several kernels with the same sums is the fastest for a layer on this CPU: measured once, and kept.

Nothing but speed depends on the answer, so noise in it is harmless, and so is losing what was kept. It is kept in the user's
cache directory, for these sources and this CPU.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

from hwmodels.compiled import directory
from hwmodels.errors import HwsearchError
from hwsearch.documents.files import replacing
from hwsearch.quant.engine import buffers
from hwsearch.quant.engine.kernels.bands import BandConv, run_bands
from hwsearch.quant.engine.kernels.cpu import features
from hwsearch.quant.engine.kernels.int8_kernel import Int8Conv
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers
from searchspaces.ir.graph import Node, conv_of

Kernel = BandConv | Int8Conv

HEIGHT, WIDTH = 64, 128
"""Of the picture that is convolved: the sums of a layer of 64 outputs are as large as a second-level cache."""
REPEATS = 5
"""Of which the shortest counts; the kernels take turns."""


def fastest(kinds: Sequence[type[Kernel]], node: Node, layer: LayerIntegers, source: TensorFormat) -> type[Kernel]:
    """The fastest of at least one kind; the first of several that were not told apart."""
    if len(kinds) == 1:
        return kinds[0]
    key = _key(kinds, node, layer)
    times = _known().get(key, {})
    if times.keys() != {kind.__name__ for kind in kinds}:
        times = _known()[key] = _measured(kinds, node, layer, source)
        _keep()
    return min(kinds, key=lambda kind: times[kind.__name__])


def _key(kinds: Sequence[type[Kernel]], node: Node, layer: LayerIntegers) -> str:
    shape = "x".join(map(str, (*layer.weight.shape, *conv_of(node).strides)))
    return f"{shape} {torch.get_num_threads()} threads {' '.join(kind.__name__ for kind in kinds)}"


def _measured(kinds: Sequence[type[Kernel]], node: Node, layer: LayerIntegers, source: TensorFormat) -> dict[str, float]:
    """Seconds that each kind takes for a picture of random codes, to sums written as codes are."""
    rng = np.random.default_rng(0)
    codes = rng.integers(source.qmin, source.qmax + 1, (1, HEIGHT, WIDTH, layer.weight.shape[1])) - source.zero_point
    x = source.carried(torch.from_numpy(codes)).permute(0, 3, 1, 2)
    runs = {kind.__name__: _run(kind(node, layer, source), x) for kind in kinds}
    for run in runs.values():
        run()
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(REPEATS):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def _run(kernel: Kernel, x: torch.Tensor) -> Callable[[], None]:
    """What converts the codes of a picture to sums, and these to 8 bits, as the requantization does that comes after."""
    if isinstance(kernel, Int8Conv):

        def whole() -> None:
            sums = kernel(x)
            buffers.channels_last(tuple(sums.shape), torch.uint8).copy_(sums)

        return whole
    picture = x.permute(0, 2, 3, 1)[0].numpy()

    def finish(sums: np.ndarray, out: np.ndarray) -> None:
        np.copyto(out, sums[tuple(map(slice, out.shape))], casting="unsafe")

    def banded() -> None:
        out = buffers.empty((*kernel.size(*picture.shape[:2]), kernel.outputs), np.uint8)
        run_bands(kernel, picture, finish, out, torch.get_num_threads())

    return banded


def _file() -> Path | None:
    folder = directory(Path(__file__).with_name("choice.py"))  # that of the sources of all kernels
    cpu = sha256(" ".join((platform.processor(), _model(), torch.__version__, *sorted(features()))).encode()).hexdigest()[:16]
    return folder / f"kernel-times-{cpu}.json" if folder else None


def _model() -> str:
    """The name of the CPU where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith("model name")), "")


def _read() -> dict[str, dict[str, float]]:
    """What is kept; nothing of it where anything is not as it should be."""
    file = _file()
    try:
        kept = json.loads(file.read_text()) if file else {}
    except (OSError, ValueError, RecursionError):
        return {}
    rows = kept.values() if isinstance(kept, dict) else [None]
    sound = all(isinstance(times, dict) and all(isinstance(t, float) for t in times.values()) for times in rows)
    return kept if sound else {}


@cache
def _known() -> dict[str, dict[str, float]]:
    return _read()


def _keep() -> None:
    """Write what is known, together with what other processes wrote meanwhile; where that is not possible it is not kept."""
    file = _file()
    if file is None:
        return
    try:
        with replacing(file) as temporary:
            temporary.write_text(json.dumps(_read() | _known(), indent=1, sort_keys=True))
    except HwsearchError:
        pass
