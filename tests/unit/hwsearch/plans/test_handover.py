"""Handing over: every device is offered what its runtime reads, files do not collide, and no budget is broken without a word."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from random_networks import float_graph, quantize
from small_job import Job, answer, refusal

from hwmodels.device import catalogue
from hwmodels.errors import UsageError
from hwsearch.cli import main
from hwsearch.formats.writing.exporters import EXPORTERS, ExporterInfo, Handed, for_device
from hwsearch.plans import handover, plan_file
from hwsearch.plans.promotion_effect import Effect
from hwsearch.quant.network import storage
from hwsearch.runs.run import Run
from searchspaces.ir.graph import Graph
from searchspaces.networks.cnn.fsrcnn import FSRCNN
from searchspaces.tracing.trace import trace

READ_BY = {
    "jetson-orin-nano": "tensorrt",
    "jetson-agx-orin-dla": "tensorrt",
    "stm32h743": "c",
    "stm32h743-tflm": "tflite-micro",
    "ethos-u55-128": "tflite-ethos",
    "imx93-ethos-u65": "tflite-ethos",
    "snapdragon-8gen3-hexagon": "aimet",
    "qcs6490-hexagon-litert": "tflite",
    "coral-edgetpu": "tflite",
    "stm32n6-neural-art": "tflite",
    "host": "onnx",
}
"""Device -> what its vendor's tool reads, by the vendors' documentation."""


@pytest.mark.parametrize(("device", "name"), READ_BY.items())
def test_a_device_is_handed_what_its_runtime_reads(device: str, name: str) -> None:
    assert [info.name for info in for_device(catalogue.load(device))] == [name]


def test_no_two_formats_write_one_file() -> None:
    suffixes = [info.suffix for info in EXPORTERS.values()]
    assert len(set(suffixes)) == len(suffixes)


def _handed(
    name: str, folder: Path, device: str | None, graph: Graph | None = None, size: tuple[int, int] = (16, 24)
) -> list[str]:
    """The commands behind a small network written by an exporter, of a name that a shell must quote."""
    q = quantize(graph or float_graph("fsrcnn-relu"), 4, 8)
    info = EXPORTERS[name]
    path = folder / f"a net{info.suffix}"
    info(q, path, size=size)
    board = None if device is None else catalogue.load(device)
    return info.next_commands(Handed(path, folder / "plan.json", board, q.graph.input.name, size, q.graph.channels))


def _run(command: str) -> str:
    python = shlex.quote(sys.executable)
    command = f"{python} {command.removeprefix('python ')}" if command.startswith("python ") else command
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("name", "shape"), [("onnx", (1, 1, 32, 48)), ("float", (1, 1, 32, 48)), ("tflite", (1, 32, 48, 1))])
def test_the_command_runs_the_file(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    said = _run(_handed(name, tmp_path, None)[0]).strip()
    assert tuple(int(n) for n in said.strip("()[]").replace(",", " ").split()) == shape


@pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="needs a compiler for Cortex-M")
def test_the_command_compiles_the_c(tmp_path: Path) -> None:
    command, _ = _handed("c", tmp_path, "stm32h743")
    assert "-mcpu=cortex-m7" in command
    _run(command)
    folder = tmp_path / "a net"
    assert {file.stem for file in folder.glob("*.c")} == {file.stem for file in folder.glob("*.o")}


@pytest.mark.parametrize(("device", "core"), [("ethos-u55-128", "ethos-u55-128"), ("imx93-ethos-u65", "ethos-u65-256")])
def test_vela_is_called_with_the_devices_array(device: str, core: str, tmp_path: Path) -> None:
    # A network and a picture of usual size: the compiler itself crashes on some very small ones.
    command, _, array = _handed("tflite", tmp_path, device, trace(FSRCNN(), 1, "fsrcnn", 2), (48, 64))
    assert f"--accelerator-config {core}" in command
    vela = Path(sys.executable).with_name("vela")
    if not vela.exists():
        pytest.skip("needs Arm's compiler")
    _run(f"{shlex.quote(str(vela))} {command.removeprefix('vela ')}")
    assert (tmp_path / "a net_vela.tflite").is_file()
    assert "a net_vela.tflite" in array


def _budgeted(job: Job, folder: Path, name: str, budgets: dict[str, float]) -> tuple[Path, plan_file.PlanFile]:
    """A plan of 4 and 2 bits of a copy of the run, which was started with other budgets."""
    run = folder / "run"
    shutil.copytree(job.folder / "run" / "stm32h743", run)
    saved = json.loads((run / "run.json").read_text())
    saved["request"]["budgets"] = budgets
    (run / "run.json").write_text(json.dumps(saved))
    path = run / "plans" / f"{name}.json"
    return path, plan_file.open_plan(path, job.model)


def _narrow(job: Job) -> str:
    """A plan with integers whose weights have at most 4 bits somewhere."""
    run = Run(job.folder / "run" / "stm32h743", job.model)
    return next(plan.name for plan in run.results.front if plan.integers and min(plan.weight_bits.values()) < 8)


def test_a_budget_that_promotion_breaks_is_an_error_and_nothing_is_written(
    job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = _narrow(job)
    plan = Run(job.folder / "run" / "stm32h743", job.model).results
    used = next(one for one in plan.front if one.name == name).predicted.weight_bytes
    path, opened = _budgeted(job, tmp_path, name, {"weights": float(used)})
    suggestion = handover.suggest(opened)
    assert suggestion is not None
    assert (suggestion.exporter.name, suggestion.made_for_device) == ("c", True)
    file = tmp_path / "net.micro.tflite"
    words = ["export", str(path), "--to", "openvino", "--out", str(file), "--model", job.model]
    said = refusal(capsys, 4, *words)
    layers = storage.load(path.with_suffix(".safetensors"), opened.plan.integers_sha256 or "").layers
    outputs = {layer: len(numbers.weight) for layer, numbers in layers.items()}
    widened = {layer: 4 if numbers.bits <= 4 else 8 for layer, numbers in layers.items()}

    def packed(bits: dict[str, int]) -> int:
        """The packing of the exported C: whole bytes for each output channel."""
        return sum(outputs[n] * -(-(layers[n].weight.size // outputs[n]) * b // 8) for n, b in bits.items())

    more = packed(widened) - packed({layer: numbers.bits for layer, numbers in layers.items()})
    if more == 0:
        pytest.skip("every layer of the narrow plan has 4 or 8 bits")
    assert f"the plan takes {used} bytes, the file {used + more} bytes" in said
    assert "Export to c" in said
    assert not file.exists()
    assert answer(capsys, *words, "--accept")["file"] == str(file)
    assert file.is_file()
    assert answer(capsys, *words[:2], "--out", str(tmp_path / "a.openvino.onnx"), *words[-2:], "--accept")["format"] == "openvino"
    # What the device reads holds the plan as it is, and is the default.
    said = answer(capsys, "export", str(path), "--out", str(tmp_path / "net"), "--model", job.model)
    assert (said["format"], said["promoted"]) == ("c", [])


def test_quality_that_promotion_costs_counts_against_its_budget(job: Job, tmp_path: Path) -> None:
    front = Run(job.folder / "run" / "stm32h743", job.model).results.front
    loss, name = max((plan.measured.loss_db, plan.name) for plan in front if plan.measured is not None)
    _, opened = _budgeted(job, tmp_path, name, {"loss": loss + 0.4})
    promotion = EXPORTERS["tensorrt"].promote(opened.integers())
    (found,) = handover.broken(opened, promotion, Effect(("a",), 30.0, 29.5))
    assert (found.limit, found.exported) == ("the budget on loss", pytest.approx(loss + 0.5))
    assert handover.broken(opened, promotion, Effect(("a",), 30.0, 29.7)) == ()


def test_rounding_again_is_told_without_an_empty_table(tmp_path: Path, capsys: pytest.CaptureFixture[str], job: Job) -> None:
    run = Run(job.folder / "run" / "stm32h743", job.model)
    wide = next(p for p in run.results.front if p.integers and min(p.weight_bits.values()) >= 4)
    path = job.folder / "run" / "stm32h743" / "plans" / f"{wide.name}.json"
    capsys.readouterr()
    assert main(["export", str(path), "--to", "coreml", "--out", str(tmp_path / "a.yaml"), "--model", job.model, "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "became wider" not in said
    assert "rounds the weights again" in said


def test_what_to_type_next_names_the_code_again(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["report", str(job.folder / "run" / "stm32h743"), "--quiet"]) == 0
    explain, export = (line.split() for line in capsys.readouterr().out.splitlines() if " hwsearch " in line)
    for words in (explain, export):
        assert words[-2:] == ["--model", shlex.quote(job.model)]
    assert export[export.index("--to") + 1] == "c"
    # What is printed is a command that works.
    assert main([*explain[explain.index("hwsearch") + 1 :], "--quiet", "--json"]) == 0


REASON = "the exported C has no sub: there is no C kernel for it"


def test_why_the_devices_own_format_is_passed_over_is_said(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network with an operator that the exported C does not have: the file is ONNX, which the board does not read."""
    own = ExporterInfo.refuse

    def refuse(info: ExporterInfo, graph: Graph) -> None:
        if info.name == "c":
            raise UsageError(f"net cannot be exported to c:\n  - {REASON}")
        own(info, graph)

    monkeypatch.setattr(ExporterInfo, "refuse", refuse)
    plan = job.plan("stm32h743", _narrow(job))
    file = tmp_path / "net.bin"
    assert main(["export", plan, "--out", str(file), "--model", job.model]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert f"Written as onnx, which stm32h743 does not read: c cannot hold this plan ({REASON})." in said
    assert main(["export", plan, "--to", "onnx", "--out", str(file), "--model", job.model]) == 0
    assert "Written as" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "asked", "written"),
    [
        ("openvino", "net", "net.openvino.onnx"),
        ("tflite", "plan-v1.2", "plan-v1.2.tflite"),
        ("tflite", "net.v2.tflite", "net.v2.tflite"),
        ("onnx", "net.bin", "net.bin"),
        ("c", "net", "net"),
    ],
)
def test_a_file_gets_the_ending_of_its_format_where_it_has_none(name: str, asked: str, written: str) -> None:
    assert EXPORTERS[name].named(Path("folder") / asked) == Path("folder") / written


def test_files_beside_another_keep_its_dots() -> None:
    def beside(file: str) -> str:
        return Handed(Path(file), Path("plan.json"), None, "input", (8, 8), 3).beside(".engine")

    assert beside("my.v2.tensorrt.onnx") == "my.v2.engine"
    assert beside("my.v2") == "my.v2.engine"


def test_an_export_takes_the_place_of_another_and_says_so_but_never_of_its_plan(
    job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(job.folder / "run" / "stm32h743", tmp_path / "run")
    path = tmp_path / "run" / "plans" / f"{_narrow(job)}.json"
    words = ["export", str(path), "--to", "onnx", "--model", job.model, "--accept", "--out"]
    assert not answer(capsys, *words, str(tmp_path / "net"))["replaced"]
    said = answer(capsys, *words, str(tmp_path / "net"))
    assert (said["replaced"], said["file"]) == (True, str(tmp_path / "net.onnx"))
    for kept in (path, path.with_suffix(".safetensors")):
        before = kept.read_bytes()
        assert "is what is exported" in refusal(capsys, 2, *words, str(kept))
        assert kept.read_bytes() == before
