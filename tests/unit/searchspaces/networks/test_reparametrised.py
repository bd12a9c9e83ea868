"""Weights that PyTorch's reparametrizations keep in parts are put together as PyTorch itself does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from searchspaces.networks.prefixes import choose
from searchspaces.networks.recognition import look
from searchspaces.networks.registry import build, load, load_file
from searchspaces.networks.reparametrised import put_together

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "convolution": lambda: nn.Conv2d(3, 8, 3),
    "grouped": lambda: nn.Conv2d(4, 8, 3, groups=2),
    "transposed": lambda: nn.ConvTranspose2d(3, 8, 3),
    "transposed, as many channels": lambda: nn.ConvTranspose2d(6, 6, 3),
    "one channel": lambda: nn.Conv2d(3, 1, 3),
    "linear": lambda: nn.Linear(5, 7),
}
NORMS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "weight hook": weight_norm,
    "weight hook, one number": lambda layer: weight_norm(layer, dim=None),  # type: ignore[arg-type]  # torch takes None
    "weight hook, second axis": lambda layer: weight_norm(layer, dim=1),
    "weight": parametrizations.weight_norm,
    "spectral hook": spectral_norm,
    "spectral": parametrizations.spectral_norm,
    "weight, then spectral": lambda layer: parametrizations.spectral_norm(parametrizations.weight_norm(layer)),
    "spectral, then spectral": lambda layer: parametrizations.spectral_norm(parametrizations.spectral_norm(layer)),
}
pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("layer", LAYERS)
def test_the_weight_is_the_one_that_the_layer_computes_with(layer: str, norm: str) -> None:
    torch.manual_seed(5)
    wrapped = nn.Sequential(NORMS[norm](LAYERS[layer]()))
    wrapped.train()
    for _ in range(3):  # spectral norm finds its singular vectors while it trains
        wrapped(torch.randn(5) if layer == "linear" else torch.randn(1, wrapped[0].in_channels, 6, 6))
    wrapped.eval()
    with torch.no_grad():
        wrapped(torch.randn(5) if layer == "linear" else torch.randn(1, wrapped[0].in_channels, 6, 6))
    found, joined = put_together(wrapped.state_dict())
    assert set(found) == {"0.weight", "0.bias"}
    torch.testing.assert_close(found["0.weight"], wrapped[0].weight.detach())
    assert [*joined] == ["0.weight"]


def test_a_weight_with_a_parametrization_that_is_not_known_stays_in_parts() -> None:
    layer = parametrizations.weight_norm(nn.Conv2d(3, 8, 3))
    parts = {**layer.state_dict(), "parametrizations.weight.1.factor": torch.ones(1)}
    assert put_together(parts) == (parts, {})


def test_parts_that_do_not_fit_stay() -> None:
    parts = {"a.weight_g": torch.ones(3, 1), "a.weight_v": torch.ones(4, 2), "b.weight_g": torch.ones(2)}
    assert put_together(parts) == (parts, {})


def test_what_a_network_keeps_in_parts_itself_stays_beside_what_it_does_not() -> None:
    wanted = {"c.weight": torch.zeros(8, 3, 3, 3), "gain_g": torch.zeros(1), "gain_v": torch.zeros(5)}
    saved = {"c.weight_g": torch.rand(8, 1, 1, 1), "c.weight_v": torch.rand(8, 3, 3, 3)}
    saved |= {"gain_g": torch.rand(1), "gain_v": torch.rand(5)}
    found = choose({f"params.{key}": value for key, value in saved.items()}, wanted, "w.pth")
    assert found.state.keys() == wanted.keys()
    assert torch.equal(found.state["gain_v"], saved["gain_v"])


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.module."])
def test_a_checkpoint_is_recognised_loaded_and_said(prefix: str, tmp_path: Path) -> None:
    torch.manual_seed(6)
    plain = build("fsrcnn")
    meant = {key: value.clone() for key, value in plain.state_dict().items()}
    for module in [*plain.modules()]:
        if isinstance(module, nn.Conv2d):
            parametrizations.weight_norm(module)
    path = tmp_path / "w.pth"
    torch.save({"state_dict": {f"{prefix}{key}": value for key, value in plain.state_dict().items()}}, path)
    assert look(path).name == "fsrcnn"
    network = load("fsrcnn", 2, path)
    for key, value in network.module.state_dict().items():
        torch.testing.assert_close(value, meant[key])
    assert "weight norm kept weights in parts (7 of them), which are put together" in " ".join(network.remarks)


def test_a_network_that_keeps_parts_itself_gets_them(tmp_path: Path) -> None:
    code = (
        "from torch import nn\n"
        "from torch.nn.utils import parametrizations\n"
        "def net():\n"
        "    first = parametrizations.weight_norm(nn.Conv2d(1, 4, 3, padding=1))\n"
        "    return nn.Sequential(first, nn.PixelShuffle(2))\n"
    )
    (tmp_path / "parts.py").write_text(code)
    made = nn.Sequential(parametrizations.weight_norm(nn.Conv2d(1, 4, 3, padding=1)), nn.PixelShuffle(2))
    torch.save(made.state_dict(), tmp_path / "w.pth")
    network = load_file(f"{tmp_path / 'parts.py'}:net", tmp_path / "w.pth")
    x = torch.rand(1, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(network.module(x), made(x))
    assert not network.remarks
