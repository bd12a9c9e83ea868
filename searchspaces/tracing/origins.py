"""Where a call of an exported program comes from: module, line of code, and the names of its parameters."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, fx


def module_path(call: fx.Node) -> str:
    """Path of the innermost module that a call was made in; empty for the network itself."""
    stack = call.meta.get("nn_module_stack") or {}
    return str(list(stack.values())[-1][0]) if stack else ""


def is_leaf(call: fx.Node) -> bool:
    """Whether the call was made inside a module of torch itself (``nn.ReLU``), whose path then names it."""
    stack = call.meta.get("nn_module_stack") or {}
    kind = str(list(stack.values())[-1][1]) if stack else ""
    return "torch.nn.modules" in kind and "container" not in kind


def source_line(call: fx.Node) -> str:
    """``file.py:12`` of the innermost frame outside torch."""
    frames = [line.strip() for line in str(call.meta.get("stack_trace") or "").splitlines() if line.strip().startswith("File")]
    for frame in reversed(frames):
        if "/torch/" not in frame:
            file, line = frame.split(", ")[:2]
            return f"{file.removeprefix('File ').strip(chr(34)).rsplit('/', 1)[-1]}:{line.removeprefix('line ')}"
    return ""


def first_names(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Name of each parameter -> the first name of the same one: modules may hold one under several names."""
    first: dict[tuple[int, tuple[int, ...]], str] = {}
    return {name: first.setdefault((value.data_ptr(), tuple(value.shape)), name) for name, value in state.items()}
