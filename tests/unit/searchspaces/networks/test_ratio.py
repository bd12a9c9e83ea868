"""How far people's networks enlarge: whole numbers and fractions are found, everything else is refused with its reason."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch.nn.functional as F
from fractional_network import strided
from torch import Tensor, nn

from hwmodels.errors import UsageError
from searchspaces.networks.own_module import scale_of


class Resized(nn.Module):
    """Pictures interpolated as the arguments say, behind a convolution of some padding."""

    def __init__(self, padding: int = 1, **how: object) -> None:
        super().__init__()
        self.conv, self.how = nn.Conv2d(1, 1, 3, padding=padding), how

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.conv(x), mode="nearest", **self.how)  # type: ignore[arg-type]


class Picky(nn.Module):
    """Takes pictures of one size."""

    def forward(self, x: Tensor) -> Tensor:
        if tuple(x.shape[2:]) != (24, 32):
            raise ValueError("another size")
        return F.interpolate(x, scale_factor=1.5)


@pytest.mark.parametrize(
    ("module", "scale"),
    [
        (nn.PixelShuffle(1), 1),
        (Resized(scale_factor=3.0), 3),
        (strided(), Fraction(3, 2)),
        (strided(4, 3), Fraction(4, 3)),  # 24x32 become 32x43
        (strided(7, 5), Fraction(7, 5)),  # 24x32 become 34x45
        (Resized(scale_factor=1.25), Fraction(5, 4)),
        (Picky(), Fraction(3, 2)),
    ],
)
def test_found(module: nn.Module, scale: int | Fraction) -> None:
    assert scale_of(module, 1, (24, 32), "net")[0] == scale


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (nn.Conv2d(1, 1, 3, stride=2, padding=1), "smaller"),
        (nn.Conv2d(1, 2, 3, padding=1), "as many channels"),
        (nn.ConvTranspose2d(1, 1, (2, 3), stride=(2, 3)), "2 times the height, 3 times the width"),
        (Resized(padding=0, scale_factor=2.0), "1.833 times the height, 1.875 times the width"),
        (Resized(size=(36, 48)), "the same for pictures of every size"),
        (Resized(scale_factor=21 / 20), "denominator of at most 16"),
    ],
)
def test_refused(module: nn.Module, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        scale_of(module, 1, (24, 32), "net")
    assert said in f"{refused.value.message} {refused.value.hint}"
