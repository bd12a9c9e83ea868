"""The comparison of two recordings of the command line's answers (``tests/bench/unchanged.py``)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))

from unchanged import compare, differences
from unchanged_digest import file


def test_equal_documents_have_no_differences() -> None:
    document = {"a": [1, 2.5, None, {"b": "text"}], "c": True}
    assert list(differences(document, json.loads(json.dumps(document)))) == []


def test_every_kind_of_difference_is_found_at_its_path() -> None:
    before = {"value": 1.0, "type": 1, "gone": {"x": 1}, "list": [1, 2], "same": "s", "truth": 1}
    after = {"value": 1.0000000000000002, "type": 1.0, "list": [1, 3, 4], "same": "s", "truth": True, "new": None}
    found = {path: (was, now) for path, was, now in differences(before, after)}
    assert found == {
        "/value": (1.0, 1.0000000000000002),
        "/type": (1, 1.0),
        "/gone": ({"x": 1}, "(absent)"),
        "/list[1]": (2, 3),
        "/list[2]": ("(absent)", 4),
        "/truth": (1, True),
        "/new": ("(absent)", None),
    }


def test_recordings_are_compared_by_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, latency, extra in (("old", 1.5, False), ("new", 2.5, True)):
        prices = tmp_path / name / "prices"
        prices.mkdir(parents=True)
        (prices / "board.json").write_text(json.dumps({"fsrcnn": {"latency_s": latency, "macs": 3}}))
        (tmp_path / name / "about.json").write_text(json.dumps({"commit": name}))
        if extra:
            (prices / "another.json").write_text("{}")
    assert compare(tmp_path / "old", tmp_path / "old") == 0
    assert compare(tmp_path / "old", tmp_path / "new") == 2
    said = capsys.readouterr().out
    assert "prices/board/fsrcnn/latency_s: 1.5 -> 2.5" in said
    assert "prices/another: (absent) -> {}" in said


def test_a_part_that_was_not_recorded_is_not_taken_for_equal(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="holds no recording of damage"):
        compare(tmp_path, tmp_path, "damage")


def test_a_file_is_the_same_but_for_what_it_quotes(tmp_path: Path) -> None:
    one, two, three = (tmp_path / f"{name}.json" for name in ("one", "two", "three"))
    one.write_text('{"created": "2026-01-01", "scale": 0.5}')
    two.write_text('{"created": "2027-12-31", "scale": 0.5}')
    three.write_text('{"created": "2027-12-31", "scale": 0.25}')
    assert file(one) != file(two)
    assert file(one, ["2026-01-01"]) == file(two, ["2027-12-31"])
    assert file(two, ["2027-12-31"]) != file(three, ["2027-12-31"])
