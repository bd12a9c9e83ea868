"""Built-in networks small enough to trace and run in a moment: name -> arguments."""

from __future__ import annotations

from typing import Any

SMALL: dict[str, dict[str, Any]] = {
    "ecbsr": {"m": 2, "c": 6},
    "espcn": {"channels": 1, "d": 8, "s": 5},
    "imdn": {"nf": 16, "n_blocks": 2},
    "etds": {"m": 2, "c": 6},
    "lapsrn": {"depth": 2, "width": 6},
    "carn_m": {"width": 8, "groups": 2},
    "srvgg": {"depth": 3, "width": 6},
    "srmdnf": {"depth": 4, "width": 8, "code": 5},
    "rrdb": {"n_blocks": 2, "width": 8, "growth": 4},
    "pan": {"nf": 8, "unf": 6, "n_blocks": 2},
    "rfdn": {"nf": 12, "n_blocks": 2},
    "bsrn": {"nf": 8, "n_blocks": 2},
    "rcan": {"n_groups": 2, "n_blocks": 3, "n_feats": 8, "reduction": 4},
    "rcan_basicsr": {"n_groups": 2, "n_blocks": 3, "n_feats": 8, "reduction": 4},
    "resnet18": {"width": 4, "classes": 10},
    "vgg16": {"width": 2, "hidden": 12, "classes": 10},
    "mobilesr": {"width": 16},
    "hit_srf": {"width": 12, "groups": 1},
    "imdtn": {"width": 16},
    "ngswin": {"width": 16, "outer": 2, "inner": 1},
    "eswt": {"width": 20, "groups": 1, "depth": 2},
    "swinir": {"channels": 3, "width": 12, "groups": 1, "depth": 2, "heads": 2, "side": 4, "inner": 24, "convs": 1},
}
