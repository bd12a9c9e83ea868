"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


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
