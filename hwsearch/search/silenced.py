"""Keeps libraries from writing to our standard output, which may be one JSON document, or telling people what is not for them.

HiGHS prints a line of its own when it repairs an integer solution, whatever its logging options say. It goes through the C
library's buffer, so that buffer is flushed before the descriptor is given back.
"""

from __future__ import annotations

import ctypes
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


def _flush_c() -> None:
    try:
        ctypes.CDLL(None).fflush(None)
    except (OSError, AttributeError, TypeError):  # pragma: no cover - a platform without a C library to ask
        return


@contextmanager
def quiet_stdout() -> Iterator[None]:
    """Send file descriptor 1 to the null device for the length of the block; standard error is left alone."""
    if sys.stdout is not None:
        sys.stdout.flush()
    _flush_c()
    try:
        kept = os.dup(1)
    except OSError:
        yield  # standard output is closed: nothing can be written to it
        return
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)
        yield
    finally:
        _flush_c()
        os.dup2(kept, 1)
        os.close(kept)


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Optuna logs errors only, and does not warn that parts of it are experimental."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
