"""What enters a network, copied to the chip of an Ethos-U85 before a convolution reads it.

Blocks of a convolution overlap and, where its output channels are made in several passes, come again. Where reading all of them
from the external memory takes longer than the convolution itself, what enters the network, and nothing else reads, is copied on
the chip once. The copy is an operation of its own; where it stays is decided as for every other feature map. No copy of weights
hides behind it: it is made when those are decided.

The compiler (ethos-u-vela 5.2.0) weighs bytes without bursts, and no cost of the copy. Its rule was found by compiling single
convolutions of 1 to 64 input channels, 8 and 16 bits, on U85-512 and U85-2048: ``REREAD`` lies between 1.07 and 1.17, and counts
the input as stored in bricks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hwmodels.classes.ethos.array import array_of, described, homes_of
from hwmodels.classes.ethos.blocks import BRICK, Array, Operation, up
from hwmodels.classes.ethos.cycles import operation_cycles, read_bytes
from hwmodels.classes.ethos.operations import operations
from hwmodels.classes.ethos.search import choose_blocks
from hwmodels.classes.ethos.storage import bricks
from hwmodels.classes.ethos.terms import Homes
from hwmodels.device.device import Device
from hwmodels.pricing.rewriting import itself
from hwmodels.workload import Move, Piece, Workload

REREAD = 1.1
"""How often at least the input is read, of its bytes in bricks."""


def pieces(device: Device, workload: Workload, row: int, element_bytes: int) -> Sequence[Piece]:
    """The copy and the convolution in place of layer ``row``; empty where it reads its input as it came."""
    layer, source = workload.layers[row], workload.tensors[workload.layers[row].inputs[0]]
    array, homes = array_of(described(device)[0]), homes_of(device)
    separate = array.buffers[0] > 0
    if (
        source.producer >= 0
        or len(source.readers) > 1
        or not separate
        or not homes.spills
        or not layer.contracts
        or layer.product
    ):
        return ()
    found = operations(workload, row, array, bricks(workload, separate), element_bytes, element_bytes)
    if len(found) != 1 or not _slow(found[0].operation, array, homes):
        return ()
    copy = Piece(Move("copy"), (0,), (source.channels, source.height, source.width))
    return copy, replace(itself(workload, row), inputs=(-1,))


def _slow(op: Operation, array: Array, homes: Homes) -> bool:
    """Whether an operation waits for its input from the external memory, reads it more than once, and it fits on the chip."""
    blocks = choose_blocks(op._replace(out_bytes=1, finish=0.0), array)
    read = read_bytes(op, blocks, homes.onchip._replace(burst=1))
    size = op.in_h * op.in_w * op.in_bytes
    if read <= REREAD * size * up(op.in_c, BRICK) or size * op.in_c > homes.capacity:
        return False
    outside = homes.outside
    _, cycles = operation_cycles(op, blocks, array, outside, outside, homes.weights.read_latency, 1.0)
    return bool(read / outside.input_rate + outside.read_latency > cycles)


def is_copy(workload: Workload, owner: Sequence[int], row: int) -> bool:
    """Whether layer ``row`` is such a copy: the first of two pieces of one layer (``owner``: whose each layer is)."""
    layer = workload.layers[row]
    entered = layer.moves("copy") and workload.tensors[layer.inputs[0]].producer < 0
    return entered and row + 1 < len(owner) and owner[row + 1] == owner[row]
