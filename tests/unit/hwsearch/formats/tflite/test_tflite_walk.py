"""Operators of TFLite files that together are one: read as what they are, whoever wrote them."""

from __future__ import annotations

import numpy as np
import pytest

from hwmodels.errors import FileError
from hwsearch.formats.tflite.integers.walk import Walker
from hwsearch.formats.tflite.tables import StoredModel, StoredOperator, StoredTensor

Sides = tuple[int, ...]


def kinds(*shapes: Sides) -> list[str]:
    """What the output of RESHAPE, TRANSPOSE (rows of blocks before columns) and RESHAPE between tensors of these shapes is."""
    order = np.array([0, 2, 1, 3], np.int32)
    tensors = [StoredTensor(f"t{i}", sides, "int16", None, None, 0, None, 0) for i, sides in enumerate(shapes)]
    tensors.append(StoredTensor("order", order.shape, "int32", None, None, 0, order, order.nbytes))
    names = ("RESHAPE", "TRANSPOSE", "RESHAPE")
    steps = [StoredOperator(name, (i, 4) if name == "TRANSPOSE" else (i,), (i + 1,), {}) for i, name in enumerate(names)]
    walked = Walker(StoredModel(tuple(tensors), tuple(steps), 0, 3, "", {})).run()
    return [node.op.kind for node in walked.graph.nodes if node.name != "input"]


def test_a_shuffle_of_pixels_and_back() -> None:
    assert kinds((1, 4, 4, 4), (4, 4, 2, 2), (4, 2, 4, 2), (1, 8, 8, 1)) == ["pixel_shuffle"]
    assert kinds((1, 4, 4, 4), (2, 2, 2, 8), (2, 2, 2, 8), (1, 2, 2, 16)) == ["pixel_unshuffle"]


@pytest.mark.parametrize(
    "shapes",
    [
        ((1, 4, 4, 4), (2, 2, 2, 8), (2, 2, 2, 8), (1, 8, 8, 1)),
        ((1, 4, 4, 4), (4, 4, 2, 2), (4, 2, 4, 2), (1, 2, 2, 16)),
    ],
)
def test_what_begins_as_one_and_ends_as_the_other_is_neither(shapes: tuple[Sides, ...]) -> None:
    with pytest.raises(FileError, match="no part of a pixel shuffle"):
        kinds(*shapes)


@pytest.mark.parametrize("split", [(4, 0, 4, 4), (4, 4, 0, 4)])
def test_shapes_without_elements_are_none(split: Sides) -> None:
    assert not {"pixel_shuffle", "pixel_unshuffle"} & set(kinds((1, 4, 4, 4), split, (4, 4, 0, 4), (1, 8, 8, 1)))
