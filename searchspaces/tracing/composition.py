"""What an ATen operator is composed of: torch's own decompositions and ours (``spellings``), applied to one call."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, fx
from torch._decomp import core_aten_decompositions
from torch.fx.experimental.proxy_tensor import make_fx

from searchspaces.tracing.spellings import SPELLINGS, spelled


@cache
def _table() -> dict[Any, Any]:
    return {**core_aten_decompositions(), **SPELLINGS}


def names() -> frozenset[str]:
    """Operators of which it is known what they are composed of, without their overloads."""
    return frozenset(str(op.__name__).partition(".")[0] for op in _table())


def composed_of(call: fx.Node) -> fx.GraphModule | None:
    """The calls that make up one call, as a graph whose inputs are ``call.all_input_nodes`` in their order; None where torch
    knows of none. Nothing is computed: shapes alone are traced."""
    sources = call.all_input_nodes
    examples = [found for source in sources if isinstance(found := source.meta.get("val"), Tensor)]
    if len(examples) != len(sources):
        return None

    def run(*tensors: Tensor) -> Any:
        given = dict(zip(sources, tensors, strict=True))
        args, kwargs = fx.map_arg((call.args, call.kwargs), given.__getitem__)
        return (spelled(call.target) or call.target)(*args, **kwargs)  # type: ignore[operator]  # the target of a call is an overload of ATen

    try:
        with torch.no_grad():
            made = make_fx(run, decomposition_table=_table(), tracing_mode="fake")(
                *(torch.empty_strided(example.shape, example.stride(), dtype=example.dtype) for example in examples)
            )
    except Exception:  # whatever a decomposition raises: then there is none
        return None
    inner = [node for node in made.graph.nodes if node.op == "call_function"]
    again = [node for node in inner if node.target is (spelled(call.target) or call.target)]
    if any(node.args[1:] == call.args[1:] for node in again):
        return None
    return made if not again or spelled(call.target) else None
