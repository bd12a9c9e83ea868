"""Devices by name, alias or path."""

from __future__ import annotations

from hwmodels.device.device import Device


def names() -> list[str]:
    """Names of all devices: those that come with the package, sorted, then those of other packages and of plug-ins.

    Raises:
        FileError: one of them has a name or an alias by which another one is called.
    """
    from hwmodels.device import reader

    return reader.names()


def load(name_or_path: str) -> Device:
    """A device by its name, one of its aliases, or the path of a ``.toml`` file.

    Raises:
        UsageError: no device of that name; the closest ones are named.
        FileError: the file cannot be read or is not TOML.
        DeviceFileError: the file has mistakes; all are listed.
    """
    from hwmodels.device import reader

    return reader.load(name_or_path)


def load_text(text: str, origin: str) -> Device:
    """A device from the text of its file; ``origin`` is what errors call it. Raises as ``load`` does."""
    from hwmodels.device import reader

    return reader.load_text(text, origin)
