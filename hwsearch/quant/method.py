"""What a quantization method is: the small protocol between a method file and everything that asks for formats and integers.

A method is one file in a folder of ``quant/methods`` with a ``MethodInfo`` called ``INFO`` and a function ``observe``, which
looks at the network and the calibration pictures and returns a ``Method``. From then on the method answers three questions, one
width at a time: how the network is rewritten for the widths of a plan, which format a tensor gets, which integers a layer gets.
Answers for one width must not depend on the other widths of a plan but through ``rewrite``; the caller keeps them (see
``cache``). What looks at a whole plan at once happens in ``finish``, for the plans that are about to be used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

    from hwmodels.numbers import Int
    from hwsearch.quant.learn.kept import Kept
    from hwsearch.quant.network.formats import TensorFormat
    from hwsearch.quant.network.graph import QuantizedGraph
    from hwsearch.quant.network.rewriting import Numbers, Scales
    from hwsearch.quant.observations import Observations
    from hwsearch.quant.weights.rounder import RoundedLayer
    from searchspaces.ir.graph import Graph

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of the work that is done, 0..1."""


@dataclass(frozen=True)
class MethodInfo:
    """A method as it is listed.

    ``title``: its usual name; ``source``: paper or repository; ``reconstructed``: what no source tells and is ours, and what
    differs from the source (empty: nothing); ``price``: what it costs at run time beside an ordinary integer network of the same
    widths, in words (what it costs on a device: ``network.run_time``); ``exported``: whether file formats carry what it makes;
    where they do not, it is compared with others, and no plan is searched with it; ``family``: methods of one family quantize the
    same network and rescale its tensors alike, at one price, so that each layer and tensor of a plan can be by another of them
    (see ``mixture``; the first named finishes the plan); empty: the method is not mixed; ``trains``: whether plans that are
    chosen are trained, minutes each. Every method sees low-resolution pictures alone; what it trains towards is the network in
    floating point.
    """

    title: str
    summary: str
    source: str
    reconstructed: str = ""
    price: str = "none"
    exported: bool = True
    family: str = ""
    trains: bool = False

    @property
    def needs(self) -> str:
        """What it needs beside the network, in words."""
        return "pictures, training" if self.trains else "pictures"


@dataclass(frozen=True, eq=False)
class Draft:
    """A whole plan in the numbers that a method gave its parts.

    ``quantized``: those numbers; ``network``: the same before rounding, in the scales that the plan has; ``pictures``: the
    calibration pictures ``[1, C, h, w]`` in 0..1; ``effort``: what a training may cost, in multiply-accumulates
    over those that it usually may; ``kept``: where a training leaves what it has come to, and goes on from; None: nowhere.
    ``teacher``: what the network is to be like where that is another one, which has the blocks that this is without.
    """

    quantized: QuantizedGraph
    network: Graph
    pictures: tuple[Tensor, ...]
    effort: float = 1.0
    kept: Kept | None = None
    teacher: Graph | None = None

    @property
    def target(self) -> Graph:
        """The floating-point network that a training takes for its target."""
        return self.teacher or self.network

    def windows(self, side: int) -> Tensor:
        """The pictures, cut in squares ``[N, C, h, w]`` of ``side`` pixels, or less where a picture is smaller; in sizes that the
        network takes."""
        import torch

        from hwsearch.quant.observe.crops import squares
        from hwsearch.quant.observe.sizes import Sizes

        h, w = (min(side, *(picture.shape[axis] for picture in self.pictures)) for axis in (2, 3))
        h, w = Sizes.of(self.network).within(h, w)
        return torch.cat([squares(picture, h, w) for picture in self.pictures])


@runtime_checkable
class Method(Protocol):
    """One way to find number formats and integers, ready to answer for one network.

    ``graph`` is the network that is quantized: what ``observe`` made of the one it was given, with the same function.
    """

    @property
    def graph(self) -> Graph:
        """The network; formats and integers refer to it."""
        ...

    def rewrite(self, numbers: Numbers) -> Mapping[str, Scales]:
        """How tensors of ``graph`` are rescaled under a plan; those not named stay as they are."""
        ...

    def tensor(self, group: str, number: Int, scales: Scales) -> TensorFormat:
        """Integer format of a quantizer group (see ``Graph.quantizer_groups``) whose channels are divided by ``scales``. Not
        asked for the groups of the pictures at both ends, whose grid is given, nor for floating point."""
        ...

    def layer(self, name: str, number: Int, scales: Scales) -> RoundedLayer:
        """Integers of a convolution whose input is divided by ``scales``; the result is at the scale of ``graph``. Of layers that
        use the same weights (``Graph.weight_groups``) the first is asked for; the others take its integers and scales, with their
        own bias. What they read and write must not be rescaled."""
        ...

    def finish(self, draft: Draft, seed: int, progress: Progress | None = None) -> QuantizedGraph:
        """The final numbers of a plan that is about to be used; the widths stay, and weights that several layers use stay one
        (``weights.sums.tied``)."""
        ...


class MethodModule(Protocol):
    """A file in a folder of ``quant/methods``."""

    INFO: MethodInfo

    def observe(self, seen: Observations) -> Method:
        """Look at a network and its calibration pictures."""
        ...
