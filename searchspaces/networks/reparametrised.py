"""Weights that a training kept in parts, put together as the network computes them.

Two reparametrizations of PyTorch leave parts in a checkpoint where the network has one weight, under the names of the old hooks
(``torch.nn.utils.weight_norm``, ``spectral_norm``) or of ``torch.nn.utils.parametrizations``:

    weight norm      w = g v / |v|          ``weight_g``, ``weight_v``; ``original0``, ``original1``
    spectral norm    w = o / (u' O v)       ``weight_orig``, ``weight_u``, ``weight_v``; ``original``, ``0._u``, ``0._v``

A weight may have several one behind the other; of those of ``parametrizations`` the second and later ones are spectral norms.

with ``|v|`` over all axes but those that ``g`` has, and ``O`` the matrix of ``o`` whose rows are its output channels.
(Salimans and Kingma 2016; Miyato et al. 2018.)
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor


def _weight_norm(g: Tensor, v: Tensor) -> Tensor | None:
    """``g``: one number, or a tensor of as many axes as ``v``, of size 1 along those over which the norm is taken."""
    over = [axis for axis in range(v.dim()) if g.dim() == 0 or g.shape[axis : axis + 1] == (1,)]
    if not over or (g.dim() and g.shape != tuple(1 if axis in over else size for axis, size in enumerate(v.shape))):
        return None
    length: Tensor = torch.linalg.vector_norm(v, dim=over, keepdim=True)
    return v * (g / length)


def _spectral_norm(original: Tensor, u: Tensor, v: Tensor) -> Tensor | None:
    """``u``, ``v``: the singular vectors of the largest singular value; of a transposed convolution, rows are its second axis.
    Where sizes leave that open, rows lie along the axis whose matrix these vectors fit better."""
    values = list[Tensor]()
    for axis in range(min(original.dim(), 2)):
        matrix = original.movedim(axis, 0).flatten(1)
        if matrix.shape == (u.numel(), v.numel()):
            values.append(torch.dot(u.flatten(), matrix @ v.flatten()))
    return original / max(values, key=float) if values else None


_PARTS: tuple[tuple[str, tuple[str, ...], Callable[..., Tensor | None]], ...] = (
    ("weight norm", (r"{}_g", r"{}_v"), _weight_norm),
    ("weight norm", (r"parametrizations.{}.original0", r"parametrizations.{}.original1"), _weight_norm),
    ("spectral norm", (r"{}_orig", r"{}_u", r"{}_v"), _spectral_norm),
    (
        "spectral norm",
        (r"parametrizations.{}.original", r"parametrizations.{}.0._u", r"parametrizations.{}.0._v"),
        _spectral_norm,
    ),
)
"""What it is; the names of its parts beside that of the weight; how they make it."""


def put_together(tensors: Mapping[str, Tensor], kept: Collection[str] = ()) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file with one weight in place of the parts of it, in the order of the file; and those weights, with what
    they were kept by. Parts that do not fit each other stay as they are, and so do those of the weights ``kept``, whatever stands
    before their names."""
    made = dict(tensors)
    joined: dict[str, str] = {}
    for what, parts, formula in _PARTS:
        first = re.compile(r"(.*?)" + re.escape(parts[0]).replace(r"\{\}", r"([^.]+)"))
        for match in filter(None, map(first.fullmatch, tensors)):
            before, name = match[1], match[2]
            key, own = before + name, [before + part.format(name) for part in parts]
            if key in made or not all(part in made for part in own) or f".{key}".endswith(tuple(f".{name}" for name in kept)):
                continue
            weight = formula(*(made[part].double() for part in own))
            further = _further(f"{before}parametrizations.{name}", made, own)
            for vectors in further:
                if weight is not None:
                    weight = None if vectors is None else _spectral_norm(weight, *(made[part].double() for part in vectors))
            if weight is None:
                continue
            joined[key] = what if not further else f"{what} and spectral norm"
            gone = {*own[1:], *(part for vectors in further if vectors for part in vectors)}
            whole = {own[0]: (key, weight.to(made[own[0]].dtype))}
            made = dict(whole.get(there, (there, value)) for there, value in made.items() if there not in gone)
    return made, joined


def _further(place: str, tensors: Mapping[str, Tensor], first: Collection[str]) -> list[tuple[str, str] | None]:
    """Parametrizations behind the first one of a weight, in their order: the vectors of a spectral norm, or None for others."""
    found: dict[int, set[str]] = {}
    for key in tensors:
        number, _, part = key.removeprefix(f"{place}.").partition(".")
        if key.startswith(f"{place}.") and key not in first and part and number.isdecimal():
            found.setdefault(int(number), set()).add(key)
    vectors = {number: (f"{place}.{number}._u", f"{place}.{number}._v") for number in sorted(found)}
    return [vectors[number] if found[number] == {*vectors[number]} else None for number in vectors]


def in_words(joined: Mapping[str, str]) -> list[str]:
    """What was put together, in sentences."""
    return [
        f"{what} kept weights in parts ({count} of them), which are put together"
        for what, count in Counter(joined.values()).items()
    ]
