"""How much of a picture is edges: what AdaBM (CVPR 2024) chooses the widths of a picture by."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from searchspaces.tasks.luma import output_luma


def density(x: Tensor) -> float:
    """1000 times the mean magnitude of Sobel's gradient of the luma, in 0..1, of a picture ``[1, C, h, w]``, at least 3x3."""
    across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    gradient = F.conv2d(output_luma(x) / 255, torch.stack([across, across.T])[:, None])
    return 1000 * float(gradient.square().sum(dim=1).sqrt().mean())
