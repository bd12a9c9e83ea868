"""What a program of unknown origin can make the reader do: see nothing beside the program, and come to an end."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hwmodels.errors import FileError
from hwsearch.formats.reading import readers
from hwsearch.formats.torchscript import memory
from hwsearch.formats.torchscript.budget import MOST, Budget, power
from hwsearch.formats.torchscript.fast_paths import Unfollowed
from hwsearch.formats.torchscript.plain import ARITHMETIC, PRIMITIVES
from hwsearch.formats.torchscript.program import _Run
from hwsearch.formats.torchscript.steps import block_of
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


class Squares(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        n = 3
        for _ in range(12):
            n = n * n
        return x * n


class Endless(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        n = 0
        while n >= 0:
            n = 1 - n
        return x * n


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        items = [1]
        for _ in range(20):
            items = items + items
        return x * len(items)


class Extended(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        items = [x]
        for _ in range(20):
            items.extend(items)
        return x * len(items)


@pytest.mark.parametrize(
    ("module", "what"),
    [
        (Squares, "a whole number beyond 64 bits"),
        (Endless, "more than 250000 steps"),
        (Doubled, "more than 250000 steps"),
        (Extended, "more than 250000 steps"),
    ],
)
def test_what_does_not_end(module: Callable[[], nn.Module], what: str, tmp_path: Path) -> None:
    assert f"the program has {what}" in _refused(module(), tmp_path)


@pytest.mark.parametrize(
    ("table", "name", "given"),
    [
        (ARITHMETIC, "mul", [[1], MOST + 1]),
        (ARITHMETIC, "mul", [MOST + 1, [1]]),
        (PRIMITIVES, "rangelist", [0, MOST + 1]),
        (ARITHMETIC, "join", ["a" * 1000, ["a"] * 1000]),
        (ARITHMETIC, "format", ["{}" * 1000, *["a" * 1000] * 1000]),
    ],
)
def test_what_is_long_at_once(table: Any, name: str, given: list[Any]) -> None:
    with pytest.raises(Unfollowed):
        Budget().computed(name, table[name], given)


@torch.jit.script
def _power_by_torch(base: int, exponent: int) -> float:
    return base**exponent  # type: ignore[no-any-return]


@pytest.mark.parametrize("given", [(3, 2), (2, -1), (10, 10**10), (-10, 309), (-10, 310), (7, 40)])
def test_powers_are_pytorchs(given: tuple[int, int]) -> None:
    """In floating point: a tower of them takes no time."""
    found = Budget().computed("pow", ARITHMETIC["pow"], [*given])
    assert type(found) is float
    assert found == _power_by_torch(*given)


def test_roots_of_negative_numbers() -> None:
    assert math.isnan(power(-2, 0.5))
    with pytest.raises(ZeroDivisionError):
        power(0, -1)


def test_a_loop_around_nothing() -> None:
    text = """graph(%x : Tensor):
  %most : int = prim::Constant[value=100000000000]()
  %going : bool = prim::Constant[value=1]()
  prim::Loop(%most, %going)
    block0(%turn : int):
      -> (%going)
  return (%x)
"""
    graph = torch._C.parse_ir(text)
    with pytest.raises(Unfollowed, match="steps"):
        _Run({}, {}, {}).graph(block_of(graph), [torch.zeros(1)])


class Zeros(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.zeros([1000, 1000, 100]).mean()


class Repeated(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + x.repeat(1000, 100, 1, 1).mean()


class Expanded(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + x[0, 0, 0, 0].expand(1000000000).mean()


class Counted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.repeat_interleave(torch.tensor([x.size(1), 2]), torch.tensor([1, 1000000000])).mean(dtype=torch.float32)


class Kept(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        items = [x.mean()]
        for _ in range(1000):
            items.append(torch.ones([1000, 1000]).mean(dim=0).repeat(100)[0])
        return x + items[-1]


class Combined(nn.Module):
    """What it makes on the way is far larger than what it gives, whose size depends on numbers."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.combinations(x.flatten()[:600], 3)[0, 0]


class Attended(nn.Module):
    """10,000 places that look at each other."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 1, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y = x[:, :1, :10, :10].reshape(1, -1, 1).repeat(1, 100, 4)
        return x + self.attention(y, y, y)[0].mean()


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "most_bytes", lambda: 10**8)


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("module", [Zeros, Repeated, Expanded, Counted, Kept, Combined, Attended])
def test_memory_has_an_end(module: Callable[[], nn.Module], tmp_path: Path) -> None:
    assert "the program has tensors of more than" in _refused(module().eval(), tmp_path)


class Passing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(40):
            x = self.conv(x.repeat(1, 1000, 1, 1)[:, :1])
        return x


@pytest.mark.usefixtures("little")
def test_values_that_nothing_reads_any_more_take_no_memory(tmp_path: Path) -> None:
    """40 times 16 MB, one after another."""
    torch.jit.save(torch.jit.script(Passing()), str(tmp_path / "net.ts"))
    assert readers.inspect(tmp_path / "net.ts").executable


def test_a_weight_that_claims_to_be_large(tmp_path: Path) -> None:
    """Sides along which every number is the same one."""
    module = nn.Conv2d(1, 1, 1)
    module.register_buffer("far", torch.zeros(1).expand(10**12))
    assert "claims" in _refused(module, tmp_path)
