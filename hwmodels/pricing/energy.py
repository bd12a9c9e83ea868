"""Joules of every choice of every layer.

Energy is MACs times the energy of the native precision, plus bytes times the energy of the memory they pass, plus static power
times latency. A device whose file has no figure of energy or power gets none (NaN). What is missing beside such figures:
arithmetic is taken proportional to the product of the widths from a precision that the file names, or from 45 nm figures
(Horowitz, ISSCC 2014: 0.3 pJ for an 8-bit, 1.5 pJ for a half, 4.6 pJ for a single precision MAC), and bytes as 1 pJ on chip and
40 pJ outside. Devices whose file says ``relative`` have no measured anchor: compare their joules, do not quote them.
"""

from __future__ import annotations

import numpy as np

from hwmodels.device.device import Device
from hwmodels.numbers import FP16, Precision
from hwmodels.pricing.columns import Choices, Columns

ONCHIP_J_PER_BYTE = 1e-12
OFFCHIP_J_PER_BYTE = 40e-12
J_PER_INT8_MAC, J_PER_FP16_MAC, J_PER_FP32_MAC = 0.3e-12, 1.5e-12, 4.6e-12


def of_choices(device: Device, cols: Columns, choices: Choices, runs: list[list[Precision]], latency_s: np.ndarray) -> np.ndarray:
    """Joules of every choice, ``float64[L, nW, nA, nA]``; NaN where the device's file has no figure of energy."""
    if not device.has_energy:
        return np.full_like(latency_s, np.nan)
    per_mac = np.array([[_j_per_mac(device, p) for p in row] for row in runs])
    onchip, outside = _j_per_byte(device, "onchip"), _j_per_byte(device, "dram")
    weights = _j_per_byte(device, "flash" if "flash" in device.memory else "dram" if "dram" in device.memory else "onchip")
    size = choices.tensor_bytes
    read = cols.read[:, None] * size * onchip + choices.offchip_read * size * outside
    written = cols.written[:, None] * size * onchip + choices.offchip_written * size * outside
    energy = (cols.macs[:, None, None] * per_mac + choices.weight_bytes * weights)[:, :, :, None]
    energy = energy + read[:, None, :, None] + written[:, None, None, :]
    found: np.ndarray = energy + device.energy.static_w.value * latency_s
    return found


def _j_per_mac(device: Device, precision: Precision) -> float:
    listed = {Precision.parse(key): value.value for key, value in device.energy.j_per_mac.items()}
    if precision in listed:
        return listed[precision]
    alike = [p for p in listed if p.is_float == precision.is_float]
    if alike:
        nearest = min(alike, key=lambda p: abs(_product(p) - _product(precision)))
        return listed[nearest] * _product(precision) / _product(nearest)
    if precision.is_float:
        return J_PER_FP16_MAC if precision.weight_bits <= FP16.bits else J_PER_FP32_MAC
    return J_PER_INT8_MAC * _product(precision) / 64


def _product(precision: Precision) -> int:
    return precision.weight_bits * precision.activation_bits


def _j_per_byte(device: Device, name: str) -> float:
    found = device.memory[name].j_per_byte if name in device.memory else None
    if found is not None:
        return found.value
    # A measured energy per MAC is the whole board's: bytes are in it already.
    if not device.energy.relative:
        return 0.0
    return ONCHIP_J_PER_BYTE if name == "onchip" else OFFCHIP_J_PER_BYTE
