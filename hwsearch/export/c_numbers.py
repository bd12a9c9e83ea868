"""Numbers as the C kernels hold them: multipliers of fixed point, and weights packed to their width."""

from __future__ import annotations

import math

import numpy as np

SMALLEST_EXPONENT = -31


def fixed_point(real: float) -> tuple[int, int]:
    """A real factor as ``mantissa * 2^(shift - 31)`` with a mantissa of 31 bits: the first 31 bits of the number, rounded half
    away from zero. Factors below 2^-32 become zero. (TensorFlow Lite's ``QuantizeMultiplier``.)
    """
    if real == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real)
    mantissa = math.floor(abs(fraction) * (1 << 31) + 0.5)
    if mantissa == 1 << 31:
        mantissa, shift = mantissa // 2, shift + 1
    if shift < SMALLEST_EXPONENT:
        return 0, 0
    return (mantissa if real > 0 else -mantissa), shift


def fixed_points(real: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``fixed_point`` of every number: mantissas ``int32`` and shifts ``int8``."""
    pairs = [fixed_point(float(value)) for value in real]
    return np.array([m for m, _ in pairs], np.int32), np.array([s for _, s in pairs], np.int8)


def halved(mantissa: np.ndarray) -> np.ndarray:
    """Mantissas of 31 bits rounded half up to 15, at most 32767: what the rule for 16-bit tensors multiplies by."""
    return np.minimum((mantissa.astype(np.int64) + (1 << 15)) >> 16, 32767).astype(np.int32)


def pack(rows: np.ndarray, bits: int) -> np.ndarray:
    """Signed integers ``int8[O, K]`` of ``bits`` (2 to 8) bits as ``uint8[O * ceil(K * bits / 8)]``.

    Each row is a stream of two's complement fields, least significant bit first, that starts on a byte. Four bits are therefore
    two to a byte, the earlier one in the low half.
    """
    fields = (rows.astype(np.int16) & ((1 << bits) - 1)).astype(np.uint8)
    stream = np.unpackbits(fields[..., None], axis=2, count=bits, bitorder="little").reshape(len(rows), -1)
    return np.packbits(stream, axis=1, bitorder="little").reshape(-1)
