"""Errors in code of others are told with the place in it; what such code gives is looked at."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from installed_package import installed

from hwmodels.device import catalogue, reader
from hwmodels.errors import FileError
from hwmodels.parts import elsewhere, plugins, registry
from hwmodels.parts.plugins import execute
from hwmodels.parts.registry import Registry, instances


@pytest.fixture(autouse=True)
def _no_plugins() -> Iterator[None]:
    yield
    plugins.use([])


def raised(call: Callable[[], object]) -> Exception:
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def test_the_innermost_line_of_theirs_is_told(tmp_path: Path) -> None:
    (tmp_path / "helper_of_theirs.py").write_text("def half(x):\n    return x / 2\n")
    file = tmp_path / "part.py"
    file.write_text(
        "import json\nfrom helper_of_theirs import half\n\ndef a(x):\n    return half(x)\n\ndef b(x):\n    json.loads(x)\n"
    )
    try:
        module = execute(file, file.read_bytes(), "_part")
        assert elsewhere.place_of(raised(lambda: module.a("text"))) == f"{tmp_path / 'helper_of_theirs.py'}, line 2"
        error = raised(lambda: module.b("{"))  # raised by the library that it calls
        assert elsewhere.place_of(error) == f"{file}, line 8"
        told = elsewhere.failed(error, f"{file}, line 8")
        assert str(told).startswith(f"{file}, line 8: JSONDecodeError: ")
    finally:
        sys.modules.pop("helper_of_theirs", None)


def test_an_error_of_ours_has_no_place() -> None:
    assert elsewhere.place_of(raised(lambda: reader.load_text("name = 1", "x.toml"))) is None


def test_a_file_that_fails_while_it_is_imported_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "part.py"
    file.write_text("x = 1\n\ny = 1 / 0\n")
    with pytest.raises(FileError, match=re.escape(f"{file}, line 3: cannot be imported (ZeroDivisionError: division by zero)")):
        execute(file, file.read_bytes(), "_part")


def test_code_of_an_installed_package_is_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "def fails():\n    raise KeyError('x')\n"
    installed(tmp_path, "their_functions", text, "1.0", "[tests.functions]\nmine = their_functions:fails\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._entry_points.cache_clear()
    try:
        kind = type(raised)
        found = Registry("function", "tests.functions", list, instances(kind, lambda one: one.__name__))
        place = elsewhere.place_of(raised(found.named("fails")))
        assert place == f"{tmp_path / 'their_functions.py'}, line 2"
    finally:
        registry._entry_points.cache_clear()
        sys.modules.pop("their_functions", None)


def test_a_package_that_ends_the_process_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    installed(tmp_path, "their_script", "raise SystemExit(1)\n", "1.0", "[tests.scripts]\nmine = their_script:x\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._entry_points.cache_clear()
    try:
        assert not dict(Registry("script", "tests.scripts", list, instances(str, str)))
        assert "package their-script 1.0: its script 'mine' cannot be used (SystemExit: 1)" in caplog.text
    finally:
        registry._entry_points.cache_clear()


def test_what_is_given_is_looked_at() -> None:
    assert elsewhere.given(1.5, float, "the part", "check_part") == 1.5
    with pytest.raises(FileError, match=r"the part gave NoneType, not float\n.*check_part"):
        elsewhere.given(None, float, "the part", "check_part")


@pytest.mark.parametrize(
    "mine", ['name = "jetson"', 'name = "mine"\naliases = ["jetson"]', 'name = "mine"\naliases = ["stm32h743"]']
)
def test_a_device_must_not_take_the_name_or_alias_of_another_one(tmp_path: Path, mine: str) -> None:
    lines = [line for line in reader.shipped_text("stm32h743").splitlines() if not line.startswith("aliases")]
    own = tmp_path / "board.toml"
    own.write_text("\n".join(lines).replace('name = "stm32h743"', mine, 1))
    plugins.use([own])
    for ask in (catalogue.names, lambda: catalogue.load("jetson"), lambda: catalogue.load("stm32h743")):
        with pytest.raises(FileError, match=r"two devices are called '(jetson|stm32h743)': .*board\.toml"):
            ask()


def test_no_two_shipped_devices_are_called_the_same() -> None:
    called = reader.called()
    assert called["jetson"] == "jetson-orin-nano"
    assert set(called.values()) == set(reader.shipped_names())
