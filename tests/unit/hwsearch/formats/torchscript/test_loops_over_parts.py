"""Programs that were traced through a loop over parts of the picture, at a size that is none of the usual ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hwmodels.errors import UsageError
from hwsearch.formats.reading import file_network


class Banded(nn.Module):
    """Each part of the picture by itself: bands of five rows, or single columns."""

    def __init__(self, columns: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head, self.tail, self.columns = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 12, 3, padding=1), columns
        self.mix, self.shuffle = nn.Conv2d(8, 8, 1), nn.PixelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.head(x)
        if self.columns:
            y = torch.stack([column * column.mean() for column in y.unbind(-1)], -1)
        else:
            y = torch.cat([self.mix(band) + band.amax((2, 3), keepdim=True) for band in torch.split(y, 5, 2)], 2)
        found: Tensor = self.shuffle(self.tail(y))
        return found


CASES = [(False, (30, 42), (26, 50), (31, 42)), (True, (40, 17), (24, 17), (40, 18))]
"""Columns or bands; the size that it is traced with, another with as many parts, and one with more."""


@pytest.mark.parametrize(("columns", "size", "other", "none"), CASES)
def test_a_size_with_as_many_parts_is_found(
    columns: bool, size: tuple[int, int], other: tuple[int, int], none: tuple[int, int], tmp_path: Path
) -> None:
    module = Banded(columns).eval()
    torch.jit.save(torch.jit.trace(module, torch.rand(1, 3, *size)), str(tmp_path / "banded.ts"))
    found = file_network.load(tmp_path / "banded.ts").module
    for sides in (size, other):
        x = torch.rand(1, 3, *sides)
        with torch.no_grad():
            assert torch.allclose(found(x), module(x), atol=1e-5)
    with pytest.raises(UsageError, match=f"not for {none[0]}x{none[1]}"):
        found(torch.rand(1, 3, *none))
