"""Transposed convolutions, which the canonical graph does not have, as convolutions at low resolution and pixel shuffles."""

from __future__ import annotations

from torch import Tensor


def transposed_to_shuffled(
    weight: Tensor, bias: Tensor | None, stride: int, padding: tuple[int, int], output_padding: tuple[int, int], dilation: int
) -> tuple[Tensor, Tensor | None, tuple[int, int, int, int], tuple[int, int, int, int]]:
    """A transposed convolution as a convolution at low resolution, to be followed by ``pixel_shuffle(stride)``.

    Output row ``Y = s q + r`` of a transposed convolution reads input row ``y = q + t`` through kernel row ``k`` where
    ``k dilation = r + p - s t``: for each phase r an ordinary convolution over q with taps t. All phases
    share one window of taps; a phase that has no kernel row for a tap has a zero there.

    Args:
        weight: ``[I, O, kh, kw]``, groups 1.
    Returns:
        weight ``[O*s*s, I, th, tw]`` and bias ``[O*s*s]`` in pixel-shuffle order; padding (left, right, top, bottom); and the
        rows and columns to cut off after the shuffle, as negative padding, zero where the stride divides the output side.
    """
    low, taps, pads, cuts = [], [], [], []
    for kernel, pad, extra in zip(weight.shape[2:], padding, output_padding, strict=True):
        reach = (kernel - 1) * dilation
        surplus = reach + 1 - 2 * pad + extra - stride  # output side minus stride * input side
        growth = -(-surplus // stride)
        cuts.append(surplus - growth * stride)
        first = min(0, -((reach - pad) // stride))
        last = max((stride - 1 + pad) // stride, -growth)
        low.append(first)
        taps.append(last - first + 1)
        pads.append((-first, growth + last))
    inputs, outputs = weight.shape[:2]
    phases = weight.new_zeros(outputs, stride, stride, inputs, *taps)
    for kernel_y in range(weight.shape[2]):
        phase_y, tap_y = _phase_and_tap(kernel_y * dilation, padding[0], stride)
        for kernel_x in range(weight.shape[3]):
            phase_x, tap_x = _phase_and_tap(kernel_x * dilation, padding[1], stride)
            tap = (tap_y - low[0], tap_x - low[1])
            if 0 <= tap[0] < taps[0] and 0 <= tap[1] < taps[1]:
                phases[:, phase_y, phase_x, :, tap[0], tap[1]] = weight[:, :, kernel_y, kernel_x].T
    spread = None if bias is None else bias.repeat_interleave(stride * stride)
    return phases.reshape(outputs * stride * stride, inputs, *taps), spread, (*pads[1], *pads[0]), (0, cuts[1], 0, cuts[0])


def _phase_and_tap(offset: int, padding: int, stride: int) -> tuple[int, int]:
    """The phase r in 0..s-1 and tap t with ``offset = r + padding - stride t``."""
    phase = (offset - padding) % stride
    return phase, (phase + padding - offset) // stride
