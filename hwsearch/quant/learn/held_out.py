"""Pictures that are kept from all training, and what a plan loses on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hwsearch.quant.engine.simulate import simulated
from hwsearch.quant.learn.watched import finite
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.ir.graph import Graph, execute
from searchspaces.tasks.luma import output_luma

HELD = 8
"""One picture in so many is kept from the training; whether it helped is decided on those."""
OWN_ERROR = 30.0
"""What networks err by themselves, in squares of 8-bit steps: that of 33 dB."""


def apart(pictures: Sequence[Tensor], seed: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The pictures that are kept from all training, and the others."""
    order = np.random.default_rng(seed).permutation(len(pictures)).tolist()
    count = max(1, len(order) // HELD)
    return tuple(pictures[i] for i in order[:count]), tuple(pictures[i] for i in order[count:])


def loss(found: QuantizedGraph, held: Sequence[Tensor], network: Graph) -> float:
    """What a plan lets a mean PSNR lose on pictures, in the units of ``lost``; infinite where it is no number."""
    return finite(float(np.mean([_lost_on(x, found, network) for x in held])))


def lost(output: Tensor, wanted: Tensor) -> Tensor:
    """What a mean PSNR of pictures ``[N, C, h, w]`` loses, up to units and a constant: the mean of ``log(noise + OWN_ERROR)``.
    Noise far below the error that the network has anyway counts for as much as it is, noise far above for its decibels."""
    noise = (output_luma(output) - output_luma(wanted)).square().flatten(1).mean(1)
    return (noise + OWN_ERROR).log().mean()


def _lost_on(x: Tensor, quantized: QuantizedGraph, network: Graph) -> float:
    with torch.no_grad():
        return float(lost(simulated(quantized, x), quantized.formats[network.output.name].fake(execute(network, x))))
