"""Weights as training frameworks save them, and what is no weights at all: taken by the network's names, or refused."""

from __future__ import annotations

import argparse
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from hwmodels.errors import FileError
from searchspaces.networks import checkpoint
from searchspaces.networks.prefixes import choose
from searchspaces.networks.registry import build, load, load_file
from searchspaces.networks.weights import read_weights

State = Mapping[str, Tensor]


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(3)
    return build("fsrcnn").state_dict()


def prefixed(state: State, *prefixes: str) -> dict[str, Tensor]:
    return {"".join(prefixes) + key: value for key, value in state.items()}


def other(state: State) -> dict[str, Tensor]:
    """Weights of the same names that must not be taken."""
    return {key: value + 1 for key, value in state.items()}


def assert_taken(path: Path, state: State, *said: str) -> None:
    network = load("fsrcnn", 2, path)
    for key, value in network.module.state_dict().items():
        assert torch.equal(value, state[key]), key
    for words in said:
        assert words in " ".join(network.remarks)
    assert bool(network.remarks) == bool(said)


@pytest.mark.parametrize(
    "prefixes",
    [
        ("_orig_mod.",),
        ("module.",),
        ("model.",),
        ("net_g.",),
        ("netG.", "module."),
        ("generator.",),
        ("generator_ema.",),
        ("params_ema.",),
        ("params.",),
        ("module.", "_orig_mod."),
        ("_orig_mod.", "module."),
        ("model.", "_orig_mod."),
        ("model.", "net_g.", "module.", "_orig_mod."),
        ("my_own_name.",),
    ],
)
@pytest.mark.parametrize("kind", ["pth", "legacy", "safetensors", "ckpt"])
def test_prefixes_are_taken_off_and_said(state: State, tmp_path: Path, prefixes: tuple[str, ...], kind: str) -> None:
    path = tmp_path / f"w.{kind}"
    saved = prefixed(state, *prefixes)
    if kind == "safetensors":
        save_file(saved, path)
    else:
        torch.save(saved, path, _use_new_zipfile_serialization=kind != "legacy")
    assert_taken(path, state, *(prefix for prefix in prefixes))


def test_plain_weights_need_no_words(state: State, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "w.pth")
    assert_taken(tmp_path / "w.pth", state)


def test_what_a_profiler_counted_is_left_out(state: State, tmp_path: Path) -> None:
    torch.save({**state, "total_ops": torch.zeros(1), "first_part.0.total_params": torch.zeros(1)}, tmp_path / "w.pth")
    assert_taken(tmp_path / "w.pth", state, "what a profiler counted is left out (2 tensors)")


def _beside(state: State) -> dict[str, Callable[[], Any]]:
    optimizer = {"state": {0: {"exp_avg": torch.zeros(56, 1, 5, 5)}}, "param_groups": [{"lr": 1e-3, "params": [0]}]}
    discriminator = prefixed({"features.0.weight": torch.zeros(8, 1, 3, 3)}, "net_d.")
    return {
        "state_dict": lambda: {"state_dict": prefixed(state, "module."), "epoch": 3, "optimizer": optimizer},
        "model": lambda: {"model": dict(state), "optimizer_states": [optimizer]},
        "basicsr": lambda: {"params": other(state), "params_ema": dict(state)},
        "esrgan": lambda: {"generator": other(state), "generator_ema": dict(state), "discriminator": discriminator},
        "lightning": lambda: {
            "state_dict": {**prefixed(state, "net_g."), **discriminator},
            "hyper_parameters": {"lr": 1e-3},
            "optimizer_states": [optimizer],
            "pytorch-lightning_version": "2.5",
        },
        "ema model": lambda: {"state_dict": {**prefixed(other(state), "model."), **prefixed(state, "ema_model.module.")}},
        "twice the same": lambda: {"state_dict": {**prefixed(state, "model."), **prefixed(state, "loss.model.")}},
        "averaged": lambda: {"n_averaged": torch.tensor(5), **prefixed(state, "module.")},
        "compiled inside": lambda: {f"model.{key.replace('.', '._orig_mod.', 1)}": value for key, value in state.items()},
    }


WAYS = ("state_dict", "model", "basicsr", "esrgan", "lightning", "ema model", "twice the same", "averaged", "compiled inside")


@pytest.mark.parametrize("way", WAYS)
def test_wrappers_are_opened_and_an_averaged_copy_is_preferred(state: State, tmp_path: Path, way: str) -> None:
    torch.save(_beside(state)[way](), tmp_path / "w.pth")
    said = {
        "basicsr": "averaged weights (params_ema.) were taken, not those of params.",
        "esrgan": "averaged weights (generator_ema.) were taken",
        "ema model": "averaged weights (state_dict.ema_model.module.) were taken",
        "lightning": "state_dict.net_g. is taken off",
        "averaged": "n_averaged",
        "compiled inside": "_orig_mod.",
    }.get(way, "taken off")
    assert_taken(tmp_path / "w.pth", state, said)


def test_swa_of_torch_itself(tmp_path: Path) -> None:
    network = build("espcn")
    torch.save(AveragedModel(network).state_dict(), tmp_path / "w.pth")
    found = load("espcn", weights=tmp_path / "w.pth")
    assert torch.equal(found.module.state_dict()["conv1.weight"], network.state_dict()["conv1.weight"])


def test_two_networks_that_fit_are_not_guessed_at(state: State, tmp_path: Path) -> None:
    torch.save({**prefixed(state, "student."), **prefixed(other(state), "teacher.")}, tmp_path / "w.pth")
    with pytest.raises(FileError, match=r"two networks in this file fit: student\. and teacher\."):
        load("fsrcnn", 2, tmp_path / "w.pth")


def test_a_network_whose_own_names_look_like_prefixes(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.PixelShuffle(2))\n"
        "    def forward(self, x):\n"
        "        return self.model(x)\n"
    )
    own = {"model.0.weight": torch.rand(4, 1, 3, 3), "model.0.bias": torch.rand(4)}
    for saved in (own, {"state_dict": prefixed(own, "model.")}, prefixed(own, "_orig_mod.")):
        torch.save(saved, tmp_path / "w.pth")
        network = load_file(f"{tmp_path}/own.py:Net", weights=tmp_path / "w.pth")
        assert torch.equal(network.module.state_dict()["model.0.weight"], own["model.0.weight"])
        assert bool(network.remarks) == (saved is not own)


def test_the_sizes_of_a_deeper_network_are_read_behind_a_prefix(tmp_path: Path) -> None:
    for arguments in ({"n_feats": 8, "n_blocks": 3}, {"n_feats": 8, "n_blocks": 20}):
        saved = build("edsr", 2, **arguments).state_dict()
        torch.save({"state_dict": prefixed(saved, "net_g.")}, tmp_path / "w.pth")
        assert load("edsr", 2, tmp_path / "w.pth").arguments.items() >= arguments.items()


def test_what_does_not_fit_is_listed_without_its_wrappers(state: State, tmp_path: Path) -> None:
    torch.save({"state_dict": prefixed(state, "model.")}, tmp_path / "w.pth")
    with pytest.raises(FileError, match="unexpected: first_part") as refused:
        load("espcn", 2, tmp_path / "w.pth")
    assert "state_dict" not in str(refused.value)


def test_objects_beside_the_tensors_are_not_brought_to_life(state: State, tmp_path: Path) -> None:
    script = {"state_dict": dict(state), "args": argparse.Namespace(lr=1e-3), "best": np.float64(31.2), "out": Path("/tmp/x")}
    torch.save(script, tmp_path / "w.pth")
    network = load("fsrcnn", 2, tmp_path / "w.pth")
    assert torch.equal(network.module.state_dict()["last_part.bias"], state["last_part.bias"])
    assert "argparse.Namespace" in " ".join(network.remarks)


class Alive:
    """Says when it is called or given a state."""

    calls = 0

    def __init__(self) -> None:
        Alive.calls += 1

    def __setstate__(self, given: object) -> None:
        Alive.calls += 1


def test_no_class_of_a_file_is_called(state: State, tmp_path: Path) -> None:
    alive = Alive()
    before = Alive.calls
    torch.save({"state_dict": dict(state), "callback": alive, "name": "x"}, tmp_path / "w.pth")
    found = checkpoint.read(tmp_path / "w.pth")
    assert any(name.endswith("Alive") for name in found.unread)
    assert Alive.calls == before


# What is no weights at all


def _zip(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")


def _scripted(path: Path) -> None:
    torch.jit.save(torch.jit.trace(nn.Conv2d(1, 1, 1), torch.zeros(1, 1, 2, 2)), str(path))  # type: ignore[no-untyped-call]


def _exported(path: Path) -> None:
    program = torch.export.export(nn.Conv2d(1, 1, 1), (torch.zeros(1, 1, 2, 2),))
    with path.open("wb") as file:
        torch.export.save(program, file)


FOREIGN: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda p: p.write_bytes(b""), "the file is empty"),
    "pointer": (lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"), "git lfs pull"),
    "page": (lambda p: p.write_text("\n <!DOCTYPE html><html>"), "a web page"),
    "page without doctype": (lambda p: p.write_text("<html><head>"), "a web page"),
    "error of a store": (lambda p: p.write_text('<?xml version="1.0"?><Error>'), "a web page"),
    "words": (lambda p: p.write_text("Entry not found"), "text, not weights; it begins with 'Entry not found'"),
    "json": (lambda p: p.write_text('{"error": "rate limit"}'), "text, not weights"),
    "script": (_scripted, "TorchScript"),
    "program": (_exported, "torch.export"),
    "npz": (lambda p: np.savez(p.open("wb"), a=np.zeros(3)), "NumPy arrays"),
    "npy": (lambda p: np.save(p.open("wb"), np.zeros(3)), "a NumPy array"),
    "zip": (lambda p: _zip(p, "readme.txt"), "a zip archive without weights"),
    "zip of weights": (lambda p: _zip(p, "weights/net.pth"), "Unpack it"),
    "keras": (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n"), "HDF5"),
    "gzip": (lambda p: p.write_bytes(b"\x1f\x8b\x08" + bytes(20)), "gzip"),
    "plain pickle": (lambda p: p.write_bytes(pickle.dumps({"a": np.zeros(3)})), "refused"),
    "whole model": (lambda p: torch.save(build("espcn"), p), "the whole model was pickled"),
    "arrays": (lambda p: torch.save({"a": np.zeros(3)}, p), "NumPy arrays"),
    "noise": (lambda p: p.write_bytes(bytes(range(144, 256))), "not a weights file"),
    "folder": (lambda p: p.mkdir(), "a folder"),
    "complex": (lambda p: torch.save({"a": torch.zeros(2, dtype=torch.complex64)}, p), "no plain tensor"),
    "sparse": (lambda p: torch.save({"a": torch.eye(2).to_sparse()}, p), "no plain tensor"),
    "meta": (lambda p: torch.save({"a": torch.zeros(2, device="meta")}, p), "no plain tensor"),
    "no tensor": (lambda p: torch.save({"a": 1}, p), "no tensors"),
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.filterwarnings("ignore")
def test_what_is_no_weights_gets_its_true_cause(tmp_path: Path, kind: str) -> None:
    write, cause = FOREIGN[kind]
    path = tmp_path / "w.pth"
    write(path)
    with pytest.raises(FileError) as refused:
        load("espcn", weights=path)
    assert cause in str(refused.value)
    assert refused.value.hint


def test_the_kind_is_told_by_the_content(state: State, tmp_path: Path) -> None:
    save_file(dict(state), tmp_path / "w.pth")
    torch.save(state, tmp_path / "w.safetensors")
    assert_taken(tmp_path / "w.pth", state)
    assert_taken(tmp_path / "w.safetensors", state)


def test_a_changed_byte_in_an_archive_is_noticed(state: State, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(state, path)
    content = bytearray(path.read_bytes())
    place = content.index(state["first_part.0.weight"].numpy().tobytes())
    content[place + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileError, match="the checksum of"):
        load("fsrcnn", 2, path)


def test_a_weight_that_is_not_finite_is_named(state: State, tmp_path: Path) -> None:
    torch.save(prefixed({**state, "last_part.bias": torch.full((1,), float("nan"))}, "model."), tmp_path / "w.pth")
    with pytest.raises(FileError, match=r"not finite: last_part\.bias"):
        load("fsrcnn", 2, tmp_path / "w.pth")


@pytest.mark.parametrize("kind", [torch.int8, torch.uint8, torch.int32, torch.bool])
def test_integers_are_no_weights(state: State, tmp_path: Path, kind: torch.dtype) -> None:
    """What is left of a quantized network without its scales."""
    torch.save({key: (100 * value).to(kind) for key, value in state.items()}, tmp_path / "w.pth")
    with pytest.raises(FileError, match=r"integers where the network has real numbers: .* \(16 of 16 tensors\)"):
        load("fsrcnn", 2, tmp_path / "w.pth")


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_real_numbers_are(state: State, tmp_path: Path, kind: torch.dtype) -> None:
    torch.save({key: value.to(kind) for key, value in state.items()}, tmp_path / "w.pth")
    weight = load("fsrcnn", 2, tmp_path / "w.pth").module.state_dict()["first_part.0.weight"]
    assert weight.dtype == torch.float32
    torch.testing.assert_close(weight, state["first_part.0.weight"], rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("part", ["weight", "bias"])
def test_a_module_that_is_not_finite_is_refused_before_tracing(tmp_path: Path, value: str, part: str) -> None:
    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\n\n"
        "def build():\n"
        "    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.PixelShuffle(2))\n"
        f"    net[0].{part}.data.view(-1)[1] = float('{value}')\n"
        "    return net\n"
    )
    with pytest.raises(FileError, match=f"not finite: 0.{part}"):
        load_file(f"{tmp_path}/net.py:build")


def test_checkpoints_of_others(shared: Path) -> None:
    for name, prefix in (("compile", "_orig_mod."), ("lightning", "model.")):
        network = load("fsrcnn", 2, shared / "cases" / f"{name}.pth")
        assert prefix in " ".join(network.remarks)
    for name, cause in (("jit.pt", "TorchScript"), ("lfs.pth", "Git LFS"), ("html.pth", "a web page")):
        with pytest.raises(FileError, match=cause):
            load("fsrcnn", 2, shared / "cases" / name)


def test_a_prefix_is_not_taken_off_for_half_a_network(state: State) -> None:
    half = dict(list(prefixed(state, "strange.").items())[:3])
    chosen = choose({**half, "more.weight": torch.zeros(1)}, state, "w.pth")
    assert chosen.remarks == ()
    assert "more.weight" in chosen.state


def test_remarks_name_the_file(state: State, tmp_path: Path) -> None:
    torch.save(prefixed(state, "module."), tmp_path / "w.pth")
    (remark,) = read_weights(tmp_path / "w.pth", state).remarks
    assert remark == "w.pth: module. is taken off the names of its tensors."


@pytest.mark.parametrize("begins", [b"\x80", b"PK"])
def test_safetensors_whose_length_begins_like_another_kind(tmp_path: Path, begins: bytes) -> None:
    """The header's length comes first: 128 bytes begin like a pickle, 19280 like an archive."""
    path, weight, length = tmp_path / "w.safetensors", torch.rand(2, 3), int.from_bytes(begins, "little")
    save_file({"weight": weight}, path)
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    path.write_bytes(length.to_bytes(8, "little") + content[8:end].ljust(length) + content[end:])
    assert path.read_bytes().startswith(begins)
    assert torch.equal(checkpoint.read(path).tensors["weight"], weight)
