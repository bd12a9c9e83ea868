"""Networks of people's own that read more channels than a picture has: code and model files, from the request to the plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from hwmodels.errors import UsageError
from hwsearch.cli import main
from hwsearch.formats.onnx import ort
from hwsearch.formats.running.runtime import compare
from hwsearch.formats.tflite import litert
from hwsearch.plans.enlarge.tiles import in_multiples
from hwsearch.problem.network import load_network
from hwsearch.problem.pose import pose
from hwsearch.problem.request import Request
from hwsearch.quant.calibrate import calibrate
from hwsearch.quant.engine import integer
from searchspaces.data import pictures

CODE = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    first, last = nn.Conv2d({reads}, 12, 3, padding=1), nn.Conv2d(12, {gives}, 3, padding=1)
    return nn.Sequential(first, nn.ReLU(), last, nn.PixelShuffle({up}))
"""
BLOCKS = {"reads": 12, "gives": 48, "up": 4}
"""Twice the picture, of which it reads blocks of 2x2 pixels."""
PLANES = {"reads": 6, "gives": 12, "up": 2}
"""Twice the picture, beside three numbers."""
CASES: dict[str, tuple[dict[str, int], tuple[str, ...]]] = {
    "blocks": (BLOCKS, ("unshuffle:2",)),
    "blocks, pixel by pixel": (BLOCKS, ("space-to-depth:2",)),
    "planes": (PLANES, ("append:0.3,-0.2", "append:0.0588")),
    "copies": (PLANES, ("repeat:2",)),
}


def network(sizes: dict[str, int]) -> nn.Module:
    names: dict[str, Any] = {}
    exec(CODE.format(**sizes), names)
    module: nn.Module = names["build"]().eval()
    return module


def written(kind: str, sizes: dict[str, int], folder: Path) -> str:
    """The network as somebody has it, for an input of 24x32."""
    path, module, x = folder / f"net.{kind}", network(sizes), torch.rand(1, sizes["reads"], 24, 32)
    if kind == "py":
        path.write_text(CODE.format(**sizes))
        return f"{path}:build"
    if kind == "onnx":
        torch.onnx.export(module, (x,), str(path), dynamo=False)
    elif kind == "pt2":
        sides = {2: torch.export.Dim("h", min=2), 3: torch.export.Dim("w", min=2)}
        torch.export.save(torch.export.export(module, (x,), dynamic_shapes=(sides,)), path)
    else:
        torch.jit.save(torch.jit.trace(module, x), path)
    return str(path)


@pytest.mark.parametrize("kind", ["py", "onnx", "pt2", "ts"])
@pytest.mark.parametrize("name", CASES)
def test_every_way_in_takes_pictures(name: str, kind: str, tmp_path: Path) -> None:
    sizes, channels = CASES[name]
    found = load_network(Request(model=written(kind, sizes, tmp_path), input_channels=channels))
    assert (found.channels, found.scale) == (3, 2)
    assert any("--input-channels" in remark for remark in found.remarks)
    if kind == "onnx":  # made for one size, which the file has of what it reads
        assert found.size == ((48, 64) if sizes is BLOCKS else (24, 32))
    x = torch.rand(1, 3, 24, 32)
    given = {
        "unshuffle:2": lambda: nn.functional.pixel_unshuffle(x, 2),
        "space-to-depth:2": lambda: nn.functional.pixel_unshuffle(x, 2)[:, [c * 4 + p for p in range(4) for c in range(3)]],
        "repeat:2": lambda: x.repeat(1, 2, 1, 1),
        "append:0.3,-0.2": lambda: torch.cat([x, torch.tensor([0.3, -0.2, 0.0588]).view(1, 3, 1, 1).expand(-1, -1, 24, 32)], 1),
    }[channels[0]]()
    with torch.no_grad():
        wanted = network(sizes)(given)
        assert float((found.module(x) - wanted).abs().max()) < 1e-4 * float(wanted.abs().max())


@pytest.mark.parametrize("kind", ["py", "onnx"])
@pytest.mark.parametrize("name", CASES)
def test_integers_are_those_of_the_runtimes(name: str, kind: str, tmp_path: Path) -> None:
    sizes, channels = CASES[name]
    asked = Request(model=written(kind, sizes, tmp_path), input_channels=channels, target="ethos-u55-128", input_size=(48, 64))
    posed = pose(asked)
    random = torch.Generator().manual_seed(3)
    *seen, x = torch.rand(4, 3, 48, 64, generator=random).split(1)
    q = calibrate(posed.graph, list(seen), posed.space, method="minmax").quantized(posed.space.uniform(8, 8))
    fmt = q.formats[q.graph.output.name]
    for plan in (ort.open_plan(q), litert.open_plan(q, reference=True)):
        ours = integer.run(plan.executed, x)
        assert len(ours.unique()) > 20
        assert compare(plan.run(x), ours, fmt)[0] == 0


def test_planes_are_within_half_a_step_of_their_numbers(tmp_path: Path) -> None:
    posed = pose(Request(model=written("py", PLANES, tmp_path), input_channels=CASES["planes"][1], target="ethos-u55-128"))
    seen = list(torch.rand(3, 3, 48, 64, generator=torch.Generator().manual_seed(3)).split(1))
    q = calibrate(posed.graph, seen, posed.space, method="minmax").quantized(posed.space.uniform(8, 8))
    (constant,) = (node for node in q.graph.convs if not node.weights["weight"].any())
    layer, fmt = q.layers[constant.name], q.formats[constant.name]
    source = q.formats[constant.inputs[0]]
    values = layer.bias * layer.scale.astype(np.float64) * source.scale
    assert np.abs(values - [0.3, -0.2, 0.0588]).max() < fmt.scale / 2


def test_what_a_network_reads_is_asked_for(tmp_path: Path) -> None:
    for kind in ("py", "onnx", "ts"):
        with pytest.raises(UsageError) as refused:
            load_network(Request(model=written(kind, BLOCKS, tmp_path)))
        assert "--input-channels unshuffle:2" in refused.value.hint
    with pytest.raises(UsageError, match="makes 27 of RGB and 9 of luma, and the network reads 12"):
        load_network(Request(model=written("onnx", BLOCKS, tmp_path), input_channels=("unshuffle:3",)))
    with pytest.raises(UsageError, match="for networks of your own"):
        load_network(Request(network="fsrcnn", input_channels=("repeat:2",)))


def test_a_size_that_has_no_whole_blocks_is_refused(tmp_path: Path) -> None:
    model = written("py", BLOCKS, tmp_path)
    with pytest.raises(UsageError, match="multiples of 2 pixels, not 33x64") as refused:
        pose(Request(model=model, input_channels=("unshuffle:2",), target="ethos-u55-128", input_size=(33, 64)))
    assert "--input 32x64" in refused.value.hint


def test_the_plan_holds_how_its_input_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, run, alone = written("py", PLANES, tmp_path), tmp_path / "run", tmp_path / "alone"
    for folder in ("photos", "alone"):
        (tmp_path / folder).mkdir()
    for i, photo in enumerate(pictures.shipped()[:3]):
        Image.fromarray(photo.rgb[:136, :144]).save(tmp_path / "photos" / f"photo{i}.png")
    (tmp_path / "vector.csv").write_text("0.3,-0.2,0.0588")
    words = ["optimize", "--model", model, "--input-channels", f"append:{tmp_path / 'vector.csv'}", "--target", "stm32h743"]
    words += ["--input", "24x32", "--quick", "--force", "--no-cache", "--quiet", "--images", str(tmp_path / "photos")]
    assert main([*words, "--out", str(run)]) == 0
    (tmp_path / "vector.csv").unlink()
    (file,) = (path for path in (run / "plans").glob("*.json") if json.loads(path.read_text())["measured"])
    assert json.loads(file.read_text())["input_channels"] == ["append:0.3,-0.2,0.0588"]
    for path in (file, file.with_suffix(".safetensors")):
        (alone / path.name).write_bytes(path.read_bytes())
    capsys.readouterr()
    assert main(["validate", str(file), "--runtime", "engine", "--quiet"]) == 0
    assert main(["explain", str(file), "--model", model, "--quiet"]) == 0
    assert main(["estimate", "--plan", str(alone / file.name), "--model", model, "--quiet"]) == 0
    assert "hwsearch:" not in capsys.readouterr().err


def test_a_file_is_priced_as_it_is_or_behind_its_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["inspect", written("onnx", BLOCKS, tmp_path), "--target", "ethos-u55-128", "--json"]
    assert main(words) == 0
    alone = json.loads(capsys.readouterr().out)
    assert main([*words, "--input-channels", "unshuffle:2"]) == 0
    behind = json.loads(capsys.readouterr().out)
    assert "unshuffle:2" in " ".join(alone["remarks"])
    assert list(alone["predicted"]["input_size"]) == [24, 32]
    assert list(behind["predicted"]["input_size"]) == [48, 64]
    assert behind["predicted"]["latency_s"] > alone["predicted"]["latency_s"]


@pytest.mark.parametrize("size", [(24, 33), (23, 32), (24, 32)])
def test_a_picture_of_any_size_is_enlarged(size: tuple[int, int]) -> None:
    """One without whole blocks as if its last row or column stood twice."""
    module, seen = network(BLOCKS), list[torch.Tensor]()

    def run(x: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        with torch.no_grad():
            return module(nn.functional.pixel_unshuffle(x, 2))

    x = torch.rand(1, 3, *size)
    y = in_multiples(run, 2)(x)
    assert y.shape == (1, 3, 2 * size[0], 2 * size[1])
    assert torch.equal(seen[0][:, :, : size[0], : size[1]], x)
    assert torch.equal(seen[0][:, :, -1, : size[1]], x[:, :, -1])
