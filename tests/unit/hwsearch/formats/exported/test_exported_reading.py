"""Programs of torch.export as networks, and what such a file must never do."""

from __future__ import annotations

import json
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from file_fuzzer import Tally, archive_changed, bytes_changed
from torch import Tensor, nn

from hwmodels.errors import FileError
from hwsearch.formats.reading import file_network
from hwsearch.formats.reading.readers import inspect
from searchspaces.ir.graph import execute


class Windows(nn.Module):
    """Attention inside windows of 4x4 pixels, and a pixel shuffle: sizes that depend on the picture."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.head, self.tail = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 12, 3, padding=1)
        self.norm, self.mix = nn.LayerNorm(width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.head(x)
        n, c, h, w = y.shape
        t = y.view(n, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, c)
        q = self.mix(self.norm(t))
        t = t + (q @ q.transpose(1, 2)).softmax(-1) @ t
        y = t.view(n, h // 4, w // 4, 4, 4, c).permute(0, 5, 1, 3, 2, 4).reshape(n, c, h, w)
        out: Tensor = nn.functional.pixel_shuffle(self.tail(y), 2)
        return out


def saved(path: Path, module: nn.Module, *, free: bool) -> Path:
    h, w = (torch.export.Dim(name, min=2, max=500) for name in ("h", "w"))
    shapes = ({2: 4 * h, 3: 4 * w},) if free else None
    program = torch.export.export(module.eval(), (torch.rand(1, 3, 24, 32),), dynamic_shapes=shapes)
    torch.export.save(program, path)
    return path


@pytest.mark.parametrize("free", [False, True])
def test_a_program_computes_what_its_module_did(free: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Windows()
    found = inspect(saved(tmp_path / "net.pt2", module, free=free))
    assert [layer.name for layer in found.layers] == ["head", "mix", "tail"]
    assert (found.graph.size, found.graph.multiple) == ((None, 4) if free else ((24, 32), 1))
    for height, width in ((24, 32), (40, 12)) if free else ((24, 32),):
        x = torch.rand(1, 3, height, width)
        with torch.no_grad():
            assert torch.allclose(execute(found.graph, x), module(x), atol=1e-5)


def test_a_program_of_one_size_is_a_network_for_all_where_nothing_in_it_knows_the_size(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 12, 3, padding=1), nn.PixelShuffle(2))
    network = file_network.load(saved(tmp_path / "net.pt2", module, free=False))
    assert (network.scale, network.channels, network.size) == (2, 3, (24, 32))
    x = torch.rand(1, 3, 17, 21)
    with torch.no_grad():
        assert torch.allclose(network.module(x), module(x), atol=1e-5)


def test_a_picture_of_bytes_is_named_as_such(tmp_path: Path) -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.conv(x / 255)
            return out

    program = torch.export.export(Wrapped().eval(), (torch.zeros(1, 3, 24, 32, dtype=torch.uint8),))
    torch.export.save(program, tmp_path / "net.pt2")
    with pytest.raises(FileError, match="takes pictures of uint8") as refused:
        inspect(tmp_path / "net.pt2")
    assert "--range 0..255" in refused.value.hint


class Bomb:
    """Leaves a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], Any], tuple[str]]:
        return exec, (f"open({str(self.mark)!r}, 'w')",)


def changed(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """The archive with its members changed."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def _program(files: dict[str, bytes], edit: Callable[[Any], None]) -> None:
    name = next(name for name in files if name.endswith("models/model.json"))
    document = json.loads(files[name])
    edit(document)
    files[name] = json.dumps(document).encode()


def test_example_inputs_are_never_unpickled(tmp_path: Path) -> None:
    mark = tmp_path / "ran"

    def put(files: dict[str, bytes]) -> None:
        files["net/data/sample_inputs/model.pt"] = pickle.dumps(Bomb(mark))

    path = changed(saved(tmp_path / "net.pt2", nn.Conv2d(3, 12, 1), free=False), put)
    assert [layer.shape for layer in inspect(path).layers] == [(12, 3, 1, 1)]
    assert not mark.exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("target", "calls torch.hub.load"),
        ("size", "would have to run"),
        ("pickle", "is pickled"),
        ("library", "holds"),
        ("file", "from_file"),
    ],
)
def test_what_would_have_to_run_is_refused(name: str, message: str, tmp_path: Path) -> None:
    mark = tmp_path / "ran"

    def put(files: dict[str, bytes]) -> None:
        def node(document: Any, **more: Any) -> None:
            document["graph_module"]["graph"]["nodes"][0].update(more)

        match name:
            case "target":
                _program(files, lambda document: node(document, target="torch.hub.load"))
            case "file":
                _program(files, lambda document: node(document, target="torch.ops.aten.from_file.default"))
            case "size":
                bad = {"as_expr": {"expr_str": f"open({str(mark)!r}, 'w')", "hint": None}}
                _program(files, lambda d: d["graph_module"]["graph"]["tensor_values"].update(x={"sizes": [bad]}))
            case "pickle":
                key = next(key for key in files if key.endswith("model_weights_config.json"))
                document = json.loads(files[key])
                document["config"]["weight"]["use_pickle"] = True
                files[key] = json.dumps(document).encode()
            case _:
                files["net/data/aotinductor/model/x.so"] = b"code"

    path = changed(saved(tmp_path / "net.pt2", nn.Conv2d(3, 12, 1), free=False), put)
    with pytest.raises(FileError, match=message):
        inspect(path)
    assert not mark.exists()


def test_damaged_archives_are_read_or_refused(tmp_path: Path) -> None:
    """Bytes changed anywhere, or in members whose checksums are right again: read, or an error for people."""
    whole, tally = saved(tmp_path / "net.pt2", nn.Conv2d(3, 12, 1), free=True).read_bytes(), Tally()
    for seed in range(80):
        change = bytes_changed if seed % 2 else archive_changed
        (tmp_path / "bad.pt2").write_bytes(change(whole, random.Random(seed)))
        with tally.judging(FileError):
            inspect(tmp_path / "bad.pt2")
    tally.check()


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "is empty"), (b"PK\x03\x04", "not an exported program"), (b"nothing of the kind", "not an exported program")],
)
def test_what_is_no_program(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    path.write_bytes(content)
    with pytest.raises(FileError, match=said):
        inspect(path)
