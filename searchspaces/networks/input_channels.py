"""Networks that read more channels than a picture has: what they read is made from the picture, in front of the network.

The three ways are operators like any others: pixels of blocks as channels (networks that unshuffle outside of the module, such as
Real-ESRGAN's for a scale of 2), the picture several times (BSRN), and constant planes (SRMD's degradation, a level of noise, a
fourth channel that is always opaque). Everything else sees a network that reads a picture; its price and its files contain them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hwmodels.errors import FileError, UsageError
from searchspaces.ir.graph import Graph, Node
from searchspaces.ir.module import GraphModule
from searchspaces.ir.simplify import simplify
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.moves.move import Concat, Gather, PixelUnshuffle

OPTION = "--input-channels"
GRAMMAR = (
    "Write unshuffle:2 (channel by channel, as PyTorch), space-to-depth:2 (pixel by pixel, as TensorFlow), repeat:4, or "
    "append:0.1,0.2 or prepend:0.1,0.2 (constant planes; a CSV or JSON file of numbers does as well)."
)
MOST = 4096
"""Channels that a network reads, at most, and numbers of a file."""
PICTURES = (3, 1)
"""Channels of pictures: red, green and blue, or luma."""


class Step(Protocol):
    """One way to make channels; several follow one another."""

    def channels(self, before: int) -> int:
        """How many there are behind it."""

    def run(self, x: Tensor) -> Tensor:
        """Of pictures ``[N, C, H, W]``."""

    def nodes(self, source: str, channels: int, name: str) -> list[Node]:
        """The same in a graph, behind ``source`` of ``channels``; the last node is called ``name``."""


@dataclass(frozen=True)
class Unshuffled:
    """``[N, C, f H, f W] -> [N, C f^2, H, W]``; ``by_pixel``: all channels of a block's first pixel first."""

    factor: int
    by_pixel: bool = False

    def channels(self, before: int) -> int:
        return before * self.factor**2

    def run(self, x: Tensor) -> Tensor:
        found = F.pixel_unshuffle(x, self.factor)
        return found[:, list(self._order(x.shape[1]))] if self.by_pixel else found

    def nodes(self, source: str, channels: int, name: str) -> list[Node]:
        if not self.by_pixel:
            return [Node(name, PixelUnshuffle(self.factor), (source,))]
        first = Node(f"{name}.blocks", PixelUnshuffle(self.factor), (source,))
        return [first, Node(name, Gather(self._order(channels)), (first.name,))]

    def _order(self, channels: int) -> tuple[int, ...]:
        places = self.factor**2
        return tuple(channel * places + place for place in range(places) for channel in range(channels))


@dataclass(frozen=True)
class Copies:
    """The picture ``times`` times, one behind the other."""

    times: int

    def channels(self, before: int) -> int:
        return before * self.times

    def run(self, x: Tensor) -> Tensor:
        return torch.cat([x] * self.times, dim=1)

    def nodes(self, source: str, channels: int, name: str) -> list[Node]:
        return [Node(name, Concat(), (source,) * self.times)]


@dataclass(frozen=True)
class Planes:
    """Constant channels behind the others, or ``ahead`` of them.

    In a graph they are a convolution without weights, whose biases they are: what every runtime has. The grid of what they stand
    beside is theirs too, so that they are rounded with it.
    """

    values: tuple[float, ...]
    ahead: bool = False

    def channels(self, before: int) -> int:
        return before + len(self.values)

    def run(self, x: Tensor) -> Tensor:
        planes = torch.tensor(self.values).view(1, -1, 1, 1).expand(x.shape[0], -1, x.shape[2], x.shape[3])
        return torch.cat([planes, x] if self.ahead else [x, planes], dim=1)

    def nodes(self, source: str, channels: int, name: str) -> list[Node]:
        weights = {"weight": torch.zeros(len(self.values), channels, 1, 1), "bias": torch.tensor(self.values)}
        made = Node(f"{name}.planes", Conv(), (source,), weights)
        return [made, Node(name, Concat(), (made.name, source) if self.ahead else (source, made.name))]


_WHOLE: Mapping[str, Callable[[int], Step]] = {
    "unshuffle": Unshuffled,
    "space-to-depth": lambda factor: Unshuffled(factor, by_pixel=True),
    "repeat": Copies,
}
"""Steps with a whole number of at least 2."""
_PLANES = ("append", "prepend")


@dataclass(frozen=True)
class InputChannels:
    """What is made of a picture, step by step; as it was written, for people."""

    steps: tuple[Step, ...]
    written: str

    @property
    def multiple(self) -> int:
        """Of what height and width must be multiples for the first network behind it that takes every size."""
        return math.prod(step.factor for step in self.steps if isinstance(step, Unshuffled))

    def channels(self, picture: int) -> int:
        """How many the network reads, from a picture of so many."""
        for step in self.steps:
            picture = step.channels(picture)
        return picture

    def size(self, network: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the picture of which the network reads what has such."""
        return network[0] * self.multiple, network[1] * self.multiple

    def made(self, x: Tensor) -> Tensor:
        """What the network reads, from pictures ``[N, C, H, W]``."""
        for step in self.steps:
            x = step.run(x)
        return x

    def picture(self, network: int) -> int:
        """Channels of the pictures that a network reads so, which reads ``network`` channels itself.

        Raises:
            UsageError: no picture has such.
        """
        for channels in PICTURES:
            if self.channels(channels) == network:
                return channels
        has = " and ".join(f"{self.channels(channels)} of {'RGB' if channels > 1 else 'luma'}" for channels in PICTURES)
        raise UsageError(f"{OPTION} {self.written} makes {has}, and the network reads {network}", ways(network))

    def before(self, module: nn.Module) -> None:
        """Make a module take pictures. By a hook, so that its layers keep their names."""

        def make(module: nn.Module, given: Any) -> Any:
            return (self.made(given[0]), *given[1:])

        module.register_forward_pre_hook(make)

    def before_graph(self, graph: Graph) -> Graph:
        """The graph behind what makes its channels.

        Raises:
            UsageError: it reads as many as no picture gives.
        """
        source, channels, made = graph.input.name, self.picture(graph.channels), list[Node]()
        read = source
        for number, step in enumerate(self.steps, start=1):
            made += step.nodes(read, channels, f"{source}.channels" + (f"@{number}" if number > 1 else ""))
            read, channels = made[-1].name, step.channels(channels)
        picture = graph.input.with_op(channels=self.picture(graph.channels))
        inner = [replace(n, inputs=tuple(read if name == source else name for name in n.inputs)) for n in graph.nodes[1:]]
        size = None if graph.size is None else self.size(graph.size)
        nodes = tuple(simplify([picture, *made, *inner]))
        return replace(graph, nodes=nodes, size=size, multiple=graph.multiple * self.multiple)

    def before_file(self, module: GraphModule) -> GraphModule:
        """The same of a network that was read from a file."""

        def again(size: tuple[int, int]) -> Graph:
            height, width = size
            if height % self.multiple or width % self.multiple:
                raise UsageError(f"a picture of {height}x{width} pixels has no whole blocks of {self.multiple}")
            return self.before_graph(module.at((height // self.multiple, width // self.multiple)))

        return GraphModule(self.before_graph(module.graph), None if module.graph.size is None else again).eval()

    @property
    def remark(self) -> str:
        """What is said of a network behind it."""
        values = [value for step in self.steps if isinstance(step, Planes) for value in step.values]
        rounded = " Constant planes are rounded on the grid of what they stand beside." if values else ""
        if values and not 0 <= min(values) <= max(values) <= 1:
            rounded += f" They reach from {min(values):g} to {max(values):g}, so the grid of a picture of 0..1 becomes coarser."
        return (
            f"The network's input is made from the picture ({OPTION} {self.written}): this is part of the network, of its price "
            f"and of what is exported.{rounded}"
        )


def parse(texts: Sequence[str]) -> InputChannels | None:
    """``unshuffle:2``, ``repeat:4``, ``append:0.1,0.2``, ...: one step each; None for none.

    Raises:
        UsageError: a step that is not of that form, or more channels than ``MOST``.
    """
    steps: list[Step] = []
    channels = PICTURES[0]
    for step in map(_step, texts):
        channels = step.channels(channels)
        if channels > MOST:
            raise UsageError(f"{OPTION} makes {channels} channels or more", f"At most {MOST}.")
        before = steps[-1] if steps else None
        if isinstance(step, Planes) and isinstance(before, Planes) and step.ahead == before.ahead:  # in one go
            values = (*step.values, *before.values) if step.ahead else (*before.values, *step.values)
            steps[-1] = Planes(values, step.ahead)
        else:
            steps.append(step)
    return InputChannels(tuple(steps), f" {OPTION} ".join(map(_short, texts))) if steps else None


def with_numbers(texts: Sequence[str]) -> tuple[str, ...]:
    """The steps with numbers in place of the files that they name.

    Raises:
        UsageError: as ``parse``. FileError: a file cannot be read, or holds no list of numbers.
    """
    found = []
    for text in texts:
        word, _, value = text.strip().partition(":")
        of_file = word in _PLANES and value and _numbers(value) is None
        found.append(f"{word}:{','.join(map(repr, _of_file(Path(value))))}" if of_file else text.strip())
    parse(found)
    return tuple(found)


def _step(text: str) -> Step:
    word, _, value = text.strip().partition(":")
    if word in _WHOLE and re.fullmatch("[0-9]{1,2}", value) and int(value) > 1:
        return _WHOLE[word](int(value))
    if word in _PLANES and (numbers := _numbers(value)):
        return Planes(tuple(numbers), ahead=word == _PLANES[1])
    raise UsageError(f"{OPTION} {_short(text)!r} is no way to make channels", GRAMMAR)


def _numbers(text: str) -> list[float] | None:
    """Numbers behind commas or semicolons, or blanks; None for anything else. Not both marks: ``0,5;0,7`` are two numbers where
    decimals stand behind commas."""
    try:
        found = [float(part) for part in re.split(r"\s*[,;]\s*|\s+", text.strip())]
    except ValueError:
        return None
    return found if all(map(_is_plane, found)) and not {",", ";"} <= set(text) else None


def _is_plane(value: float) -> bool:
    """Whether single precision, in which networks compute, has such a number."""
    return math.isfinite(value) and abs(value) <= torch.finfo(torch.float32).max


def _of_file(path: Path) -> list[float]:
    """The numbers of a JSON file, lists in lists too, or of a text file."""
    try:
        there = path.is_file()
    except OSError:  # a long list with a slip of the pen is too long a name
        there = False
    if not there:
        raise UsageError(f"{OPTION}: {_short(str(path))!r} is neither a list of numbers nor a file", GRAMMAR)
    try:
        text = path.read_text(encoding="utf-8-sig")
        found = list(_flat(json.loads(text))) if path.suffix.lower() == ".json" else _numbers(text)
    except (OSError, ValueError, OverflowError, RecursionError) as error:
        raise FileError(f"{path}: no list of numbers ({error})") from None
    if not found or len(found) > MOST or not all(map(_is_plane, found)):
        raise FileError(
            f"{path}: it holds no list of 1 to {MOST} finite numbers",
            "Numbers stand behind commas, semicolons or blanks, decimals behind a point; nothing else is in the file.",
        )
    return found


def _flat(value: Any) -> Iterator[float]:
    if isinstance(value, list):
        for inner in value:
            yield from _flat(inner)
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is no number")
    else:
        yield float(value)


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def ways(channels: int) -> str:
    """Which options would make so many channels of a picture, in a sentence."""
    found = []
    for picture in PICTURES:
        colours = "RGB" if picture > 1 else "luma"
        factor = math.isqrt(channels // picture)
        if factor > 1 and picture * factor**2 == channels:
            block = f"(blocks of {factor}x{factor} pixels, {colours})"
            found.append(f"{OPTION} unshuffle:{factor} {block}, or space-to-depth:{factor} in TensorFlow's order")
        if picture > 1 and channels > picture and channels % picture == 0:
            found.append(f"repeat:{channels // picture} (the {colours} picture so often)")
    rest = PICTURES[0] if channels > PICTURES[0] else 1
    if channels > rest:
        kind = "RGB" if rest > 1 else "luma"
        more = channels - rest
        found.append(f"append:... ({more} constant plane{'s' if more > 1 else ''} behind {kind}: numbers, or a file)")
    listed = [way if way.startswith(OPTION) else f"{OPTION} {way}" for way in found]
    return f"Say how its {channels} channels are made from a picture: {'; or '.join(listed)}." if listed else ""
