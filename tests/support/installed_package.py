"""A package of somebody else as pip leaves it: a module with its metadata and an entry point."""

from __future__ import annotations

from pathlib import Path


def installed(folder: Path, module: str, text: str, version: str, entry_points: str) -> None:
    """Write the module ``module`` and its metadata into ``folder``; ``entry_points`` is the text of its ``entry_points.txt``."""
    (folder / f"{module}.py").write_text(text)
    metadata = folder / f"{module}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module.replace('_', '-')}\nVersion: {version}\n")
    (metadata / "entry_points.txt").write_text(entry_points)
