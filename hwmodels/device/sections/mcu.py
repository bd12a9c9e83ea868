"""What a device file says of a microcontroller in ``[mcu]``."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from hwmodels.device.sections.section import Section
from hwmodels.device.values import ElementKey, Flag, NonNegative, PackedKey, Positive, Quantity, Table


class CyclesPerMac(Table):
    """Cycles per multiply-accumulate of int8 kernels, by operation."""

    conv: Positive
    pointwise: Positive
    depthwise: Positive
    linear: Positive


class WideKernels(Table):
    """What kernels of activations above 8 bits cost, where they are others than those of int8: one operand at a time."""

    cycles_per_mac: CyclesPerMac
    cycles_per_output_requant: NonNegative
    cycles_per_depthwise_output: NonNegative | None = None
    cycles_per_depthwise_pixel: NonNegative = Quantity(value=0.0)
    cycles_per_element: dict[ElementKey, NonNegative] = Field(default_factory=dict)


class Mcu(Section):
    """Cycle tables of a core with its kernel library, at W8A8; ``rates`` give the other native precisions relative to it.

    ``lanes``: int8 operands that the inner loop takes at once. ``cycles_per_im2col_byte``: gathering the patch of each output
    pixel, per byte; 0 where the kernels read the feature map in place. ``cycles_per_im2col_row``: and per row of each patch,
    where each is copied by a call. Depthwise kernels: ``depthwise_lanes`` channels side by side (by default ``lanes``),
    ``cycles_per_depthwise_output`` for requantizing each of them (by default that of other kernels, and channels one by one),
    ``cycles_per_depthwise_pixel`` for what all channels of a pixel share, such as the part of the window within the picture, and
    ``gathers_depthwise`` where they gather patches as well. ``cycles_per_unpacked_weight``: by stored width, where a layer's
    weights are unpacked once before it runs (where the inner loop unpacks them, the factor is in ``unpack``).
    ``cycles_per_element``: of the output of what is no convolution; by default additions requantize each operand and the sum, and
    moves copy bytes. Some operations have several prices, so that sizes of every kind are priced right:

    - additions in which an operand is repeated or constant (``add_repeated``); sums with a slope, slopes of channels,
      differences, comparisons and quotients of two tensors, on real values (``real``); functions of 16-bit codes that are a bound
      or a slope (``bend``), come from the logistic one (``curve``), or are a value times that (``gated``);
    - a product of two tensors: each of its elements (``product``) and MACs (``product_mac``, by default those of a linear layer),
      and each element of its operands, which it sums up (``product_first``) and brings into rows (``product_second``);
    - means, deviations, largest values and means of windows: each result (``mean``, ``deviation``, ``window``, ``average``), and
      each value that goes into one (``..._value``); a deviation whose root is not taken (``variance``);
      ``softmax_row`` and ``normalize_row``: each row, beside its elements;
    - interpolations: each element (``interpolate``) and row that it is weighed from (``interpolate_row``); each value of an input
      row (``interpolate_value``) and column that it is weighed from (``interpolate_column``);
    - moves: each stretch of codes that lie together beside the codes in it, ``run`` where a loop finds it, ``table_run`` where a
      table tells where it goes, and ``shuffle_run`` between channels and pixels; codes of stretches that are no whole words
      (``unaligned``); codes of which none lie together (``scatter``), and each time that a row of them begins (``table_row``);
      each code that is repeated (``repeat_value``).

    ``wide``: kernels of their own for activations above 8 bits; what they do not state is that of the others.
    ``cycles_per_call``: of a layer that has cycles per element, by default ``cycles_per_layer``.

    ``weight_cache_bytes``: weights of one layer that stay in the cache between flash and core; beyond it they are read once for
    ``pixels_per_pass`` output pixels (CMSIS-NN and CMix-NN hold two in registers, closed libraries more; with four, one bandwidth
    explains both convolutions and fully connected layers of a Cortex-M4 with slow flash, PSoC 62). ``cycles_per_instruction``:
    what constants that come from counted instructions were multiplied by.
    """

    kind = "mcu"

    core: str
    kernels: str = ""
    clock_hz: Positive
    cycles_per_mac: CyclesPerMac
    cycles_per_output_requant: NonNegative
    cycles_per_im2col_byte: NonNegative
    cycles_per_im2col_row: NonNegative = Quantity(value=0.0)
    cycles_per_depthwise_output: NonNegative | None = None
    cycles_per_depthwise_pixel: NonNegative = Quantity(value=0.0)
    gathers_depthwise: Flag = False
    cycles_per_layer: NonNegative
    cycles_per_call: NonNegative | None = None
    cycles_per_unpacked_weight: dict[PackedKey, NonNegative] = Field(default_factory=dict)
    cycles_per_element: dict[ElementKey, NonNegative] = Field(default_factory=dict)
    lanes: Positive = Quantity(value=1.0)
    depthwise_lanes: Positive | None = None
    wide: WideKernels | None = None
    weight_cache_bytes: NonNegative = Quantity(value=0.0)
    pixels_per_pass: Positive = Quantity(value=4.0)
    cycles_per_instruction: Positive | None = None

    def fitted(self, executed: Iterable[str]) -> tuple[str, ...]:
        return "mcu.cycles_per_mac.pointwise", "mcu.cycles_per_mac.depthwise", "mcu.cycles_per_output_requant"
