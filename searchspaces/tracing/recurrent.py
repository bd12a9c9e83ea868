"""Networks with state between the frames of a video, as modules."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from searchspaces.ops.state import State


class Recurrent(nn.Module, ABC):
    """A network that takes one frame and its states, and gives a picture and the states of the next frame.

    As a module it takes the frames of one clip, ``[N, C, H, W] -> [N, C, sH, sW]``, and begins with states of zeros.

    Attributes:
        states: sizes of what it keeps, in the order of ``step``.
    """

    states: ClassVar[tuple[State, ...]]

    @abstractmethod
    def step(self, frame: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """The picture, then every state of the next frame, for one frame ``[1, C, H, W]``."""

    def start(self, frame: Tensor) -> tuple[Tensor, ...]:
        """The states at the start of a clip with such frames."""
        return tuple(state.run([frame], {}) for state in self.states)

    def forward(self, clip: Tensor) -> Tensor:
        states, pictures = self.start(clip[:1]), []
        for frame in clip.split(1):
            picture, *kept = self.step(frame, *states)
            states = tuple(kept)
            pictures.append(picture)
        return torch.cat(pictures)


def stepped(network: Recurrent) -> nn.Module:
    """The network as a module of one frame: the same weights under the same names, called as ``step`` is."""
    found = copy.copy(network)
    found.__class__ = type(type(network).__name__, (type(network),), {"forward": type(network).step})
    return found
