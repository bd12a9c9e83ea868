"""Price of networks on a chip on which all layers lie side by side and pictures stream through them (Hailo).

What is priced is the time between two pictures of a stream. Each layer gets a share of the array, so that all keep step. Two
things set the pace side by side:

- the work of all layers over the array's rate: multiply-accumulates with channels filled up to the quantum, at the share of the
  rate that the compiler's division into whole blocks of the array leaves (``efficiency``), a share of that for convolutions of
  1x1 (``pointwise_fill``), which use each value that they read once, and for depthwise ones (``depthwise_fill``); and for each
  byte of a result the time to write it (``macs_per_byte``),
- the widest tensor over the speed of one connection: a layer sends and receives over one, however large its share is.

Were the array divisible at will, the slower of the two would be the time, and the faster one hidden. In whole blocks a layer that
its connection slows still holds its share, and the time is taken to be the root of the sum of their squares. The connection is
told in full, and of the layers' work what shows beside it (``shown_of``).

If the network does not fit, the time to load it in parts, called contexts, comes on top for every picture: all its weights
through the external link, and ``context_s`` for each part.

A network fits if its weights, and what every convolution, matrix product and pooling takes beside them (``layer_bytes``), are
within ``capacity_bytes``; if not, it has as many parts as it takes. A pair of products of two tensors (an attention) has at least
a part of its own, because it sees all of one tensor before the first value of its result.

Concatenations, slices and other movements are where the next layer reads from, and cost nothing but in its connection. The widest
tensor, what is hidden of the two, and the number of parts are those of a network whose layers all have the widths of the choice,
so that layers stay independent; the time to change parts is divided evenly among the layers that take room.
"""

from __future__ import annotations

import math

import numpy as np

from hwmodels.classes.registry import HardwareClass, Question
from hwmodels.device.sections.dataflow import Dataflow
from hwmodels.device.sections.npu import Npu
from hwmodels.pricing.columns import CONV, DEPTHWISE, LINEAR, POOL, Choices, Columns, Terms
from hwmodels.workload import Workload


def filled_macs(columns: Columns, pad: float, npu: Npu) -> np.ndarray:
    """Multiply-accumulates that the array would do in the time that each layer takes of it: ``float64[L]``."""
    assert npu.dataflow is not None
    cin, cout = columns.cin / columns.groups, columns.cout / columns.groups
    apart = _up(cin, pad) * _up(cout, pad) * columns.groups
    together = _up(columns.cin, pad) * _up(columns.cout, pad)  # narrow groups side by side, as one dense convolution
    dense = columns.macs * np.minimum(apart, together) / (cin * cout * columns.groups)
    dense = np.where(columns.kernel_h * columns.kernel_w == 1, dense / npu.dataflow.pointwise_fill.value, dense)
    alone = columns.macs * _up(columns.cout, pad) / columns.cout / npu.depthwise_fill.value
    op = columns.op
    return np.where((op == CONV) | (op == LINEAR), dense, np.where(op == DEPTHWISE, alone, 0.0)) / npu.efficiency.value


def asked_bytes(columns: Columns, weight_bytes: float, flow: Dataflow) -> float:
    """What a network with ``weight_bytes`` takes of the capacity."""
    return weight_bytes + flow.layer_bytes.value * np.count_nonzero(_takes_room(columns))


def contexts(workload: Workload, asked: float, capacity: float) -> int:
    """In how many parts a network runs that takes ``asked`` bytes of a ``capacity``."""
    products = sum(layer.of_tensors for layer in workload.layers)
    return max(1, math.ceil(asked / capacity), math.ceil(products / 2))


def shown_of(array_s: float, connection_s: float) -> float:
    """Which share of the array's time comes on top of that of the widest connection."""
    both = math.hypot(array_s, connection_s) + connection_s
    return array_s / both if both > 0 else 1.0


def _takes_room(columns: Columns) -> np.ndarray:
    return np.isin(columns.op, (CONV, DEPTHWISE, LINEAR, POOL))


def _up(value: np.ndarray, quantum: float) -> np.ndarray:
    return np.asarray(np.ceil(value / quantum) * quantum)


class _Dataflow(HardwareClass):
    def price(self, question: Question, terms: Terms) -> Choices:
        device, columns, choices = question.device, question.columns, question.choices
        npu = device.own(Npu)
        flow = npu.dataflow
        assert flow is not None
        computes = np.array([layer.moves("resize") or not layer.moves() for layer in question.workload.layers])
        written = np.where(computes, columns.written, 0)
        received = np.where(np.isin(columns.op, (CONV, DEPTHWISE)), columns.read, 0)
        widest = int(np.argmax(np.maximum(written, received)))
        byte_s = flow.macs_per_byte.value / max(rate.value for rate in device.rates.values())
        stored = choices.tensor_bytes
        terms.activation_s[:] = (written[:, None] * stored * byte_s)[:, None, None, :]
        sent = np.maximum(received[widest] * stored[:, None], written[widest] * stored[None, :])
        sent_s = sent / flow.connection_bytes_per_s.value
        takes_room = _takes_room(columns)
        for w, row in enumerate(question.runs):
            for a, precision in enumerate(row):
                pad = npu.channel_pad.get(str(precision))
                macs = filled_macs(columns, pad.value if pad is not None else 1.0, npu)
                terms.compute_s[:, w, a] = (macs * choices.s_per_mac[w, a])[:, None]
                shown = shown_of(terms.compute_s[:, w, a, a].sum() + terms.activation_s[:, w, a, a].sum(), sent_s[a, a])
                terms.compute_s[:, w, a] *= shown
                terms.activation_s[:, w, a] *= shown
                weights = choices.weight_bytes[:, w, a]
                asked = asked_bytes(columns, float(weights.sum()), flow)
                parts = contexts(question.workload, asked, flow.capacity_bytes.value)
                if parts > 1:
                    terms.weight_s[:, w, a] = (weights * question.ports.weight_s_per_byte)[:, None]
                    change_s = parts * flow.context_s.value / np.count_nonzero(takes_room)
                    terms.overhead_s[:, w, a] = np.where(takes_room, change_s, 0.0)[:, None]
        terms.activation_s[widest] += sent_s
        terms.overhead_s[:] += device.overhead.layer_s.value
        terms.latency_s[:] = terms.compute_s + terms.activation_s + terms.weight_s + terms.overhead_s
        return choices


CLASS = _Dataflow()
