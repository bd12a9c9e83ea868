"""TensorRT: the file that ``trtexec --exportProfile=FILE`` writes.

A JSON array, first ``{"count": runs}``, then an object a layer of the engine: ``name``, ``timeMs`` of all runs, ``averageMs``,
``medianMs`` (newer releases) and ``percentage`` (source: ``samples/common/sampleReporting.cpp`` of the TensorRT repository,
``Profile::exportJSONProfile``). Layers are timed one by one, so their sum holds no gaps between launches and no call.

The name of a layer says what was fused into it: ``a + b`` one after the other, ``a || b`` side by side, ``PWN(a, b)`` a pointwise
kernel of several operators. ``Reformatting CopyNode for ...`` is a change of layout or precision that the builder added.
``{ForeignNode[a...b]}`` hides everything from ``a`` to ``b``.
"""

from __future__ import annotations

import re

from hwsearch.boards.profiles.profile import Document, Profile, ProfileReader, TimedOperation

_ADDED = ("Reformatting CopyNode", "reformat", "copied_squeeze_after", "shuffle_between")


def recognises(document: Document) -> bool:
    found = document.json
    return (
        isinstance(found, list) and any(isinstance(entry, dict) and "averageMs" in entry for entry in found)
    ) or _is_profile_without_layers(found)


def _is_profile_without_layers(found: object) -> bool:
    return isinstance(found, list) and len(found) == 1 and isinstance(found[0], dict) and set(found[0]) == {"count"}


def read(document: Document) -> Profile:
    steps = []
    for entry in document.json:
        if isinstance(entry, dict) and "count" in entry and "name" not in entry:
            continue
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or "averageMs" not in entry:
            raise document.refuse(f"an entry of the profile has no name and averageMs: {str(entry)[:80]}")
        name = entry["name"]
        given = "medianMs" if "medianMs" in entry else "averageMs"
        seconds = document.seconds(entry[given], 1e-3, f"{given} of {name!r}")
        added = name.startswith(_ADDED)
        steps.append(TimedOperation(name, seconds, () if added else parts(name), between=added))
    total_s = document.total(sum(step.seconds for step in steps), "the sum of all layers")
    return Profile("TensorRT (trtexec --exportProfile)", total_s, tuple(steps), with_call=False)


def parts(name: str) -> tuple[str, ...]:
    """The operators that a layer's name names; none where it hides them."""
    if "ForeignNode[" in name:
        return ()
    if name.startswith("PWN(") and name.endswith(")"):
        return tuple(part for inner in _split(name[4:-1], (", ",)) for part in parts(inner))
    pieces = _split(name, (" + ", " || "))
    if len(pieces) > 1:
        return tuple(part for piece in pieces for part in parts(piece))
    return (re.sub(r"^fused\w*\((.*)\)$", r"\1", name.strip()),)


def _split(text: str, separators: tuple[str, ...]) -> list[str]:
    """``text`` cut at separators that stand in no bracket."""
    found, depth, begun, at = [], 0, 0, 0
    while at < len(text):
        depth += (text[at] in "([{") - (text[at] in ")]}")
        here = next((s for s in separators if depth == 0 and text.startswith(s, at)), None)
        if here is None:
            at += 1
            continue
        found.append(text[begun:at])
        at = begun = at + len(here)
    return [*found, text[begun:]]


READER = ProfileReader("a TensorRT profile (trtexec --exportProfile)", recognises, read)
