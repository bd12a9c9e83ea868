"""Complex numbers as pairs of real ones: rotary embeddings multiply by numbers of length one, and devices have real ones alone.

A complex tensor ``[...]`` is a real tensor ``[..., 2]`` here, real parts first, as ``torch.view_as_real`` has it. A call that
gives or takes complex numbers becomes calls on pairs (``as_pairs``); what is not in ``PAIRED`` is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from searchspaces.tracing.aten import operator_name


class Pairs:
    """A complex tensor: ``parts [..., 2]``."""

    def __init__(self, parts: Tensor) -> None:
        self.parts = parts

    @classmethod
    def of(cls, real: Tensor, imaginary: Tensor) -> Pairs:
        return cls(torch.stack([real, imaginary], dim=-1))

    @property
    def real(self) -> Tensor:
        return self.parts[..., 0]

    @property
    def imaginary(self) -> Tensor:
        return self.parts[..., 1]

    def axis(self, given: int) -> int:
        """An axis of the complex tensor among those of the parts."""
        return given if given >= 0 else given - 1


def gives(node: fx.Node) -> bool:
    """Whether a call gives a complex tensor."""
    found = node.meta.get("val")
    return isinstance(found, Tensor) and found.is_complex()


def takes(node: fx.Node) -> bool:
    """Whether a call is given one."""
    return any(map(gives, node.all_input_nodes))


def _halves(value: Any) -> tuple[Any, Any] | None:
    """Real and imaginary part of what is complex; None for what is real."""
    if isinstance(value, Pairs):
        return value.real, value.imaginary
    return (value.real, value.imag) if isinstance(value, complex) else None


def _times(one: Any, other: Any) -> Pairs:
    left, right = _halves(one), _halves(other)
    if left is not None and right is not None:
        return Pairs.of(left[0] * right[0] - left[1] * right[1], left[0] * right[1] + left[1] * right[0])
    pairs, factor = (one, other) if isinstance(one, Pairs) else (other, one)
    return Pairs(pairs.parts * (factor.unsqueeze(-1) if isinstance(factor, Tensor) else factor))


def _plus(one: Any, other: Any) -> Pairs:
    if not isinstance(one, Pairs) or not isinstance(other, Pairs):
        raise TypeError("a sum of a complex and a real tensor")
    return Pairs(one.parts + other.parts)


def _same(z: Pairs, *others: Any, **named: Any) -> Pairs:
    return z


def _viewed(z: Pairs, size: Sequence[int]) -> Pairs:
    return Pairs(z.parts.reshape([*size, 2]))


def _turned(z: Pairs, axes: Sequence[int]) -> Pairs:
    rank = z.parts.ndim - 1
    return Pairs(z.parts.permute([*(axis % rank for axis in axes), rank]))


def _cut(z: Pairs, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Pairs:
    return Pairs(z.parts[(*[slice(None)] * (dim % (z.parts.ndim - 1)), slice(start, end, step))])


def _joined(parts: Sequence[Pairs], dim: int = 0) -> Pairs:
    return Pairs(torch.cat([z.parts for z in parts], parts[0].axis(dim)))


PAIRED: Mapping[str, Callable[..., Any]] = {
    "view_as_complex.default": Pairs,
    "view_as_real.default": lambda z: z.parts,
    "complex.default": Pairs.of,
    "polar.default": lambda size, angle: Pairs.of(size * angle.cos(), size * angle.sin()),
    "real.default": lambda z: z.real,
    "imag.default": lambda z: z.imaginary,
    "abs.default": lambda z: z.parts.square().sum(-1).sqrt(),
    "mul.Tensor": _times,
    "add.Tensor": _plus,
    "sub.Tensor": lambda one, other: _plus(one, Pairs(-other.parts)),
    "neg.default": lambda z: Pairs(-z.parts),
    **dict.fromkeys(("_conj.default", "conj_physical.default"), lambda z: Pairs.of(z.real, -z.imaginary)),
    **dict.fromkeys(
        ("clone.default", "contiguous.default", "alias.default", "detach.default", "resolve_conj.default", "resolve_neg.default"),
        _same,
    ),
    **dict.fromkeys(("view.default", "reshape.default", "_unsafe_view.default"), _viewed),
    "expand.default": lambda z, size: Pairs(z.parts.expand([*size, 2])),
    "permute.default": _turned,
    "transpose.int": lambda z, one, other: Pairs(z.parts.transpose(z.axis(one), z.axis(other))),
    "unsqueeze.default": lambda z, dim: Pairs(z.parts.unsqueeze(z.axis(dim))),
    "squeeze.dim": lambda z, dim: Pairs(z.parts.squeeze(z.axis(dim))),
    "select.int": lambda z, dim, place: Pairs(z.parts.select(z.axis(dim), place)),
    "slice.Tensor": _cut,
    "cat.default": _joined,
}
"""Operator -> the same of ``Pairs`` and real tensors."""


def as_pairs(call: fx.Node) -> fx.GraphModule | None:
    """A call with complex numbers as calls on pairs, whose inputs are ``call.all_input_nodes`` in their order; None where that is
    not known."""
    function, sources = PAIRED.get(operator_name(call)), call.all_input_nodes
    examples = [found for source in sources if isinstance(found := source.meta.get("val"), Tensor)]
    if function is None or len(examples) != len(sources):
        return None

    def run(*tensors: Tensor) -> Any:
        given: Any = {source: Pairs(tensor) if gives(source) else tensor for source, tensor in zip(sources, tensors, strict=True)}
        args, kwargs = fx.map_arg((call.args, call.kwargs), given.__getitem__)
        found = function(*args, **kwargs)
        return found.parts if isinstance(found, Pairs) else found

    sides = [(*example.shape, 2) if example.is_complex() else tuple(example.shape) for example in examples]
    try:
        with torch.no_grad():
            return make_fx(run, tracing_mode="fake")(*(torch.empty(side) for side in sides))
    except Exception:  # whatever a function raises on what it is not written for
        return None


def constant(value: Any) -> Any:
    """A complex constant as its pairs; anything else as it is."""
    return torch.view_as_real(value.resolve_conj()).contiguous() if isinstance(value, Tensor) and value.is_complex() else value
