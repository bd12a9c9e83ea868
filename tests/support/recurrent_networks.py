"""Small networks with state between frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from searchspaces.ops.state import State
from searchspaces.tracing.recurrent import Recurrent


class Recalling(Recurrent):
    """Luma, enlarged ``scale`` times: what is seen is added to what is recalled, and kept."""

    states = (State(6),)

    def __init__(self, scale: int = 2) -> None:
        super().__init__()
        self.look, self.recall = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1)
        self.keep, self.tail = nn.Conv2d(8, 6, 3, padding=1), nn.Conv2d(8, scale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)

    def step(self, frame: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        y = torch.relu(self.look(frame) + self.recall(states[0]))
        return self.shuffle(self.tail(y)), torch.relu(self.keep(y))


class Averaging(Recurrent):
    """Half of the frame and half of what was seen before, without a learned number: ``h = x / 2 + h / 2``, shown once more."""

    states = (State(1),)

    def __init__(self) -> None:
        super().__init__()
        self.look, self.recall, self.show = (nn.Conv2d(1, 1, 1, bias=False) for _ in range(3))
        for layer, value in ((self.look, 0.5), (self.recall, 0.5), (self.show, 1.0)):
            nn.init.constant_(layer.weight, value)

    def step(self, frame: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        kept = self.look(frame) + self.recall(states[0])
        return self.show(kept), kept


class Delaying(Recurrent):
    """What is seen of this frame, of the one before and of the one before that: a state is handed on as another one, and what is
    shown reads a state that is replaced before."""

    states = (State(4), State(4))

    def __init__(self) -> None:
        super().__init__()
        self.look, self.show = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(12, 1, 3, padding=1)

    def step(self, frame: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        seen = torch.relu(self.look(frame))
        return self.show(torch.cat([seen, *states], dim=1)), seen, states[0]


def delaying(seed: int = 0) -> Delaying:
    """With random weights whose outputs lie about 0..1."""
    network = _drawn(Delaying, seed)
    nn.init.constant_(network.show.bias, 0.5)  # type: ignore[arg-type]
    return network


def recalling(seed: int = 0) -> Recalling:
    """With random weights whose outputs lie about 0..1."""
    network = _drawn(Recalling, seed)
    nn.init.constant_(network.tail.bias, 0.5)  # type: ignore[arg-type]
    return network


Network = TypeVar("Network", bound=Recurrent)


def _drawn(make: Callable[[], Network], seed: int) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make().eval()
