"""Resizing that PyTorch has no mode for, of operators that it has."""

from __future__ import annotations

from hwsearch.formats.reading.builder import Builder, Map
from searchspaces.ops.moves.pad import Pad
from searchspaces.ops.moves.resize import Resize
from searchspaces.ops.reading import NotRead


def from_corners(walk: Builder, name: str, value: Map, sizes: tuple[int, int]) -> Map:
    """Interpolation that puts pixel ``i`` of the output at ``i / factor`` of the input, as TensorFlow 1 did: that of corners that
    lie on each other, of a picture with its border once more, without what lies beyond.

    Args:
        value: ``[N, C, H, W]``.
        sizes: height and width that come out.
    Raises:
        NotRead: by a factor that is not whole.
    """
    sides = walk.shape(value)[2:]
    if any(new % old for old, new in zip(sides, sizes, strict=True)):
        raise NotRead("from its corner by a factor that is not whole")
    if tuple(sides) == sizes:
        return value
    wider = walk.put(f"{name}.border", Pad((0, 1, 0, 1), "replicate"), [value])
    reach = (sizes[0] + 1, sizes[1] + 1)
    large = walk.put(f"{name}.larger", Resize("bilinear", size=reach, align_corners=True), [wider])
    return walk.put(name, Pad((0, -1, 0, -1)), [large])
