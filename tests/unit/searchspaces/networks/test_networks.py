"""Networks by name, weights of every kind of file, and modules from a person's own file."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from small_networks import SMALL
from torch import nn

from hwmodels.errors import FileError, UsageError
from searchspaces.networks import registry
from searchspaces.networks.recognition import recognise
from searchspaces.networks.registry import NETWORKS, build, load, load_file
from searchspaces.networks.shards import sha256
from searchspaces.networks.weights import read_weights, state_sha256

SIZES = SMALL | {
    "fsrcnn": {"channels": 3, "d": 10, "s": 4, "m": 2, "activation": "prelu"},
    "abpn": {"m": 3, "c": 8},
    "edsr": {"n_feats": 8, "n_blocks": 3},
    "vdsr": {"depth": 5, "width": 6},
}


def _weights(folder: Path, name: str, scale: int = 2, **arguments: object) -> Path:
    torch.manual_seed(0)
    path = folder / f"{name}.safetensors"
    save_file(build(name, scale, **arguments).state_dict(), path)
    return path


def test_every_network_is_exercised_here() -> None:
    assert set(SIZES) == set(NETWORKS)


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
def test_sizes_are_read_off_the_weights(tmp_path: Path, name: str, scale: int) -> None:
    if scale not in NETWORKS[name].scales:
        with pytest.raises(UsageError, match=f"not made for scale {scale}"):
            build(name, scale)
        return
    path = _weights(tmp_path, name, scale, **SIZES[name])
    network = load(name, scale=scale, weights=path)
    assert {key: network.arguments[key] for key in SIZES[name]} == SIZES[name]
    assert network.weights_sha256 == sha256(path)
    assert not network.module.training
    assert network.provenance == {}
    saved = read_weights(path, {}).state
    assert all(torch.equal(value, saved[key]) for key, value in network.module.state_dict().items())
    factor = 1 if network.input_kind == "upsampled" else scale
    height, width = network.size or (18, 22)
    with torch.no_grad():
        output = network.module(torch.rand(1, network.channels, height, width))
    if network.task:
        assert output.shape == (1, network.arguments["classes"])
    else:
        assert output.shape == (1, network.channels, height * factor, width * factor)


@pytest.mark.parametrize(
    ("name", "scale", "arguments", "parameters"),
    [
        ("fsrcnn", 2, {}, 12_464 + 173),  # the paper's count of weights, and a bias for every channel
        ("edsr", 2, {}, 1_369_859),  # EDSR-baseline: 1.37 M
        ("edsr", 4, {"n_feats": 256, "n_blocks": 32}, 43_089_923),  # EDSR: 43 M
        ("vdsr", 2, {}, 665_921),
        ("imdn", 2, {}, 694_404),
        ("ecbsr", 2, {"m": 4, "c": 16}, 11_548),
        ("abpn", 3, {}, 42_539),
        ("espcn", 3, {}, 31_131),
        ("swinir", 2, {}, 910_152),  # SwinIR light: 910 K, tables of positions included
        ("swinir", 4, {"width": 180, "groups": 6, "inner": 360, "end": "shuffle"}, 11_900_199),  # classical: 11.9 M
        ("ngswin", 2, {}, 998_384),
        ("ngswin", 3, {}, 1_007_039),
        ("imdtn", 4, {}, 371_532),
        ("etds", 2, {}, 41_512),
        ("lapsrn", 4, {}, 814_242),
        ("carn_m", 2, {}, 257_051),
        ("srvgg", 4, {}, 621_424),
        ("rrdb", 4, {"n_blocks": 6}, 4_467_779),
        ("rrdb", 4, {}, 16_697_987),  # ESRGAN: 16.7 M
        ("pan", 4, {}, 272_419),
        ("rfdn", 4, {}, 433_448),
        ("bsrn", 4, {}, 352_400),
        ("srmdnf", 2, {}, 1_510_555 - 15),  # the degradation is no parameter
        ("rcan", 2, {}, 15_444_667),  # RCAN: 15.44 M
        ("rcan_basicsr", 2, {}, 15_444_667 - 24),  # its mean is no parameter: two 1x1 convolutions of 3 channels less
        ("resnet18", 1, {}, 11_689_512),
        ("vgg16", 1, {}, 138_357_544),
    ],
)
def test_parameter_counts_of_the_papers(name: str, scale: int, arguments: dict[str, int], parameters: int) -> None:
    with torch.device("meta"):
        network = build(name, scale, **arguments)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def test_rcan_as_basicsr_spells_it_is_rcan() -> None:
    """The same layers under other names: with values of 0..1 what RCAN does with values of 0..255."""
    torch.manual_seed(0)
    sizes = {"n_groups": 2, "n_blocks": 3, "n_feats": 8, "reduction": 4}
    network, other = build("rcan", 4, **sizes), build("rcan_basicsr", 4, **sizes)
    state = network.state_dict()
    names = {"conv_first": "head.0", "conv_after_body": "body.2", "upsample.0": "tail.0.0", "upsample.2": "tail.0.2"}
    names |= {"conv_last": "tail.1"} | {f"body.{group}.conv": f"body.{group}.body.3" for group in range(2)}
    for group, block in ((group, block) for group in range(2) for block in range(3)):
        inside = {"rcab.0": "0", "rcab.2": "2", "rcab.3.attention.1": "3.conv_du.0", "rcab.3.attention.3": "3.conv_du.2"}
        for name, theirs in inside.items():
            names[f"body.{group}.residual_group.{block}.{name}"] = f"body.{group}.body.{block}.body.{theirs}"
    translated = {f"{name}.{part}": state[f"{theirs}.{part}"] for name, theirs in names.items() for part in ("weight", "bias")}
    assert set(other.state_dict()) == set(translated)
    other.load_state_dict(translated)
    x = torch.rand(1, 3, 12, 14)
    with torch.no_grad():
        assert torch.allclose(other(x) * 255, network(x * 255), rtol=0, atol=1e-3)
        half = build("rcan_basicsr", 4, **sizes, img_range=127.5)
        half.load_state_dict(translated)
        assert not torch.allclose(half(x), other(x), atol=1e-3)


def test_a_file_of_carn_m_for_all_scales(tmp_path: Path) -> None:
    """The published file has what enlarges three times, and the rest once: each scale is what a file of its own would be."""
    torch.manual_seed(0)
    networks = {scale: build("carn_m", scale, **SIZES["carn_m"]) for scale in (2, 3, 4)}
    whole = {key: value for key, value in networks[2].state_dict().items() if not key.startswith("upsample.")}
    for scale, network in networks.items():
        part = network.state_dict()
        whole |= {f"upsample.up{scale}.{k.removeprefix('upsample.up.')}": v for k, v in part.items() if k.startswith("upsample.")}
        network.load_state_dict({key: whole.get(key, value) for key, value in part.items()})
    torch.save({f"module.{key}": value for key, value in whole.items()}, tmp_path / "carn_m.pth")
    found = recognise(tmp_path / "carn_m.pth")
    assert (found.name, found.scale, found.scales) == ("carn_m", None, (2, 3, 4))
    assert recognise(tmp_path / "carn_m.pth", 3).scale == 3
    for scale, network in networks.items():
        loaded = load("carn_m", scale=scale, weights=tmp_path / "carn_m.pth")
        x = torch.rand(1, 3, 9, 11)
        with torch.no_grad():
            assert torch.equal(loaded.module(x), network(x))


def test_residual_scale_of_edsr() -> None:
    torch.manual_seed(0)
    network = build("edsr", n_feats=4, n_blocks=1, res_scale=0.1)
    block, x = network.body[0], torch.rand(1, 4, 5, 5)  # type: ignore[index]
    with torch.no_grad():
        assert torch.allclose(block(x), x + 0.1 * block.body(x))


def test_unknown_names_and_arguments() -> None:
    with pytest.raises(UsageError, match="fsrcn") as caught:
        load("fsrcn")
    assert "fsrcnn" in caught.value.hint
    with pytest.raises(UsageError, match="scale 5"):
        load("edsr", scale=5)
    with pytest.raises(UsageError, match="n_feat'") as caught:
        build("edsr", n_feat=3)
    assert "n_feats" in caught.value.hint
    for wrong in ({"n_blocks": 0}, {"n_blocks": 2.5}, {"n_blocks": "many"}, {"res_scale": -1.0}):
        with pytest.raises(UsageError, match="above 0"):
            build("edsr", **wrong)
    with pytest.raises(UsageError, match="relu or prelu"):
        build("fsrcnn", activation="gelu")
    with pytest.raises(UsageError, match="luma"):
        build("fsrcnn", channels=2)
    with pytest.raises(UsageError, match="no weights ship for imdn x2") as caught:
        load("imdn", scale=2)
    assert "--weights" in caught.value.hint


def test_all_mistakes_of_weights_at_once(tmp_path: Path) -> None:
    state = build("edsr", n_feats=8, n_blocks=2).state_dict()
    del state["tail.1.bias"]
    state["body.0.body.0.weight"] = torch.zeros(8, 9, 3, 3)
    state["extra.weight"] = torch.zeros(2, 3)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(FileError) as caught:
        load("edsr", weights=tmp_path / "w.safetensors")
    for part in (
        "missing: tail.1.bias 3",
        "unexpected: extra.weight 2x3",
        "body.0.body.0.weight: the file has 8x9x3x3, the network 8x8x3x3",
    ):
        assert part in caught.value.message


def test_weights_of_another_network(tmp_path: Path) -> None:
    path = _weights(tmp_path, "vdsr", **SIZES["vdsr"])
    for name in set(NETWORKS) - {"vdsr"}:
        with pytest.raises(FileError, match="do not fit"):
            load(name, scale=2 if 2 in NETWORKS[name].scales else NETWORKS[name].scales[0], weights=path)
    with pytest.raises(FileError, match="do not fit"):
        load("abpn", scale=2, weights=_weights(tmp_path, "abpn", 3, m=3, c=8))


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_truncated_weights(tmp_path: Path, ending: str) -> None:
    state = build("espcn").state_dict()
    whole = tmp_path / f"w.{ending}"
    if ending == "pth":
        torch.save(state, whole)
    else:
        save_file(state, whole)
    content = whole.read_bytes()
    for length in (0, 5, 100, len(content) // 2, len(content) - 1):
        whole.write_bytes(content[:length])
        with pytest.raises(FileError):
            load("espcn", weights=whole)


class _Payload:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (self.witness,))  # type: ignore[return-value]


@pytest.mark.parametrize("legacy", [False, True])
def test_pickle_payload_is_refused(tmp_path: Path, legacy: bool) -> None:
    witness = tmp_path / "executed"
    path = tmp_path / "w.pth"
    if legacy:
        path.write_bytes(pickle.dumps({"a": _Payload(witness)}))
    else:
        torch.save({"a": _Payload(witness)}, path)
    with pytest.raises(FileError, match="refused"):
        load("espcn", weights=path)
    assert not witness.exists()
    torch.save({"model": build("espcn")}, path)  # a whole module is a pickle of code, too
    with pytest.raises(FileError, match="refused"):
        load("espcn", weights=path)


@pytest.mark.parametrize("key", ["params_ema", "params", "state_dict", "model"])
def test_wrappers_are_opened(tmp_path: Path, key: str) -> None:
    state = build("espcn").state_dict()
    torch.save({key: {f"module.{name}": value.half() for name, value in state.items()}, "step": 3}, tmp_path / "w.pth")
    network = load("espcn", weights=tmp_path / "w.pth")
    assert torch.equal(network.module.conv1.weight, state["conv1.weight"].half().float())  # type: ignore[union-attr]


def test_other_files_are_not_weights(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such"):
        read_weights(tmp_path / "none.pth", {})
    (tmp_path / "w.onnx").write_bytes(b"x")
    with pytest.raises(FileError, match="a whole model, not weights"):
        read_weights(tmp_path / "w.onnx", {})
    torch.save([torch.zeros(2)], tmp_path / "w.pth")
    with pytest.raises(FileError, match="not a state dict"):
        read_weights(tmp_path / "w.pth", {})
    save_file({"a": torch.tensor([1.0, float("nan")])}, tmp_path / "w.safetensors")
    with pytest.raises(FileError, match="not finite: a"):
        read_weights(tmp_path / "w.safetensors", {})


def test_shipped_weights_carry_their_provenance() -> None:
    for name, known in NETWORKS.items():
        for scale in known.shipped:
            if known.weights(scale) is None:
                pytest.fail(f"{name} x{scale} is announced and not there")
            network = load(name, scale=scale)
            assert network.provenance["network"] == name
            assert {"script", "seed", "pictures", "test_psnr_y_db"} <= set(network.provenance)


USER = """
import torch
from torch import nn
from helper import WIDTH

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, WIDTH, 3, padding=1)

    def forward(self, x):
        return torch.nn.functional.pixel_shuffle(self.conv(x), 2)

def build():
    return Net()

def broken():
    raise RuntimeError("out of order")

def seven():
    return 7

def blind():
    return nn.ReLU()

def infrared():
    return nn.Conv2d(4, 4, 1)

def features():
    return nn.Conv2d(3, 8, 3, padding=1)

def crooked():
    return nn.Sequential(nn.Conv2d(3, 3, 1), nn.Linear(5, 5))
"""


def test_module_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("WIDTH = 4\n")
    file = tmp_path / "my_net.py"
    file.write_text(USER)
    network = load_file(f"{file}:build")
    assert (network.name, network.channels, network.scale, network.weights_sha256) == (
        "my_net",
        1,
        2,
        state_sha256(network.module),
    )
    weights = {"conv.weight": torch.ones(4, 1, 3, 3), "conv.bias": torch.zeros(4)}
    save_file(weights, tmp_path / "w.safetensors")
    loaded = load_file(f"{file}:build", weights=tmp_path / "w.safetensors", scale=2)
    assert torch.equal(loaded.module.conv.weight, weights["conv.weight"])  # type: ignore[union-attr]
    assert loaded.weights_sha256 == sha256(tmp_path / "w.safetensors")
    for target, error, message in [
        (f"{file}", UsageError, "does not name a callable"),
        (f"{file}:bild", UsageError, "no callable 'bild'"),
        (f"{file}:broken", FileError, "out of order"),
        (f"{file}:seven", UsageError, "returned int"),
        (f"{file}:blind", UsageError, "no convolution"),
        (f"{file}:infrared", UsageError, "reads 4 channels"),
        (f"{file}:features", UsageError, "becomes"),
        (f"{file}:crooked", FileError, "fails on every picture that was tried"),
        (f"{tmp_path}/none.py:build", FileError, "no such file"),
    ]:
        with pytest.raises(error, match=message):
            load_file(target)
    with pytest.raises(UsageError, match="enlarges 2 times, not 3"):
        load_file(f"{file}:build", scale=3)
    file.write_text("import does_not_exist")
    with pytest.raises(FileError, match="does_not_exist"):
        load_file(f"{file}:build")


DOORS = """
import torch
import torch.nn.functional as F
from torch import nn

class Backwards(nn.Module):
    def __init__(self):
        super().__init__()
        self.tail, self.head = nn.Conv2d(8, 3, 3, padding=1), nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, x):
        return F.interpolate(self.tail(self.head(x)), scale_factor=2)

def unshuffled():
    return nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 48, 3, padding=1), nn.PixelShuffle(4))

def unshuffled_luma():
    return nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4, 16, 3, padding=1), nn.PixelShuffle(4))

class OfPixels(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(3, 12)

    def forward(self, x):
        return F.pixel_shuffle(self.mix(x.movedim(1, 3)).movedim(3, 1), 2)

class LumaInside(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.mix = nn.Conv2d(1, 4, 3, padding=1), nn.Parameter(torch.ones(3, 3))

    def forward(self, x):
        y = torch.einsum("ij,bjhw->bihw", self.mix, x)
        return torch.cat([F.pixel_shuffle(self.conv(y[:, :1]), 2), F.interpolate(y[:, 1:], scale_factor=2)], 1)

class Of64(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)

    def forward(self, x):
        assert x.shape[2] % 64 == 0 and x.shape[3] % 64 == 0
        return F.pixel_shuffle(self.conv(x), 2)
"""


@pytest.mark.parametrize(
    ("name", "channels"),
    [("Backwards", 3), ("unshuffled", 3), ("unshuffled_luma", 1), ("OfPixels", 3), ("LumaInside", 3), ("Of64", 1)],
)
def test_what_a_module_reads_is_found_by_running_it(name: str, channels: int, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(DOORS)
    network = load_file(f"{tmp_path}/net.py:{name}")
    assert (network.channels, network.scale) == (channels, 2)


def test_spec_by_name() -> None:
    assert registry.spec("vdsr").input_kind == "upsampled"
    assert sum(isinstance(part, nn.Conv2d) for part in build("vdsr", depth=3).modules()) == 3


@pytest.mark.parametrize(("arguments", "said"), [({"d": 10**9}, "d is 1e\\+09"), ({"d": 4096, "s": 4096, "m": 64}, "weights")])
def test_networks_that_no_memory_holds_are_not_begun(arguments: dict[str, int], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        build("fsrcnn", 2, **arguments)


def test_a_file_whose_shapes_ask_for_too_much_is_what_is_refused(tmp_path: Path) -> None:
    state = build("fsrcnn", 2).state_dict()
    state["first_part.0.weight"] = torch.zeros(10**9, 0, 5, 5)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(FileError, match=r"w\.safetensors: fsrcnn: d is 1e\+09"):
        load("fsrcnn", 2, tmp_path / "w.safetensors")
