"""A finished run as one document for machines; SI units."""

from __future__ import annotations

from typing import Any

from hwsearch.documents import trust
from hwsearch.documents.plan import Plan
from hwsearch.documents.results import Results
from hwsearch.search import frame_rate


def document(results: Results) -> dict[str, Any]:
    """The one JSON document of ``hwsearch optimize --json``; SI units."""
    reference = results.reference
    return {
        "target": results.target,
        "network": results.network,
        "scale": results.scale,
        "quality": results.quality.model_dump(),
        "second": results.second.model_dump(),
        "reference": {
            "quality_db": reference.quality_db,
            "second": reference.second,
            "baseline_db": reference.baseline_db,
            "weight_bytes": reference.weight_bytes,
            "latency_s": reference.latency_s,
            "precision": reference.precision,
        },
        "trust": trust.document(results.device),
        "fps": results.fps,
        "front": [{"file": results.file_of(plan.name), **entry(plan, results)} for plan in results.front],
        "tilings": [point.model_dump() for point in results.tilings],
        "proxies": {check.name: {"spearman": check.spearman} for check in results.proxies},
        "notes": results.notes,
        "versions": results.versions,
        "resumed": [leg.model_dump() for leg in results.resumed],
        "run_dir": None if results.run_dir is None else str(results.run_dir),
        "wall_s": results.wall_s,
    }


def entry(plan: Plan, results: Results) -> dict[str, Any]:
    """One plan of these results for machines."""
    measured, fps, latency_s = plan.measured, results.fps, plan.predicted.latency_s
    return {
        "plan": plan.name,
        "dropped": plan.dropped,
        "branches": plan.branches,
        "weight_bits": plan.weight_bits,
        "activation_bits": plan.activation_bits,
        "tiling": plan.tiling,
        "predicted": plan.predicted.model_dump(),
        "trust": trust.document(results.device, latency_s, results.layers.get(plan.name, ())),
        "counted": None if plan.counted is None else plan.counted.model_dump(),
        "headroom": None if fps is None else frame_rate.headroom(latency_s, fps),
        "unproven": None if plan.unproven is None else plan.unproven.model_dump(),
        "measured": None
        if measured is None
        else {
            "quality_db": measured.quality_db,
            "loss_db": measured.loss_db,
            "second": measured.second,
            "near_db": measured.near_db,
            "runtime": measured.runtime,
        },
    }
