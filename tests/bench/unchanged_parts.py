"""What ``unchanged.py`` records: the questions it asks of the command line, and the files that it looks into.

Import this after ``unchanged.prepare``: it imports hwsearch.
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import unchanged_digest as digest
from unchanged import ABOUT, RAW

import hwsearch
from hwsearch.cli import main

VOLATILE = frozenset({"created", "command", "versions", "run_dir", "wall_s", "stages_s", "seconds", "cpu_s", "plan_cpu_s"})
"""Members of documents that are other ones each time: the date, where a run lies, how long it took; and versions of libraries,
which are those of the interpreter and not of this code."""

NETWORKS: dict[str, tuple[str, ...]] = {"edsr": ("n_blocks=4",), "vdsr": ("depth=8",), "imdn": ("n_blocks=2",)}
"""Arguments that make a network of equal blocks short for the table of all devices; others are priced as they are."""
PRECISIONS = ("W8A8", "W8A16", "W4A8", "W16A16")
FLOATS = ("FP16", "FP32")
"""Priced, or refused, for the first network alone."""
CLASSES = ("ethos-u55-128", "ethos-u85-512", "snapdragon-8gen3-hexagon", "gap9", "jetson", "stm32h743", "stm32h743-tflm", "host")
"""Devices of every class: whole networks of their full depth, cut pictures and rates are priced there."""

SHORT = ("--evaluations", "16", "--probes", "24")
RUNS: dict[str, tuple[str, ...]] = {
    "jetson": ("--target", "jetson", "--seed", "3", *SHORT),
    "ethos": ("--target", "ethos-u55-128", "--network", "abpn", "--seed", "5", *SHORT),
    "stm32": (
        *("--target", "stm32h743", "--input", "48x64", "--seed", "7", *SHORT),
        *("--sampler", "nsga2", "--quantizers", "measured,plain"),
    ),
}
EXPORTED = ("onnx", "tflite", "tflite-ethos", "tflite-micro", "c", "json", "tensorrt", "aimet", "ncnn", "coreml", "csv", "float")
RUNTIMES = ("engine", "ort", "litert", "tflm")
PICTURE = "friends.png"
"""A shipped photo; a piece of it is enlarged."""


class Recorder:
    """Asks the code of ``checkout`` and writes the answers into ``folder``. ``like``: an earlier recording; devices and networks
    that it has not are not priced, for there is nothing to compare them with."""

    def __init__(self, folder: Path, checkout: Path, like: Path | None = None) -> None:
        self.folder, self.checkout, self.raw, self.like = folder, checkout, folder / RAW, like
        source = Path(hwsearch.__file__).resolve()
        if not source.is_relative_to(checkout):
            raise SystemExit(f"hwsearch was imported from {source}, not from {checkout}")
        self.raw.mkdir(parents=True)
        words = ["git", "describe", "--always", "--dirty"]
        commit = subprocess.run(words, cwd=checkout, capture_output=True, text=True, check=False).stdout.strip()
        about = {"commit": commit, "checkout": str(checkout), "python": sys.version.split()[0], "processor": _processor()}
        self._write(ABOUT.removesuffix(".json"), about)

    def record(self, part: str) -> None:
        """Record one of ``unchanged.PARTS``."""
        parts: dict[str, Callable[[], None]] = {
            "catalogue": self.catalogue,
            "prices": self.prices,
            "damage": self.damage,
            "runs": self.runs,
        }
        begun = time.monotonic()
        parts[part]()
        self._say(f"{part}: done, {time.monotonic() - begun:.0f} s")

    def catalogue(self) -> None:
        """Everything that can be chosen, and every number of every device with its source."""
        for question in ("devices", "networks", "exporters", "proxies"):
            self._write(f"catalogue/{question}", self.ask(question))
        self._write("catalogue/numbers", {name: self.ask("devices", "show", name) for name in self._names("devices")})

    def prices(self) -> None:
        """``estimate`` of every device x network x plan, and of what only some devices are asked."""
        networks = self._names("networks")
        for device in self._names("devices"):
            begun = time.monotonic()
            found = {name: self._prices_of(device, name, i == 0) for i, name in enumerate(networks)}
            self._write(f"prices/{device}", found)
            self._say(f"prices of {device}: {time.monotonic() - begun:.1f} s")
        for device in CLASSES:
            self._write(f"prices/more-{device}", {name: self._more_prices(device, name) for name in networks})

    def _prices_of(self, device: str, network: str, floats: bool) -> Mapping[str, Any]:
        words = ["estimate", "--target", device, "--network", network, *_arguments(NETWORKS.get(network, ()))]
        found = {plan: self.ask(*words, "--plan", plan) for plan in (*PRECISIONS, *(FLOATS if floats else ()))}
        first = found[PRECISIONS[0]]["answer"]
        if network in ("fsrcnn", "abpn") and "weight_bits" in first:  # weights ship, which a plan file asks for
            plan = self.raw / f"mixed-{network}.json"
            plan.write_text(json.dumps(mixed_plan(first)), encoding="utf-8")
            found["mixed"] = self.ask("estimate", "--target", device, "--plan", str(plan))
        return found

    def _more_prices(self, device: str, network: str) -> Mapping[str, Any]:
        words = ("estimate", "--target", device, "--network", network)
        if network in NETWORKS:
            return {"full depth": self.ask(*words)}
        return {
            "tiles": self.ask(*words, "--input", "180x320", "--tile", "auto"),
            "kept": self.ask(*words, "--input", "180x320", "--tile", "auto", "--halo", "keep"),
            "strips": self.ask(*words, "--input", "96x640", "--tile", "24x640", "--halo", "keep"),
            "rate": self.ask(*words, "--fps", "30"),
        }

    def damage(self) -> None:
        """All proxies of FSRCNN, beside measured plans."""
        table = self.raw / "proxies.json"
        answer = self.ask("proxies", "compare", "--network", "fsrcnn", "--probes", "12", "--out", str(table), "--quiet")
        self._write("damage", {"compare": answer})

    def runs(self) -> None:
        """Whole runs, what is asked of them afterwards, and the files that are made of their plans."""
        for name, words in RUNS.items():
            begun = time.monotonic()
            run = self.raw / name
            answer = self.ask("optimize", *words, "--out", str(run), "--quiet")
            self._write(f"runs/{name}", {"answer": answer, "files": self._files(run)})
            if answer["exit"] == 0:
                self._write(f"runs/{name}-questions", self._questions(run))
                self._write(f"runs/{name}-exports", self._exports(run))
            self._say(f"run {name}: {time.monotonic() - begun:.0f} s")

    def _files(self, run: Path) -> Mapping[str, Any]:
        found: dict[str, Any] = {name: self._read(run / f"{name}.json") for name in ("run", "damage", "results")}
        lines = (run / "evaluations.jsonl").read_text(encoding="utf-8").splitlines()
        found["evaluations"] = [self.settled(json.loads(line)) for line in lines]
        for path in sorted([*(run / "plans").iterdir(), *(run / "crops").iterdir()]):
            name = str(path.relative_to(run))
            found[name] = self._read(path) if path.suffix == ".json" else digest.file(path, self._quoted(path))
        return found

    def _questions(self, run: Path) -> Mapping[str, Any]:
        plans = sorted((run / "plans").glob("*.json"))
        first, last = str(plans[0]), str(plans[-1])
        return {
            "front": self.ask("front", str(run)),
            "front loss": self.ask("front", str(run), "--budget", "loss=0.1dB"),
            "front mean_bits": self.ask("front", str(run), "--equal-bits", "7.5"),
            "explain": {path.stem: self.ask("explain", str(path), "--quiet") for path in (plans[0], plans[len(plans) // 2])},
            "compare": self.ask("compare", first, last),
            "estimate elsewhere": self.ask("estimate", "--plan", last, "--target", "snapdragon-8gen3-hexagon"),
        }

    def _exports(self, run: Path) -> Mapping[str, Any]:
        plan = self._chosen(run)
        picture = self._picture()
        found: dict[str, Any] = {"plan": plan.stem}
        for to in EXPORTED:
            path = self.raw / f"{run.name}-{to}" / f"net{_SUFFIX.get(to, '.' + to)}"
            path.parent.mkdir()
            answer = self.ask("export", str(plan), "--to", to, "--out", str(path), "--quiet")
            found[to] = {"answer": answer}
            if path.exists():
                found[to]["file"] = digest.file(path, self._quoted(plan))
            if path.exists() and path.suffix in (".onnx", ".tflite"):
                found[to]["inspect"] = self.ask("inspect", str(path), "--target", "jetson")
        for runtime in RUNTIMES:
            out = self.raw / f"{run.name}-{runtime}.png"
            answer = self.ask("upscale", str(picture), str(out), "--plan", str(plan), "--runtime", runtime, "--quiet")
            images = ("--images", str(picture.parent))
            found[f"runtime {runtime}"] = {
                "upscale": answer,
                "picture": digest.file(out)["pixels"] if out.exists() else None,
                "validate": self.ask("validate", str(plan), "--runtime", runtime, *images, "--quiet"),
            }
        return found

    def _chosen(self, run: Path) -> Path:
        """The knee of the front, which has integers on disk."""
        results = json.loads((run / "results.json").read_text(encoding="utf-8"))
        return run / "plans" / f"{results['chosen']['knee']}.json"

    def _picture(self) -> Path:
        """A piece of a shipped photo, alone in a folder."""
        from PIL import Image

        path = self.raw / "photo" / PICTURE
        if not path.exists():
            path.parent.mkdir()
            (source,) = (self.checkout / "searchspaces").rglob(PICTURE)
            with Image.open(source) as opened:
                opened.crop((40, 40, 200, 160)).save(path)
        return path

    def ask(self, *words: str) -> dict[str, Any]:
        """The exit code and the document of a command."""
        said, aside = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(aside):
            code = main([*words, "--json"])
        try:
            return {"exit": code, "answer": self.settled(json.loads(said.getvalue()))}
        except ValueError:
            raise SystemExit(f"hwsearch {' '.join(words)} --json: {said.getvalue()}{aside.getvalue()}") from None

    def settled(self, value: Any) -> Any:
        """A document without what is ``VOLATILE`` and without the folders that it was recorded in."""
        if isinstance(value, dict):
            return {key: self.settled(part) for key, part in value.items() if key not in VOLATILE}
        if isinstance(value, list):
            return [self.settled(part) for part in value]
        if isinstance(value, str):
            return value.replace(str(self.folder), "FOLDER").replace(str(self.checkout), "CHECKOUT")
        return value

    def _read(self, path: Path) -> Any:
        return self.settled(json.loads(path.read_text(encoding="utf-8")))

    def _quoted(self, plan: Path) -> tuple[str, ...]:
        """What exported files quote of a plan and is not of their contents: the digest of its integers' file and its date."""
        document = json.loads(plan.with_suffix(".json").read_text(encoding="utf-8")) if plan.with_suffix(".json").exists() else {}
        return tuple(text for text in (document.get("integers_sha256"), document.get("provenance", {}).get("created")) if text)

    def _names(self, question: str) -> list[str]:
        found = [entry["name"] for entry in self.ask(question)["answer"][question]]
        if self.like is None:
            return found
        before = json.loads((self.like / "catalogue" / f"{question}.json").read_text(encoding="utf-8"))
        known = {entry["name"] for entry in before["answer"][question]}
        return [name for name in found if name in known]

    def _write(self, name: str, document: Any) -> None:
        path = self.folder / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(document, ensure_ascii=False, indent=1), encoding="utf-8")

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


_SUFFIX = {
    **dict.fromkeys(("onnx", "float", "tensorrt"), ".onnx"),
    **dict.fromkeys(("tflite", "tflite-ethos", "tflite-micro"), ".tflite"),
    "c": "",
}


def _processor() -> str:
    """The processor's name and whether it multiplies bytes in vectors (VNNI), which decides the engine's kernels; on Linux."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return "unknown"
    name = next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")), "unknown")
    return f"{name}, {'with' if 'vnni' in text else 'without'} VNNI"


def _arguments(pairs: tuple[str, ...]) -> list[str]:
    return [word for pair in pairs for word in ("--arg", pair)]


def mixed_plan(price: Mapping[str, Any]) -> dict[str, Any]:
    """A plan file, as users have them from earlier runs, of the network that ``price`` (the answer of ``estimate``) is of.

    Widths are drawn from 2 to 16 bits by the names of layers and tensors. A device gets the next wider one where it has not
    the one that was drawn.
    """

    def draw(name: str, widths: tuple[int, ...]) -> int:
        return widths[int(digest.sha256(name.encode()), 16) % len(widths)]

    height, width = price["input"]
    return {
        "schema_version": 1,
        "name": "mixed",
        "network": price["network"],
        "scale": price["scale"],
        "target": price["target"],
        "input_height": height,
        "input_width": width,
        "scope": "all",
        "weight_bits": {name: draw(f"weight {name}", (2, 4, 5, 6, 8, 16)) for name in price["weight_bits"]},
        "activation_bits": {name: draw(f"tensor {name}", (6, 8, 16)) for name in price["activation_bits"]},
        "predicted": {**price["predicted"], "loss_db": 0.0},
        "provenance": {
            "created": "2026-01-01T00:00:00+00:00",
            "seed": 0,
            "weights_sha256": "",
            "device_sha256": "",
            "calibration": [],
            "versions": {},
            "origin": "uniform",
        },
    }
