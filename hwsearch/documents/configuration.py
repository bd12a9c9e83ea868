"""What a run was asked, and of what: ``run.json``, ``targets.json``, ``blocks.json`` and ``legs.json`` of a run directory."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from hwsearch.documents.bounds import Count, Many, Name, Number, Text
from hwsearch.documents.document import Document

SCHEMA = 1


class UsedPlugin(Document):
    """A plug-in that was in use: the name of its file, and the digest of what stood in it."""

    name: Text
    sha256: Name


class Configuration(Document):
    """``run.json``. The request stands here as plain JSON: its type is ``problem.request.Request``."""

    schema_version: Literal[1]
    request: dict[str, Any]
    provenance: dict[Name, Text | dict[Name, Text]] = Field(default_factory=dict)
    """What decides a measurement beside the request: versions, and digests of weights, device and pictures."""
    plugins: list[UsedPlugin] = Field(default_factory=list, max_length=1000)

    @property
    def versions(self) -> dict[str, str]:
        """Package -> version that the run was started with."""
        found = self.provenance.get("versions", {})
        return found if isinstance(found, dict) else {}


class Targets(Configuration):
    """``targets.json`` of a run for several devices: device name -> target as it was given."""

    targets: dict[Name, Text] = Field(min_length=1)


class Rewritten(Document):
    """The network with a rewriting, as a run for several of them searches it."""

    blocks: list[Text]
    """Those that it is without."""
    branches: dict[Text, Count] = Field(default_factory=dict)
    """Layer -> rank of its low-rank branch."""
    lost_db: Number
    """Of quality, on the search pictures in floating point, against the network as it was."""
    evaluations: Many
    """Plans that may be simulated; 0: its predicted plans promised nothing, or no plan of it meets the budgets."""
    probes: Many


class Rewritings(Configuration):
    """``blocks.json`` of a run that decides how the network is rewritten: without which blocks, with which branches."""

    looks: dict[Text, Number | None] = Field(default_factory=dict)
    """Block -> what is lost without it alone, in floating point: on all search patches for the most promising, on a quarter
    for the others."""
    promised: dict[Text, Number] | None = None
    """``LAYER=RANK`` of the best branch of a layer -> output noise power that it saves at equal price, those that save
    any; None: not asked."""
    networks: dict[Name, Rewritten] = Field(default_factory=dict)
    """Folder of a run -> the network that it is of; empty as long as nothing is decided."""


class Leg(Document):
    """A time that a run was gone on with."""

    created: Text
    versions: dict[Name, Text]


class Legs(Document):
    """``legs.json``: each time that a run was gone on with, in order."""

    legs: list[Leg] = Field(max_length=10_000)


def changes(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """Packages of another version, as ``torch 2.7.1 -> 2.8.0``."""
    names = sorted({*before, *now})
    pairs = [(name, before.get(name, "none"), now.get(name, "none")) for name in names]
    return [f"{name} {old} -> {new}" for name, old, new in pairs if old != new]
