"""Bad input ends well: what was given, what is allowed, what to do next, the right exit code, and nothing lost."""

from __future__ import annotations

import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from small_job import laid_out

from hwmodels.device import device
from hwsearch.cli import main
from hwsearch.cli.terminal import Terminal
from hwsearch.documents.progress import Silent, Stage
from hwsearch.pipeline import optimize
from searchspaces.data import pictures

NETWORK = '''
import torch
from torch import nn

def build():
    """Repeats every pixel, and a little noise: something to quantize."""
    torch.manual_seed(0)
    head, body, tail = (nn.Conv2d(i, 4, 3, padding=1) for i in (1, 4, 4))
    with torch.no_grad():
        for layer in (head, body, tail):
            layer.weight.mul_(0.2)
            layer.bias.zero_()
        head.weight[0, 0, 1, 1] = body.weight[0, 0, 1, 1] = 1.0
        tail.weight[:, 0, 1, 1] = 1.0
    return nn.Sequential(head, nn.ReLU(), body, nn.ReLU(), tail, nn.PixelShuffle(2))
'''


@dataclass(frozen=True)
class Job:
    """A small job that ends in seconds: its folder, and the words of its command without the run directory."""

    folder: Path
    words: tuple[str, ...]

    @property
    def code(self) -> tuple[str, str]:
        """The network's code, which a run does not execute unless a person names it."""
        place = self.words.index("--model")
        return (self.words[place], self.words[place + 1])

    @property
    def photos(self) -> Path:
        return self.folder / "photos"

    def run(self, *more: str) -> int:
        return main([*self.words, *more, "--quiet"])


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = laid_out(tmp_path_factory.mktemp("job"), NETWORK, photos=4)
    words = ("optimize", "--model", f"{folder / 'net.py'}:build", "--scale", "2", "--target", "stm32h743", "--input", "24x32")
    few = ("--force", "--weight-bits", "2,4,8", "--evaluations", "40", "--probes", "8", "--images", str(folder / "photos"))
    return Job(folder, (*words, *few))


def refusal(capsys: pytest.CaptureFixture[str], code: int, words: list[str]) -> str:
    """Message and hint of a command that ends with ``code`` and prints no result."""
    capsys.readouterr()
    assert main([*words, "--json", "--quiet"]) == code
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == code
    assert error["hint"]
    return f"{error['message']}\n{error['hint']}"


# What is asked for does not exist


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--target", "jetsn"], "jetson"), (["--target", "stm32h734"], "stm32h743"), (["--network", "fscrnn"], "fsrcnn")],
)
def test_unknown_names_get_the_closest(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert said in refusal(capsys, 2, ["optimize", *words])


@pytest.mark.parametrize("target", ["absent.toml", "./folder/absent.toml"])
def test_an_absent_device_file(capsys: pytest.CaptureFixture[str], target: str) -> None:
    assert "absent.toml" in refusal(capsys, 3, ["optimize", "--target", target])


def test_an_unknown_pin_gets_the_closest(capsys: pytest.CaptureFixture[str], job: Job, tmp_path: Path) -> None:
    said = refusal(capsys, 2, [*job.words, "--pin", "layer_0=8", "--out", str(tmp_path / "run")])
    assert "layer_0" in said
    assert not (tmp_path / "run").exists()


# Device files


def edited(tmp_path: Path, *changes: tuple[str, str]) -> str:
    text = (Path(device.__file__).parents[1] / "devices" / "jetson-orin-nano.toml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    (tmp_path / "board.toml").write_text(text)
    return str(tmp_path / "board.toml")


def test_broken_toml_says_where(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "line" in refusal(capsys, 3, ["estimate", "--target", edited(tmp_path, ("[rates]", "[rates"))])


def test_all_mistakes_of_a_device_file_at_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = Path(edited(tmp_path)).read_text()
    bandwidth = next(line for line in text.splitlines() if line.startswith("bytes_per_s"))
    target = edited(tmp_path, (bandwidth, "bytes_per_s = -1.0"), ("runtime =", "runtme ="))
    said = refusal(capsys, 3, ["estimate", "--target", target])
    assert "bytes_per_s" in said
    assert "-1" in said
    assert "runtme" in said
    assert "runtime" in said


# Weights


class Payload:
    """Would create a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("kind", ["torch", "pickle"])
def test_a_pickle_payload_is_refused_and_not_run(capsys: pytest.CaptureFixture[str], tmp_path: Path, kind: str) -> None:
    weights, trace = tmp_path / "w.pth", tmp_path / "ran"
    if kind == "torch":
        torch.save({"first_part.0.weight": Payload(trace)}, weights)
    else:
        weights.write_bytes(pickle.dumps(Payload(trace)))
    refusal(capsys, 3, ["optimize", "--network", "fsrcnn", "--weights", str(weights)])
    assert not trace.exists()


def test_truncated_absent_and_foreign_weights(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    whole = tmp_path / "w.safetensors"
    save_file({"first_part.0.weight": torch.zeros(56, 1, 5, 5)}, whole)
    truncated = tmp_path / "t.safetensors"
    truncated.write_bytes(whole.read_bytes()[:-7])
    (tmp_path / "w.npz").write_bytes(b"PK")
    for name in ("t.safetensors", "w.npz", "absent.pth"):
        assert name in refusal(capsys, 3, ["optimize", "--network", "fsrcnn", "--weights", str(tmp_path / name)])


def test_wrong_shaped_weights_list_every_key(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from searchspaces.networks import registry

    state = registry.build("fsrcnn", 2).state_dict()
    state["mid_part.2.weight"] = torch.zeros(12, 12, 5, 5)
    del state["last_part.bias"]
    save_file(state, tmp_path / "w.safetensors")
    said = refusal(capsys, 3, ["optimize", "--network", "fsrcnn", "--weights", str(tmp_path / "w.safetensors")])
    assert "mid_part.2.weight" in said
    assert "last_part.bias" in said


# A network of one's own


def test_what_cannot_be_traced_is_named_and_not_hidden(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.conv = nn.Conv2d(1, 4, 3, padding=1)\n        self.up = nn.PixelShuffle(2)\n\n"
        "    def forward(self, x):\n        return self.up(torch.topk(self.conv(x), 4, dim=1)[0])\n"
    )
    said = refusal(capsys, 3, ["optimize", "--model", f"{tmp_path / 'net.py'}:Net", "--scale", "2", "--target", "jetson"])
    assert "topk" in said


@pytest.mark.parametrize(
    ("text", "name"), [("x = (", "build"), ("raise RuntimeError('no')", "build"), ("def build(): return 3", "build")]
)
def test_a_model_file_that_is_not_one(capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / "net.py").write_text(text)
    code = main(["optimize", "--model", f"{tmp_path / 'net.py'}:{name}", "--scale", "2"])
    assert code in (2, 3)
    assert "net.py" in capsys.readouterr().err


# Pictures


def test_an_empty_or_absent_folder(capsys: pytest.CaptureFixture[str], job: Job, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "absent"):
        words = [*job.words, "--images", str(tmp_path / name), "--out", str(tmp_path / "run")]
        assert name in refusal(capsys, 3, words)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("name", "said"), [("text.png", "not a picture"), ("small.png", "smaller than"), ("cut.png", "cut.png")])
def test_pictures_that_cannot_be_used_are_named(
    capsys: pytest.CaptureFixture[str], job: Job, tmp_path: Path, name: str, said: str
) -> None:
    whole = (job.photos / "photo0.png").read_bytes()
    for i in range(3):  # whichever role a picture gets
        match name:
            case "text.png":
                (tmp_path / f"{i}{name}").write_text(f"not a picture, {i}")
            case "small.png":
                Image.new("RGB", (20, 20), (i, i, i)).save(tmp_path / f"{i}{name}")
            case _:
                (tmp_path / f"{i}{name}").write_bytes(whole[: len(whole) // 2 + i])
    text = refusal(capsys, 3, [*job.words, "--images", str(tmp_path), "--out", str(tmp_path / "run")])
    assert said in text
    assert name in text


def test_grey_alpha_and_16_bit_pictures_are_used(capsys: pytest.CaptureFixture[str], job: Job, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    rgb = pictures.shipped()[0].rgb[:136, :144]
    Image.fromarray(rgb).convert("L").save(photos / "a_grey.png")
    Image.fromarray(np.dstack([rgb, rgb[..., 0]]), "RGBA").save(photos / "b_alpha.png")
    Image.fromarray(rgb[..., 1].astype(np.uint16) * 257).save(photos / "c_16bit.png")
    quick = ["--quick", "--evaluations", "8"]
    assert main([*job.words, *quick, "--images", str(photos), "--out", str(tmp_path / "run")]) == 0
    assert "transparency dropped" in capsys.readouterr().err


# Budgets


def test_a_budget_with_a_wrong_unit(capsys: pytest.CaptureFixture[str], job: Job) -> None:
    assert "ms" in refusal(capsys, 2, [*job.words, "--budget", "latency=8KiB"])


@pytest.mark.parametrize("budget", ["latency=1ns", "weights=3B", "memory=64B"])
def test_an_impossible_budget_says_the_best_reachable_value(
    capsys: pytest.CaptureFixture[str], job: Job, tmp_path: Path, budget: str
) -> None:
    key = budget.partition("=")[0]
    budget = budget.replace("1ns", "0.001us")
    said = refusal(capsys, 4, [*job.words, "--budget", budget, "--out", str(tmp_path / "run")])
    assert key in said
    assert any(character.isdigit() for character in said)


# The run directory


def test_a_run_directory_that_cannot_be_made(capsys: pytest.CaptureFixture[str], job: Job, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "--out" in refusal(capsys, 3, [*job.words, "--out", str(tmp_path / "file" / "run")])
    assert "--out" in refusal(capsys, 3, [*job.words, "--out", str(tmp_path)])
    assert (tmp_path / "file").read_text() == "x"


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Every write beyond ``size`` bytes of a file fails, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [300, 1500, 6000])
def test_a_full_disk_loses_nothing_and_the_run_goes_on(
    capsys: pytest.CaptureFixture[str], job: Job, tmp_path: Path, size: int
) -> None:
    run = tmp_path / "run"
    with files_of_at_most(size):
        said = refusal(capsys, 3, [*job.words, "--out", str(run)])
    assert "full" in said or "too large" in said
    for document in run.rglob("*.json"):
        json.loads(document.read_text())
    if (run / "run.json").exists():
        assert main(["optimize", "--resume", str(run), *job.code, "--quiet"]) == 0
        assert front(run)


# Interruptions


class Interrupting(Silent):
    """Presses Ctrl-C when a stage begins, or after its first step, or at its end where it has none."""

    def __init__(self, at: int, after_step: bool) -> None:
        self.at, self.after_step, self.seen = at, after_step, 0
        self.names: set[str] = set()

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Stage]:
        self.seen += 1
        self.names.add(name)
        if self.seen != self.at:
            with super().stage(name, total) as stage:
                yield stage
            return
        if not self.after_step:
            raise KeyboardInterrupt
        yield _Press()
        raise KeyboardInterrupt


class _Press:
    def advance(self, steps: int = 1) -> None:
        raise KeyboardInterrupt


def front(run: Path) -> list[tuple[Any, ...]]:
    """What a run found, without names and times."""
    results = json.loads((run / "results.json").read_text())
    return [(plan["weight_bits"], plan["activation_bits"], plan["predicted"], plan["measured"]) for plan in results["front"]]


def evaluations(run: Path) -> list[Mapping[str, Any]]:
    return [json.loads(line) for line in (run / "evaluations.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def uninterrupted(job: Job) -> Path:
    assert job.run("--out", str(job.folder / "whole")) == 0
    return job.folder / "whole"


def test_ctrl_c_in_each_stage_is_resumable(
    job: Job, uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, at, stopped = tmp_path / "run", 1, 0
    current: list[Interrupting] = []
    monkeypatch.setattr(Terminal, "progress", lambda terminal: _entered(current[0]))
    while True:
        # The last one when it begins: behind its only step the run is whole.
        current[:] = [Interrupting(at, after_step=(len(optimize.EXPECTED_S) - at) % 2 == 1)]
        resumed = (run / "run.json").exists()
        code = main(["optimize", "--resume", str(run), *job.code]) if resumed else main([*job.words, "--out", str(run)])
        if code == 0:
            break
        assert code == 130
        err = capsys.readouterr().err
        assert ("--resume" in err) == (run / "run.json").exists()
        at, stopped = at + 1, stopped + 1
        assert stopped < 30
    assert stopped == len(optimize.EXPECTED_S)
    assert current[0].names == set(optimize.EXPECTED_S)
    assert front(run) == front(uninterrupted)
    measured = [tuple(record["plan"]) for record in evaluations(run)]
    assert len(measured) == len(set(measured))


@contextmanager
def _entered(progress: Interrupting) -> Iterator[Interrupting]:
    yield progress


def start(words: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "hwsearch", *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path, lines: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not path.exists() or path.read_bytes().count(b"\n") < lines:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(("stop", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_stopped_in_the_search_and_resumed_it_ends_as_if_nothing_had_happened(
    job: Job, uninterrupted: Path, tmp_path: Path, stop: signal.Signals, code: int
) -> None:
    run = tmp_path / "run"
    process = start([*job.words, "--out", str(run)])
    wait_for(run / "evaluations.jsonl", 10, process)  # the eight probes are done: this is the search
    process.send_signal(stop)
    out, err = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip("the run ended before the signal")
    assert process.returncode == code, err
    assert out == ""
    if stop == signal.SIGINT:
        assert f"hwsearch optimize --resume {run}" in err
    kept = evaluations_that_are_whole(run)
    assert main(["optimize", "--resume", str(run), *job.code, "--quiet"]) == 0
    after = evaluations(run)
    assert after[: len(kept)] == kept
    assert len({tuple(record["plan"]) for record in after}) == len(after)
    assert front(run) == front(uninterrupted)


def evaluations_that_are_whole(run: Path) -> list[Mapping[str, Any]]:
    lines = (run / "evaluations.jsonl").read_bytes().split(b"\n")[:-1]
    return [json.loads(line) for line in lines]


def test_a_run_is_resumed_only_as_it_was_started(capsys: pytest.CaptureFixture[str], uninterrupted: Path) -> None:
    said = refusal(capsys, 2, ["optimize", "--resume", str(uninterrupted), "--seed", "5", "--target", "jetson"])
    assert "seed: was 0, is 5" in said
    assert "target" in said


def test_resuming_a_finished_run_gives_the_same_front(job: Job, uninterrupted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, count = front(uninterrupted), len(evaluations(uninterrupted))
    assert main(["optimize", "--resume", str(uninterrupted), *job.code, "--json"]) == 0
    out, _ = capsys.readouterr()
    assert len(json.loads(out)["front"]) == len(before)
    assert front(uninterrupted) == before
    assert len(evaluations(uninterrupted)) == count


def test_every_plan_of_a_front_can_be_exported_explained_and_priced(
    job: Job, uninterrupted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plans = [json.loads(path.read_text()) for path in sorted((uninterrupted / "plans").glob("*.json"))]
    proven = next(plan for plan in plans if plan["integers"])
    other = next(plan for plan in plans if not plan["integers"])
    capsys.readouterr()
    for plan in (proven, other):
        path = str(uninterrupted / "plans" / f"{plan['name']}.json")
        assert main(["export", path, *job.code, "--out", str(tmp_path / f"{plan['name']}.onnx"), "--quiet"]) == 0
        capsys.readouterr()
        assert main(["explain", path, *job.code, "--json", "--quiet"]) == 0
        explained = json.loads(capsys.readouterr().out)
        bits = {**{("weights", n): b for n, b in plan["weight_bits"].items()}}
        bits |= {("tensor", n): b for n, b in plan["activation_bits"].items()}
        assert {(d["kind"], d["name"]): d["bits"] for d in explained["decisions"]} == bits
        assert all(d["narrower"] is None or d["narrower"]["bits"] < d["bits"] for d in explained["decisions"])
        assert main(["estimate", "--plan", path, *job.code, "--json"]) == 0
        priced = json.loads(capsys.readouterr().out)["predicted"]
        assert {key: priced[key] for key in priced} == {key: plan["predicted"][key] for key in priced}
    assert main(["validate", str(uninterrupted / "plans" / f"{proven['name']}.json"), *job.code, "--json", "--quiet"]) == 0
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["quality_db"] == pytest.approx(proven["measured"]["quality_db"], abs=1e-6)


def test_from_python_as_from_the_command_line(job: Job, uninterrupted: Path, tmp_path: Path) -> None:
    import hwsearch

    results = hwsearch.optimize(
        model=f"{job.folder / 'net.py'}:build",
        scale=2,
        target="stm32h743",
        input_size=(24, 32),
        weight_bits=(2, 4, 8),
        evaluations=40,
        probes=8,
        images=job.photos,
        force=True,
        run_dir=tmp_path / "run",
    )
    assert results.run_dir == tmp_path / "run"
    assert front(tmp_path / "run") == front(uninterrupted)
