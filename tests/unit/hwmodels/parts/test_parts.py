"""Registries: three places to find parts, one name a part, and no file executed that nobody named."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from installed_package import installed

from hwmodels.device import catalogue, reader
from hwmodels.errors import FileError, UsageError
from hwmodels.parts import plugins, registry, settings
from hwmodels.parts.registry import Part, Registry, declared, instances


@dataclass(frozen=True)
class Colour:
    name: str
    wave_m: float


RED = Colour("red", 7e-7)
FILE = """
from test_parts import Colour
MINE = Colour("mine", 5e-7)
"""


@pytest.fixture(autouse=True)
def _no_plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    yield
    plugins.use([])


def colours() -> Registry[Colour]:
    import test_parts  # the module that plug-ins import, whatever pytest calls this one

    kind = test_parts.Colour
    return Registry("colour", "tests.colours", lambda: [Part("red", RED, "here.py")], instances(kind, lambda one: one.name))


def test_built_in_parts_are_looked_for_once_and_late():
    asked = []

    def look() -> list[Part[Colour]]:
        asked.append(1)
        return [Part("red", RED, "here.py")]

    found = Registry("colour", "tests.colours", look, instances(Colour, lambda one: one.name))
    assert not asked
    assert dict(found) == {"red": RED}
    assert found.origin("red") == "here.py"
    assert asked == [1]


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match=r"no colour is called 'rad'\nDid you mean red\?"):
        colours().named("rad")


def test_a_plugin_is_found_and_forgotten(tmp_path: Path):
    (tmp_path / "mine.py").write_text(FILE)
    found = colours()
    assert list(found) == ["red"]
    plugins.use([tmp_path / "mine.py"])
    assert list(found) == ["red", "mine"]
    assert found.named("mine").wave_m == 5e-7
    assert found.origin("mine") == str(tmp_path / "mine.py")
    plugins.use([])
    assert list(found) == ["red"]


def test_a_folder_of_plugins(tmp_path: Path):
    (tmp_path / "b.py").write_text(FILE)
    (tmp_path / "_helper.py").write_text("raise SystemError")
    (tmp_path / "notes.txt").write_text("")
    plugins.use([tmp_path, tmp_path / "b.py"])
    assert [plugin.path.name for plugin in plugins.in_use()] == ["b.py"]
    assert "mine" in colours()


def test_two_parts_of_one_name_are_refused_with_both_places(tmp_path: Path):
    (tmp_path / "one.py").write_text(FILE)
    (tmp_path / "two.py").write_text(FILE)
    plugins.use([tmp_path / "one.py", tmp_path / "two.py"])
    with pytest.raises(FileError, match=r"'mine': .*one\.py and .*two\.py"):
        list(colours())


def test_what_a_plugin_imports_from_us_is_not_offered_again(tmp_path: Path):
    (tmp_path / "mine.py").write_text("from test_parts import RED")
    import test_parts

    found = Registry(
        "colour",
        "tests.colours",
        lambda: [Part("red", test_parts.RED, "here.py")],
        instances(test_parts.Colour, lambda one: one.name),
    )
    plugins.use([tmp_path / "mine.py"])
    assert list(found) == ["red"]


def test_a_plugin_that_fails_is_named(tmp_path: Path):
    (tmp_path / "bad.py").write_text("1 / 0")
    plugins.use([tmp_path / "bad.py"])
    with pytest.raises(FileError, match=r"bad\.py, line 1: cannot be imported \(ZeroDivisionError"):
        list(colours())
    (tmp_path / "old.py").write_text('from test_parts import Colour\nMINE = Colour("mine", 5e-7, shade=1)')
    plugins.use([tmp_path / "old.py"])
    with pytest.raises(FileError, match="this version of it has no shade; leave that out"):
        list(colours())
    with pytest.raises(FileError, match="absent"):
        plugins.use([tmp_path / "absent.py"])
    with pytest.raises(UsageError, match="no plug-in"):
        plugins.use([tmp_path / "weights.pth"])


def test_naming_a_plugin_does_not_execute_it(tmp_path: Path):
    trace = tmp_path / "executed"
    (tmp_path / "mine.py").write_text(f"open({str(trace)!r}, 'w')\n")
    plugins.use([tmp_path / "mine.py"])
    plugins.record()
    assert not trace.exists()
    list(colours())
    assert trace.exists()


def test_entry_points_of_installed_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    entry_points = "[tests.colours]\nmine = their_colours:MINE\nlost = their_colours:ABSENT\n"
    installed(tmp_path, "their_colours", FILE, "2.0", entry_points)
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._entry_points.cache_clear()
    try:
        found = colours()
        assert found.named("mine").wave_m == 5e-7
        assert found.origin("mine") == "package their-colours 2.0"
        assert "lost" not in found
        assert "package their-colours 2.0: its colour 'lost' cannot be used" in caplog.text
    finally:
        registry._entry_points.cache_clear()


def test_a_declaration_is_read_without_executing_its_file(tmp_path: Path):
    file = tmp_path / "blue.py"
    file.write_text('import absent_package\nINFO = Colour("blue", wave_m=4.5e-7)\n')
    assert declared(file, "INFO", Colour) == Colour("blue", 4.5e-7)
    assert declared(file, "OTHER", Colour) is None


def test_a_record_asks_for_its_plugins(tmp_path: Path):
    file = tmp_path / "mine.py"
    file.write_text(FILE)
    plugins.use([file])
    recorded = plugins.record()
    assert recorded == [{"name": "mine.py", "sha256": hashlib.sha256(FILE.encode()).hexdigest()}]
    plugins.ask(recorded, "RUN")
    file.write_text(FILE + "# changed\n")
    plugins.use([file])
    with pytest.raises(UsageError, match="has changed since"):
        plugins.ask(recorded, "RUN")
    plugins.use([])
    with pytest.raises(UsageError, match=r"RUN was made with plug-ins:[\s\S]*mine\.py .* is not given[\s\S]*--plugin mine\.py"):
        plugins.ask(recorded, "RUN")


def test_folders_of_plugins_are_settled_by_file_or_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(settings.HOME, str(tmp_path))
    monkeypatch.delenv(settings.PLUGINS, raising=False)
    assert settings.plugin_folders() == []
    (tmp_path / "parts").mkdir()
    (tmp_path / "more").mkdir()
    config = tmp_path / "config.toml"
    config.write_text('plugins = "parts"')
    assert settings.plugin_folders() == [tmp_path / "parts"]
    config.write_text('plugins = ["parts", "more"]')
    assert settings.plugin_folders() == [tmp_path / "parts", tmp_path / "more"]
    monkeypatch.setenv(settings.PLUGINS, os.pathsep.join([str(tmp_path / "more"), str(tmp_path / "parts")]))
    assert settings.plugin_folders() == [tmp_path / "more", tmp_path / "parts"]
    monkeypatch.setenv(settings.PLUGINS, "")
    assert settings.plugin_folders() == []
    monkeypatch.delenv(settings.PLUGINS)
    for text, message in (('plugins = "absent"', "no such folder"), ("plugin = 1", "mean plugins"), ("plugins = 1", "1 given")):
        config.write_text(text)
        with pytest.raises(FileError, match=message):
            settings.plugin_folders()


def test_a_device_file_as_a_plugin_has_name_and_alias(tmp_path: Path):
    text = reader.shipped_text("stm32h743")
    own = tmp_path / "board.toml"
    lines = [line for line in text.splitlines() if not line.startswith("aliases")]
    own.write_text("\n".join(lines).replace('name = "stm32h743"', 'name = "my-h7"\naliases = ["h7"]', 1))
    before = catalogue.names()
    plugins.use([own])
    assert catalogue.names() == [*before, "my-h7"]
    assert catalogue.load("h7") == catalogue.load("my-h7") == catalogue.load(str(own))
    own.write_text(text)
    plugins.use([own])
    with pytest.raises(FileError, match=r"two device parts are called 'stm32h743'"):
        catalogue.names()
