"""Names and titles of others are data: in tables, on stderr, in the report, in C and in CSV they come out as text."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
import synthetic_results
from random_networks import float_graph, quantize

from hwmodels.device import reader
from hwmodels.errors import FileError
from hwsearch.cli import main, summary, terminal
from hwsearch.documents.results import Results
from hwsearch.formats.c import write
from hwsearch.formats.sidecar.table_csv import cell
from hwsearch.formats.writing.exporters import EXPORTERS
from hwsearch.report import html

HOSTILE = (
    "Board [v2] [bold]x[/] [/nothing] :smile: </script><script>alert(1)</script> & \x1b[31mred\x1b[0m */ =cmd \u202eeliF \x07"
)


@pytest.fixture
def board(tmp_path: Path) -> str:
    text = reader.shipped_text("stm32h743")
    text = re.sub(r"(?m)^aliases = .*$", "", text)
    for key, value in (("name", "my-board"), ("title", HOSTILE), ("summary", HOSTILE), ("runtime", HOSTILE)):
        text = re.sub(rf"(?m)^{key} = .*$", lambda _, key=key, value=value: f"{key} = {json.dumps(value)}", text, count=1)
    (tmp_path / "board.toml").write_text(text)
    return str(tmp_path / "board.toml")


def assert_shown(out: str) -> None:
    """All of the text is there, and nothing that a terminal obeys."""
    joined = re.sub(r"\s+", " ", out)
    for part in ("Board [v2] [bold]x[/] [/nothing] :smile:", r"\x1b[31mred\x1b[0m", r"\u202eeliF \x07"):
        assert part in joined
    assert not set(out) & {"\x1b", "\x07", "\u202e"}


@pytest.mark.parametrize(
    "words",
    [("devices", "show"), ("devices", "check"), ("estimate", "--network", "fsrcnn", "--input", "24x32", "--target")],
    ids=lambda words: words[0] + words[1],
)
def test_titles_of_devices_in_tables(board: str, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    assert main([*words, board]) == 0
    assert_shown(capsys.readouterr().out)


def test_machines_get_the_text_as_it_is(board: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "show", board, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == HOSTILE


@pytest.fixture
def hostile(tmp_path: Path) -> Results:
    made = synthetic_results.results(tmp_path)
    layers = {
        name: [row.model_copy(update={"name": HOSTILE + row.name, "runs_as": HOSTILE}) for row in rows]
        for name, rows in made.layers.items()
    }
    device = made.device.model_copy(update={"title": HOSTILE, "runtime": HOSTILE})
    return made.model_copy(
        update={"network": HOSTILE, "device": device, "layers": layers, "notes": [HOSTILE], "uncounted": [HOSTILE]}
    )


def test_a_summary_of_hostile_names(hostile: Results, capsys: pytest.CaptureFixture[str]) -> None:
    summary.render(hostile, terminal.people())
    assert_shown(capsys.readouterr().out)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.scripts, self.text = 0, ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.scripts += tag == "script"

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_report_of_hostile_names(hostile: Results, tmp_path: Path) -> None:
    pages = []
    for results in (hostile, synthetic_results.results(tmp_path)):
        page = Tags()
        page.feed(html.render(results, tmp_path))
        pages.append(page)
    assert pages[0].scripts == pages[1].scripts
    assert "</script><script>alert(1)</script>" in pages[0].text


def test_errors_and_remarks(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.report_error(FileError(HOSTILE, HOSTILE), as_json=False)
    terminal.Terminal().remark(HOSTILE)
    err = capsys.readouterr().err
    assert_shown(err)
    assert err.count("[/nothing]") == 3


def test_columns_and_titles_of_tables(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.people().print(terminal.table((HOSTILE, "x"), [("1", "2")], title=HOSTILE))
    assert_shown(capsys.readouterr().out)


@pytest.mark.parametrize("text", [HOSTILE, "a */ b", "a *\\", "*/*", "/\\*", "x ??/", "line\u2028two", "*\\\n/"])
def test_c_comments_hold_what_they_are_given(text: str, tmp_path: Path) -> None:
    q = quantize(float_graph("fsrcnn-relu"))
    folder = write.export(q, tmp_path / "net", metadata={"network": text, "plan": "p"}, size=(6, 7))
    for file in ("p.h", "p.c"):
        source = (folder / file).read_text()
        left = re.sub(r"/\*.*?\*/", "", source, flags=re.DOTALL)
        assert "*/" not in left
        assert "??/" not in source
        assert "\\" not in re.sub(r"\\\n", "", source)
    if compiler := shutil.which("gcc"):
        done = subprocess.run(
            [compiler, "-std=c99", "-Wall", "-Wcomment", "-Wtrigraphs", "-Werror", "-fsyntax-only", folder / "p.c"],
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr


def test_cells_that_a_spreadsheet_would_compute_are_text(tmp_path: Path) -> None:
    for text in ("=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"):
        assert cell(text) == f"'{text}"
    assert [cell(value) for value in (-1, -0.5, "conv.0", "a=b", "")] == [-1, -0.5, "conv.0", "a=b", ""]
    q = quantize(float_graph("fsrcnn-relu"))
    EXPORTERS["csv"](q, tmp_path / "t.csv", metadata={"plan": "=1+1"})
    rows = list(csv.DictReader(io.StringIO((tmp_path / "t.csv").read_text())))
    assert {row["plan"] for row in rows} == {"'=1+1"}
