"""Memory for tensors that is used again once nothing refers to it.

A tensor of a picture is larger than what the C library keeps, so each new one would come from the operating system page by page,
which for the integer engine takes as long as its arithmetic. What is kept between uses is bounded by ``IDLE_BYTES``.
"""

from __future__ import annotations

import os
import threading
import weakref
from queue import SimpleQueue

import numpy as np
import torch
from torch import Tensor

LEAST_BYTES = 1 << 16
"""Smaller arrays are numpy's own."""
GRAIN_BYTES = 1 << 16
"""Sizes are rounded up to multiples, so that tensors of about the same size share memory."""
IDLE_BYTES = 1 << 27
"""Kept at most while nobody uses it; what was idle longest goes first."""
ALIGNMENT = 64
"""A cache line, and the widest vector."""


class _Pool:
    """Blocks without a user, from the one that has been idle longest."""

    def __init__(self) -> None:
        self._idle: list[np.ndarray] = []
        self._returned: SimpleQueue[np.ndarray] = SimpleQueue()  # filled whenever a last reference goes
        self._lock = threading.Lock()

    def take(self, size: int) -> np.ndarray:
        with self._lock:
            while not self._returned.empty():
                self._idle.append(self._returned.get())
            found = next((i for i in reversed(range(len(self._idle))) if self._idle[i].size == size), None)
            if found is not None:
                return self._idle.pop(found)
            idle = sum(block.size for block in self._idle)
            while idle > IDLE_BYTES:
                idle -= self._idle.pop(0).size
        return np.empty(size, np.uint8)

    def lend(self, size: int) -> np.ndarray:
        """Bytes whose block comes back when they, and every array and tensor made of them, are gone."""
        block = self.take(size)
        # Arrays made of other arrays refer to the first of them, as this one is to numpy, whose memory is a memoryview's.
        root = np.frombuffer(block.data, np.uint8)
        weakref.finalize(root, self._returned.put, block).atexit = False
        return root


_pool = _Pool()


def _renew() -> None:
    """Let a child have a pool of its own: a thread that it lacks may have held the lock."""
    _pool.__init__()  # type: ignore[misc]  # begins anew in a forked process


os.register_at_fork(after_in_child=_renew)


def empty(shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """``numpy.empty``, in memory that is used again; aligned to cache lines where that matters."""
    wanted = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if wanted < LEAST_BYTES:
        return np.empty(shape, dtype)
    root = _pool.lend(-(-(wanted + ALIGNMENT) // GRAIN_BYTES) * GRAIN_BYTES)
    start = -root.ctypes.data % ALIGNMENT
    return root[start : start + wanted].view(dtype).reshape(shape)


def channels_last(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """An empty tensor ``[N, C, H, W]`` that lies as ``[N, H, W, C]``."""
    count, channels, height, width = shape
    kind = torch.empty(0, dtype=dtype).numpy().dtype
    return torch.from_numpy(empty((count, height, width, channels), kind)).permute(0, 3, 1, 2)
