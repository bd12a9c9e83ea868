"""How a run ends that somebody stops. Apart from the run directory, because the command line imports it at every start."""

from __future__ import annotations

from pathlib import Path


class Interrupted(KeyboardInterrupt):
    """Ctrl-C while a run directory was in use; what was finished is on disk in ``run_dir``."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__(str(run_dir))
        self.run_dir = run_dir
