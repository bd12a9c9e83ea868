"""Make the plans that ship (``hwsearch.plans.ready``) anew: ``python -m hwsearch.pipeline.ready_plans``, a quarter of an hour.

Each is the one plan of a search whose widths leave nothing to choose, with all of its numbers trained.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import hwsearch
from hwsearch.documents.files import write_json
from hwsearch.plans import plan_file, ready

READY: dict[str, dict[str, Any]] = {
    "abpn_x3-w4a8": {
        "network": "abpn",
        "target": "stm32n6",
        "weight_bits": (4,),
        "activation_bits": (8,),
        "methods": ("together",),
    }
}
"""Name of each plan, and the request whose only plan it is."""


def make(name: str, folder: Path) -> Path:
    """Search, and write the plan and its integers as ``name`` to ``folder``; returns the file of the plan."""
    with tempfile.TemporaryDirectory() as scratch:
        run_dir = Path(scratch) / "run"
        (plan,) = hwsearch.optimize(**READY[name], run_dir=run_dir).front
        opened = plan_file.open_plan(run_dir / "plans" / f"{plan.name}.json")
        assert opened.plan.integers is not None
        integers = f"{name}.safetensors"
        shutil.copyfile(opened.path.parent / opened.plan.integers, folder / integers)
    renamed = opened.plan.model_copy(update={"name": name, "integers": integers}).sealed()
    path = folder / f"{name}.json"
    write_json(path, renamed)
    return path


if __name__ == "__main__":
    for ready_plan in READY:
        print(make(ready_plan, ready.FOLDER))
