"""What documents of earlier versions call otherwise.

Until quantization methods were files of their own there were two of them, called quantizers; and before that, one. Until
tasks said what quality is, its fields had the names of the first task's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

USUAL_METHOD = "output_noise"
"""What quantized wherever a document names no method."""
METHODS = {"measured": USUAL_METHOD, "plain": "nearest"}
"""Quantizers of earlier versions, and the methods that they became."""


QUALITY = {"psnr_db": "quality_db", "psnr_loss_db": "loss_db", "ssim": "second", "bicubic_psnr_db": "baseline_db"}
"""Fields of what was predicted, simulated or measured."""
BUDGETS = {"psnr_loss": "loss"}
"""Names of budgets; people may go on typing them."""


def with_quality(document: Mapping[str, Any]) -> dict[str, Any]:
    """Figures of a plan under today's names."""
    return {QUALITY.get(key, key): value for key, value in document.items()}


def with_budgets(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document with its field ``budgets``, if it has one, under today's names."""
    fields = dict(document)
    if isinstance(budgets := fields.get("budgets"), Mapping):
        fields["budgets"] = {BUDGETS.get(key, key): value for key, value in budgets.items()}
    return fields


def with_method(document: Mapping[str, Any]) -> dict[str, Any]:
    """A plan or a score with its field ``quantizer``, if it has one, as ``method``."""
    fields = dict(document)
    if "quantizer" in fields:
        fields["method"] = _method(fields.pop("quantizer"))
    return fields


def with_request(request: Mapping[str, Any]) -> dict[str, Any]:
    """A request with the fields ``methods`` and ``budgets``, whatever earlier versions called them and what is in them."""
    fields = with_budgets(request)
    names = fields.pop("quantizers", ["measured"])
    return {"methods": [_method(name) for name in names] if isinstance(names, (list, tuple)) else names} | fields


def with_simulated(check: Mapping[str, Any]) -> dict[str, Any]:
    """A check of a proxy with the losses that were simulated under that name; they were called measured."""
    fields = dict(check)
    if "measured_db" in fields:
        fields["simulated_db"] = fields.pop("measured_db")
    return fields


def _method(name: Any) -> Any:
    """What became of a quantizer; whatever else stands there is for the reader of the document to refuse."""
    return METHODS.get(name, name) if isinstance(name, str) else name
