"""Real values of codes are those of torch, whatever the layout in memory."""

from __future__ import annotations

import pytest
import torch

from hwmodels.numbers import Int
from hwsearch.quant.engine.decode import real
from hwsearch.quant.network.formats import TensorFormat

SCALE = float(torch.tensor(0.0123))
FORMATS = [TensorFormat(Int(8), SCALE, 40), TensorFormat(Int(16), SCALE, 32768, 0, 65535)]


@pytest.mark.parametrize("fmt", FORMATS, ids=["8", "16"])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("count", "channels"), [(1, 1), (1, 3), (2, 5), (0, 3)])
def test_real_values_are_those_of_torch(count: int, channels: int, channels_last: bool, fmt: TensorFormat) -> None:
    generator = torch.Generator().manual_seed(0)
    size = (count, channels, 5, 7)
    x = torch.randint(*((-32768, 32768) if fmt.is_wide else (0, 256)), size, generator=generator, dtype=fmt.carrier)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    decoded = real(x, fmt)
    assert decoded.is_contiguous()
    assert torch.equal(decoded, (x.float() - (0 if fmt.is_wide else 40)) * SCALE)
