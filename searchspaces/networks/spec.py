"""How a network announces itself: what it is called, what may be chosen about it, and how its sizes are read off its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hwmodels.errors import UsageError, closest
from searchspaces.data.pictures import InputKind
from searchspaces.data.scale import Scale, scale_text

PRETRAINED = Path(__file__).parents[1] / "pretrained"
State = Mapping[str, Tensor]


LARGEST = 100_000
"""Highest argument of a network: far above any that is known, and low enough to be counted (see ``registry.MOST_NUMBERS``)."""


@dataclass(frozen=True)
class NetworkSpec:
    """One kind of network. Every network's file has one, called ``SPEC``.

    Attributes:
        build: ``build(scale=..., **arguments) -> nn.Module``.
        arguments: the arguments and their defaults.
        infer: reads arguments off a state dict; what the keys do not show is left out.
        channels: 1 or 3 when fixed, None when it is an argument.
        shipped: scale -> file name in ``pretrained/``.
        value_range: what its published weights expect, as ``networks.adapted.value_range`` reads it; empty for 0..1.
        derived: endings of names that published files also hold and that follow from the rest, such as masks of windows.
        at_scale: of a file for several scales, what one of them needs, under the network's names.
        task: the task it is for, where it returns no picture (see ``searchspaces.tasks``).
        size: height and width of the pictures that it is made for, None: any.
        choices: argument -> its values and what each means, where not every number or text will do.
        place: where among the built-in networks it is listed.
    """

    name: str
    summary: str
    build: Callable[..., nn.Module]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    infer: Callable[[State], dict[str, Any]] = lambda state: {}
    scales: tuple[int, ...] = (2, 3, 4)
    channels: int | None = 3
    input_kind: InputKind = "low"
    shipped: Mapping[int, str] = field(default_factory=dict)
    value_range: str = ""
    derived: tuple[str, ...] = ()
    at_scale: Callable[[State, int], State] = lambda state, scale: state
    task: str = ""
    size: tuple[int, int] | None = None
    choices: Mapping[str, Mapping[Any, str]] = field(default_factory=dict)
    place: int = 0

    def own(self, state: State, scale: int) -> dict[str, Tensor]:
        """Of the tensors of a file those of one scale that do not follow from the others."""
        return {key: value for key, value in self.at_scale(state, scale).items() if not key.endswith(self.derived)}

    def weights(self, scale: int) -> Path | None:
        """The weights that ship with the package, if there are any."""
        path = PRETRAINED / self.shipped.get(scale, "none")
        return path if path.is_file() else None

    def check_scale(self, scale: Scale) -> int:
        """``scale``, one of those that the network is made for, all of them whole.

        Raises:
            UsageError: it is none of them.
        """
        if not isinstance(scale, int) or scale not in self.scales:
            scales = f"Scales: {', '.join(map(str, self.scales))}."
            raise UsageError(
                f"{self.name} is not made for scale {scale_text(scale)}",
                scales if isinstance(scale, int) else f"{scales} A fraction needs a network of your own (--model).",
            )
        return scale

    def check_argument(self, name: str, value: Any) -> None:
        """Raises UsageError when ``name`` is unknown or ``value`` is not of its default's kind."""
        if name not in self.arguments:
            hint = closest(name, self.arguments) if self.arguments else ""
            raise UsageError(f"{self.name} has no argument {name!r}", hint)
        default = self.arguments[name]
        numeric = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
        if isinstance(default, int) and not (numeric and isinstance(value, int)):
            raise UsageError(f"{self.name}: {name} must be a whole number above 0, not {value!r}")
        if isinstance(default, float) and not numeric:
            raise UsageError(f"{self.name}: {name} must be a number above 0, not {value!r}")
        if numeric and value > LARGEST:
            raise UsageError(f"{self.name}: {name} is {value:g}", f"Widths and depths are at most {LARGEST}.")
        if name in self.choices and value not in self.choices[name]:
            allowed = (f"{key} ({meaning})" if meaning else str(key) for key, meaning in self.choices[name].items())
            raise UsageError(f"{self.name}: {name} must be {' or '.join(allowed)}, not {value!r}")


def outputs(state: State, layer: str) -> int | None:
    """Output channels of a layer, None when the file has no such layer."""
    weight = state.get(f"{layer}.weight")
    return int(weight.shape[0]) if weight is not None and weight.ndim else None


def inputs(state: State, layer: str) -> int | None:
    """Input channels of a convolution, None when the file has no such layer."""
    weight = state.get(f"{layer}.weight")
    return int(weight.shape[1]) if weight is not None and weight.ndim > 1 else None


def indices(state: State, prefix: str, suffix: str) -> set[int]:
    """The numbers N for which a key begins with ``prefix.N.suffix``."""
    found = set()
    for key in state:
        number, _, tail = key.removeprefix(f"{prefix}.").partition(".")
        if key.startswith(f"{prefix}.") and number.isdigit() and tail.startswith(suffix):
            found.add(int(number))
    return found


def known(**found: Any) -> dict[str, Any]:
    """The arguments that were found: those that are neither None nor 0."""
    return {key: value for key, value in found.items() if value}


def blueprint(spec: NetworkSpec, scale: int, arguments: Mapping[str, Any]) -> dict[str, Tensor]:
    """Names and shapes of a network's tensors, without the tensors: nothing is stored or drawn at random."""
    with torch.device("meta"), _Unfilled():
        found: dict[str, Tensor] = spec.build(scale=scale, **arguments).state_dict()
    return found


class _Unfilled(TorchFunctionMode):
    """What fills tensors with random numbers does nothing; on tensors without storage it takes most of a network's making."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        if func in _FILLS:
            return args[0] if args else named["tensor"]
        return func(*args, **named)


_FILLS = (Tensor.uniform_, Tensor.normal_, nn.init.kaiming_uniform_, nn.init.uniform_, nn.init.normal_)
