"""Weights of one convolution at one width: integers, scales, and the bias that makes up for the mean of their error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from hwsearch.quant.moments import Moments
from hwsearch.quant.observe import Bench
from hwsearch.quant.rounding import cancel_across_channels, nearest, round_rows
from searchspaces.graph import Node


@dataclass(frozen=True, eq=False)
class RoundedLayer:
    """``integers int8[O, I/G, kh, kw]`` (int16 above 8 bits), ``scale float32[O]``, ``bias float64[O]`` in real values,
    corrected.

    ``method`` names what won: "nearest", "compensated" or "joint".
    """

    bits: int
    integers: np.ndarray
    scale: np.ndarray
    bias: np.ndarray
    method: str

    @property
    def dequantized(self) -> np.ndarray:
        """The weights that the integers stand for, ``float32[O, I/G, kh, kw]``."""
        return self.integers.astype(np.float32) * self.scale.reshape(-1, 1, 1, 1)


def bias_of(node: Node) -> np.ndarray:
    """The bias ``float64[O]`` of a convolution, zero if it has none."""
    bias = node.weights.get("bias")
    return np.zeros(node.weights["weight"].shape[0]) if bias is None else bias.double().numpy()


def corrected_bias(node: Node, weight: np.ndarray, moments: Moments) -> np.ndarray:
    """Bias ``float64[O]`` for changed weights ``[O, I/G, kh, kw]``: the mean of the layer's result stays (Nagel et al. 2019)."""
    groups = node.attrs["groups"]
    error = (node.weights["weight"].numpy() - weight).reshape(groups, -1, moments.mean.shape[1]).astype(np.float64)
    return bias_of(node) + np.einsum("gok,gk->go", error, moments.mean.astype(np.float64)).reshape(-1)


def multiplied(node: Node, columns: np.ndarray | None) -> Node:
    """The convolution with weight k of each group multiplied by ``columns float64[G, K]``: what reads an input divided by
    them."""
    if columns is None:
        return node
    weight = node.weights["weight"]
    rows = weight.reshape(node.attrs["groups"], -1, columns.shape[1]) * torch.from_numpy(columns).unsqueeze(1)
    return node.with_weights(weight=rows.reshape(weight.shape).float())


def exchanged(node: Node, layer: RoundedLayer, columns: np.ndarray | None = None) -> Node:
    """The convolution with rounded weights and corrected bias, in floating point. ``columns`` as in ``round_layer``: undone
    here, so that the result reads the input as ``node`` does."""
    rounded = node.with_weights(weight=torch.from_numpy(layer.dequantized), bias=torch.from_numpy(layer.bias).float())
    return rounded if columns is None else multiplied(rounded, 1 / columns)


def round_layer(
    node: Node,
    bits: int,
    moments: Moments,
    gain: np.ndarray,
    bench: Bench,
    columns: np.ndarray | None = None,
    *,
    plain: bool = False,
) -> RoundedLayer:
    """Round one convolution to ``bits`` >= 2.

    Two ways compete: the best of ``round_rows`` per channel, nearest rounding over the whole range being one of them, and that
    with errors cancelling across channels. The one that adds less noise to the network's output wins.

    Args:
        moments: of the layer's input.
        gain: ``float64[O, O]``, how noise on the result reaches the output (``observe.Gains.convs``).
        bench: measures.
        columns: ``float64[G, K]``; the layer is rounded for an input whose column k is divided by them.
        plain: nearest rounding over the whole range, without a competition.
    """
    original = node
    if columns is not None:
        node, moments = multiplied(node, columns), moments.scaled(columns)
    weight = node.weights["weight"]
    groups = node.attrs["groups"]
    rows = weight.numpy().reshape(groups, -1, moments.mean.shape[1])
    if bits > 8 or plain:
        limit, flat = 2 ** (bits - 1) - 1, rows.reshape(len(weight), -1)
        top = _top(flat, limit)
        return _layer(node, bits, nearest(flat, top, limit), top, moments, "nearest")
    compensated, scales, joint = [], [], []
    per_group = rows.shape[1]
    for g in range(groups):
        q, s = round_rows(rows[g], moments.fit[g], moments.held[g], bits)
        here = slice(g * per_group, (g + 1) * per_group)
        compensated.append(q)
        scales.append(s)
        joint.append(cancel_across_channels(rows[g], q, s, moments.fit[g], gain[here, here], bits))
    scale = np.concatenate(scales)
    options = [
        _layer(node, bits, np.concatenate(joint), scale, moments, "joint"),
        _layer(node, bits, np.concatenate(compensated), scale, moments, "compensated"),
    ]
    noise = [bench.noise({}, {node.name: exchanged(original, option, columns)}) for option in options]
    return options[int(np.argmin(noise))]


def _top(rows: np.ndarray, limit: int) -> np.ndarray:
    """Scales that reach the largest weight of each channel; a channel of zeros gets the layer's."""
    largest = np.abs(rows).max(axis=1)
    whole = max(float(largest.max()), 1e-12)
    return (np.where(largest > whole * 1e-6, largest, whole) / limit).astype(np.float32)


def _layer(node: Node, bits: int, q: np.ndarray, scale: np.ndarray, moments: Moments, method: str) -> RoundedLayer:
    shape = tuple(node.weights["weight"].shape)
    integers = q.reshape(shape).astype(np.int8 if bits <= 8 else np.int16)
    weight = integers.astype(np.float32) * scale.reshape(-1, 1, 1, 1)
    return RoundedLayer(bits, integers, scale.astype(np.float32), corrected_bias(node, weight, moments), method)
