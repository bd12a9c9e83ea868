"""Weights alone: the network is told by names and shapes, and nothing is guessed."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from hwmodels.errors import FileError, UsageError
from searchspaces.networks import registry
from searchspaces.networks.recognition import Recognised, recognise
from searchspaces.networks.registry import NETWORKS


def saved(state: dict[str, Tensor], path: Path) -> Path:
    save_file({key: value.contiguous() for key, value in state.items()}, path)
    return path


@pytest.mark.parametrize("name", list(NETWORKS))
def test_every_built_in_network_is_recognised_with_its_sizes(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec = NETWORKS[name]
    more = {key: value * 2 for key, value in spec.arguments.items() if key in ("width", "features") and name != "vgg16"}
    scale = spec.scales[-1]
    path = saved(registry.build(name, scale, **more).state_dict(), tmp_path / "w.safetensors")
    with caplog.at_level(logging.WARNING):
        found = recognise(path)
    assert found.name == name
    assert found.scale in (None, scale)
    assert f"recognised as {name}" in caplog.text
    assert recognise(path, scale) == Recognised(name, scale)


def test_what_frameworks_put_before_the_names_is_taken_off(tmp_path: Path) -> None:
    state = registry.build("espcn", 3).state_dict()
    path = saved({f"params_ema.{key}": value for key, value in state.items()}, tmp_path / "w.safetensors")
    assert recognise(path) == Recognised("espcn", 3)


def test_another_scale_is_said(tmp_path: Path) -> None:
    path = saved(registry.build("imdn", 4).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match="imdn x4, not of scale 2"):
        recognise(path, 2)


def test_none_of_them_and_the_nearest(tmp_path: Path) -> None:
    state = dict(registry.build("vdsr", 2).state_dict())
    state.pop(next(iter(state)))
    with pytest.raises(FileError, match=r"none of the built-in networks \(the nearest is vdsr"):
        recognise(saved(state, tmp_path / "w.safetensors"))
    with pytest.raises(FileError, match="none of the built-in networks"):
        recognise(saved({"a": torch.zeros(3)}, tmp_path / "other.safetensors"))
