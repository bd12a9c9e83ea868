"""How a run ends that somebody stops. Apart from the run directory, because the command line imports it at every start."""

from __future__ import annotations

import shlex
from pathlib import Path


class Interrupted(KeyboardInterrupt):
    """Ctrl-C while a run directory was in use; what was finished is on disk in ``run_dir``. ``model``: the file of code that is
    the network, which must be named again."""

    def __init__(self, run_dir: Path, model: str | None = None) -> None:
        super().__init__(str(run_dir))
        self.run_dir, self.model = run_dir, model


def resume_command(run_dir: Path, model: str | None) -> str:
    """The command that goes on with a run."""
    return f"hwsearch optimize --resume {shlex.quote(str(run_dir))}{naming(model)}"


def naming(model: str | None) -> str:
    """The option that names a network's code again, as a shell takes it; empty where the network is no code."""
    return "" if model is None else f" --model {shlex.quote(model)}"
