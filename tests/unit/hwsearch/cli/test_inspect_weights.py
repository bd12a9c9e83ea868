"""`hwsearch inspect` of a file of weights alone: which network they are of, and what it holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from hwsearch.cli import main
from searchspaces.networks import registry


def answer(capsys: pytest.CaptureFixture[str], file: Path) -> dict[str, Any]:
    assert main(["inspect", str(file), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_built_in_network_is_told_with_scales_colours_and_sizes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """VDSR's weights are the same for all scales, and luma; a checkpoint with prefixes of a framework."""
    module = registry.build("vdsr", 2, depth=4)
    torch.save({"params": module.state_dict()}, tmp_path / "w.pth")
    found = answer(capsys, tmp_path / "w.pth")
    assert found["recognised"]["name"] == "vdsr"
    assert (found["recognised"]["scales"], found["recognised"]["scale"], found["recognised"]["channels"]) == ([2, 3, 4], None, 1)
    assert found["recognised"]["arguments"]["depth"] == 4
    assert found["parameters"] == sum(parameter.numel() for parameter in module.parameters())
    assert main(["inspect", str(tmp_path / "w.pth")]) == 0
    assert "vdsr x2 or x3 or x4, luma, values 0..1" in capsys.readouterr().out


def test_values_of_a_network_of_0_to_255_are_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    save_file(registry.build("rfdn", 4).state_dict(), tmp_path / "w.safetensors")
    assert answer(capsys, tmp_path / "w.safetensors")["recognised"]["value_range"] == "0..255"


def test_what_is_none_of_them_is_counted_and_the_reason_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    save_file({"a": torch.zeros(3), "b": torch.zeros(2, 2)}, tmp_path / "w.safetensors")
    found = answer(capsys, tmp_path / "w.safetensors")
    assert (found["recognised"], found["tensors"], found["parameters"]) == (None, 2, 7)
    assert "none of the built-in networks" in found["reason"]


def test_weights_that_no_command_takes_are_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    state = registry.build("espcn", 2).state_dict()
    file, key = tmp_path / "w.safetensors", next(iter(state))
    save_file(state, file)
    assert answer(capsys, file)["not_finite"] == []
    state[key].view(-1)[3] = float("nan")
    save_file(state, file)
    assert answer(capsys, file)["not_finite"] == [key]
    assert main(["inspect", str(file)]) == 0
    assert f"Not finite: {key}. The training diverged" in capsys.readouterr().out
    assert main(["estimate", "--weights", str(file), "--target", "jetson"]) == 3
    assert f"not finite: {key}" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [torch.int8, torch.uint8])
def test_integers_for_which_loading_refuses_a_file_are_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, kind: torch.dtype
) -> None:
    state = registry.build("espcn", 2).state_dict()
    file, key = tmp_path / "w.safetensors", next(iter(state))
    save_file({name: value.to(kind) if name == key else value for name, value in state.items()}, file)
    assert answer(capsys, file)["integers"] == [key]
    assert main(["inspect", str(file)]) == 0
    assert f"Integers in the place of real numbers: {key}. Integers of a quantized" in capsys.readouterr().out
    assert main(["estimate", "--weights", str(file), "--target", "jetson"]) == 3
    assert "integers where the network has real numbers" in capsys.readouterr().err


def test_integers_of_unknown_networks_are_told_by_their_names(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    whole = {"conv.weight": torch.zeros(3, dtype=torch.int8), "n.num_batches_tracked": torch.tensor(1), "index": torch.arange(3)}
    save_file(whole, tmp_path / "w.safetensors")
    assert answer(capsys, tmp_path / "w.safetensors")["integers"] == ["conv.weight"]


def test_a_file_that_is_no_weights_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_text("<html></html>")
    assert main(["inspect", str(tmp_path / "w.pth")]) == 3
    assert "web page" in capsys.readouterr().err
