"""How a person names the code of a network, with its arguments; and what is said where they do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hwmodels.errors import FileError, UsageError
from searchspaces.networks.own_code import OwnCode, check_same, is_same
from searchspaces.networks.registry import load_file
from searchspaces.tracing.trace import trace

NET = """
import torch
from torch import nn

def build(width=8, scale=2, act="relu", *, kernels=(3, 3)):
    torch.manual_seed(0)
    first, last = kernels
    return nn.Sequential(
        nn.Conv2d(1, width, first, padding=first // 2), nn.ReLU() if act == "relu" else nn.GELU(),
        nn.Conv2d(width, scale**2, last, padding=last // 2), nn.PixelShuffle(scale))

class Net(nn.Sequential):
    def __init__(self, **sizes):
        super().__init__(*build(**sizes))

made = build()

def of_kind(dtype):
    return build().to(getattr(torch, dtype))

def negative():
    norm = nn.BatchNorm2d(4)
    norm.running_var[1] = -1.0
    return nn.Sequential(nn.Conv2d(1, 4, 1), norm, nn.PixelShuffle(2))
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(NET)
    return path


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("a/net.py:build", {}),
        ("a/net.py:build()", {}),
        ("net.py:Net(width=32, scale=-3)", {"width": 32, "scale": -3}),
        (
            "C:/x (1)/net.py:build(act='a:b(c), d', kernels=[3, 5], deep=None)",
            {"act": "a:b(c), d", "kernels": [3, 5], "deep": None},
        ),
        ('n.py:b(s="it\'s")', {"s": "it's"}),
    ],
)
def test_a_name_is_written_as_it_is_read(text: str, arguments: dict[str, object]) -> None:
    code = OwnCode.read(text)
    assert code is not None
    assert code.arguments == arguments
    assert OwnCode.read(str(code)) == code


@pytest.mark.parametrize("text", ["net.onnx", "folder:x/net.onnx", "fsrcnn", "net.py", ":build"])
def test_what_names_no_callable_is_no_code(text: str) -> None:
    assert OwnCode.read(text) is None


@pytest.mark.parametrize("given", ["open('x')", "3", "a=1, a=2", "**{'a': 1}", "a=b", "a=1))(", "a", "a=" + "(" * 500])
def test_arguments_are_literals_and_nothing_is_evaluated(given: str) -> None:
    with pytest.raises(UsageError, match="no arguments"):
        OwnCode.read(f"net.py:build({given})")


def test_arguments_reach_the_callable_whether_it_names_them_or_not(file: Path) -> None:
    network = load_file(f"{file}:build(width=5, scale=3, kernels=(1, 5))")
    assert [tuple(values.shape) for values in network.module.parameters()] == [(5, 1, 1, 1), (5,), (9, 5, 5, 5), (9,)]
    assert network.scale == 3
    assert load_file(f"{file}:Net(width=6)").module.state_dict()["0.weight"].shape[0] == 6
    assert network.arguments == {"model": f"{file}:build(width=5, scale=3, kernels=(1, 5))"}


@pytest.mark.parametrize(
    ("call", "kind", "message", "hint"),
    [
        ("build(widht=3)", UsageError, "no argument 'widht'", "width"),
        ("made(width=3)", UsageError, "takes no arguments", ""),
        ("build(width='x')", FileError, r"build\(width=\"x\"\) failed", ""),
        ("Net(widht=3)", FileError, "widht", ""),
    ],
)
def test_arguments_that_do_not_fit_are_refused_by_name(
    file: Path, call: str, kind: type[Exception], message: str, hint: str
) -> None:
    with pytest.raises(kind, match=message) as refused:
        load_file(f"{file}:{call}")
    assert hint in refused.value.hint  # type: ignore[attr-defined]


def test_a_scale_that_it_can_be_built_with_is_named(file: Path) -> None:
    with pytest.raises(UsageError, match="not 3 times") as refused:
        load_file(f"{file}:build", scale=3)
    assert "--arg scale=3" in refused.value.hint


def test_an_argument_is_given_once() -> None:
    code = OwnCode("net.py", "build", {"width": 8})
    assert code.given({"width": 8, "act": "gelu"}).call == 'build(width=8, act="gelu")'
    with pytest.raises(UsageError, match="width is given twice"):
        code.given({"width": 9})


def test_the_same_code_may_lie_elsewhere_but_is_called_alike() -> None:
    assert is_same("a/net.py:build(b=1, c=2)", "z/other.py:build(c=2, b=1)")
    assert not is_same("net.py:build(b=1)", "net.py:build(b=2)")
    assert not is_same("net.py:build", "net.py:other")
    assert not is_same("net.py:build", "net.onnx")
    assert is_same("a.onnx", "b.onnx")
    with pytest.raises(UsageError, match="not of a file of code"):
        check_same("plan", None, "net.py:build", "fsrcnn")


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_weights_of_another_precision_are_run_in_single(file: Path, dtype: str) -> None:
    network = load_file(f'{file}:of_kind(dtype="{dtype}")')
    assert {values.dtype for values in network.module.parameters()} == {torch.float32}
    assert any(dtype in remark for remark in network.remarks)


def test_a_variance_below_zero_is_named(file: Path) -> None:
    with pytest.raises(FileError, match=r"1\.running_var \(a variance below zero\)"):
        load_file(f"{file}:negative")


def test_the_digest_is_of_the_numbers_where_no_file_of_weights_is_given(file: Path) -> None:
    one, other, again = (
        load_file(f"{file}:build(act={act!r}, width={width})") for act, width in (("relu", 8), ("relu", 9), ("gelu", 8))
    )
    assert one.weights_sha256 != other.weights_sha256
    assert one.weights_sha256 == again.weights_sha256


WRAPPED = """
import functools
import torch
from torch import nn
from net import build

@torch.compile
def doubled(x):
    return 2 * x

class Doubled(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.compile(build())

    def forward(self, x):
        return doubled(self.inner(x))

def compiled():
    return torch.compile(build())

def parallel():
    return nn.DataParallel(torch.compile(build()))

def scripted():
    return torch.jit.script(build())

def scripted_inside():
    return nn.Sequential(nn.Identity(), torch.jit.script(build()))

def without_values():
    with torch.device("meta"):
        return build()

def needs(width, *, scale):
    return build(width, scale)

def configured(maker):
    @functools.wraps(maker)
    def made():
        return maker(8)
    return made

@configured
def given(width):
    return build()

def leaves():
    raise SystemExit(3)
"""


@pytest.fixture
def wrapped(file: Path) -> Path:
    path = file.with_name("wrapped.py")
    path.write_text(WRAPPED)
    return path


@pytest.mark.parametrize("name", ["compiled", "parallel", "Doubled"])
def test_nothing_is_compiled_and_names_are_those_of_the_network(
    wrapped: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compiling(*args: object, **options: object) -> None:
        raise AssertionError("compiled")

    monkeypatch.setattr("torch._inductor.compile_fx.compile_fx", compiling)
    module = load_file(f"{wrapped}:{name}").module
    trace(module, 1, name)
    assert [key for key in module.state_dict() if not key.startswith("inner.")] == (
        [] if name == "Doubled" else ["0.weight", "0.bias", "2.weight", "2.bias"]
    )


def test_what_others_compile_is_compiled(wrapped: Path) -> None:
    """After a network was loaded, and after a call of it that fails."""
    compiled = []

    def backend(graph: torch.fx.GraphModule, inputs: object) -> torch.fx.GraphModule:
        compiled.append(graph)
        return graph

    module = load_file(f"{wrapped}:Doubled").module
    torch.compile(lambda x: x + 1, backend=backend)(torch.zeros(2))
    with pytest.raises(RuntimeError):
        module(torch.zeros(3))
    torch.compile(lambda x: x + 2, backend=backend)(torch.zeros(2))
    assert len(compiled) == 2


@pytest.mark.parametrize(
    ("name", "kind", "message", "hint"),
    [
        ("scripted", FileError, "a TorchScript program", "torch.jit.save"),
        ("scripted_inside", FileError, "1 in it is a TorchScript program", "torch.jit.script"),
        ("without_values", FileError, "on the device 'meta': 0.weight", "on the CPU"),
        ("needs(width=3)", UsageError, "needs scale", "--arg scale=VALUE"),
        ("leaves", FileError, r"leaves\(\) failed \(SystemExit: 3\)", ""),
    ],
)
def test_what_is_no_network_to_trace(wrapped: Path, name: str, kind: type[Exception], message: str, hint: str) -> None:
    with pytest.raises(kind, match=message) as refused:
        load_file(f"{wrapped}:{name}")
    assert hint in refused.value.hint  # type: ignore[attr-defined]


def test_what_wraps_a_callable_may_give_it_its_arguments(wrapped: Path) -> None:
    assert load_file(f"{wrapped}:given").module.state_dict()


def test_a_script_that_ends_the_process_is_told(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("import sys\nsys.exit(0)\n")
    with pytest.raises(FileError, match="SystemExit") as refused:
        load_file(f"{tmp_path / 'script.py'}:build")
    assert "__main__" in refused.value.hint
