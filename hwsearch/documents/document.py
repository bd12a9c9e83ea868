"""What every document is: fields that are known, and values that do not change."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """A document, or a part of one. Unknown fields are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
