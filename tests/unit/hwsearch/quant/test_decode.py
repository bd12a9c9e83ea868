"""Real values of codes are those of torch, whatever the layout in memory."""

from __future__ import annotations

import pytest
import torch

from hwsearch.quant.engine.decode import real


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("count", "channels"), [(1, 1), (1, 3), (2, 5), (0, 3)])
def test_real_values_are_those_of_torch(count: int, channels: int, channels_last: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(-32768, 32768, (count, channels, 5, 7), generator=generator, dtype=torch.int16)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    scale = float(torch.tensor(0.0123))
    decoded = real(x, scale)
    assert decoded.is_contiguous()
    assert torch.equal(decoded, x.float() * scale)
