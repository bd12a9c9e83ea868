"""FSRCNN(d, s, m): Dong, Loy and Tang, "Accelerating the Super-Resolution Convolutional Neural Network", ECCV 2016.

Feature extraction 5x5, shrink 1x1, m mapping layers 3x3, expand 1x1, and a 9x9 transposed convolution that
does the upscaling. Published with PReLU; ReLU is the deployable form, because every runtime folds it into the clamp
of the quantizer.
"""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn

from searchspaces.networks.spec import NetworkSpec, State, indices, inputs, known, outputs


def _activation(kind: str, channels: int) -> nn.Module:
    return nn.PReLU(channels) if kind == "prelu" else nn.ReLU()


class FSRCNN(nn.Module):
    """FSRCNN with ``d`` feature channels, ``s`` shrunk channels and ``m`` mapping layers.

    Args:
        channels: 1 (luma) or 3 (RGB); input and output range 0..1.
        activation: "prelu" as published, "relu" as deployed.
    Shapes: ``[N, channels, H, W] -> [N, channels, scale*H, scale*W]``.
    """

    def __init__(
        self,
        scale: int = 2,
        channels: int = 1,
        d: int = 56,
        s: int = 12,
        m: int = 4,
        activation: Literal["relu", "prelu"] = "relu",
    ) -> None:
        super().__init__()
        self.scale, self.channels = scale, channels
        self.first_part = nn.Sequential(nn.Conv2d(channels, d, 5, padding=2), _activation(activation, d))
        middle: list[nn.Module] = [nn.Conv2d(d, s, 1), _activation(activation, s)]
        for _ in range(m):
            middle += [nn.Conv2d(s, s, 3, padding=1), _activation(activation, s)]
        middle += [nn.Conv2d(s, d, 1), _activation(activation, d)]
        self.mid_part = nn.Sequential(*middle)
        self.last_part = nn.ConvTranspose2d(d, channels, 9, stride=scale, padding=4, output_padding=scale - 1)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.last_part(self.mid_part(self.first_part(x)))
        return found


def _infer(state: State) -> dict[str, Any]:
    middle = [i for i in indices(state, "mid_part", "weight") if state[f"mid_part.{i}.weight"].ndim == 4]
    return known(
        d=outputs(state, "first_part.0"),
        s=outputs(state, "mid_part.0"),
        m=len(middle) - 2 if len(middle) > 2 else None,
        channels=inputs(state, "first_part.0"),
        activation="prelu" if "first_part.1.weight" in state else "relu",
    )


SPEC = NetworkSpec(
    "fsrcnn",
    "FSRCNN(d, s, m), 2016: shrink, map, expand, transposed convolution; 1 or 3 channels, ReLU or PReLU",
    FSRCNN,
    {"channels": 1, "d": 56, "s": 12, "m": 4, "activation": "relu"},
    _infer,
    channels=None,
    shipped={2: "fsrcnn_x2.safetensors"},
    choices={"channels": {1: "luma", 3: "RGB"}, "activation": {"relu": "", "prelu": ""}},
    place=1,
)
