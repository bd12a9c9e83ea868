"""Weights in several files with an index: read as one set, wherever weights are read; or told what is missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from hwmodels.errors import FileError
from hwsearch.cli import main
from searchspaces.networks import checkpoint, registry

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    torch.manual_seed(5)
    return {key: value.detach().clone() for key, value in registry.build("fsrcnn", 2).state_dict().items()}


def written(folder: Path, state: State, kind: str) -> Path:
    """An index over two files, as ``transformers`` writes them."""
    stem, ending = ("model", ".safetensors") if kind == "safetensors" else ("pytorch_model", ".bin")
    save: Callable[[State, Path], object] = save_file if kind == "safetensors" else torch.save
    names, places = sorted(state), {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        file = folder / f"{stem}-{number:05d}-of-00002{ending}"
        save({name: state[name] for name in part}, file)
        places |= dict.fromkeys(part, file.name)
    index = folder / f"{stem}{ending}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    return index


@pytest.mark.parametrize("kind", ["safetensors", "pytorch"])
def test_an_index_and_its_files_are_one_set_of_weights(state: State, tmp_path: Path, kind: str) -> None:
    network = registry.load("fsrcnn", 2, written(tmp_path, state, kind))
    for key, value in network.module.state_dict().items():
        assert torch.equal(value, state[key]), key


def test_other_numbers_in_one_of_the_files_are_other_weights(state: State, tmp_path: Path) -> None:
    index = written(tmp_path, state, "safetensors")
    before = registry.load("fsrcnn", 2, index).weights_sha256
    written(tmp_path, {key: value + 1 for key, value in state.items()}, "safetensors")
    assert registry.load("fsrcnn", 2, index).weights_sha256 != before


def test_commands_recognise_and_price_an_index(state: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = written(tmp_path, state, "safetensors")
    assert main(["inspect", str(index), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["recognised"]["name"], found["tensors"], found["files"]) == ("fsrcnn", len(state), 2)
    assert found["file_bytes"] == sum(file.stat().st_size for file in tmp_path.glob("*.safetensors"))
    assert main(["estimate", "--weights", str(index), "--target", "jetson", "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["network"] == "fsrcnn"
    assert main(["estimate", "--model", str(index), "--target", "jetson"]) == 2
    assert "weights, no network" in capsys.readouterr().err


def test_a_file_of_several_says_that_it_is_one(state: State, tmp_path: Path) -> None:
    index = written(tmp_path, state, "safetensors")
    part = tmp_path / "model-00001-of-00002.safetensors"
    with pytest.raises(FileError, match="missing") as refused:
        registry.load("fsrcnn", 2, part)
    assert "one of 2 files" in refused.value.hint
    assert "pass their index, model.safetensors.index.json" in refused.value.hint
    index.unlink()
    with pytest.raises(FileError, match="missing") as refused:
        registry.load("fsrcnn", 2, part)
    assert "fetch all of them" in refused.value.hint


def test_inspect_of_one_of_several_says_so(state: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path, state, "safetensors")
    assert main(["inspect", str(tmp_path / "model-00002-of-00002.safetensors"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["recognised"] is None
    assert "one of 2 files" in found["hint"]


def test_missing_files_are_named(state: State, tmp_path: Path) -> None:
    index = written(tmp_path, state, "safetensors")
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(FileError, match="1 of its 2 files are not beside it: model-00002-of-00002"):
        checkpoint.read(index)


def test_files_of_another_download_are_told(state: State, tmp_path: Path) -> None:
    index = written(tmp_path, state, "safetensors")
    save_file({"other": torch.zeros(1)}, tmp_path / "model-00001-of-00002.safetensors")
    with pytest.raises(FileError, match="does not hold 8 of the 8 tensors"):
        checkpoint.read(index)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"weight_map": {"a": "../w.safetensors"}}', "no file beside it"),
        ('{"weight_map": {"a": "/etc/passwd"}}', "no file beside it"),
        ('{"weight_map": {"a": "C:\\\\w.bin"}}', "no file beside it"),
        ('{"weight_map": {"a": ".."}}', "no file beside it"),
        ('{"weight_map": {"a": "w.index.json"}}', "an index again"),
        ('{"weight_map": {"a": 3}}', "no index of weights"),
        ('{"weight_map": {}}', "no index of weights"),
        ("[]", "no index of weights"),
        ('{"weight_map": {"a', "cut short"),
        ("<html></html>", "web page"),
        ("", "empty"),
    ],
)
def test_what_is_no_such_index_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "w.index.json").write_text(text)
    with pytest.raises(FileError, match=said):
        checkpoint.read(tmp_path / "w.index.json")
