"""Damage tables on disk: what a finished run needs to choose again, and a resumed one to measure no proxy twice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from hwmodels.errors import FileError
from hwsearch.documents.bounds import Amount, Count, Rate, Seed, Text, Width
from hwsearch.documents.files import write_json
from hwsearch.documents.reading import AGAIN, CHANGED, read
from hwsearch.quality.damage import Damage

if TYPE_CHECKING:
    from searchspaces.space import SearchSpace

SCHEMA: Literal[1] = 1


class _Table(BaseModel):
    """One ``Damage``."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    proxy: Text
    noise: list[list[Amount]]
    float_mse: list[Rate] = Field(min_length=1)
    seed: Seed
    pictures: list[Text]
    seconds: Amount
    forward_passes: Count = 0
    backward_passes: Count = 0


class _Document(BaseModel):
    """``damage.json``: the tables by proxy, and the names and widths that their rows and columns stand for."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    schema_version: Literal[1]
    decisions: list[Text]
    weight_bits: list[Width]
    activation_bits: list[Width]
    tables: dict[Text, _Table] = Field(min_length=1)


def save(path: Path, tables: Mapping[str, Damage], space: SearchSpace) -> None:
    """Write the tables of all proxies, with the names and widths that their rows and columns stand for."""
    write_json(path, {"schema_version": SCHEMA, **_axes(space), "tables": tables})


def load(path: Path, space: SearchSpace) -> dict[str, Damage]:
    """The tables in ``path``, by proxy.

    Raises:
        FileError: absent, damaged, or of another space.
    """
    hint = f"{CHANGED} Run `hwsearch optimize` again."
    document = read(path, _Document, "the damage tables of a run", hint, AGAIN)
    if {name: getattr(document, name) for name in _axes(space)} != _axes(space):
        raise FileError(f"{path} holds the damage of other layers or widths", hint)
    tables = {}
    for name, saved in document.tables.items():
        if {len(row) for row in saved.noise} != {space.allowed.shape[1]} or len(saved.noise) != space.decisions:
            raise FileError(f"{path} is damaged: the table of {name} has another shape", hint)
        arrays = {"noise": np.array(saved.noise), "float_mse": np.array(saved.float_mse)}
        tables[name] = Damage(**{**saved.model_dump(), **arrays, "pictures": tuple(saved.pictures)})
    return tables


def _axes(space: SearchSpace) -> dict[str, list[str] | list[Width]]:
    return {
        "decisions": list(space.names),
        "weight_bits": list(space.weight_widths),
        "activation_bits": list(space.tensor_widths),
    }
