"""IMDN: Hui, Gao, Yang and Wang, "Lightweight Image Super-Resolution with Information Multi-distillation Network", ACM MM 2019.

Each block keeps a quarter of the channels at every step and passes on the rest; what was kept is concatenated and
weighted per channel by its contrast (standard deviation plus mean over the picture).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from searchspaces.networks.attentive.attention import ContrastAttention, conv3
from searchspaces.networks.attentive.distilling import SLOPE, Distilling
from searchspaces.networks.spec import NetworkSpec, State, known, outputs


class DistillationBlock(nn.Module):
    """``[N, nf, H, W] -> [N, nf, H, W]``: three splits of nf/4 and the rest, fusion, attention, skip."""

    def __init__(self, nf: int) -> None:
        super().__init__()
        self.kept, self.passed = nf // 4, nf - nf // 4
        self.c1 = conv3(nf, nf)
        self.c2 = conv3(self.passed, nf)
        self.c3 = conv3(self.passed, nf)
        self.c4 = conv3(self.passed, self.kept)
        self.cca = ContrastAttention(4 * self.kept)
        self.c5 = nn.Conv2d(4 * self.kept, nf, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept, rest = [], x
        for conv in (self.c1, self.c2, self.c3):
            part, rest = torch.split(F.leaky_relu(conv(rest), SLOPE), [self.kept, self.passed], dim=1)
            kept.append(part)
        kept.append(self.c4(rest))
        found: Tensor = self.c5(self.cca(torch.cat(kept, dim=1))) + x
        return found


class IMDN(Distilling):
    """IMDN with ``n_blocks`` distillation blocks of ``nf`` channels (a multiple of 4), RGB; range 0..1."""

    def __init__(self, scale: int = 2, nf: int = 64, n_blocks: int = 6) -> None:
        super().__init__(scale, nf, n_blocks, DistillationBlock, "IMDB")


def _infer(state: State) -> dict[str, Any]:
    blocks = {key.split(".")[0] for key in state if key.startswith("IMDB")}
    return known(nf=outputs(state, "fea_conv"), n_blocks=len(blocks))


SPEC = NetworkSpec(
    "imdn",
    "IMDN, 2019: channel splits, concatenation, attention by mean and standard deviation",
    IMDN,
    {"nf": 64, "n_blocks": 6},
    _infer,
    place=7,
)
