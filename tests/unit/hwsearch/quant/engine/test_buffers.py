"""Memory is used again when, and only when, nothing refers to it any more."""

from __future__ import annotations

import multiprocessing
import threading

import numpy as np
import pytest
import torch

from hwsearch.quant.engine import buffers

SHAPE = (300, 300)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffers, "_pool", buffers._Pool())


def address(array: np.ndarray) -> int:
    return int(array.ctypes.data)


def test_memory_that_nothing_refers_to_is_used_again() -> None:
    first = buffers.empty(SHAPE, np.int32)
    there = address(first)
    del first
    assert address(buffers.empty(SHAPE, np.float32)) == there


@pytest.mark.parametrize(
    "derive",
    [
        lambda array: array[3:].reshape(-1)[::7],
        lambda array: torch.from_numpy(array)[1:],
        lambda array: torch.from_numpy(array).permute(1, 0)[2:].numpy()[1:],
        lambda array: memoryview(array[5]),
    ],
    ids=["slices", "a tensor", "an array of a tensor", "a buffer"],
)
def test_memory_of_which_a_part_is_in_use_is_not(derive: object) -> None:
    part = derive(buffers.empty(SHAPE, np.int32))  # type: ignore[operator]
    others = [buffers.empty(SHAPE, np.int32) for _ in range(3)]
    for other in others:
        other[:] = 1
        assert not np.shares_memory(other, np.asarray(part))


def test_arrays_are_aligned_and_of_the_shape_and_type_that_were_asked_for() -> None:
    for shape, dtype in (((0, 5), np.int16), ((3,), np.float32), (SHAPE, np.uint8), ((7, 333, 129), np.int16)):
        array = buffers.empty(shape, dtype)
        assert (array.shape, array.dtype) == (shape, dtype)
        assert array.flags.c_contiguous
        assert array.nbytes < buffers.LEAST_BYTES or address(array) % buffers.ALIGNMENT == 0
        array[...] = 3
    x = buffers.channels_last((2, 3, 200, 100), torch.int16)
    assert x.shape == (2, 3, 200, 100)
    assert x.is_contiguous(memory_format=torch.channels_last)


def test_idle_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffers, "IDLE_BYTES", 3 << 20)
    arrays = [buffers.empty((1 << 20,), np.uint8) for _ in range(9)]
    del arrays
    buffers.empty((1 << 24,), np.uint8)
    assert sum(block.size for block in buffers._pool._idle) <= 3 << 20


def test_threads_never_share_memory() -> None:
    errors = []

    def work(number: int) -> None:
        for _ in range(300):
            array = buffers.empty(SHAPE, np.int32)
            array[:] = number
            if not (array == number).all():
                errors.append(number)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_child_of_a_process_whose_lock_is_held_has_its_own() -> None:
    with buffers._pool._lock:
        child = multiprocessing.get_context("fork").Process(target=buffers.empty, args=(SHAPE, np.int32), daemon=True)
        child.start()
    child.join(20)
    assert child.exitcode == 0
