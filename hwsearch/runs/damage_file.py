"""Damage tables on disk: what a finished run needs to choose again, and a resumed one to measure no proxy twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hwmodels.errors import FileError
from hwsearch.documents.files import read_json, write_json
from hwsearch.quality.damage import Damage

if TYPE_CHECKING:
    from searchspaces.space import SearchSpace

SCHEMA = 1


def save(path: Path, tables: Mapping[str, Damage], space: SearchSpace) -> None:
    """Write the tables of all proxies, with the names and widths that their rows and columns stand for."""
    write_json(path, {"schema_version": SCHEMA, **_axes(space), "tables": tables})


def load(path: Path, space: SearchSpace) -> dict[str, Damage]:
    """The tables in ``path``, by proxy.

    Raises:
        FileError: absent, damaged, or of another space.
    """
    document = read_json(path, "the damage tables of a run")
    hint = "It was written by another version, or changed by hand: run `hwsearch optimize` again."
    if {name: document.get(name) for name in _axes(space)} != _axes(space):
        raise FileError(f"{path} holds the damage of other layers or widths", hint)
    try:
        tables = {}
        for name, saved in document["tables"].items():
            known = {field.name: saved[field.name] for field in fields(Damage) if field.name in saved}
            known["noise"] = np.array(saved["noise"], dtype=np.float64)
            known["float_mse"] = np.array(saved["float_mse"], dtype=np.float64)
            known["pictures"] = tuple(saved["pictures"])
            if known["noise"].shape != space.allowed.shape:
                raise ValueError(f"table {name} has another shape")
            tables[name] = Damage(**known)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FileError(f"{path} is damaged: {error}", hint) from error
    return tables


def _axes(space: SearchSpace) -> dict[str, list[str] | list[int]]:
    return {
        "decisions": list(space.names),
        "weight_bits": list(space.weight_bits),
        "activation_bits": list(space.activation_bits),
    }
