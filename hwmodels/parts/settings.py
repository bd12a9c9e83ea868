"""What a person has settled for every command: the folder of settings, and in it ``config.toml``.

The one setting is where plug-ins lie: ``plugins = "FOLDER"`` (or a list of folders; relative ones are beside the file), or the
environment variable ``HWSEARCH_PLUGINS`` in its place (several folders as in ``PATH``; empty: none).
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from hwmodels.errors import FileError, closest

HOME = "HWSEARCH_HOME"
"""Environment variable: the folder for what hwsearch keeps for a person, instead of the system's place for settings."""
PLUGINS = "HWSEARCH_PLUGINS"


def folder() -> Path:
    """The folder of settings, whether it exists or not."""
    if home := os.environ.get(HOME):
        return Path(home)
    settings = os.environ.get("APPDATA") if os.name == "nt" else os.environ.get("XDG_CONFIG_HOME")
    return (Path(settings) if settings else Path.home() / ".config") / "hwsearch"


def kept(name: str) -> Path | None:
    """The folder ``name`` for what is kept to be quicker next time, in the user's cache directory; None where there is no such
    place. Whatever stands there may vanish at any time."""
    if home := os.environ.get(HOME):
        return Path(home) / name
    from hwmodels import compiled

    try:
        return compiled.cache_root().parent / name
    except RuntimeError:
        return None


def plugin_folders() -> list[Path]:
    """The folders that hold plug-ins.

    Raises:
        FileError: one of them is no folder, or ``config.toml`` has a mistake.
    """
    named = os.environ.get(PLUGINS)
    if named is not None:
        origin, folders = PLUGINS, [Path(entry).expanduser() for entry in named.split(os.pathsep) if entry]
    else:
        file = folder() / "config.toml"
        origin, folders = str(file), [file.parent / Path(entry).expanduser() for entry in _entries(file)]
    for place in folders:
        if not place.is_dir():
            raise FileError(f"{place}: no such folder of plug-ins", f"It is named by {origin}.")
    return folders


def _entries(file: Path) -> list[str]:
    try:
        if not file.is_file():
            return []
        with file.open("rb") as opened:
            document = tomllib.load(opened)
    except (OSError, ValueError) as error:
        raise FileError(f"{file}: cannot be read: {error}", 'It is TOML, such as: plugins = "my_parts"') from None
    for key in document:
        if key != "plugins":
            raise FileError(f"{file}: {key}: unknown key", closest(key, ["plugins"]))
    found = document.get("plugins", [])
    entries = [found] if isinstance(found, str) else found
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise FileError(f"{file}: plugins: {found!r} given", "Allowed: a folder in quotes, or a list of such.")
    return entries
