"""What networks read that is no picture: made from one as PyTorch or TensorFlow makes it, alone and in front of a graph."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hwmodels.errors import FileError, HwsearchError, UsageError
from searchspaces.ir.graph import execute
from searchspaces.ir.module import GraphModule
from searchspaces.networks.input_channels import InputChannels, parse, ways, with_numbers
from searchspaces.tracing.trace import trace


def planes(x: Tensor, *values: float) -> Tensor:
    return torch.cat([torch.full_like(x[:, :1], value) for value in values], 1)


def by_pixel(x: Tensor, factor: int) -> Tensor:
    """``tf.nn.space_to_depth``: rows of a block, columns of a block, channels."""
    count, channels, height, width = x.shape
    cut = x.reshape(count, channels, height // factor, factor, width // factor, factor)
    return cut.permute(0, 3, 5, 1, 2, 4).reshape(count, -1, height // factor, width // factor)


WAYS: dict[str, tuple[tuple[str, ...], int, Callable[[Tensor], Tensor]]] = {
    "blocks": (("unshuffle:2",), 3, nn.PixelUnshuffle(2)),
    "blocks of luma": (("unshuffle:3",), 1, nn.PixelUnshuffle(3)),
    "blocks, pixel by pixel": (("space-to-depth:2",), 3, lambda x: by_pixel(x, 2)),
    "copies": (("repeat:4",), 3, lambda x: torch.cat([x] * 4, 1)),
    "planes behind": (("append:0.1,-2", "append:0.5"), 3, lambda x: torch.cat([x, planes(x, 0.1, -2, 0.5)], 1)),
    "planes ahead": (("prepend:0.5", "prepend:1,0.25"), 1, lambda x: torch.cat([planes(x, 1, 0.25, 0.5), x], 1)),
    "blocks, then planes": (
        ("unshuffle:2", "append:0.2"),
        3,
        lambda x: torch.cat([nn.functional.pixel_unshuffle(x, 2), planes(x, 0.2)[:, :, ::2, ::2]], 1),
    ),
}


def made_by(texts: tuple[str, ...]) -> InputChannels:
    found = parse(texts)
    assert found is not None
    return found


@pytest.mark.parametrize("name", WAYS)
def test_channels_are_what_the_frameworks_make(name: str) -> None:
    texts, channels, expected = WAYS[name]
    made, x = made_by(texts), torch.rand(2, channels, 12, 18)
    assert torch.equal(made.made(x), expected(x))
    assert made.channels(channels) == expected(x).shape[1]


@pytest.mark.parametrize("in_code", [True, False], ids=["module", "graph"])
@pytest.mark.parametrize("name", WAYS)
def test_the_network_behind_is_itself(name: str, in_code: bool) -> None:
    texts, channels, expected = WAYS[name]
    made = made_by(texts)
    torch.manual_seed(0)
    reads = made.channels(channels)
    module = nn.Sequential(nn.Conv2d(reads, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, channels * 36, 3, padding=1)).eval()
    x = torch.rand(1, channels, 24, 36)
    with torch.no_grad():
        wanted = module(expected(x))
    if in_code:
        made.before(module)
        graph = trace(module, channels, "net")
    else:
        graph = made.before_graph(trace(module, reads, "net"))
    assert graph.channels == channels
    assert graph.multiple == made.multiple
    assert float((execute(graph, x) - wanted).abs().max()) < 1e-4 * float(wanted.abs().max())


def test_a_graph_for_one_size_is_for_the_picture_of_that() -> None:
    torch.manual_seed(0)
    module = nn.Conv2d(12, 12, 3, padding=1).eval()
    inner = trace(module, 12, "net", size=(10, 14))
    found = made_by(("unshuffle:2",)).before_file(GraphModule(inner, lambda size: trace(module, 12, "net", size=size)))
    assert found.graph.size == (20, 28)
    for size in ((20, 28), (8, 12)):
        x = torch.rand(1, 3, *size)
        with torch.no_grad():
            assert torch.allclose(found(x), module(nn.functional.pixel_unshuffle(x, 2)), atol=1e-5)
    with pytest.raises(UsageError, match="whole blocks of 2"):
        found.at((9, 12))


def test_numbers_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "vector.json").write_text(json.dumps([[0.1, -2], [3]]))
    (tmp_path / "vector.csv").write_text("0.5,1e-3\n7\n")
    texts = (f"append:{tmp_path / 'vector.json'}", "unshuffle:2", f"prepend:{tmp_path / 'vector.csv'}")
    assert with_numbers(texts) == ("append:0.1,-2.0,3.0", "unshuffle:2", "prepend:0.5,0.001,7.0")


def test_a_table_of_a_spreadsheet_is_read(tmp_path: Path) -> None:
    (tmp_path / "vector.csv").write_bytes(b"\xef\xbb\xbf0.1;0.2\r\n0.3\r\n")
    assert with_numbers((f"append:{tmp_path / 'vector.csv'}",)) == ("append:0.1,0.2,0.3",)


@pytest.mark.parametrize("text", ["0,5;0,7", "0.1,,0.2", "noise\n0.1", "1e39", ""])
def test_a_table_of_other_things_is_refused(tmp_path: Path, text: str) -> None:
    """Decimals behind commas would be read as twice as many numbers; 1e39 is infinite in single precision."""
    (tmp_path / "vector.csv").write_text(text)
    with pytest.raises(FileError, match="list of"):
        with_numbers((f"append:{tmp_path / 'vector.csv'}",))


def test_no_more_steps_are_read_than_make_the_most_channels() -> None:
    with pytest.raises(UsageError, match="or more"):
        parse(["repeat:99"] * 3 + ["what comes behind"])


@pytest.mark.parametrize("text", ["[0.1, true]", '{"a": 1}', "[]", "[NaN]", "[1", '["x"]', "[1e39]", f"[{10**400}]"])
def test_a_file_without_numbers_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "vector.json").write_text(text)
    with pytest.raises(FileError, match="list of"):
        with_numbers((f"append:{tmp_path / 'vector.json'}",))


WRONG = (
    f"append:{'0.1,x,' * 99}",
    "fold:2",
    "unshuffle:1",
    "unshuffle:x",
    "repeat:",
    "append:",
    "append:nan",
    "append:absent.csv",
    "unshuffle:99",
    "append:1e39",
)


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_way_is_refused(text: str) -> None:
    with pytest.raises(HwsearchError, match="--input-channels"):
        with_numbers((text,))


@pytest.mark.parametrize(
    ("channels", "said"),
    [
        (12, ("unshuffle:2 (blocks of 2x2 pixels, RGB)", "repeat:4", "append:... (9 constant planes behind RGB")),
        (4, ("unshuffle:2 (blocks of 2x2 pixels, luma)", "append:... (1 constant plane behind RGB")),
        (9, ("unshuffle:3 (blocks of 3x3 pixels, luma)", "repeat:3")),
        (19, ("append:... (16 constant planes",)),
        (2, ("append:... (1 constant plane behind luma",)),
    ],
)
def test_the_ways_that_fit_are_named(channels: int, said: tuple[str, ...]) -> None:
    assert all(word in ways(channels) for word in said)
    assert "repeat" not in ways(19)
    assert "unshuffle" not in ways(19)


def test_channels_that_no_picture_gives_are_told() -> None:
    with pytest.raises(UsageError, match="makes 9 of RGB and 3 of luma, and the network reads 12") as refused:
        made_by(("repeat:3",)).picture(12)
    assert "unshuffle:2" in refused.value.hint


def test_planes_beyond_the_picture_are_told() -> None:
    assert "from -2 to 15" in made_by(("append:0.5,15", "prepend:-2")).remark
    assert "coarser" not in made_by(("append:0,0.5,1",)).remark
