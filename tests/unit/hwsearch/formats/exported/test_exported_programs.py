"""Programs of PyTorch as people export them: other precisions, several results, numbers beside the picture, channels last,
settings of torch inside, operators taken apart; and those that keep something from call to call."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hwmodels.errors import FileError, UncountedError
from hwsearch.formats.reading import file_network, readers
from searchspaces.ir.graph import execute

X = torch.rand(1, 3, 24, 32, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Two convolutions; ``inner`` between them."""

    def __init__(self, inner: nn.Module | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.up = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 12, 3, padding=1), nn.PixelShuffle(2)
        self.inner = inner or nn.ReLU()

    def forward(self, x: Tensor) -> Any:
        return self.up(self.last(self.inner(self.first(x))))


class Frozen(Net):
    def forward(self, x: Tensor) -> Any:
        with torch.no_grad():
            features = self.first(x)
        features = self.inner(features)
        with torch.no_grad():
            return self.up(self.last(features))


class Several(Net):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.inner(self.first(x))
        return features, x, self.up(self.last(features))


class Named(Net):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.inner(self.first(x))
        return {"features": features, "picture": self.up(self.last(features))}


class Turned(Net):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Scaled(Net):
    def forward(self, x: Tensor, by: float = 0.5, mask: Tensor | None = None) -> Any:
        features = self.first(x) * by
        if mask is not None:
            features = features * mask
        return self.up(self.last(self.inner(features)))


class Counting(Net):
    """``used``: what it counts becomes part of the picture."""

    def __init__(self, used: bool) -> None:
        super().__init__()
        self.used = used
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Tensor) -> Any:
        self.calls.add_(1)
        features = self.inner(self.first(x))
        return self.up(self.last(features + self.calls if self.used else features))


class Kept(Net):
    """Features of the last picture of the same size in an attribute."""

    before: Tensor | None = None

    def forward(self, x: Tensor) -> Any:
        features = self.inner(self.first(x))
        if self.before is not None and self.before.shape == features.shape:
            features = features + self.before
        self.before = features.detach()
        return self.up(self.last(features))


def saved(folder: Path, module: nn.Module, given: tuple[Any, ...] = (X,), *, core: bool = False, **more: Any) -> Path:
    program = torch.export.export(module.eval(), given, **more)
    path = folder / "net.pt2"
    torch.export.save(program.run_decompositions() if core else program, path)
    return path


def agrees(path: Path, module: Callable[[Tensor], Tensor], tolerance: float = 1e-5) -> tuple[str, ...]:
    """What is said of a file whose network computes what ``module`` does."""
    assert file_network.load(path).scale == 2
    found = readers.inspect(path)
    with torch.no_grad():
        expected, ours = module(X), execute(found.graph, X)
    assert (ours - expected).abs().max() <= tolerance * expected.abs().max()
    return found.remarks


def test_calls_under_a_setting_of_torch(tmp_path: Path) -> None:
    assert agrees(saved(tmp_path, Frozen()), Frozen()) == ()


@pytest.mark.parametrize("where", ["inside", "elsewhere"])
def test_calls_under_a_setting_are_looked_at_as_others(where: str, tmp_path: Path) -> None:
    path = saved(tmp_path, Frozen())
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in files if name.endswith("models/model.json"))
    document = json.loads(files[name])
    nodes = document["graph_module"]["graph"]["nodes"]
    if where == "inside":
        nodes[0]["inputs"][1]["arg"]["as_graph"]["graph"]["nodes"][0]["target"] = "torch.hub.load"
    else:
        nodes[0]["target"] = "torch.ops.aten.relu.default"
    files[name] = json.dumps(document).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in files.items():
            archive.writestr(member, content)
    with pytest.raises(FileError, match="calls torch.hub.load" if where == "inside" else "holds a graph"):
        readers.inspect(path)


def test_autocast_is_named(tmp_path: Path) -> None:
    class Half(Net):
        def forward(self, x: Tensor) -> Any:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                features = self.first(x)
            return self.up(self.last(self.inner(features.float())))

    with pytest.raises(UncountedError, match="autocast"):
        file_network.load(saved(tmp_path, Half()))


@pytest.mark.parametrize(("kind", "tolerance"), [(torch.float16, 1e-3), (torch.bfloat16, 1e-2), (torch.float64, 1e-5)])
def test_other_precisions_are_read_in_single(kind: torch.dtype, tolerance: float, tmp_path: Path) -> None:
    (said,) = agrees(saved(tmp_path, Net().to(kind), (X.to(kind),)), Net(), tolerance)
    assert str(kind).removeprefix("torch.") in said


def test_every_precision_of_a_file_is_named(tmp_path: Path) -> None:
    class Mixed(Net):
        """Its second convolution in double precision."""

        def __init__(self) -> None:
            super().__init__()
            self.half()
            self.last.double()

        def forward(self, x: Tensor) -> Any:
            return self.up(self.last(self.inner(self.first(x)).double()))

    (said,) = agrees(saved(tmp_path, Mixed(), (X.half(),)), Net(), 1e-3)
    assert "float16 and float64" in said


@pytest.mark.parametrize("module", [Several(), Named()])
def test_of_several_results_the_picture_is_taken(module: nn.Module, tmp_path: Path) -> None:
    (said,) = agrees(saved(tmp_path, module), Net())
    assert "the picture among them" in said


def test_channels_last(tmp_path: Path) -> None:
    assert agrees(saved(tmp_path, Turned(), (X.permute(0, 2, 3, 1).contiguous(),)), Net()) == ()


def test_numbers_beside_the_picture(tmp_path: Path) -> None:
    def by(x: Tensor) -> Tensor:
        found: Tensor = Scaled()(x, 0.25)
        return found

    assert agrees(saved(tmp_path, Scaled(), (X, 0.25)), by) == ()
    assert agrees(saved(tmp_path, Scaled(), (X,), kwargs={"by": 0.25}), by) == ()
    with pytest.raises(FileError, match=r"2 inputs \(x, mask\)"):
        file_network.load(saved(tmp_path, Scaled(), (X, 0.25, torch.ones(1))))
    with pytest.raises(FileError, match=r"\[3, 24, 32\]"):
        file_network.load(saved(tmp_path, nn.ReLU(), (X[0],)))


@pytest.mark.parametrize(
    "inner",
    [
        nn.BatchNorm2d(8).eval(),
        nn.GroupNorm(2, 8),
        nn.InstanceNorm2d(8, affine=True),
        nn.Sequential(nn.Flatten(2), nn.LayerNorm(24 * 32), nn.Unflatten(2, (24, 32))),
        nn.Sequential(nn.MaxPool2d(2), nn.Upsample(scale_factor=2)),
    ],
)
def test_operators_taken_apart_into_the_core_of_aten(inner: nn.Module, tmp_path: Path) -> None:
    with torch.no_grad():
        for value in inner.parameters():
            value.copy_(torch.linspace(0.5, 1.5, value.numel()).view_as(value))
    assert agrees(saved(tmp_path, Net(inner), core=True), Net(inner).eval()) == ()


def test_what_counts_calls_and_what_depends_on_them(tmp_path: Path) -> None:
    assert agrees(saved(tmp_path, Counting(used=False)), Net()) == ()
    with pytest.raises(FileError, match="the same picture twice"):
        file_network.load(saved(tmp_path, Counting(used=True)))


def test_a_module_that_keeps_something_is_no_network_of_pictures() -> None:
    from searchspaces.tracing.trace import trace

    for module in (Kept(), Counting(used=True)):
        with pytest.raises(FileError, match="the same picture twice"):
            trace(module, 3, "net")


# TorchScript


def scripted(folder: Path, module: nn.Module) -> Path:
    path = folder / "net.ts"
    torch.jit.script(module.eval()).save(str(path))
    return path


@pytest.mark.parametrize("module", [Several(), Named()])
def test_of_several_results_of_torchscript_too(module: nn.Module, tmp_path: Path) -> None:
    (said,) = agrees(scripted(tmp_path, module), Net())
    assert "the picture among them" in said


class Optional(Net):
    def forward(self, x: Tensor, by: float = 0.5, mask: Tensor | None = None) -> Tensor:
        features = self.first(x) * by
        if mask is not None:
            features = features * mask
        return self.up(self.last(self.inner(features)))


class Needed(Net):
    def forward(self, x: Tensor, by: float) -> Tensor:
        return self.up(self.last(self.inner(self.first(x) * by)))


def test_values_by_default_in_torchscript(tmp_path: Path) -> None:
    assert agrees(scripted(tmp_path, Optional()), Optional()) == ()
    with pytest.raises(FileError, match="takes by beside the picture"):
        file_network.load(scripted(tmp_path, Needed()))


def test_torchscript_in_another_precision(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="float16"):
        file_network.load(scripted(tmp_path, Net().half()))
