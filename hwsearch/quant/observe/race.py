"""Two or more forms of one layer compared by the noise that they add to the output: a race over windows of pictures.

Most windows run first. The others are looked at only where the forms lie so close that they may turn the result (racing, as in
Maron and Moore 1994, "Hoeffding races", with a bound that was measured instead of one that is derived).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hwsearch.quant.observe.gains import Bench
from searchspaces.ir.graph import Graph, Node

FIRST = 0.75
"""Share of the windows that run first."""
CLOSE = 0.05
"""Noise this much above the lowest may still win: of 276 comparisons of IMDN's layers (3 to 8 bits, four windows) two were
decided otherwise than by all windows, between forms 3 and 6 % apart; a fifth of the work was saved."""


class Race:
    """The floating-point network on windows ``x [N, C, h, w]`` of pictures, or on clips of ``frames`` each."""

    def __init__(self, graph: Graph, x: Tensor, frames: int = 1) -> None:
        clips = x.split(frames)
        first = int(np.ceil(FIRST * len(clips)))
        parts = [clips[:first], clips[first:]]
        self._benches = [(Bench(graph, torch.cat(part), frames), len(part) / len(clips)) for part in parts if part]

    def quietest(self, forms: Sequence[Node]) -> int:
        """Index of the form of a layer, a node of the network with its name, that adds least noise."""
        (first, share), *later = self._benches
        noise = np.array([first.noise({}, {form.name: form}) for form in forms]) * share
        near = np.flatnonzero(noise <= noise.min() * (1 + CLOSE))
        if len(near) > 1:
            for bench, share in later:
                noise[near] += [bench.noise({}, {forms[int(i)].name: forms[int(i)]}) * share for i in near]
        return int(near[np.argmin(noise[near])])
