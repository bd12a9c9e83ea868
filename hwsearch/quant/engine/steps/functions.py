"""Tables of functions as TFLite's kernels have them, for the rules of its runtimes.

Between tensors of 8 bits a table of 256 entries, of 16 bits one of 513 with straight lines between. Where a plan mixes both, the
function is that of 16 bits: an 8-bit tensor is brought to an int16 grid of finer steps before it (``read_on``), or from there to
its own after it (``codes.refined``), which is QUANTIZE in a file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from hwsearch.quant.engine.operators import activation, lookup, softmax
from hwsearch.quant.engine.operators.activation import Library
from hwsearch.quant.engine.operators.grid import Grid
from hwsearch.quant.engine.steps import codes
from hwsearch.quant.network.formats import TensorFormat
from searchspaces.ops.maps.activation import Activation, Elu, Exp, Gelu, HardSwish, LeakyRelu, Log, Rsqrt, Sigmoid, Silu, Tanh

Table = Callable[[Grid, Grid, Library], np.ndarray]
"""Codes that a function writes on the second grid for every code of the container of the first."""


def kernel(op: Activation, rule: str, *, wide: bool) -> Table | None:
    """A rule's table of a function between tensors of 8 bits, or of 16 (``wide``); None where it has no kernel that the engine
    follows. Of 16 bits a slope is followed in LiteRT alone."""
    match op:
        case LeakyRelu() if wide and rule == "gemmlowp":
            return None
        case LeakyRelu(slope=slope) if slope > 0:
            if rule == "xnnpack" and not wide:
                return lambda x, y, library: activation.leaky_once(x, y, slope)
            return lambda x, y, library: activation.leaky(x, y, slope, library)
        case Silu():
            return lambda x, y, library: _silu(x, y, rule)
        case Gelu(approximate=how):
            name = "gelu" if how == "none" else "gelu_tanh"
            return lambda x, y, library: lookup.elementwise(name, x, y)
        case Exp():
            return lambda x, y, library: lookup.elementwise("exp", x, y)
        case Elu(alpha=1.0) if not wide:
            return lambda x, y, library: lookup.elementwise("elu", x, y)
        case Log():
            return lambda x, y, library: lookup.log(x, y)
        case HardSwish() if not wide:
            return lambda x, y, library: activation.hard_swish(x, y)
        case Sigmoid() if wide:
            return lambda x, y, library: activation.logistic_16(x, y)
        case Tanh() if wide:
            return lambda x, y, library: activation.tanh_16(x, y)
        case Sigmoid():
            return lambda x, y, library: (
                lookup.elementwise("logistic", x, y) if library == "litert" else activation.logistic_8(x, y)
            )
        case Tanh():
            return lambda x, y, library: lookup.elementwise("tanh", x, y) if library == "litert" else activation.tanh_8(x, y)
        case Rsqrt():
            return lambda x, y, library: (
                lookup.inverse_root_16(x, y) if x.wide and library == "litert" else activation.inverse_root(x, y, library)
            )
    return None


POWERS: Mapping[type[Activation], tuple[int, ...]] = {
    Sigmoid: activation.LOGISTIC_POWERS,
    Silu: activation.LOGISTIC_POWERS,
    Tanh: activation.TANH_POWERS,
}
"""Functions that LiteRT's fast kernels of 16 bits compute otherwise where they take the step that they read for one of these."""


def read_on(op: Activation, source: TensorFormat, rule: str, *, wide: bool) -> Grid:
    """The grid on which a function between tensors of 16 bits (``wide``), or of 8, reads its input."""
    return codes.stored(source) if source.is_wide or not wide else codes.refined(source, _finer(op, source, rule))


def _finer(op: Activation, source: TensorFormat, rule: str) -> int:
    """How many times finer the 16-bit steps of an 8-bit tensor are: so many that fast kernels have the engine's table."""
    finer = codes.FINER
    while rule == "xnnpack" and activation.as_power(codes.refined(source, finer), POWERS.get(type(op), ())) is not None:
        finer //= 2
    return finer


def _silu(x: Grid, y: Grid, rule: str) -> np.ndarray:
    """``x`` times its logistic function, which stands on its own grid between the two kernels."""
    curve, gate = kernel(Sigmoid(), rule, wide=x.wide), softmax.OUTPUTS[x.kind]
    assert curve is not None
    every = lookup.codes(x).astype(x.dtype)
    return codes.product(rule, x, gate, y)(every, curve(x, gate, codes.LIBRARIES[rule]))


OWN: Mapping[type[Activation], Mapping[str, Grid]] = {
    Sigmoid: softmax.OUTPUTS,
    Tanh: {"int8": Grid("int8", 1 / 128), "int16": Grid("int16", 1 / 32768)},
}
"""Functions whose kernels write on one grid alone."""
LOST = 0.9
"""Steps of an 8-bit tensor, in those of such a kernel, below which its codes are not told apart."""


def written_on(op: Activation, target: TensorFormat, *, wide: bool) -> Grid:
    """The grid on which it writes."""
    if (own := OWN.get(type(op))) is not None:
        return own["int16" if wide else "int8"]
    return codes.stored(target) if target.is_wide or not wide else codes.refined(target)


def otherwise(op: Activation, source: TensorFormat, rule: str, *, wide: bool) -> bool:
    """Whether LiteRT's fast kernels have another table than the engine (``POWERS``)."""
    if not wide or rule != "xnnpack":
        return False
    return activation.as_power(read_on(op, source, rule, wide=True), POWERS.get(type(op), ())) is not None


def in_sixteen(op: Activation, source: TensorFormat, target: TensorFormat, rule: str) -> bool:
    """Whether a function is computed between tensors of 16 bits: where one of its own has them, and where its 8-bit kernel writes
    on steps so coarse that the codes of ``target`` would be lost (gates of a few thousandths, behind a logistic function)."""
    if not codes.narrow(source, target):
        return True
    own = OWN.get(type(op))
    return own is not None and target.scale < LOST * own["int8"].scale


def table(op: Activation, source: TensorFormat, target: TensorFormat, rule: str) -> np.ndarray | None:
    """Shifted codes of ``target`` for every code of ``source`` by the rule of one of TFLite's runtimes, in the order of the
    codes; None where there is no kernel for such tensors."""
    if not codes.integers(source, target):
        return None
    wide = in_sixteen(op, source, target, rule)
    found, library = kernel(op, rule, wide=wide), codes.LIBRARIES[rule]
    if found is None or otherwise(op, source, rule, wide=wide):
        return None
    x, y = read_on(op, source, rule, wide=wide), written_on(op, target, wide=wide)
    try:
        entries = found(x, y, library)
    except ValueError:  # steps for which the kernel has no multiplier
        return None
    if wide and not source.is_wide:
        shifted = (np.arange(source.grid.last_code + 1) - source.zero_point) * _finer(op, source, rule)
        entries = entries[shifted - int(np.iinfo(x.dtype).min)]
    own = codes.stored(target)
    return codes.requantized(entries, y, own, rule).astype(np.int32) - own.zero_point
