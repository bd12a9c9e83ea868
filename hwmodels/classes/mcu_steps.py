"""What a microcontroller does in layers that are no convolution: how often each thing that a device file has cycles for.

Some files know an operation in parts (a mean: values that are added, results that are written), others as a whole. So every layer
has several forms, the most detailed first, and the first one of which a file states all cycles is its price.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil, prod, sqrt

from hwmodels.device.values import ElementKey
from hwmodels.workload import Contract, Layer, Map, Move, Reduce, Workload

Counts = Mapping[ElementKey, float]
"""What a file states cycles for -> how often it is done."""
CURVES: Mapping[str, ElementKey] = {"logistic": "curve", "gated": "gated"}
"""Functions of 16-bit codes that are computed instead of looked up."""
WORD_BYTES = 4
"""Of a word, in which stretches of codes are copied that are whole words."""
BILINEAR = 2
"""Rows, and columns, of which a pixel is at most a weighted sum where codes of 8 bits are interpolated in integers."""
RANK = 4
"""Axes of pictures: the batch, channels, height, width."""


def forms(workload: Workload, layer: Layer, lanes: float, wide: tuple[bool, bool], last: Sequence[bool]) -> Iterator[Counts]:
    """What ``layer`` consists of, in one form after the other.

    Args:
        lanes: operands that a product of two tensors takes at once; half as many of 16 bits.
        wide: whether it reads, and writes, codes above 8 bits.
        last: of every tensor, whether its channels lie innermost in memory (``lies_last``).
    """
    match layer.work:
        case Contract():
            yield from _products(workload, layer, layer.work, max(lanes / 2, 1.0) if any(wide) else lanes)
        case Map(arity=1):
            yield from _functions(layer.work, workload.tensors[layer.output].elements, wide[0])
        case Map():
            yield from _of_several(workload, layer, layer.work)
        case Reduce():
            written = workload.tensors[layer.output].elements
            yield from _statistics(layer.work, workload.tensors[layer.inputs[0]].elements, written)
        case Move(how="resize", taps=(rows, columns)):
            yield from _interpolations(workload, layer, (rows, columns), any(wide))
        case Move():
            yield from _moves(workload, layer, layer.work, 2 if any(wide) else 1, last)


def _functions(work: Map, written: int, wide: bool) -> Iterator[Counts]:
    """Functions of one value. ``wide``: what is read has 16 bits."""
    if work.function in ("slopes", "mul"):
        yield {"real": written}
    elif wide and work.function in ("clamp", "slope"):
        yield {"bend": written}
    elif wide and work.variant in CURVES:
        yield {CURVES[work.variant]: written}
    yield {"unary": written}


def _of_several(workload: Workload, layer: Layer, work: Map) -> Iterator[Counts]:
    written = workload.tensors[layer.output].elements
    match work:
        case Map(variant="difference", function=function):
            yield {"real": written}
            yield {"mul" if function == "mul" else "add": written}
        case Map(function="add"):
            if layer.finish in ("slope", "slopes"):
                yield {"real": written}
            if layer.constants or any(workload.tensors[i].elements != written for i in layer.inputs):
                yield {"add_repeated": written}
            yield {"add": written}
        case Map(function="mul"):
            yield {"mul": written}
        case _:
            yield {"real": written}
            yield {"unary": written}


def _interpolations(workload: Workload, layer: Layer, taps: tuple[int, int], wide: bool) -> Iterator[Counts]:
    """``taps``: rows and columns of which a pixel is a sum."""
    source, target = workload.tensors[layer.inputs[0]], workload.tensors[layer.output]
    written, (rows, columns) = target.elements, taps
    values = min(source.height, target.height * rows) * target.width * target.channels
    if max(taps) <= BILINEAR and not wide:
        yield {"bilinear": written, "bilinear_value": values, "bilinear_column": values / target.channels}
    yield {
        "interpolate": written, "interpolate_row": written * rows,
        "interpolate_value": values, "interpolate_column": values * columns,
    }  # fmt: skip
    yield {"resize": written}


def _moves(workload: Workload, layer: Layer, work: Move, code_bytes: int, last: Sequence[bool]) -> Iterator[Counts]:
    source, target, how = workload.tensors[layer.inputs[0]], workload.tensors[layer.output], work.how
    written, runs = target.elements, _runs(workload, layer, work, last)
    if how == "shuffle":
        together = target.channels if target.channels <= source.channels else sqrt(target.channels / source.channels)
        yield {"shuffle": written, "shuffle_run": written / together}
    elif runs and how in ("concat", "slice", "resize"):
        if written / runs * code_bytes % WORD_BYTES:
            yield {how: written, "run": runs, "unaligned": written}
        yield {how: written, "run": runs}
    elif runs == written:
        if begun := _rows(workload, layer, work, last):
            yield {"scatter": written, "table_row": begun}
        yield {"scatter": written}
    elif runs:
        yield {"copy" if how == "gather" else how: written, "table_run": runs}
    elif how == "repeat":
        yield {"repeat": written, "repeat_value": source.elements}
    yield {how: written}


def _products(workload: Workload, layer: Layer, work: Contract, lanes: float) -> Iterator[Counts]:
    if not layer.of_tensors:
        return
    first, second = (workload.tensors[i].elements for i in (layer.inputs[0], layer.inputs[-1]))
    parts: Counts = {
        "product": workload.tensors[layer.output].elements, "product_first": first, "product_second": second,
    }  # fmt: skip
    yield {**parts, "product_mac": work.macs * ceil(work.depth / lanes) * lanes / work.depth}
    yield parts


def _statistics(work: Reduce, read: int, written: int) -> Iterator[Counts]:
    if work.is_softmax:
        yield {"softmax": written, "softmax_row": written / work.over}
        yield {"softmax": written}
    elif work.is_normalization:
        if not work.centred:
            yield {"normalize_uncentred": written, "normalize_uncentred_row": written / work.over}
        yield {"normalize": written, "normalize_row": written / work.over}
        yield {"normalize": written}
    elif work.kernel is not None and work.function == "compare":
        yield {"window": written, "window_value": written * work.over}
    elif work.kernel is not None:
        yield {"average": written, "average_value": written * work.over}
    elif work.function == "mul":
        if not work.rooted:
            yield {"variance": written, "deviation_value": read}
        yield {"deviation": written, "deviation_value": read}
    else:
        yield {"mean": written, "mean_value": read}
    yield {"pool": written}


def _runs(workload: Workload, layer: Layer, work: Move, last: Sequence[bool]) -> float:
    """How many stretches of codes that lie together are copied one by one; 0 where that is not told."""
    source, target = workload.tensors[layer.inputs[0]], workload.tensors[layer.output]
    turned = last[layer.inputs[0]], last[layer.output]
    if work.along and target.axes and len(set(turned)) == 1:
        return _chosen(work, target.axes, _order(len(target.axes), turned[0]))
    match work.how:
        case "concat":
            return sum(workload.tensors[i].height * workload.tensors[i].width for i in layer.inputs)
        case "transpose" if work.axes:
            before, behind = (_order(len(work.axes), side) for side in turned)
            return target.elements / _together(work, before, behind)
        case "view":
            as_it_lies = not any(turned) or min(source.channels, source.height * source.width) == 1
            return 1 if as_it_lies else target.elements
        case "resize" if target.height % source.height == 0 == target.width % source.width:
            # The first row of each pixel by pixel, the others as a whole.
            return source.height * target.width + target.height - source.height
        case "slice" | "resize" | "copy" | "pad":
            return target.height * target.width
        case "gather":
            return target.elements
    return 0


def _chosen(work: Move, sizes: Sequence[int], order: Sequence[int]) -> float:
    """The same where places of some axes are chosen: a part of an axis lies together, other places one by one."""
    innermost = max(order.index(axis) for axis in work.along)
    return prod(sizes[axis] for axis in order[: innermost if work.how == "slice" else innermost + 1])


def _rows(workload: Workload, layer: Layer, work: Move, last: Sequence[bool]) -> float:
    """How often a loop over single codes is begun: once for all places of the innermost axis that is chosen; 0 where that is not
    told."""
    sizes = workload.tensors[layer.output].axes
    if not work.along or not sizes:
        return 0
    order = _order(len(sizes), last[layer.output])
    return workload.tensors[layer.output].elements / sizes[max(work.along, key=order.index)]


def _order(rank: int, last: bool) -> tuple[int, ...]:
    """Axes as they lie in memory, the innermost one at the end."""
    return (0, *range(2, rank), 1) if last else tuple(range(rank))


def _together(work: Move, before: Sequence[int], behind: Sequence[int]) -> int:
    """Codes that lie side by side in memory before a transpose and behind it."""
    moved = [work.axes[axis] for axis in behind]
    same = 0
    while same < len(moved) and moved[-1 - same] == before[-1 - same]:
        same += 1
    return prod(work.shape[axis] for axis in before[len(before) - same :]) if same else 1


def lies_last(workload: Workload) -> tuple[bool, ...]:
    """Which tensors lie in memory with axis 1, their channels, innermost, as the exported C has pictures: what kernels of
    pictures read and write, and what only moves or changes values on the way to them."""
    asked = [not tensor.readers for tensor in workload.tensors]
    for layer in reversed(workload.layers):
        if _of_pictures(layer) or (asked[layer.output] and not (_turns(layer) or layer.product)):
            for index in layer.inputs:
                asked[index] = True
    found = [tensor.picture for tensor in workload.tensors]
    for layer in workload.layers:
        if len(workload.tensors[layer.output].axes) != RANK:
            continue
        kept = found[layer.inputs[0]]
        found[layer.output] = _of_pictures(layer) or (asked[layer.output] if _turns(layer) else kept and not layer.product)
    return tuple(found)


def _of_pictures(layer: Layer) -> bool:
    windows = isinstance(layer.work, Reduce) and layer.work.kernel is not None
    return (layer.contracts and not layer.product) or windows or layer.moves("shuffle", "resize")


def _turns(layer: Layer) -> bool:
    return layer.moves("view", "transpose", "gather")
