"""The report as one file: ``results.json`` and the picture details in, ``report.html`` out.

The page needs nothing but itself: style, figures and pictures are inside, and there is no script. It is a pure function of the
results and of the pictures in the run directory, so that the same run gives the same bytes.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from hwmodels.errors import FileError
from hwsearch.documents import units
from hwsearch.documents.earlier import USUAL_METHOD
from hwsearch.documents.files import write_bytes
from hwsearch.documents.plan import Plan
from hwsearch.documents.reading import inside
from hwsearch.documents.recommended import recommended
from hwsearch.documents.results import LayerRow, Results
from hwsearch.report import figures, layers, sentences, tiling
from hwsearch.report.canvas import Figure
from hwsearch.report.crops import ERROR_GAIN
from searchspaces.data.scale import scale_text

FILE = "report.html"
PICTURE_BYTES = 1_600_000
"""Picture details beyond this much PNG stay in the run directory, so that the page stays easy to send."""

_SCOPES = {
    "all": "Every weighted layer and every stored tensor was searched.",
    "not-first-last": "Not searched: the first and the last convolution and what they read have 8 bits (the scope of PTQ4SR).",
    "body": "Searched: what lies between head and upsampler; all else has 8 bits (the fully quantized scope of AdaBM).",
    "blocks": "Searched: residual blocks; all else has the widest width, where PAMS, DAQ and ODM leave floating point.",
    "linear": "Searched: linear layers; all else has the widest width, where papers on transformers leave floating point.",
}


@dataclass(frozen=True)
class LayerGroup:
    """All that is shown of one plan, layer by layer."""

    plan: str
    heading: str
    rows: list[LayerRow]
    latency: Figure
    schedule: Figure | None
    made_by: Mapping[str, str]
    """Of a plan by several methods which of them made the weights of a layer, and what it writes; by layer."""


def write(results: Results, run_dir: Path) -> Path:
    """Write ``run_dir/report.html``; a reader never sees half a file.

    Raises:
        FileError: the run directory cannot be written, or a picture that the results name is not there.
    """
    return write_bytes(run_dir / FILE, render(results, run_dir).encode())


def render(results: Results, run_dir: Path) -> str:
    """The page as text."""
    package = resources.files("hwsearch.report")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(package.joinpath("template.html.j2").read_text(encoding="utf-8"))
    style = Markup(package.joinpath("style.css").read_text(encoding="utf-8"))
    return template.render(style=style, **_content(results, run_dir))


def _content(results: Results, run_dir: Path) -> dict[str, Any]:
    plan = recommended(results)
    crops, left_out = _crops(results, run_dir)
    roles = figures.roles(results)
    front = sorted(results.front, key=lambda p: (p.predicted.latency_s, p.predicted.loss_db, p.name))
    weight_strips, tensor_strips = layers.bits(results)
    sha = {name: getattr(plan.provenance, name) if plan else units.NONE for name in ("weights_sha256", "device_sha256")}
    return {
        "r": results,
        "w": units,
        "scale_text": scale_text,
        "headline": _glue(sentences.headline(results, plan)),
        "summary": [_glue(sentence) for sentence in sentences.summary(results, plan)],
        "warnings": [_glue(sentence) for sentence in sentences.warnings(results)],
        "bits": lambda widths: units.compress_bits(widths.values()).split("·"),
        "tiles": sentences.tiles(results, plan) if plan else [],
        "recommended": plan.name if plan else None,
        "roles": roles,
        "front": front,
        "long": any(len(text) > 28 for p in front for text in units.plan_bits(p.weight_bits, p.activation_bits)),
        "without": results.rewritten_alike is None and any(p.dropped for p in front),
        "branches": results.rewritten_alike is None and any(p.branches for p in front),
        "tiled": any(p.tiling is not None for p in front),
        "energy": any(p.predicted.energy_j is not None for p in front),
        "int8_bytes": results.int8_weight_bytes,
        "reason": lambda fact: re.sub(r"^assumed\b[:,;.]?\s*", "", fact.note or "", flags=re.I),
        "smaller": lambda p, size: units.ratio(size / p.predicted.weight_bytes) if p.predicted.weight_bytes else units.NONE,
        "widened": lambda row: not _same_width(row),
        "tradeoffs": [figures.tradeoff(results, objective) for objective in figures.OBJECTIVES] if results.points else [],
        "tilings": _tilings(results, plan),
        "weight_strips": weight_strips,
        "tensor_strips": tensor_strips,
        "wide": units.meaning(plan.wide) if plan else "integers",
        "layers": _layers(results, plan.name if plan else None, roles),
        "crops": crops,
        "crops_left_out": left_out,
        "gain": ERROR_GAIN,
        "proxies": [figures.proxy(check, "random", results.quality.name) for check in results.proxies],
        "front_proxies": [figures.proxy(check, "front", results.quality.name) for check in results.front_proxies],
        "sqnr": [
            (title, rows)
            for title, weights in (("weights", True), ("tensor", False))
            if (rows := [row for row in results.sqnr if row.is_weight == weights])
        ],
        "unsourced": sum(1 for fact in results.device.facts if not fact.source),
        "scope": _SCOPES.get(results.scope, f"Scope of the search: {results.scope}."),
        "longest_stage_s": max(results.stages_s.values(), default=1.0) or 1.0,
        **sha,
    }


def _glue(text: str) -> str:
    """The text with numbers and their units kept on one line."""
    return re.sub(r"(?<=\d) (?=(?:[mµn]?[sJ]|d?B|[KMG]iB|[kMGT])\b)", "\u00a0", text)


def _tilings(results: Results, plan: Plan | None) -> Figure | None:
    """The figure of the ways to cut the picture, where there was a choice."""
    whole = next((point for point in results.tilings if point.tiling is None), None)
    if plan is None or whole is None or len(results.tilings) == 1:
        return None
    width = max(point.tiling.width for point in results.tilings if point.tiling is not None)
    return tiling.figure(results.tilings, width, plan.name, results.limits.get("peak_activation_bytes"))


def _layers(results: Results, first: str | None, roles: dict[str, str]) -> list[LayerGroup]:
    limit = results.limits.get("peak_activation_bytes")
    whole_s = {plan.name: plan.predicted.latency_s for plan in results.front}
    plans = {plan.name: plan for plan in results.front}
    groups = []
    for number, name in enumerate(sorted(results.layers, key=lambda n: (n != first, list(results.layers).index(n)))):
        rows, steps = results.layers[name], results.schedule.get(name)
        heading = f"{name} ({roles[name]})" if name in roles else name
        heading += "" if plans[name].method == USUAL_METHOD else f", quantized by {plans[name].method}"
        latency = layers.latency(f"latency-{number}", name, rows, whole_s[name])
        memory = layers.schedule(f"memory-{number}", name, steps, limit) if steps else None
        groups.append(LayerGroup(name, heading, rows, latency, memory, _made_by(plans[name], rows)))
    return groups


def _made_by(plan: Plan, rows: Sequence[LayerRow]) -> dict[str, str]:
    """See ``LayerGroup``."""
    found = {row.name: (plan.weight_methods.get(row.name), plan.activation_methods.get(row.name)) for row in rows}
    return {name: " → ".join(method or units.NONE for method in made) for name, made in found.items() if any(made)}


def _same_width(row: LayerRow) -> bool:
    """Whether a layer runs in the very widths that it stores; "runs as" is a precision such as W8A8 or FP16."""
    match = re.match(r"W(\d+)A(\d+)|FP(\d+)", row.runs_as, re.I)
    if match is None:
        return True
    weight, activation = (int(match[1]), int(match[2])) if match[1] else (int(match[3]), int(match[3]))
    return row.weight_bits in (None, weight) and row.input_bits == activation


def _crops(results: Results, run_dir: Path) -> tuple[list[dict[str, Any]], int]:
    shown: list[dict[str, Any]] = []
    spent = 0
    for at, crop in enumerate(results.crops):
        names = [crop.high, crop.bicubic, crop.float_, crop.plan, crop.error]
        try:
            files = [inside(run_dir, name, "a picture of the report").read_bytes() for name in names]
        except OSError as error:
            raise FileError(
                f"{error.filename}: {error.strerror}", "The run directory is incomplete; run `hwsearch optimize` again."
            ) from error
        spent += sum(map(len, files))
        if spent > PICTURE_BYTES and shown:
            return shown, len(results.crops) - at
        psnr = {key: units.decibel(value) for key, value in crop.psnr_db.items()}
        labels = [
            ("original", "original"),
            (f"{results.baseline} {psnr.get('bicubic', '')}", f"the simplest method: {results.baseline}"),
            (f"floating point {psnr.get('float', '')}", "floating-point network"),
            (f"{crop.plan_name} {psnr.get('plan', '')}", f"network under {crop.plan_name}"),
            (
                f"difference, enlarged {ERROR_GAIN}×",
                f"difference of {crop.plan_name} from floating point, enlarged {ERROR_GAIN} times",
            ),
        ]
        images = [f"data:image/png;base64,{base64.b64encode(data).decode()}" for data in files]
        texts = [(label.strip(), image, alt) for (label, alt), image in zip(labels, images, strict=True)]
        shown.append({"picture": crop.picture, "plan_name": crop.plan_name, "images": texts})
    return shown, 0
