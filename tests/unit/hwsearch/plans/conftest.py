"""The small run that questions to plans and runs are asked of."""

from __future__ import annotations

from typing import Any

import pytest
from small_job import TARGETS, Job, laid_out

from hwsearch.cli import main
from hwsearch.quality.proxy import ProxyInfo


@pytest.fixture(scope="package")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = laid_out(tmp_path_factory.mktemp("job"))
    words = ["optimize", "--model", f"{folder / 'net.py'}:build", "--scale", "2", "--input", "24x32", "--force"]
    words += ["--weight-bits", "2,4,8", "--evaluations", "12", "--probes", "8", "--equal-bits", "5"]
    words += ["--images", str(folder / "photos")]
    for target in TARGETS:
        words += ["--target", target]
    measured = []
    patch = pytest.MonkeyPatch()
    measure = ProxyInfo.measure

    def counted(info: ProxyInfo, *arguments: Any) -> Any:
        measured.append(info.name)
        return measure(info, *arguments)

    patch.setattr(ProxyInfo, "measure", counted)
    assert main([*words, "--out", str(folder / "run"), "--quiet", "--json"]) == 0
    patch.undo()
    return Job(folder, tuple(words), measured)
