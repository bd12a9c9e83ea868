"""Networks that are traced in several threads at once, as by two runs in one program."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn

from searchspaces.tracing.trace import trace


def test_threads_trace_one_after_the_other() -> None:
    def traced(width: int) -> int:
        torch.manual_seed(width)
        module = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 4, 1), nn.PixelShuffle(2))
        return trace(module, 1, "net", 2).convs[0].weight_shapes["weight"][0]

    with ThreadPoolExecutor(4) as pool:
        assert [*pool.map(traced, (2, 3, 4, 5))] == [2, 3, 4, 5]
