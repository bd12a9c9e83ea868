"""Running a plan file's integers again, on the pictures it was judged by or on others, and comparing with what it says.

Only the file's integers are used: neither the network's code nor its weights are needed. With ONNX Runtime the exported file
beside the plan is what runs (or a fresh export, where there is none), and our engine checks it code for code.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from hwmodels.errors import MismatchError
from hwsearch import plan_file, store, validate
from hwsearch.evaluate import to_picture
from hwsearch.progress import Progress
from hwsearch.quant.model import QuantizedGraph
from hwsearch.upscale import check_runtime, enlargement
from searchspaces import pictures
from searchspaces.metrics import psnr_y, ssim_y
from searchspaces.pictures import InputKind, Pair

PSNR_TOLERANCE_DB = 0.005
"""Room for another CPU's order of additions where a plan has layers in half precision."""


@dataclass(frozen=True)
class Verdict:
    """What was measured, and what the plan says (``None`` on other pictures, or where it was not measured)."""

    plan: str
    runtime: str
    pictures: tuple[str, ...]
    psnr_db: float
    ssim: float
    mismatched_codes: int
    codes: int
    recorded_psnr_db: float | None


def recheck(path: Path, runtime: str, images: Path | None, progress: Progress) -> Verdict:
    """Run the plan in ``path`` on ``images``, or on the evaluation pictures of its run.

    Args:
        images: a folder; all of its pictures are used.
    Raises:
        FileError: the plan, its integers or a picture cannot be used.
        UsageError: no such runtime.
        MismatchError: ONNX Runtime and our engine disagree, or the plan says another PSNR.
    """
    check_runtime(runtime)
    plan = plan_file.load(path)
    qgraph = plan_file.load_integers(plan, path, progress)
    chosen, own = evaluation_pictures(path, images)
    kind: InputKind = "upsampled" if enlargement(qgraph.graph) == 1 and plan.scale > 1 else "low"
    found = []
    with progress.stage(f"running {plan.name}", len(chosen)) as stage, TemporaryDirectory() as folder:
        exported = _exported(path, qgraph, Path(folder)) if runtime == "ort" else None
        for picture in chosen:
            pairs = pictures.pairs([picture], plan.scale, qgraph.graph.input.attrs["channels"], kind)
            found.append(
                _on_onnx(qgraph, exported, pairs[0], plan.scale) if exported else _on_engine(qgraph, pairs[0], plan.scale)
            )
            stage.advance()
    psnr, ssim, mismatched, codes = (np.array(column) for column in zip(*found, strict=True))
    measured_db = float(psnr.mean())
    recorded_db = plan.measured.psnr_db if own and plan.measured else None
    if recorded_db is not None and abs(recorded_db - measured_db) > PSNR_TOLERANCE_DB:
        raise MismatchError(
            f"{path}: measured {measured_db:.3f} dB, but the plan says {recorded_db:.3f} dB on the same pictures",
            "The plan, its integers, its pictures or the runtime have changed.",
        )
    names = tuple(picture.name for picture in chosen)
    return Verdict(
        plan.name, runtime, names, measured_db, float(ssim.mean()), int(mismatched.sum()), int(codes.sum()), recorded_db
    )


def _exported(path: Path, qgraph: QuantizedGraph, folder: Path) -> Path:
    beside = path.with_suffix(".onnx")
    if beside.is_file():
        return beside
    from hwsearch.export import onnx

    return onnx.export(qgraph, folder / "plan.onnx")


def _on_onnx(qgraph: QuantizedGraph, exported: Path, pair: Pair, scale: int) -> tuple[float, float, int, int]:
    """PSNR, SSIM, differing codes, codes."""
    proof = validate.prove(qgraph, exported, [pair], scale, validate.run_onnx(exported))
    return proof.psnr_db, proof.ssim, proof.mismatched_codes, proof.codes


def _on_engine(qgraph: QuantizedGraph, pair: Pair, scale: int) -> tuple[float, float, int, int]:
    with torch.no_grad():
        output = validate.run_engine(qgraph, pair.low)
    shown = to_picture(output)
    return psnr_y(shown, pair.high, scale), ssim_y(shown, pair.high, scale), 0, output.numel()


def evaluation_pictures(path: Path, images: Path | None) -> tuple[tuple[pictures.Picture, ...], bool]:
    """The pictures to judge by, and whether they are those that the plan was judged by."""
    if images is not None:
        return tuple(pictures.load_folder(images)), False
    run = path.parent.parent
    if not (run / "run.json").is_file():
        return pictures.split(pictures.shipped()).evaluation, False
    request = store.saved_request(run, {})
    source = pictures.shipped() if request["images"] is None else pictures.load_folder(request["images"])
    return pictures.split(source, seed=request["seed"]).evaluation, True
