"""Where a plan came from, written and read."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ValidationError

from hwsearch.documents.origin import FoundBy, Origin, OriginText


class Document(BaseModel):
    origin: OriginText


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("exact", Origin(FoundBy.EXACT)),
        ("widths of the file", Origin(FoundBy.FILE)),
        ("uniform W8A8", Origin(FoundBy.UNIFORM, "W8A8")),
        ("one width, W8A8", Origin(FoundBy.UNIFORM_REWRITTEN, "W8A8")),
        ("picked again, predicted", Origin(FoundBy.CHOSEN_AGAIN, "predicted")),
        ("exactly", Origin(None, "exactly")),
        ("", Origin(None)),
    ],
)
def test_documents_keep_the_text(text: str, origin: Origin) -> None:
    document = Document.model_validate({"origin": text})
    assert document.origin == origin
    assert document.model_dump() == {"origin": text}
    assert document == Document(origin=origin)


def test_only_a_uniform_plan_is_a_reference() -> None:
    assert Origin.read("uniform FP16").uniform == "FP16"
    assert Origin.read("one width, FP16").uniform is None


@pytest.mark.parametrize("wrong", [7, None, "x" * 100_001])
def test_what_is_no_origin_is_refused(wrong: object) -> None:
    with pytest.raises(ValidationError):
        Document.model_validate({"origin": wrong})
