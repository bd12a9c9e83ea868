"""TorchScript programs: read to what the program computes, and refused where something in them could reach a file."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hwmodels.errors import FileError
from hwsearch.cli import main
from hwsearch.formats.exported.read import read as read_exported
from hwsearch.formats.reading import file_network, readers
from hwsearch.formats.torchscript.archive import safe
from searchspaces.ir.graph import execute


class Upscaler(nn.Module):
    """A small network whose sizes follow the picture."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head, self.act = nn.Conv2d(3, 8, 3, padding=1), nn.PReLU(8)
        self.body = nn.Sequential(nn.ConvTranspose2d(8, 8, 4, 2, 1, groups=2), nn.LeakyReLU(0.1), nn.Conv2d(8, 3, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(self.act(self.head(x)))
        return y + F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def _saved(file: Path, how: Callable[[nn.Module], torch.jit.ScriptModule], module: nn.Module) -> Path:
    torch.jit.save(how(module.eval()), str(file))
    return file


HOW: dict[str, Callable[[nn.Module], torch.jit.ScriptModule]] = {
    "traced": lambda module: torch.jit.trace(module, torch.rand(1, 3, 24, 32)),  # type: ignore[dict-item, return-value]  # torch's own annotation is wider
    "scripted": torch.jit.script,
}


@pytest.mark.parametrize("how", HOW)
def test_a_program_is_a_network_of_any_size(how: str, tmp_path: Path) -> None:
    module = Upscaler().eval()
    found = readers.inspect(_saved(tmp_path / "net.pt", HOW[how], module))
    assert [layer.name for layer in found.layers] == ["head", "body.0", "body.2"]
    assert (found.graph.uncounted, found.graph.size, found.graph.multiple) == ((), None, 1)
    for size in ((17, 23), (40, 12)):
        x = torch.rand(1, 3, *size)
        with torch.no_grad():
            assert torch.allclose(execute(found.graph, x), module(x), atol=1e-5)


class Named(nn.Module):
    """Parts whose names attributes of modules have, too."""

    def __init__(self) -> None:
        super().__init__()
        self.program = nn.Conv2d(3, 4, 1)
        self.add_module("_slots", nn.Conv2d(4, 4, 1))
        self.run = nn.Sequential(nn.Conv2d(4, 3, 1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.run(self._slots(self.program(x)))
        return y


def test_parts_may_have_any_name(tmp_path: Path) -> None:
    layers = readers.inspect(_saved(tmp_path / "net.ts", HOW["traced"], Named())).layers
    assert [layer.name for layer in layers] == ["program", "_slots", "run.0"]


def test_channels_are_those_of_the_kernels(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1))
    assert readers.inspect(_saved(tmp_path / "net.ts", HOW["scripted"], module)).graph.channels == 1


def test_a_program_can_be_searched_and_priced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _saved(tmp_path / "net.torchscript", HOW["scripted"], Upscaler())
    assert file_network.load(path).scale == 2
    assert main(["estimate", "--model", str(path), "--target", "jetson"]) == 0
    assert "body.2" in capsys.readouterr().out
    assert main(["estimate", "--model", str(path), "--target", "jetson", "--fps", "30", "--tile", "auto"]) == 2
    assert "priced without --fps and --tile" in capsys.readouterr().err


class Reads(nn.Module):
    """Takes its bias from a file."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.from_file("secret", False, 1)


class Written(nn.Module):
    """Saves what it sees."""

    def forward(self, x: Tensor) -> Tensor:
        torch.save(x, "seen")
        return x


@pytest.mark.parametrize(("module", "what"), [(Reads(), "torch.from_file"), (Written(), "torch.save")])
def test_what_could_reach_a_file_is_refused_before_it_is_loaded(module: nn.Module, what: str, tmp_path: Path) -> None:
    path = _saved(tmp_path / "net.pt", HOW["scripted"], module)
    with pytest.raises(FileError, match=f"could reach out of the network: it holds a call of {what}"):
        readers.inspect(path)


def _edited(path: Path, change: Callable[[bytes], bytes], ending: str = ".py") -> Path:
    """The archive with members of that ending changed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(path) as before, zipfile.ZipFile(buffer, "w") as after:
        for member in before.infolist():
            content = before.read(member)
            after.writestr(member, change(content) if member.filename.endswith(ending) else content)
    path.write_bytes(buffer.getvalue())
    return path


HARM = {
    "an operator of a library": ("torch.relu(", "ops.other.relu("),
    "an unknown function": ("torch.relu(", "open("),
    "no aten": ("torch.relu(", "torch.utils.relu("),
    "a primitive": ("torch.relu(", "ops.prim.Print("),
    "an operator as a value": ("torch.relu(", "getattr(ops.aten, "),
    "torch as a value": ("torch.relu(", "getattr(torch, "),
    "a method that knows files": ("torch.relu(", "input.save("),
    "a function that is called at once": ("torch.relu(", "[torch.relu][0]("),
    "another meaning of a built-in name": ("    _0 =", "    list = torch.save\n    _0 ="),
    "a function of torch as a variable": ("    _0 =", "    f : Any = torch.save\n    _0 ="),
    "a namespace by its name": ("torch.relu(", 'getattr(ops, "prim").Print('),
    "an operator that trusts its arguments": ("torch.relu(", "torch._sparse_coo_tensor_unsafe("),
    "the same as a method": ("torch.relu(", "input.as_strided("),
    "a name of the file's own code": ("    _0 =", "    __torch__ = input\n    _0 ="),
    "an operator that is not called": ("    _0 =", "    f = input.as_strided\n    _0 ="),
    "an operator by its name": ("    _0 =", '    f = getattr(input, "as_strided")\n    _0 ='),
    "a variable that is no temporary one": ("    _0 =", "    print = __torch__.N\n    print(1)\n    _0 ="),
    "an import": ("class ", "import os\nclass "),
}


@pytest.mark.parametrize("name", HARM)
def test_sources_that_were_changed(name: str, tmp_path: Path) -> None:
    path = _saved(tmp_path / "net.pt", HOW["scripted"], nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()))
    changed: list[bytes] = []

    def change(text: bytes) -> bytes:
        found = text.replace(*(part.encode() for part in HARM[name]))
        if found != text:
            changed.append(found)
        return found

    _edited(path, change)
    assert changed
    with pytest.raises(FileError, match="could reach out of the network"):
        readers.inspect(path)


class LikeOperators(nn.Module):
    """What it holds has the names of operators that no network is traced with."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma, self.resize = nn.Parameter(torch.full((1,), 0.5)), nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gamma * self.resize(x)


@pytest.mark.parametrize("how", HOW)
def test_a_module_may_hold_what_is_called_like_an_operator(how: str, tmp_path: Path) -> None:
    found = readers.inspect(_saved(tmp_path / "net.pt", HOW[how], LikeOperators()))
    assert [layer.name for layer in found.layers] == ["resize"]


class OneForAll(nn.Module):
    """Runs on one channel, of which its means make three; its first kernel has one."""

    def __init__(self) -> None:
        super().__init__()
        self.each = nn.Conv2d(3, 3, 3, padding=1, groups=3)
        self.register_buffer("mean", torch.tensor([0.45, 0.44, 0.4]).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.each(x - self.mean) + self.mean


@pytest.mark.parametrize("how", HOW)
def test_a_picture_has_the_channels_that_come_back(how: str, tmp_path: Path) -> None:
    assert readers.inspect(_saved(tmp_path / "net.pt", HOW[how], OneForAll())).graph.channels == 3


def test_but_no_tensor_is_taken_for_the_module(tmp_path: Path) -> None:
    path = _saved(tmp_path / "net.pt", HOW["scripted"], nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()))
    declared = b"  as_strided : Tensor\n  def forward("
    taken = b"    self = input\n    f = self.as_strided\n    _0 ="
    _edited(path, lambda text: text.replace(b"  def forward(", declared).replace(b"    _0 =", taken))
    with pytest.raises(FileError, match="as_strided, which is not called"):
        readers.inspect(path)


def _longer(pickle: bytes) -> bytes:
    """The nine numbers of a kernel claimed to be 4096."""
    return pickle.replace(b"K\x09", b"M\x00\x10")


def _of_another_class(pickle: bytes) -> bytes:
    """The activation of the class of the convolution."""
    conv, relu = re.search(rb"c__torch__[^\n]*\nConv2d\n", pickle), re.search(rb"c__torch__[^\n]*\nReLU\n", pickle)
    assert conv
    assert relu
    return pickle.replace(relu[0], conv[0])


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (_longer, "claims 4096 numbers of FloatStorage in 36 bytes"),
        (lambda pickle: pickle.replace(b"FloatStorage", b"DoubleStorage"), "numbers of DoubleStorage in"),
        (_of_another_class, "where the source says"),
        (lambda pickle: pickle.replace(b"c__torch__.", b"cos.path__."), "an object of os.path__"),
        (lambda pickle: pickle[:-9], "a damaged pickle"),
    ],
)
def test_what_torch_would_believe_of_a_pickle(change: Callable[[bytes], bytes], what: str, tmp_path: Path) -> None:
    path = _saved(tmp_path / "net.pt", HOW["scripted"], nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()))
    _edited(path, change, "data.pkl")
    with pytest.raises(FileError, match=what):
        readers.inspect(path)


def test_a_source_that_is_too_deep(tmp_path: Path) -> None:
    path = _saved(tmp_path / "net.pt", HOW["scripted"], nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()))
    _edited(path, lambda text: text + b"x = " + b"-" * 4000 + b"1\n")
    with pytest.raises(FileError, match="too deep"):
        readers.inspect(path)


def test_torch_reads_what_was_looked_at_and_nothing_else(tmp_path: Path) -> None:
    """Two members of one name, of which readers take different ones; and one that only a reader blind to capitals would find."""
    path = _saved(tmp_path / "net.pt", HOW["scripted"], nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()))
    with zipfile.ZipFile(path) as archive:
        source = next(name for name in archive.namelist() if "/code/" in name and name.endswith(".py"))
        held = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr(source.replace("/code/", "/CODE/"), b"harm")
        archive.writestr(source, b"harm")
        for name, content in held.items():
            archive.writestr(name, content)
    assert [layer.name for layer in readers.inspect(path).layers] == ["0"]
    with zipfile.ZipFile(safe(path)) as archive:
        assert archive.namelist().count(source.replace(source.partition("/")[0], "archive", 1)) == 1
        assert not any("CODE" in name for name in archive.namelist())


def test_a_damaged_program(tmp_path: Path) -> None:
    path = _saved(tmp_path / "net.ts", HOW["scripted"], Upscaler())
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(FileError, match="cut short"):
        readers.inspect(path)


def test_weights_are_no_program(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(Upscaler().state_dict(), path)
    assert not readers.is_model(path)


def test_constants_in_the_code_of_an_exported_program(tmp_path: Path) -> None:
    """They are detached in place there, which a second export refuses."""

    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.head(x - torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1))
            return y.index_select(1, torch.tensor([2, 1, 0]))

    module, x = Shifted().eval(), torch.rand(1, 3, 24, 32)
    torch.export.save(torch.export.export(module, (x,), strict=False), tmp_path / "net.pt2")
    found = read_exported(tmp_path / "net.pt2")
    assert found.graph.uncounted == ()
    with torch.no_grad():
        assert torch.allclose(execute(found.graph, x), module(x), atol=1e-5)
