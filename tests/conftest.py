"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from collections import Counter

# One thread a process, set before torch is imported: pytest-xdist runs one process a core.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# A developer's own calibrated machine and plug-ins must not change what tests see.
os.environ["HWSEARCH_HOME"] = os.devnull
os.environ.pop("HWSEARCH_PLUGINS", None)

from collections.abc import Iterator
from pathlib import Path

import postgres_server
import pytest

from hwsearch.documents.url import StorageUrl


def _shared_folder() -> Path | None:
    """Research data that lies beside a developer's checkout; users have none, and nothing but tests and training reads it."""
    for folder in (os.environ.get("HWSEARCH_SHARED"), Path(__file__).parents[2] / "shared"):
        if folder and Path(folder).is_dir():
            return Path(folder)
    return None


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with benchmark pictures, published weights and measurements; tests that need it are skipped without it."""
    folder = _shared_folder()
    if folder is None:
        pytest.skip("no research data beside the checkout (set HWSEARCH_SHARED)")
    return folder


@pytest.fixture(scope="module")
def server() -> Iterator[postgres_server.Server]:
    """A PostgreSQL server; its tests are skipped by their own mark where there is none to start."""
    with postgres_server.running() as running:
        yield running


@pytest.fixture
def url(server: postgres_server.Server) -> StorageUrl:
    return StorageUrl.read(server.url)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [r for r in terminalreporter.stats.get("skipped", []) if "no research data" in str(r.longrepr)]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} tests did not run: no research data beside the checkout", yellow=True)
    reasons = [str(r.longrepr[2]) for r in terminalreporter.stats.get("skipped", []) if "NOT RUN: " in str(r.longrepr)]
    for reason, count in Counter(reasons).items():
        terminalreporter.write_line(f"{count} tests {reason.removeprefix('Skipped: ')}", yellow=True, bold=True)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """On continuous integration the research data must be there: a run that skipped all its tests is a failure."""
    if os.environ.get("CI") and exitstatus == 0 and _shared_folder() is None and not os.environ.get("PYTEST_XDIST_WORKER"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print("\nno research data found: the reference tests were all skipped", flush=True)
