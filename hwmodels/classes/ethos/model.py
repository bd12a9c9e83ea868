"""Price of layers on a documented array (Arm Ethos-U): arithmetic, bursts, encoded weights, and what stays on the chip.

Every operation (``operations``) is cut into blocks (``search``), timed (``cycles``), and weighed against the
memories (``terms``); the network is scheduled (``feature_maps``) at each width of its feature maps. A layer takes as long
as the slowest of the array and each memory. Sub-8-bit weights shrink the encoded stream and save no cycles. What the compiler
leaves to the processor beside the array (``unheld``) takes that processor's time, where the device file states it
(``npu.fallback``), and its bytes, which pass the memory that both share; behind it the array is started anew, unless nothing is
left to do.

The scheduler looks at sizes only, so more on-chip memory may lead it to a slower network. A device with more memory than the
system that its file describes (``reference_onchip_bytes``) therefore takes, layer by layer, the faster of the schedules for both.

Agreement with the estimates of Arm's compiler, which are not silicon, is measured in tests/reference/hwmodels/test_vela.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hwmodels.classes.ethos import staged, transposes, unheld
from hwmodels.classes.ethos.array import described
from hwmodels.classes.ethos.encoded_weights import encoded_bytes
from hwmodels.classes.ethos.layers import Pricing
from hwmodels.classes.ethos.operations import apart
from hwmodels.classes.ethos.storage import beside, bricks, stored_channels
from hwmodels.classes.ethos.terms import (
    ACTIVATIONS,
    COMPUTE,
    TOTAL,
    WEIGHTS,
)
from hwmodels.classes.registry import HardwareClass, Question
from hwmodels.device.device import Device
from hwmodels.device.sections.fallback import Fallback
from hwmodels.device.sections.npu import Npu
from hwmodels.numbers import Precision
from hwmodels.pricing import handed_over
from hwmodels.pricing.columns import Choices, Terms
from hwmodels.pricing.rewriting import Rewritten, followed, rewrite
from hwmodels.pricing.table import Space
from hwmodels.workload import Piece, Workload


def executed(device: Device, workload: Workload, element_bytes: int) -> Rewritten:
    """What the array executes for a network whose tensors have one width: what its file holds, transposes in their
    steps, and a copy of what enters where that is made."""
    written, separate = workload.written, described(device)[0].memory.input_bytes is not None
    held = rewrite(workload, (lambda whole, row: written(whole, row, element_bytes)) if written else (lambda whole, row: ()))

    def pieces(whole: Workload, row: int) -> Sequence[Piece]:
        left = unheld.pieces(whole, row, element_bytes, older=not separate)
        return left or transposes.pieces(whole, row, any_order=separate) or apart(whole, row, element_bytes)

    taken = followed(held, pieces)
    return followed(taken, lambda whole, row: staged.pieces(device, whole, row, element_bytes))


def _shared(choices: Choices, found: Rewritten) -> Choices:
    """The choices of what is executed: a layer's weights in equal parts among the pieces that have any."""
    owner = np.array(found.owner, dtype=np.int64)
    weighs = np.array([layer.weight_count > 0 for layer in found.workload.layers])
    count = np.maximum(np.bincount(owner, weights=weighs, minlength=len(choices.weight_bytes)), 1)
    return choices._replace(weight_bytes=choices.weight_bytes[owner] * (weighs / count[owner])[:, None, None])


def elsewhere_s(device: Device, form: Rewritten, element_bytes: int) -> np.ndarray:
    """``float64[L, 2]`` for the layers of the network: seconds of the processor beside the array, and to start the array behind
    what it does."""
    found, npu = np.zeros((max(form.owner, default=-1) + 1, 2)), device.own(Npu)
    layers = [(layer, row) for layer, row in zip(form.workload.layers, form.owner, strict=True) if not layer.moves("view")]
    for number, (layer, row) in enumerate(layers):
        if not beside(layer):
            continue
        if number + 1 < len(layers) and not beside(layers[number + 1][0]):
            found[row, 1] += device.overhead.inference_s.value
        stated = npu.fallback.operators.get(handed_over.kind(layer)) if npu.fallback is not None else None
        if npu.fallback is not None and stated is not None and f"int{8 * element_bytes}" in stated.tensors:
            found[row, 0] += handed_over.seconds(npu.fallback, stated, form.workload, layer)
    return found


def price(device: Device, workload: Workload, choices: Choices, terms: Terms) -> Choices:
    """Fill ``terms`` for every layer and choice, and tell in the returned choices which elements pass the external memory."""
    sizes = choices.tensor_bytes
    forms = {size: executed(device, workload, int(size)) for size in dict.fromkeys(sizes.tolist())}
    pricings = {size: Pricing(device, form.workload, _shared(choices, form), form.owner) for size, form in forms.items()}
    away = {size: elsewhere_s(device, form, size) for size, form in forms.items()}
    terms.overhead_s[:] = device.overhead.layer_s.value
    offchip_read, offchip_written = np.zeros_like(choices.offchip_read), np.zeros_like(choices.offchip_written)
    for a, b in np.ndindex(len(sizes), len(sizes)):
        # Where widths meet, the operator is one of the wider.
        size = max(sizes[a], sizes[b])
        pricing, form = pricings[size], forms[size]
        plans = [(pricing.schedule(a, capacity), pricing.schedule(b, capacity)) for capacity in pricing.capacities]
        cycles = np.zeros((len(workload.layers), len(choices.weight_bytes[0]), 4))
        for piece, row in enumerate(form.owner):
            cycles[row] += np.min([pricing.layer(piece, a, b, plan) for plan in plans], axis=0)
            if a == b and pricing.homes.spills:
                layer, inside = form.workload.layers[piece], plans[0][0].inside
                read = sum(form.workload.tensors[i].elements for i in layer.inputs if not inside[i])
                offchip_read[row, a] += read
                offchip_written[row, a] += 0.0 if inside[layer.output] else form.workload.tensors[layer.output].elements
        for term, column in (("compute_s", COMPUTE), ("weight_s", WEIGHTS), ("activation_s", ACTIVATIONS), ("latency_s", TOTAL)):
            getattr(terms, term)[:, :, a, b] = cycles[:, :, column] / pricing.clock
        for array, seconds in ((terms.compute_s, 0), (terms.latency_s, 0), (terms.overhead_s, 1)):
            array[:, :, a, b] += away[size][:, seconds, None]
    terms.latency_s[:] += terms.overhead_s
    # Wider feature maps may be cut into blocks that fetch less; the terms do not credit a wider format for that.
    for axis in (2, 3):
        np.maximum.accumulate(terms.activation_s, axis=axis, out=terms.activation_s)
        np.maximum.accumulate(terms.weight_s, axis=axis, out=terms.weight_s)
    return choices._replace(offchip_read=offchip_read, offchip_written=offchip_written)


class _Ethos(HardwareClass):
    def price(self, question: Question, terms: Terms) -> Choices:
        return price(question.device, question.workload, question.choices, terms)

    def packed_bytes(self, device: Device, workload: Workload, space: Space, runs: list[list[Precision]]) -> np.ndarray:
        found = np.zeros((len(workload.layers), len(space.weight_bits), len(runs[0])), dtype=np.int64)
        for a, precision in enumerate(runs[0]):
            form = executed(device, workload, precision.activation_bits // 8)
            each = encoded_bytes(device, form.workload, space.weight_bits, precision.activation_bits // 8)
            np.add.at(found[:, :, a], np.array(form.owner, dtype=np.int64), each)
        return found

    def processors(self, device: Device, workload: Workload, runs: list[list[Precision]]) -> list[list[list[str]]]:
        fallback = device.own(Npu).fallback
        name = fallback.processor if fallback is not None else Fallback.model_fields["processor"].default
        found = [[[""] * len(row) for row in runs] for _ in workload.layers]
        for a, precision in enumerate(runs[0]):
            form = executed(device, workload, precision.activation_bits // 8)
            for layer, row in zip(form.workload.layers, form.owner, strict=True):
                for column in found[row] if beside(layer) else ():
                    column[a] = name
        return found

    def stored_channels(self, workload: Workload) -> np.ndarray:
        return stored_channels(workload, bricks(workload, any_order=False))

    def live_elements(self, device: Device, workload: Workload) -> tuple[np.ndarray, np.ndarray]:
        return workload.live_elements(self.stored_channels(workload)), np.arange(len(workload.layers))

    def onchip_bytes(self, device: Device, workload: Workload, choices: Choices) -> float | None:
        form = executed(device, workload, int(choices.tensor_bytes[0]))
        pricing = Pricing(device, form.workload, _shared(choices, form), form.owner)
        return pricing.schedule(0, pricing.homes.capacity).onchip_bytes


CLASS = _Ethos()
