"""Peak RAM of the model for TensorFlow Lite Micro against the arena that its interpreter reports for our exported file."""

from __future__ import annotations

import pytest
from random_networks import float_graph, picture, quantize

from hwmodels.device import device
from hwmodels.numbers import Precision
from hwmodels.pricing import cost
from hwsearch.formats.tflite import tflm
from searchspaces.ir.lower import to_workload

NETWORKS = ("fsrcnn-relu", "fsrcnn-prelu", "abpn", "ecbsr", "edsr", "vdsr")


def both(name: str, bits: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int]:
    """Bytes: our peak, the interpreter's arena, and the largest layer's weights."""
    graph = float_graph(name)
    runtime = tflm.open_plan(quantize(graph, *bits))
    runtime.run(picture(graph, *size))
    assert runtime.peak_bytes is not None
    workload = to_workload(graph, *size)
    price = cost.uniform(device.load("stm32h743-tflm"), workload, Precision.integers(*bits))
    return price.peak_activation_bytes, runtime.peak_bytes, max(layer.weight_count for layer in workload.layers)


@pytest.mark.parametrize("size", [(16, 20), (48, 64)])
@pytest.mark.parametrize("activation_bits", [8, 16])
@pytest.mark.parametrize("name", NETWORKS)
def test_peak_ram_is_the_arena_within_five_percent(name: str, activation_bits: int, size: tuple[int, int]) -> None:
    ours, arena, _ = both(name, (8, activation_bits), size)
    assert ours == pytest.approx(arena, rel=0.05)


@pytest.mark.parametrize("size", [(16, 20), (48, 64)])
@pytest.mark.parametrize("name", NETWORKS)
def test_packed_weights_only_add_what_the_reference_kernels_unpack(name: str, size: tuple[int, int]) -> None:
    """The interpreter's reference kernels unpack 4-bit weights of a layer into the arena; CMSIS-NN unpacks in registers."""
    ours, arena, weights = both(name, (4, 8), size)
    assert ours * 0.99 <= arena <= ours * 1.01 + weights
    assert size == (16, 20) or ours == pytest.approx(arena, rel=0.05)
