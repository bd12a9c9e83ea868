"""A finished run in one document for machines, or one screen for people."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwsearch.console import table
from hwsearch.report import words
from hwsearch.results import Results

if TYPE_CHECKING:
    from rich.console import Console

    from hwsearch.plan import Plan

ROWS = 20
"""Plans of the front that one screen shows; the others are in results.json and in the report."""


def document(results: Results) -> dict[str, Any]:
    """The one JSON document of ``hwsearch optimize --json``; SI units."""
    reference = results.reference
    return {
        "target": results.target,
        "network": results.network,
        "scale": results.scale,
        "reference": {
            "psnr_db": reference.psnr_db,
            "ssim": reference.ssim,
            "bicubic_psnr_db": reference.bicubic_psnr_db,
            "weight_bytes": reference.weight_bytes,
            "latency_s": reference.latency_s,
            "precision": reference.precision,
        },
        "front": [_entry(plan) for plan in results.front],
        "chosen": dict(results.chosen),
        "proxies": {check.name: {"spearman": check.spearman} for check in results.proxies},
        "run_dir": None if results.run_dir is None else str(results.run_dir),
        "wall_s": results.wall_s,
    }


def _entry(plan: Plan) -> dict[str, Any]:
    measured = plan.measured
    return {
        "plan": plan.name,
        "weight_bits": plan.weight_bits,
        "activation_bits": plan.activation_bits,
        "predicted": plan.predicted.model_dump(),
        "measured": None
        if measured is None
        else {
            "psnr_db": measured.psnr_db,
            "psnr_loss_db": measured.psnr_loss_db,
            "ssim": measured.ssim,
            "runtime": measured.runtime,
        },
    }


def int8_weight_bytes(results: Results) -> int | None:
    """Weight bytes of the uniform W8A8 plan on this device; ``None`` where it was not priced."""
    return next((point.weight_bytes for point in results.points if point.origin == "uniform W8A8"), None)


def shown_plans(results: Results) -> list[Plan]:
    """The plans that fit on one screen: every chosen one, and others evenly along the front."""
    front = results.front
    if len(front) <= ROWS:
        return list(front)
    chosen = set(results.chosen.values())
    others = [plan for plan in front if plan.name not in chosen]
    room = max(ROWS - len(front) + len(others), 0)
    kept = chosen | {others[i * len(others) // room].name for i in range(room)}
    return [plan for plan in front if plan.name in kept]


def render(results: Results, screen: Console) -> None:
    """The front, the chosen plans, how far the proxies can be trusted, and what to type next."""
    roles: dict[str, list[str]] = {}
    for role, name in results.chosen.items():
        roles.setdefault(name, []).append(role)
    int8, plans = int8_weight_bytes(results), shown_plans(results)
    reference = results.reference
    screen.print(
        f"[bold]{results.network} x{results.scale} on {results.device.title}[/], "
        f"input {results.input_height}x{results.input_width}, "
        f"floating point {words.decibel(reference.psnr_db)}, {words.bytes_(reference.weight_bytes)} of weights at 32 bits"
    )
    columns = (
        *("plan", "weight bits", "tensor bits", "PSNR", "loss", "latency", "weights", "peak memory"),
        *("smaller than fp32", "than int8", "chosen as"),
    )
    rows = [
        (
            plan.name,
            *words.plan_bits(plan.weight_bits, plan.activation_bits),
            words.decibel(plan.measured.psnr_db) if plan.measured else words.NONE,
            words.loss(plan.measured.psnr_loss_db) if plan.measured else f"~ {words.loss(plan.predicted.psnr_loss_db)}",
            words.seconds(plan.predicted.latency_s),
            words.bytes_(plan.predicted.weight_bytes),
            words.bytes_(plan.predicted.peak_activation_bytes),
            words.ratio(reference.weight_bytes / plan.predicted.weight_bytes if plan.predicted.weight_bytes else None),
            words.ratio(int8 / plan.predicted.weight_bytes if int8 and plan.predicted.weight_bytes else None),
            ", ".join(roles.get(plan.name, [])),
        )
        for plan in plans
    ]
    screen.print(table(columns, rows, left=("weight bits", "tensor bits", "chosen as")))
    if len(plans) < len(results.front):
        screen.print(f"{len(results.front) - len(plans)} more plans are in the report.")
    screen.print("PSNR and loss are measured in integers on the evaluation pictures; ~ on the search pictures, not proven.")
    trust = words.listing(f"{check.name} {check.spearman:.3f}" for check in results.proxies)
    screen.print(f"Rank correlation of the proxies with measured plans (Spearman): {trust}.")
    for note in results.notes:
        screen.print(f"- {note}", markup=False)
    best = results.chosen.get("budget") or results.chosen.get("knee") or (results.front[0].name if results.front else None)
    if results.run_dir is None:
        return
    screen.print(f"\n[bold]Report[/]  {results.run_dir / 'report.html'}", soft_wrap=True)
    if best is not None:
        plan_path = shlex.quote(str(_near(results.run_dir / "plans" / f"{best}.json")))
        screen.print(f"[bold]Next[/]    hwsearch explain {plan_path}", soft_wrap=True)
        screen.print(
            f"        hwsearch export {plan_path} --to onnx --out {results.network}_x{results.scale}.onnx", soft_wrap=True
        )


def _near(path: Path) -> Path:
    """Relative to the current folder where it lies below it: shorter to type."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
