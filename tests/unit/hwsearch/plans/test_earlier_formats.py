"""Plans of versions in which a picture enlarged to the nearest pixels had a format of its own: refused, and quantized anew."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_job import laid_out, refusal

from hwsearch.cli import main
from hwsearch.documents.files import write_json
from hwsearch.documents.reading import read_json
from hwsearch.plans import plan_file
from hwsearch.runs.run import Run
from searchspaces.ops.moves.resize import Resize

NETWORK = '''
import torch
from torch import nn

class Net(nn.Module):
    """Every pixel twice, and a convolution on both sides."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.head, self.tail, self.up = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 1, 3, padding=1), nn.Upsample(scale_factor=2)

    def forward(self, x):
        return self.tail(self.up(self.head(x)))
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run as such a version made it."""
    folder = laid_out(tmp_path_factory.mktemp("nearest"), NETWORK)
    words = ["optimize", "--model", f"{folder / 'net.py'}:Net", "--scale", "2", "--input", "24x32", "--target", "stm32h743"]
    words += ["--images", str(folder / "photos"), "--evaluations", "8", "--probes", "4", "--activation-bits", "8", "--quick"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Resize, "moves", False)
        assert main([*words, "--force", "--out", str(folder / "run"), "--quiet", "--json"]) == 0
    return folder


@pytest.fixture
def path(folder: Path) -> Path:
    plan = next(plan for plan in Run(folder / "run").results.front if plan.integers)
    return folder / "run" / "plans" / f"{plan.name}.json"


def test_such_a_plan_is_refused_as_what_it_is(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(capsys, 3, "explain", str(path))
    assert "of an earlier version, in which up had a format apart from what is read" in said
    assert "--allow-edited" in said


def test_it_is_quantized_anew_where_that_is_asked_for(folder: Path, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = f"{folder / 'net.py'}:Net"
    assert main(["estimate", "--plan", str(path), "--model", model, "--allow-edited"]) == 0
    assert "is of an earlier version, in which up had" in capsys.readouterr().err
    opened = plan_file.open_plan(path, model, allow_edited=True)
    assert "up" in opened.plan.activation_bits
    formats = opened.integers().formats
    assert formats["up"].scale == formats["head"].scale
    assert opened.plan.measured is None


def test_two_widths_of_what_shares_one_are_told(folder: Path, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = read_json(path, "")
    other = path.with_name("edited.json")
    write_json(other, document | {"activation_bits": document["activation_bits"] | {"up": 16}})
    words = ("explain", str(other), "--model", f"{folder / 'net.py'}:Net", "--allow-edited")
    assert "up and head share one width, and the plan gives them 16 and 8" in refusal(capsys, 3, *words)
