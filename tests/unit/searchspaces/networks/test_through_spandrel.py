"""Weights of networks that spandrel knows: recognised by its registry, never unpickled, and its absence explained.

Most tests put a stand-in with spandrel's interface in its place; the last ones ask the library itself, where it imports.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hwmodels.errors import FileError, UsageError
from hwsearch.problem.network import load_network
from hwsearch.problem.request import Request
from searchspaces.ir.graph import execute
from searchspaces.networks import through_spandrel
from searchspaces.networks.input_channels import parse
from searchspaces.networks.recognition import Recognised, look, recognise
from searchspaces.tracing.compared import check
from searchspaces.tracing.trace import trace


class Enlarging(nn.Module):
    """A network of no built-in kind."""

    def __init__(self, scale: int, channels: int = 3) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(channels, 4, 3, padding=1), nn.Conv2d(4, channels * scale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.shuffle(self.last(torch.relu(self.first(x))))
        return found


@dataclass
class Descriptor:
    """What spandrel gives: the network, and what is told of it. ``call``: how it makes a picture of the network."""

    model: nn.Module
    architecture: Any
    scale: int
    input_channels: int = 3
    output_channels: int = 3
    tags: list[str] = field(default_factory=lambda: ["4nf"])
    size_requirements: Any = field(default_factory=lambda: SimpleNamespace(minimum=0, multiple_of=1, square=False))
    call: Callable[[nn.Module, Tensor], Tensor] = lambda model, x: model(x)

    def __call__(self, x: Tensor) -> Tensor:
        return self.call(self.model, x).clamp(0, 1)


class WithMask(Descriptor):
    """Of a network for inpainting, which is no ``ImageModelDescriptor``."""


@dataclass
class Family:
    """One of spandrel's architectures, and its entry in the registry."""

    keys: tuple[str, ...] = ("first.weight", "last.weight")
    kind: type[Descriptor] = Descriptor
    changes: dict[str, Any] = field(default_factory=dict)
    network: type[Enlarging] = Enlarging
    id: str = "Enlarging"
    name: str = "Enlarging"

    @property
    def architecture(self) -> Family:
        return self

    def detect(self, state: dict[str, Tensor]) -> bool:
        return all(key in state for key in self.keys)

    def load(self, state: dict[str, Tensor]) -> Descriptor:
        channels = state["first.weight"].shape[1]
        scale = round((state["last.weight"].shape[0] / channels) ** 0.5)
        model = self.network(scale, channels)
        model.load_state_dict(state)
        return self.kind(model, self, scale, **{"input_channels": channels, "output_channels": channels, **self.changes})


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a library with these families in spandrel's place."""

    def put(*families: Family) -> None:
        registry = SimpleNamespace(architectures=lambda order: list(families))
        stand_in = SimpleNamespace(MAIN_REGISTRY=registry, ImageModelDescriptor=Descriptor)
        monkeypatch.setitem(sys.modules, "spandrel", stand_in)

    return put


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Of a network that enlarges three times, as a training framework saves it, with another copy beside it."""
    torch.manual_seed(0)
    module = Enlarging(3).half()
    torch.save({"params": Enlarging(3).state_dict(), "params_ema": module.state_dict()}, tmp_path / "w.pth")
    return tmp_path / "w.pth"


def test_recognised_said_and_loaded(library: Callable[..., None], weights: Path, caplog: pytest.LogCaptureFixture) -> None:
    library(Family(("no such key",)), Family())
    found = recognise(weights)
    assert found == Recognised("spandrel", 3, (3,), 3)
    assert "w.pth: recognised as Enlarging 4nf (by spandrel) x3, RGB, values 0..1." in caplog.text
    network = load_network(Request(network=found.name, scale=found.scale, weights=weights))
    assert (network.name, network.scale, network.channels) == ("Enlarging", 3, 3)
    assert network.remarks == ("w.pth: params_ema. is taken off the names of its tensors.",)
    saved = torch.load(weights, weights_only=True)["params_ema"]
    assert all(torch.equal(value, saved[key].float()) for key, value in network.module.state_dict().items())
    graph = trace(network.module, 3, network.name)
    assert [node.op.kind for node in graph.nodes] == ["input", "conv", "conv", "pixel_shuffle"]


def test_built_in_networks_come_first(library: Callable[..., None], tmp_path: Path) -> None:
    from searchspaces.networks import registry

    library(Family(keys=()))
    torch.save(registry.build("espcn", 3).state_dict(), tmp_path / "w.pth")
    assert look(tmp_path / "w.pth").name == "espcn"


def test_no_pickle_is_run(library: Callable[..., None], tmp_path: Path) -> None:
    """The library is asked with tensors; a file that would have to run code does not come that far."""

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    library(Family())
    torch.save({"first.weight": torch.zeros(4, 3, 3, 3), "trap": Trap()}, tmp_path / "w.pth")
    with pytest.raises(FileError):
        look(tmp_path / "w.pth")
    assert not (tmp_path / "ran").exists()


def test_what_it_does_not_know_or_cannot_load(library: Callable[..., None], weights: Path, tmp_path: Path) -> None:
    library(Family(("no such key",)))
    with pytest.raises(FileError, match=r"none of the built-in networks.*nor of those that spandrel knows"):
        look(weights)
    library(Family())
    torch.save({"first.weight": torch.zeros(4, 3, 3, 3), "last.weight": torch.zeros(5)}, tmp_path / "part.pth")
    with pytest.raises(FileError, match="keys are those of Enlarging, but its tensors do not fit"):
        look(tmp_path / "part.pth")
    with pytest.raises(UsageError, match="Enlarging 4nf x3, not of scale 2"):
        look(weights, 2)


class Judging(Enlarging):
    """Gives a number for the quality beside the picture."""

    def forward(self, x: Tensor) -> Any:
        return super().forward(x), x.mean()


def test_of_several_results_the_picture_is_taken(library: Callable[..., None], weights: Path) -> None:
    library(Family(network=Judging, changes={"call": lambda model, x: model(x)[0]}))
    network = load_network(Request(network="spandrel", weights=weights))
    assert any("returns 2 results; the picture among them, number 1, is taken" in remark for remark in network.remarks)
    assert trace(network.module, 3, "judging", 3).size is None


CANNOT: dict[str, tuple[Family, str]] = {
    "a mask": (Family(kind=WithMask), "needs a mask"),
    "fewer channels out": (Family(changes={"output_channels": 1}), "reads 3 channels, and gives 1"),
    "more than the picture": (Family(changes={"call": lambda model, x: model(x) * 0.5 + 0.5}), "by more than running it"),
    "another input": (Family(changes={"call": lambda model, x: model(x[:, :1])}), "does not run on a picture alone"),
}


@pytest.mark.parametrize("name", CANNOT)
def test_networks_that_need_more_than_a_picture(name: str, library: Callable[..., None], weights: Path) -> None:
    family, reason = CANNOT[name]
    library(family)
    if family.kind is WithMask:
        sys.modules["spandrel"].ImageModelDescriptor = int  # type: ignore[attr-defined]  # of which it is none
    with pytest.raises(UsageError, match=reason):
        look(weights)


def test_a_network_without_weights_or_with_arguments(weights: Path) -> None:
    with pytest.raises(UsageError, match="recognised by their weights"):
        load_network(Request(network="spandrel"))
    with pytest.raises(UsageError, match="has no arguments"):
        load_network(Request(network="spandrel", weights=weights, arguments={"width": 3}))


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Puts a package in spandrel's place whose import does what a line says; without a line there is none."""
    monkeypatch.delitem(sys.modules, "spandrel", raising=False)

    # What torch itself imports late would not be found either.
    importlib.import_module("torch.fx.experimental.symbolic_shapes")

    def put(line: str) -> None:
        if not line:
            monkeypatch.setattr(sys, "path", [])
            monkeypatch.setattr(sys, "meta_path", [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()])
            return
        (tmp_path / "spandrel.py").write_text(line)
        monkeypatch.syspath_prepend(str(tmp_path))

    return put


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "forty more families, is not installed"),
        (
            "raise RuntimeError('operator torchvision::nms does not exist')",
            "RuntimeError: operator torchvision::nms does not exist",
        ),
        ("import no_torchvision", "ModuleNotFoundError: No module named 'no_torchvision'"),
    ],
)
def test_the_true_cause_where_it_cannot_be_asked(line: str, reason: str, failing: Callable[[str], None], weights: Path) -> None:
    failing(line)
    with pytest.raises(FileError, match=reason) as refused:
        look(weights)
    assert "none of the built-in networks" in refused.value.message
    assert "pip install spandrel" in refused.value.hint
    with pytest.raises(UsageError, match=reason):
        through_spandrel.load(weights, None, {})


def test_the_command_that_mends_it_is_for_the_torch_that_is_there() -> None:
    """A build names its index (PyTorch's own wheels: +cpu, +cu128, +rocm6.4); those of vendors name none that pip could ask."""
    assert through_spandrel.remedy("2.10.0") == "Install it: pip install spandrel"
    for version, index in (("2.13.0+cpu", "cpu"), ("2.14.1+cu130", "cu130"), ("2.9.0+rocm6.4", "rocm6.4")):
        said = through_spandrel.remedy(version)
        assert f'"torch=={version.partition("+")[0]}" torchvision --index-url https://download.pytorch.org/whl/{index} &&' in said
        assert "uninstall" not in said
    broken = through_spandrel.remedy("2.13.0+cpu", again=True)
    assert "pip uninstall -y torchvision && pip install" in broken
    assert "index-url" not in through_spandrel.remedy("2.6.0a0+ecf3bae40a.nv25.01", again=True)


class Folding(nn.Module):
    """A network that folds two convolutions into one whenever it runs, as SPAN does."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow, self.eval_conv = (
            nn.Conv2d(3, 8, 1, bias=False),
            nn.Conv2d(8, 3, 1, bias=False),
            nn.Conv2d(3, 3, 1),
        )

    def update_params(self) -> None:
        product = self.narrow.weight.data[:, :, 0, 0] @ self.wide.weight.data[:, :, 0, 0]
        self.eval_conv.weight.data = product[:, :, None, None]
        self.eval_conv.bias.data = torch.zeros(3)

    def forward(self, x: Tensor) -> Tensor:
        self.update_params()
        found: Tensor = self.eval_conv(x)
        return found


def test_what_folds_its_weights_whenever_it_runs_does_so_once() -> None:
    torch.manual_seed(0)
    network = Folding().eval()
    x = torch.rand(1, 3, 8, 8)
    with pytest.raises(FileError, match=r"torch\.export cannot trace"):
        trace(Folding().eval(), 3, "folding")
    through_spandrel._settle(network)
    with torch.no_grad():
        assert torch.allclose(network(x), network.narrow(network.wide(x)), atol=1e-6)
    assert [node.op.kind for node in trace(network, 3, "folding").nodes] == ["input", "conv"]


@pytest.fixture
def spandrel() -> Any:
    found = through_spandrel._library()
    if isinstance(found, through_spandrel.Unavailable):
        pytest.skip(found.reason)
    return found


REAL: dict[str, tuple[dict[str, Any], int, int]] = {
    "ESRGAN": ({"num_filters": 16, "num_blocks": 2, "scale": 4}, 4, 3),
    "SwiftSRGAN": ({"num_channels": 16, "num_blocks": 2, "upscale_factor": 4}, 4, 3),
    "Swin2SR": (
        {"embed_dim": 24, "depths": [2], "num_heads": [3], "window_size": 8, "upscale": 2, "upsampler": "pixelshuffledirect"},
        2,
        3,
    ),
    "DAT": ({"embed_dim": 24, "depth": [2], "num_heads": [2], "split_size": [8, 8], "expansion_factor": 2.0, "upscale": 2}, 2, 3),
    "DnCNN": ({}, 1, 1),
    "PLKSR": ({"dim": 16, "n_blocks": 2, "upscaling_factor": 2}, 2, 3),
    "SPAN": ({"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 16}, 4, 3),
}
"""Family, sizes of a small network of it, its scale and channels."""


@pytest.mark.parametrize("family", REAL)
def test_families_of_the_library_itself(family: str, spandrel: Any, tmp_path: Path) -> None:
    """Random weights of small networks: recognised, loaded, traced to the same numbers."""
    arguments, scale, channels = REAL[family]
    torch.manual_seed(0)
    module = getattr(getattr(spandrel.architectures, family), family)(**arguments)
    torch.save({"params": module.state_dict()}, tmp_path / "w.pth")
    found = look(tmp_path / "w.pth")
    assert (found.name, found.scale, found.channels) == ("spandrel", scale, channels)
    network = through_spandrel.load(tmp_path / "w.pth", None, {})
    graph = trace(network.module, channels, family, size=(32, 48))
    assert graph.uncounted == ()
    assert check(graph, network.module, channels, scale, sizes=((32, 48),)) < 1e-4


class Thrice(nn.Module):
    """Reads pixels of blocks of 2x2 as channels and enlarges what it reads three times: pictures by 3/2."""

    def __init__(self, scale: int, channels: int) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(channels, 4, 3, padding=1), nn.Conv2d(4, 27, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pixel_shuffle(self.last(torch.relu(self.first(x))), 3)


@pytest.mark.parametrize(("blocks", "scale"), [(2, Fraction(3, 2)), (3, 1)])
def test_the_scale_is_that_of_the_picture(
    library: Callable[..., None], tmp_path: Path, blocks: int, scale: Fraction | int, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    torch.save(Thrice(3, 3 * blocks**2).state_dict(), tmp_path / "w.pth")
    library(Family(network=Thrice, changes={"output_channels": 3}))  # type: ignore[arg-type]
    made = (f"unshuffle:{blocks}",)
    found = recognise(tmp_path / "w.pth", made=parse(made))
    assert (found.scale, found.channels) == (scale, 3)
    assert f"x{float(scale):g}, RGB" in caplog.text
    asked = Request(network=found.name, scale=found.scale, weights=tmp_path / "w.pth", input_channels=made)
    assert load_network(asked).scale == scale


def test_what_it_reads_is_made_from_the_picture(library: Callable[..., None], tmp_path: Path) -> None:
    torch.manual_seed(0)
    alone = Thrice(3, 12)
    torch.save(alone.state_dict(), tmp_path / "w.pth")
    library(Family(network=Thrice, changes={"output_channels": 3}))  # type: ignore[arg-type]
    asked = Request(network="spandrel", weights=tmp_path / "w.pth", input_channels=("unshuffle:2",))
    network = load_network(asked)
    x = torch.rand(1, 3, 24, 32)
    graph = trace(network.module, 3, network.name)
    with torch.no_grad():
        right = alone(torch.nn.functional.pixel_unshuffle(x, 2))
        assert torch.equal(network.module(x), right)
        assert torch.allclose(execute(graph, x), right, atol=1e-5)
    with pytest.raises(UsageError, match="reads 12 channels, and gives 3"):
        look(tmp_path / "w.pth")


def test_pictures_that_become_smaller_are_refused(library: Callable[..., None], tmp_path: Path) -> None:
    torch.save(Thrice(3, 48).state_dict(), tmp_path / "w.pth")
    library(Family(network=Thrice, changes={"output_channels": 3}))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="'3/4': a network must enlarge"):
        look(tmp_path / "w.pth", made=parse(("unshuffle:4",)))
