"""Weights packed to their width."""

from __future__ import annotations

import numpy as np


def pack(rows: np.ndarray, bits: int) -> np.ndarray:
    """Signed integers ``int8[O, K]`` of ``bits`` (2 to 8) bits as ``uint8[O * ceil(K * bits / 8)]``.

    Each row is a stream of two's complement fields, least significant bit first, that starts on a byte. Four bits are therefore
    two to a byte, the earlier one in the low half.
    """
    fields = (rows.astype(np.int16) & ((1 << bits) - 1)).astype(np.uint8)
    stream = np.unpackbits(fields[..., None], axis=2, count=bits, bitorder="little").reshape(len(rows), -1)
    return np.packbits(stream, axis=1, bitorder="little").reshape(-1)
