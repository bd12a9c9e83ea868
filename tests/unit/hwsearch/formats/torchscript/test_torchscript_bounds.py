"""What a program of unknown origin can make the reader do: see nothing beside the program, and come to an end."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hwmodels.errors import FileError
from hwsearch.formats.reading import readers
from hwsearch.formats.torchscript.words import by_percent, formatted


def _refused(module: nn.Module, folder: Path) -> str:
    torch.jit.save(torch.jit.script(module), str(folder / "net.ts"))
    with pytest.raises(FileError) as refused:
        readers.inspect(folder / "net.ts")
    return str(refused.value)


class Environment(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("{0.attribute.__globals__[torch].os.environ}".format(self.conv))  # noqa: UP030, UP032
        return x


def test_words_do_not_reach_attributes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWSEARCH_TEST_SECRET", "swordfish")
    told = _refused(Environment(), tmp_path)
    assert "words with other fields" in told
    assert "swordfish" not in told


class Wide(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * len("%0999999d" % x.size(1))  # noqa: UP031  # the language's own operator


def test_words_have_no_width(tmp_path: Path) -> None:
    assert "words with other fields" in _refused(Wide(), tmp_path)


@torch.jit.script
def _by_torch(number: int) -> list[str]:
    return [
        "{} {} {} {}".format(number, 0.5, True, [1, 2]),  # noqa: UP032
        "%d of %s at %f %%" % (number, "all", 0.5),  # noqa: UP031
    ]


def test_words_are_pytorchs() -> None:
    ours = [formatted("{} {} {} {}", 3, 0.5, True, [1, 2]), by_percent("%d of %s at %f %%", (3, "all", 0.5))]
    assert ours == _by_torch(3)
