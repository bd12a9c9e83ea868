"""Plans that ship, of networks whose weights ship: trained for few bits, so that nobody has to wait for it.

Each is what a run writes, ``NAME.json`` and ``NAME.safetensors``, and its name is understood wherever a plan is asked for.
``hwsearch.pipeline.ready_plans`` made them.
"""

from __future__ import annotations

from pathlib import Path

from hwsearch.documents.plan import Plan

FOLDER = Path(__file__).parent


def names() -> tuple[str, ...]:
    """Names of the plans."""
    return tuple(sorted(file.stem for file in FOLDER.glob("*.json")))


def documents() -> list[Plan]:
    """The plans without their integers."""
    return [Plan.model_validate_json((FOLDER / f"{name}.json").read_text(encoding="utf-8")) for name in names()]


def found(path: Path) -> Path:
    """The plan that is meant by ``path``: a file, or where there is none, the name of a ready plan, without a folder."""
    bare = path.resolve().parent == Path.cwd().resolve()  # commands make paths absolute
    return FOLDER / f"{path.name}.json" if bare and not path.exists() and path.name in names() else path
