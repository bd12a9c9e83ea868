"""The small run that questions to plans and runs are asked of."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image
from small_job import NETWORK, TARGETS, Job

from hwsearch.cli import main
from hwsearch.quality.proxy import ProxyInfo
from searchspaces.data import pictures


@pytest.fixture(scope="package")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("job")
    (folder / "net.py").write_text(NETWORK)
    (folder / "photos").mkdir()
    for i, photo in enumerate(pictures.shipped()[:3]):
        Image.fromarray(photo.rgb[:136, :144]).save(folder / "photos" / f"photo{i}.png")
    words = ["optimize", "--model", f"{folder / 'net.py'}:build", "--scale", "2", "--input", "24x32", "--force"]
    words += [
        "--weight-bits",
        "2,4,8",
        "--evaluations",
        "12",
        "--probes",
        "8",
        "--equal-bits",
        "5",
        "--images",
        str(folder / "photos"),
    ]
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
