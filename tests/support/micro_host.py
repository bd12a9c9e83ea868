"""TensorFlow Lite Micro's interpreter as its package runs on this host, as a device: pointers of 8 bytes, structures that count
allocations, reference kernels. Everything else is the shipped device."""

from __future__ import annotations

from hwmodels.device import catalogue
from hwmodels.device.device import Device
from hwmodels.device.tables import Arena
from hwmodels.device.values import Quantity

HOST_BYTES = 488
"""What the interpreter of the package takes for any network beside its input and output: counted once, in the smallest one."""


def host(name: str = "stm32h743-tflm") -> Device:
    facts = Arena(
        planner="tflm",
        kernels="reference",
        fixed_bytes=Quantity(value=HOST_BYTES),
        pointer_bytes=8,
        composes_slopes=True,
    )
    return catalogue.load(name).model_copy(update={"arena": facts})
