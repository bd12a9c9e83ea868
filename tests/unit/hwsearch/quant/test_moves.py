"""Channels become pixels as torch puts them, whatever the layout in memory and the type that carries them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from hwmodels.numbers import FP16, Int
from hwsearch.quant.engine.steps import Site, prepared
from hwsearch.quant.network.formats import TensorFormat
from searchspaces.ir.graph import Node
from searchspaces.ops.moves.move import PixelShuffle

FORMATS = [TensorFormat(Int(8), 1.0, 90), TensorFormat(Int(16), 1.0, 32768, 0, 65535), TensorFormat(FP16)]


@pytest.mark.parametrize("fmt", FORMATS, ids=["8", "16", "half"])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("count", "channels", "factor"), [(1, 1, 2), (2, 3, 3), (1, 5, 1), (0, 3, 2), (1, 2, 4)])
def test_pixel_shuffle(count: int, channels: int, factor: int, channels_last: bool, fmt: TensorFormat) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (count, channels * factor**2, 5, 7), generator=generator).to(fmt.carrier)
    given = x.contiguous(memory_format=torch.channels_last) if channels_last else x
    run = prepared(Site(Node("y", PixelShuffle(factor), ("x",)), [fmt], fmt, None, "f32"))
    assert torch.equal(run([given]), F.pixel_shuffle(x, factor))
