"""Room for weights on their way to an array, computed by hand."""

from __future__ import annotations

import numpy as np

from hwmodels.classes.ethos.array import NO_MEMORY
from hwmodels.classes.ethos.copies import Buffers, Step, buffered, copies

SOURCE = NO_MEMORY._replace(bytes_per_cycle=2.0, read_latency=0.0)
LAYER = Step(row=1, cycles=6400.0, channels=64, block=16, weight_bytes=5760.0)


def test_slices() -> None:
    """The example of the module: slices of 16, 32 and 16 channels."""
    assert buffered(LAYER, 800.0, 1e6, SOURCE) == Buffers((1600, 3200), 0, 16)


def test_hidden_whole() -> None:
    assert buffered(LAYER, 3200.0, 1e6, SOURCE) == Buffers((6400, 0), 0, 64)


def test_little_room() -> None:
    """3200 bytes are room for two slices of 16 channels only."""
    assert buffered(LAYER, 3200.0, 3200.0, SOURCE) == Buffers((1600, 1600), 1, 16)


def test_alive_during_the_layer_before() -> None:
    """Copied beside the layer before, where that leaves room; a layer without any room reads its weights from afar."""
    steps = [Step(row=0, cycles=4000.0, channels=8, block=8), LAYER]
    assert copies(steps, np.array([1e6, 1e6]), SOURCE).tolist() == [6400.0, 6400.0]
    assert copies(steps, np.array([100.0, 1e6]), SOURCE).tolist() == [0.0, 6400.0]
    assert copies(steps, np.array([1e6, 1000.0]), SOURCE).tolist() == [0.0, 0.0]


def test_first_layer() -> None:
    """Nothing hides the first copy: both buffers are held by the layer itself."""
    assert copies([LAYER._replace(row=0)], np.array([1e6]), SOURCE).tolist() == [4800.0]
