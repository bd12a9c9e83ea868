"""TorchScript programs run node by node: sizes that travel as tensors, attention's fast paths, control flow."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hwmodels.errors import FileError
from hwsearch.formats.reading import readers
from hwsearch.formats.torchscript import fast_paths
from hwsearch.formats.torchscript.program import Interpreted, _Part
from searchspaces.ir.graph import execute


def _traced(module: nn.Module, size: tuple[int, int] = (24, 32)) -> torch.jit.ScriptModule:
    found: torch.jit.ScriptModule = torch.jit.trace(module, torch.rand(1, 3, *size), check_trace=False)  # type: ignore[assignment]  # torch's own annotation is wider
    return found


def _traced_without_gradients(module: nn.Module) -> torch.jit.ScriptModule:
    with torch.no_grad():
        return _traced(module)


HOW: dict[str, Callable[[nn.Module], torch.jit.ScriptModule]] = {
    "traced": _traced,
    "without gradients": _traced_without_gradients,
    "scripted": torch.jit.script,
}


class Windows(nn.Module):
    """Attention in windows of 4x4, then twice the size, by numbers of the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.mix, self.tail = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 8), nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x)
        b, c, h, w = x.shape
        tokens = x.view(b, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, c)
        tokens = self.mix(tokens) * (c**-0.5)
        tokens = torch.softmax(tokens @ tokens.transpose(-2, -1), -1) @ tokens
        x = tokens.view(b, h // 4, w // 4, 4, 4, c).permute(0, 5, 1, 3, 2, 4).reshape(b, c, h, w)
        y: Tensor = self.tail(F.interpolate(x, size=(h * 2, w * 2), mode="bilinear"))
        return y


class Padded(nn.Module):
    """Pads to windows of 8 and cuts what was padded off."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.mix, self.tail = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 8), nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        _, _, h, w = x.size()
        x = self.head(F.pad(x, (0, (8 - w % 8) % 8, 0, (8 - h % 8) % 8), "reflect"))
        b, c, high, wide = x.shape
        y = x.permute(0, 2, 3, 1).view(b, high // 8, 8, wide // 8, 8, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 64, c)
        y = y + self.mix(y)
        count = int(y.shape[0] / (high * wide / 8 / 8))
        y = y.view(count, high // 8, wide // 8, 8, 8, -1).permute(0, 1, 3, 2, 4, 5).reshape(count, high, wide, -1)
        cut: Tensor = self.tail(x + torch.roll(y, (-2, -2), (1, 2)).permute(0, 3, 1, 2))[:, :, :h, :w]
        return cut


class Attention(nn.Module):
    """All places attend to all, by a module of torch."""

    def __init__(self, attention: nn.Module, rows_first: bool = True) -> None:
        super().__init__()
        self.head, self.attention, self.tail = nn.Conv2d(3, 8, 3, padding=1), attention, nn.Conv2d(8, 3, 3, padding=1)
        self.rows_first = rows_first

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x)
        b, c, h, w = x.shape
        tokens = x.flatten(2).transpose(1, 2) if self.rows_first else x.flatten(2).permute(2, 0, 1)
        y = self.attend(tokens)
        y = y.transpose(1, 2) if self.rows_first else y.permute(1, 2, 0)
        found: Tensor = self.tail(x + y.reshape(b, c, h, w))
        return found

    def attend(self, tokens: Tensor) -> Tensor:
        found: Tensor = self.attention(tokens)
        return found


class Heads(Attention):
    def attend(self, tokens: Tensor) -> Tensor:
        found: Tensor = self.attention(tokens, tokens, tokens)[0]
        return found


def _layer(norm_first: bool = False, activation: str = "relu", batch_first: bool = True) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first, norm_first=norm_first, activation=activation)


class Lists(nn.Module):
    """A loop, a list that grows, and a branch that no picture of these sizes takes."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.tail = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(24, 3, 1)
        self.body = nn.ModuleList([nn.Conv2d(8, 8, 3, padding=1) for _ in range(3)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x)
        outputs = []
        for number, layer in enumerate(self.body):
            x = F.relu(layer(x)) * (number + 1)
            outputs.append(x)
        y = torch.cat(outputs[::-1], 1)
        if x.size(2) > 10000:
            y = y * 2
        found: Tensor = self.tail(y)
        return found


class Sized(nn.Module):
    """Rows shifted, their end in front, channels weighted along a line: by sizes that a trace keeps as tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.tail, self.mix = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 1), nn.Conv1d(1, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x)
        x = x * torch.sigmoid(self.mix(x.mean((2, 3)).unsqueeze(1))).transpose(1, 2).unsqueeze(-1)
        x = torch.cat((x.narrow(2, x.shape[2] - 2, 2), x.narrow(2, 0, x.shape[2] - 2)), 2)
        return self.tail(x)


class Shifted(nn.Module):
    """Rows in a circle by a remainder of the height."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        rows = (torch.arange(x.shape[2]) + 2) % x.shape[2]
        return self.head(x)[:, :, rows]


class Same(nn.Module):
    """Convolutions that pad as much as they need, and a matrix that is turned."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 8, 4, padding="same")
        self.tail = nn.Conv2d(8, 3, (3, 5), padding="same", dilation=(1, 2))
        self.mix = nn.Parameter(torch.randn(8, 8))

    def forward(self, x: Tensor) -> Tensor:
        y = self.head(x)
        return self.tail(torch.matmul(self.mix.mT, y.flatten(2)).view(y.shape))


MODULES: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "sizes": (Sized, 1),
    "windows": (Windows, 4),
    "padded windows": (Padded, 1),
    "attention": (lambda: Heads(nn.MultiheadAttention(8, 2, batch_first=True)), 1),
    "attention, sequence first": (lambda: Heads(nn.MultiheadAttention(8, 2), rows_first=False), 1),
    "layer": (lambda: Attention(_layer()), 1),
    "layer, normalized first": (lambda: Attention(_layer(norm_first=True, activation="gelu")), 1),
    "two layers": (lambda: Attention(nn.TransformerEncoder(_layer(), 2, enable_nested_tensor=True)), 1),
    "lists": (Lists, 1),
    "as large as what it reads": (Same, 1),
}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", MODULES)
def test_programs_are_read_like_their_modules(name: str, how: str, tmp_path: Path) -> None:
    make, multiple = MODULES[name]
    torch.manual_seed(0)
    module = make().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(HOW[how](module), str(tmp_path / "net.ts"))
    found = readers.inspect(tmp_path / "net.ts")
    assert (found.graph.uncounted, found.graph.size, found.graph.multiple) == ((), None, multiple)
    for size in ((24, 32), (multiple * 9, multiple * 13)):
        x = torch.rand(1, 3, *size)
        with torch.no_grad():
            assert torch.allclose(execute(found.graph, x), module(x), atol=1e-5)


def test_a_program_for_one_size_is_one(tmp_path: Path) -> None:
    """Numbers that were taken as Python's are those of the picture that it was traced with."""

    class Frozen(Lists):
        def forward(self, x: Tensor) -> Tensor:
            rows, columns = (torch.linspace(0, 1, int(side)) for side in x.shape[2:])
            return super().forward(x) + rows[:, None] * columns

    module = Frozen().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(_traced(module), str(tmp_path / "net.ts"))
    found = readers.inspect(tmp_path / "net.ts")
    assert (found.graph.size, found.input_size) == ((24, 32), (24, 32))


class Resized(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch._C._nn._upsample_bilinear2d_aa(x, [8, 8], False, 1e-6, 1e-6)  # type: ignore[no-any-return]


def test_factors_that_end_the_process(tmp_path: Path) -> None:
    """PyTorch's own kernel crashes with them: it is not reached."""
    torch.jit.save(torch.jit.script(Resized()), str(tmp_path / "net.ts"))
    with pytest.raises(FileError, match="the program has a resize by a factor of 1e-06"):
        readers.inspect(tmp_path / "net.ts")


def test_factors_that_end_the_process_in_an_exported_program(tmp_path: Path) -> None:
    torch.export.save(torch.export.export(Resized(), (torch.rand(1, 3, 16, 16),), strict=False), tmp_path / "net.pt2")
    with pytest.raises(FileError, match="it has a resize by a factor of 1e-06"):
        readers.inspect(tmp_path / "net.pt2")


def test_factors_by_keyword_in_an_exported_program(tmp_path: Path) -> None:
    program = torch.export.export(Resized(), (torch.rand(1, 3, 16, 16),), strict=False)
    for node in program.graph.nodes:
        if node.op == "call_function":
            node.args, node.kwargs = node.args[:3], {"scales_h": 1e-6, "scales_w": 1e-6}
    torch.export.save(program, tmp_path / "net.pt2")
    with pytest.raises(FileError, match="it has a resize by a factor of 1e-06"):
        readers.inspect(tmp_path / "net.pt2")


def test_attention_without_heads() -> None:
    x, weight, bias = torch.rand(1, 4, 8), torch.rand(24, 8), torch.rand(24)
    with pytest.raises(RuntimeError, match="8 channels in 0 heads"):
        fast_paths.attention(x, x, x, 8, 0, weight, bias, weight[:8], bias[:8])


def test_attention_with_a_mask_is_pytorchs() -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.rand(2, 4, 8), torch.randn(24, 8), torch.randn(24)
    given = (x, x, x, 8, 2, weight, bias, weight[:8], bias[:8], torch.ones(4, 4, dtype=torch.bool).triu(1))
    with torch.no_grad():
        expected = torch.ops.aten._native_multi_head_attention(*given, True, True, 0)
    for ours, theirs in zip(fast_paths.attention(*given, True, True, 0), expected, strict=True):
        assert ours is not None
        assert torch.allclose(ours, theirs, atol=1e-5)
    assert torch.allclose(fast_paths.attention(*given, False, True, 0)[0], expected[0], atol=1e-5)
    with pytest.raises(fast_paths.Unfollowed, match="padded keys"):
        fast_paths.attention(*given, True, True, 1)


class Written(nn.Module):
    """Keeps a number of the picture for the next one."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x.shape[2]
        return x * self.seen


def test_what_a_program_does_that_is_not_read(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(Written()), str(tmp_path / "net.ts"))
    with pytest.raises(FileError, match="the program has an attribute that it changes, seen"):
        readers.inspect(tmp_path / "net.ts")


class Sorted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sort(dim=1)[0]


def test_what_cannot_be_traced_is_told_by_its_line(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(Sorted()), str(tmp_path / "net.ts"))
    (line,) = readers.inspect(tmp_path / "net.ts").graph.uncounted
    assert re.search(r"aten\.sort\.default at .*\(\w+\.py:\d+\)", line)
    assert "program.py" not in line


def test_another_picture_than_pytorch_gives_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.jit.save(torch.jit.script(Lists()), str(tmp_path / "net.ts"))
    monkeypatch.setattr(Interpreted, "by_torch", lambda self, x: self(x) * 1.01)
    with pytest.raises(FileError, match="gives another picture than in PyTorch"):
        readers.inspect(tmp_path / "net.ts")


class Named(nn.Module):
    """Attributes with names that torch's wrapping of a program has too."""

    def __init__(self) -> None:
        super().__init__()
        self.type, self.code, self.graph = "a", 3, 2  # type: ignore[assignment]  # a name of nn.Module
        self.body = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        if self.type == "a":
            x = x * float(self.code + self.graph)
        found: Tensor = self.body(x)
        return found


def test_attributes_may_have_any_name(tmp_path: Path) -> None:
    module = Named().eval()
    torch.jit.save(torch.jit.script(module), str(tmp_path / "net.ts"))
    x = torch.rand(1, 1, 24, 32)
    with torch.no_grad():
        assert torch.allclose(execute(readers.inspect(tmp_path / "net.ts").graph, x), module(x), atol=1e-5)


def test_no_attribute_is_pythons() -> None:
    part = _Part("", torch.jit.script(Named())._c)
    for name in ("__dict__", "__class__", "named_parameters"):
        with pytest.raises(AttributeError):
            part.attribute(name, {})


class Logarithm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.log(x - 100.0)


class Above(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x > 0.5


class Noisy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn(x.shape) * 0.1


class Dropped(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.5, True)


@pytest.mark.parametrize(
    ("module", "what"),
    [
        (Logarithm, "infinite or no numbers"),
        (Above, "gives pictures of bool"),
        (Noisy, "draws random numbers"),
        (Dropped, "draws random numbers"),
    ],
)
def test_pictures_that_are_none(module: Callable[[], nn.Module], what: str, tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(module()), str(tmp_path / "net.ts"))
    with pytest.raises(FileError, match=what):
        readers.inspect(tmp_path / "net.ts")


def test_what_pytorch_does_not_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(self: Interpreted, x: Tensor) -> Tensor:
        raise RuntimeError("something in the interpreter")

    torch.jit.save(torch.jit.script(Lists()), str(tmp_path / "net.ts"))
    monkeypatch.setattr(Interpreted, "by_torch", raising)
    with pytest.raises(FileError, match="does not run this program: something in the interpreter"):
        readers.inspect(tmp_path / "net.ts")


class Decides(nn.Module):
    """By a buffer, a sum of numbers, a weight, a mask made of sizes, or the picture."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.head, self.tail, self.how = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1), how
        self.register_buffer("flag", torch.tensor(1.0))
        self.register_buffer("flags", torch.tensor([1.0, 2.0]))
        self.register_buffer("halves", torch.tensor([3, 5]))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.head(x))
        if self.how == "flag":
            if self.flag > 0:
                y = y * 2
        elif self.how == "sum":
            low, high = torch.chunk(self.flags * 2 - 1, 2)
            if (low + high).sum() > 3.9:
                y = y * float(high)
        elif self.how == "weight":
            if bool((self.head.weight.abs().max() > 0).item()):
                y = y.repeat(1, int(self.halves.sum()) // 4, 1, 1)[:, 2:6]
        elif self.how == "mask":
            mask = torch.ones([x.size(2), x.size(3)])
            if mask.sum() > 1:
                y = y * torch.tensor([2.0, 3.0])[1]
        elif self.how == "written":
            mask = torch.ones([4])
            mask[1:3] *= y.mean()
            if mask.sum() > 1:
                y = y * 2
        elif self.how == "random":
            if torch.rand([2]).sum() > 1:
                y = y * 2
        elif x.mean() > 0.5:
            y = y * 2
        return self.tail(y)  # type: ignore[no-any-return]


@pytest.mark.parametrize("how", ["flag", "sum", "weight", "mask"])
def test_decisions_by_what_the_program_holds(how: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    program = torch.jit.script(Decides(how).eval())
    torch.jit.save(program, str(tmp_path / "net.ts"))
    graph = readers.inspect(tmp_path / "net.ts").graph
    assert graph is not None
    x = torch.rand(1, 3, 20, 28)
    assert torch.allclose(execute(graph, x), program(x), atol=1e-5)


@pytest.mark.parametrize("how", ["picture", "written", "random"])
def test_decisions_by_the_picture_are_told_with_their_line(how: str, tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(Decides(how)), str(tmp_path / "net.ts"))
    with pytest.raises(FileError, match=r"decision by numbers that it computes from the picture \(code/.*py:\d+\)") as refused:
        readers.inspect(tmp_path / "net.ts")
    assert "Compute both branches" in str(refused.value.hint)


def test_a_sum_of_sums_is_computed_once(tmp_path: Path) -> None:
    """60 doublings: computed anew for each reader, they would take 2**60 steps."""
    torch.jit.save(torch.jit.script(Doublings()), str(tmp_path / "net.ts"))
    assert readers.inspect(tmp_path / "net.ts").executable


class Doublings(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv.weight.sum()
        for _ in range(60):
            y = y + y
        return self.conv(x) * (2.0 if y != 0 else 1.0)  # type: ignore[no-any-return]


class Woven(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        a, b, c, d = self.conv(x).chunk(4, 1)
        out = torch.zeros(x.size(0), 3, 2 * x.size(2), 2 * x.size(3))
        out[:, :, 0::2, 0::2], out[:, :, 1::2, 0::2] = a - b, a + b
        out[:, :, 0::2, 1::2], out[:, :, 1::2, 1::2] = c - d, c + d
        return out


@pytest.mark.parametrize("how", ["traced", "scripted"])
def test_a_constant_that_is_filled_at_every_other_place(how: str, tmp_path: Path) -> None:
    """Slices of programs name every axis."""
    program = HOW[how](Woven().eval())
    torch.jit.save(program, str(tmp_path / "net.ts"))
    graph = readers.inspect(tmp_path / "net.ts").graph
    assert graph is not None
    assert not graph.uncounted
    x = torch.rand(1, 3, 24, 32)
    assert torch.allclose(execute(graph, x), program(x), atol=1e-5)


class Overwrites(nn.Module):
    """Numbers of its own, by the picture, and decides by them: now, or at the next picture."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.conv, self.how = nn.Conv2d(3, 3, 1), how
        self.register_buffer("kept", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        own = torch.tensor([0.0, 2.0])
        if self.how == "item":
            own[0] = x.mean()
            if float(own.sum()) > 2.5:
                y = y * 3
        elif self.how == "filled":
            one = torch.tensor(0.0)
            one.fill_(x.mean())
            if bool(one > 0.5):
                y = y * 3
        elif self.how == "out":
            given = torch.zeros([2])
            torch.add(x[0, 0, 0, :2], 1, out=given)
            if bool(given.sum() > 3):
                y = y * 3
        else:
            if float(self.kept) > 0.3:
                y = y * 3
            self.kept.copy_(x.mean().reshape(1))
        return y


@pytest.mark.parametrize(
    ("how", "why"),
    [("item", "overwrites numbers"), ("filled", "overwrites numbers"), ("out", "a decision by"), ("kept", "a decision by")],
)
def test_decisions_by_numbers_that_the_picture_overwrites(how: str, why: str, tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(Overwrites(how).eval()), str(tmp_path / "net.ts"))
    with pytest.raises(FileError, match=why):
        readers.inspect(tmp_path / "net.ts")
