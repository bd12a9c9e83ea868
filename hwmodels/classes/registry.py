"""Classes of hardware: what ``cost.lower`` asks of one, and which one prices a device.

A class is a module of this package with a ``CLASS``, an instance of ``HardwareClass``; the section of the device file names the
module (``Section.priced_by``). So a new class is two files named after its kind: ``device/sections/KIND.py`` with the table of
its files, what they must have and which constants are fitted, and ``classes/KIND.py`` with its constants and prices. They are two
because reading and listing devices must load neither numpy nor numba. Nothing else is edited.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache

import numpy as np

from hwmodels.device.device import Device
from hwmodels.numbers import Precision
from hwmodels.pricing import memory
from hwmodels.pricing.columns import Choices, Columns, Ports, Terms
from hwmodels.pricing.table import Space
from hwmodels.workload import Workload


@dataclass(frozen=True, eq=False)
class Question:
    """What a class is asked to price: every layer of a workload on a device, for every choice of widths.

    nW weight widths, nA activation widths, L layers.

    Attributes:
        runs: ``[nW][nA]``, the native precision that executes a choice.
        unpack: ``float64[nW, nA]``, factor on compute time of weights narrower than that precision; in ``choices`` already.
    """

    device: Device
    workload: Workload
    weight_bits: tuple[int, ...]
    columns: Columns
    choices: Choices
    ports: Ports
    runs: list[list[Precision]]
    unpack: np.ndarray


class HardwareClass(ABC):
    """A class of hardware. Only its prices are its own duty: storage and schedule are those of a runtime that executes layer by
    layer and stores tensors as they are, unless it knows better."""

    @abstractmethod
    def price(self, question: Question, terms: Terms) -> Choices:
        """Fill ``terms``, and return the choices: those asked, or with what really passes the external memory."""

    def packed_bytes(self, device: Device, workload: Workload, space: Space, runs: list[list[Precision]]) -> np.ndarray:
        """``int64[L, nW, nA]``: bytes of the packed weights of every layer, without biases and scales."""
        packed = np.zeros((len(workload.layers), len(space.weight_bits), len(space.activation_bits)), dtype=np.int64)
        for row in workload.weighing:
            layer = workload.layers[row]
            channels = workload.tensors[layer.output].channels
            for w, weights in enumerate(space.weight_formats):
                packed[row, w] = [memory.stored_weight_bytes(device, layer, channels, weights, p) for p in runs[w]]
        return packed

    def stored_channels(self, workload: Workload) -> np.ndarray:
        """``int64[T]``: channels of every tensor as stored."""
        return np.array([tensor.channels for tensor in workload.tensors], dtype=np.int64)

    def live_elements(self, device: Device, workload: Workload) -> tuple[np.ndarray, np.ndarray]:
        """Elements of each width group alive at each step, ``int64[S, G]``, and the layer of each step, ``int64[S]``."""
        return memory.live_elements(device, workload)

    def processors(self, device: Device, workload: Workload, runs: list[list[Precision]]) -> list[list[list[str]]]:
        """``[L][nW][nA]``: the processor that the runtime hands a layer to, where that is not the device; else ""."""
        return [[[""] * len(row) for row in runs] for _ in workload.layers]

    def onchip_bytes(self, device: Device, workload: Workload, choices: Choices) -> float | None:
        """On-chip memory in use when every feature map has the first of the widths; None where that is not modelled."""
        return None


def of(device: Device) -> HardwareClass:
    """The class that prices a device."""
    return named(device.section.priced_by)


@cache
def named(module: str) -> HardwareClass:
    """The ``CLASS`` of a module of this package. Raises TypeError where there is none."""
    found = getattr(importlib.import_module(f"hwmodels.classes.{module}"), "CLASS", None)
    if not isinstance(found, HardwareClass):
        raise TypeError(f"hwmodels/classes/{module}: CLASS is no HardwareClass")
    return found
