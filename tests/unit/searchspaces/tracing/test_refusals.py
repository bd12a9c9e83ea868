"""What cannot be traced is refused in words of the module: its line, its part, and the true reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hwmodels.errors import FileError
from searchspaces.ir.graph import execute
from searchspaces.tracing import composition
from searchspaces.tracing.trace import trace


class Part(nn.Module):
    """A part that decides by what it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        if x.mean() > 0.5:
            return self.one(x)
        return self.other(x)


class Whole(nn.Module):
    """A part behind a layer."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), part)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Chosen(Part):
    """Which of two layers runs stands in the picture."""

    def forward(self, x: Tensor) -> Tensor:
        layers = [self.one, self.other]
        return layers[int(x.mean((0, 2, 3)).argmax()) % 2](x)


class Scaled(Part):
    """A number of a buffer, or of the picture, as Python's."""

    factor: Tensor

    def __init__(self, of_picture: bool) -> None:
        super().__init__()
        self.of_picture = of_picture
        self.register_buffer("factor", torch.tensor(0.25))

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x) * (x.mean() if self.of_picture else self.factor).item()


class Counted(Part):
    """A tensor of as many values as are large."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.one(x).flatten()
        places = torch.nonzero(y > 0.5).squeeze(1)
        return torch.zeros_like(y).index_put((places,), torch.ones(())).view_as(x)


class Windows(Part):
    """Windows of four pixels, whatever the picture has."""

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x).view(1, 3, x.shape[2] // 4, 4, x.shape[3] // 4, 4).reshape(x.shape)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Part(), r"`if x.mean\(\) > 0.5:` \(test_refusals.py:\d+, in body.1\) decides by values of the picture"),
        (Chosen(), r"argmax\(\)\) % 2\]\(x\)` \(test_refusals.py:\d+, in body.1\) decides by values of the picture"),
        (Scaled(True), r"aten.item.default at body.1 \(test_refusals.py:\d+\): a number is taken out of a tensor"),
        (Counted(), r"aten.nonzero.default at body.1 \(test_refusals.py:\d+\): how many values it gives depends"),
    ],
)
def test_values_of_the_picture_decide(module: nn.Module, message: str) -> None:
    with pytest.raises(FileError, match=message):
        trace(Whole(module), 3, "deciding")


def test_numbers_of_buffers_are_numbers() -> None:
    module, x = Scaled(False), torch.rand(1, 3, 9, 11)
    assert torch.allclose(execute(trace(module, 3, "scaled"), x), module(x), atol=1e-6)


def test_a_size_that_the_network_refuses_is_not_a_fault_of_tracing() -> None:
    with pytest.raises(FileError, match=r"does not run on a picture of 12x13 pixels \(height x width\): RuntimeError: shape"):
        trace(Windows(), 3, "windows", size=(12, 13))


class Rows(nn.Module):
    """What a function makes of a picture, and of its rows."""

    def __init__(self, function: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.gru, self.lstm = nn.GRU(3, 3, batch_first=True), nn.LSTM(3, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)

    def by(self, layer: nn.Module, x: Tensor) -> Tensor:
        return layer(x.flatten(2).mT)[0].mT.reshape(x.shape)


REASONS: dict[str, tuple[Callable[[Any, Tensor], Tensor], str]] = {
    "cumprod": (lambda s, x: x.cumprod(3), "a running total"),
    "gather": (
        lambda s, x: x.gather(3, torch.arange(x.shape[2]).view(-1, 1).expand(x.shape) % 5),
        "every value has a place of its own",
    ),
    "gru": (lambda s, x: s.by(s.gru, x), "a recurrent layer"),
    "lstm": (lambda s, x: s.by(s.lstm, x), "a recurrent layer"),
    "angle": (
        lambda s, x: torch.view_as_complex(x.unflatten(3, (-1, 2)).contiguous()).angle().repeat_interleave(2, 3),
        "complex numbers",
    ),
    "fft_rfft2": (lambda s, x: torch.fft.irfft2(torch.fft.rfft2(x), s=x.shape[-2:]), "a Fourier transform"),
    "randn_like": (lambda s, x: x + torch.randn_like(x), "random numbers"),
    "topk": (lambda s, x: x * x.topk(2, dim=1)[0].mean(1, keepdim=True), "which places it takes depends on the values"),
    "_add_batch_dim": (lambda s, x: torch.vmap(lambda one: 2 * one)(x), "`torch.vmap`"),
    "sort": (lambda s, x: x.sort(dim=1)[0], "which places it takes depends on the values"),
}


@pytest.mark.parametrize("name", REASONS)
def test_operators_that_nothing_here_computes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not taken apart first: of a recurrent layer that would be as many steps as there are pixels."""
    taken_apart: list[str] = []
    composed = composition.composed_of
    monkeypatch.setattr(composition, "composed_of", lambda call: taken_apart.append(str(call.target)) or composed(call))
    function, reason = REASONS[name]
    graph = trace(Rows(function), 3, "rows")
    assert any(f"aten.{name}" in line and "(test_refusals.py:" in line and reason in line for line in graph.uncounted)
    assert not any(name in one for one in taken_apart)
