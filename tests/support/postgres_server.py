"""A PostgreSQL server of its own for tests and measurements: in a temporary folder, on a free port, gone afterwards.

Uses the programs of the Debian package ``postgresql`` (its own service need not run). PostgreSQL refuses to run as root; a root
user's server runs as ``postgres`` or ``nobody``.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

USER, PASSWORD = "tester", "geheim/42?"
"""The password needs its signs written as %2F and %3F in an address."""


def programs() -> Path | None:
    """The folder with ``initdb`` and ``pg_ctl``, where there is one."""
    if (found := shutil.which("pg_ctl")) is not None:
        return Path(found).parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    return next((folder for folder in reversed(folders) if (folder / "pg_ctl").exists()), None)


def missing() -> str | None:
    """What has to be installed first, or None."""
    if programs() is None:
        return "no PostgreSQL server (apt-get install postgresql)"
    if find_spec("psycopg") is None:
        return "no PostgreSQL driver (pip install 'hwsearch[postgres]')"
    return None


def _not_root() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = known.get("postgres") or known["nobody"]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


class Server:
    """A running server. ``address``: without password."""

    def __init__(self, port: int, data: Path, durable: bool) -> None:
        self.port, self._data, self._durable = port, data, durable

    @property
    def address(self) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"

    @property
    def url(self) -> str:
        return self.address.replace(USER, f"{USER}:geheim%2F42%3F")

    def control(self, *words: str) -> None:
        """``pg_ctl`` on this server."""
        folder = programs()
        assert folder is not None
        command = [str(folder / "pg_ctl"), "-D", str(self._data), "-w", "-l", str(self._data / "log"), *words]
        # The server inherits what it is given: a pipe would stay open as long as it runs.
        subprocess.run(command, check=True, cwd=self._data.parent, stdout=subprocess.DEVNULL, **_not_root())

    def start(self) -> None:
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -c unix_socket_directories=''"
        options += " -c max_connections=300" if self._durable else " -c fsync=off"
        self.control("start", "-o", options)

    def stop(self) -> None:
        self.control("stop", "-m", "immediate")

    def cpu_seconds(self) -> float:
        """Processor time of the server and of all its processes, those that have ended included."""
        ticks = sum(sum(map(int, fields[11:15])) for fields in self._statistics().values())
        return ticks / os.sysconf("SC_CLK_TCK")

    def processes(self) -> list[int]:
        """The server's own process and those that it has started."""
        return [*self._statistics()]

    def _statistics(self) -> dict[int, list[str]]:
        """What Linux tells of each process of the server, behind its name (proc(5), ``/proc/PID/stat``)."""
        server, found = (self._data / "postmaster.pid").read_text().splitlines()[0], {}
        for file in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = file.read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has just ended
            if server in (file.parent.name, fields[1]):
                found[int(file.parent.name)] = fields
        return found


@contextmanager
def running(*, durable: bool = False) -> Iterator[Server]:
    """A server that asks for a password, with an empty database ``postgres``. ``durable``: for measurements; every commit is on
    the disk, as in earnest, and many may connect."""
    folder = programs()
    assert folder is not None
    with tempfile.TemporaryDirectory(prefix="hwsearch-postgres-", ignore_cleanup_errors=True) as name:
        place, words = Path(name), Path(name) / "password"
        words.write_text(PASSWORD)
        owner = _not_root()
        if owner:
            for path in (place, words):
                os.chown(path, owner["user"], owner["group"])
        init = [str(folder / "initdb"), "-D", str(place / "data"), "-U", USER, f"--pwfile={words}", "-A", "scram-sha-256"]
        subprocess.run([*init, "--no-sync", "-E", "UTF8", "--locale=C"], check=True, cwd=place, capture_output=True, **owner)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = Server(port, place / "data", durable)
        server.start()
        try:
            yield server
        finally:
            server.stop()
