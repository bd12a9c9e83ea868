"""Steps of a profile on the layers of a network: only where the tool's names leave no doubt.

A tool names what it ran after the file that it was given: ``/body/body.0/Conv``, ``model/conv2d/Relu``, ``_body_body_0_Conv``.
Such a name must be that of a part of the network in one of these spellings, whole (``node_of``). Operators that are part of a
layer here (activations, biases, rescaling) need no counterpart beside one that is found; an activation that is a layer of its own
here is taken with it. A step with any other part that is not found is not used alone; its time stays in the total. So a fit never
takes the time of one layer for another's: with strange names only the total is left, and that is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hwmodels.workload import Layer, Map, Workload
from hwsearch.boards.profiles.profile import Profile, TimedOperation

SMALLEST_SHARE = 0.01
"""Of the total: shorter steps are mostly the clock's and the launch's, and in a fit of ratios would weigh as much as the rest."""
ELSEWHERE_SHARE = 0.05
"""Of the total: with more than this off the accelerator, the total says little about it."""
PROCESSORS = ("CPU", "GPU")
BEFORE = "_before"
"""What our own exporter adds to the name of a layer whose activation is an operator of its own."""

_CONTRACTIONS = "ConvTranspose|Convolution|Conv2d|Conv2D|Conv|CONV_2D|Gemm|MatMul|FullyConnected|Linear"
_FOLDED = (
    "Relu6|Relu|ReLU|PRelu|PReLU|LeakyRelu|Clip|Sigmoid|HardSwish|HardSigmoid|Elu|Tanh|BiasAdd|BatchNormalization|"
    "QuantizeLinear|DequantizeLinear|Identity|Cast"
)
_OTHERS = (
    "Add|Sub|Mul|Div|Concat|concat|add|DepthToSpace|PixelShuffle|Resize|MaxPool|AveragePool|GlobalAveragePool|Reshape|Transpose"
)
_TYPE = re.compile(rf"_?({_CONTRACTIONS}|{_FOLDED}|{_OTHERS})(_\d+)?$")
_NUMBERED = (re.compile(r"^(?:Conv|ConvTranspose|Gemm|MatMul)_(\d+)$"), re.compile(r"^node_conv2d(?:_(\d+))?$"))
"""How exporters of PyTorch number operators that have no name: the older one all together, the newer one each kind by itself."""
_OUR_KIND = re.compile(r"^[A-Z][A-Za-z]*:")
"""What our own exporter writes before the name of a layer."""
_IS_FOLDED = re.compile(rf"(^|_)({_FOLDED}|relu|prelu|clamp|sigmoid|gelu)(_\d+)?$")


@dataclass(frozen=True)
class Matched:
    """Times of layers, ``(names of layers, seconds)`` of steps that execute them together, and what was not used."""

    times: tuple[tuple[tuple[str, ...], float], ...]
    total_is_usable: bool
    remarks: tuple[str, ...]


def match(profile: Profile, workload: Workload, nodes: Iterable[str]) -> Matched:
    """Find the layers of ``workload`` that the steps of ``profile`` execute.

    Args:
        nodes: names of everything in the network's graph, layers among them.
    """
    names = _Names(profile.steps, workload, nodes)
    units = {step.unit for step in profile.steps}
    elsewhere = [step for step in profile.steps if "NPU" in units and step.unit in PROCESSORS]
    groups: list[tuple[set[str], float]] = []
    unknown: list[TimedOperation] = []
    for step in profile.steps:
        if step.between or ("NPU" in units and step.unit in PROCESSORS):
            continue
        layers = names.layers_of(step)
        if layers is None:
            unknown.append(step)
            continue
        shared = [group for group in groups if group[0] & layers]
        groups = [group for group in groups if group not in shared]
        if layers:
            groups.append((layers.union(*(group[0] for group in shared)), step.seconds + sum(group[1] for group in shared)))
    order = {layer.name: at for at, layer in enumerate(workload.layers)}
    long = [group for group in groups if group[1] >= SMALLEST_SHARE * profile.total_s]
    times = tuple((tuple(sorted(layers, key=order.__getitem__)), seconds) for layers, seconds in long)
    away_s = sum(step.seconds for step in elsewhere)
    usable = away_s <= ELSEWHERE_SHARE * profile.total_s
    return Matched(times, usable, tuple(_remarks(profile, names, unknown, elsewhere, usable, len(times))))


def _remarks(
    profile: Profile,
    names: _Names,
    unknown: Sequence[TimedOperation],
    elsewhere: Sequence[TimedOperation],
    usable: bool,
    used: int,
) -> Iterable[str]:
    yield from profile.remarks
    if not profile.steps:
        return
    if not used:
        yield f"no step of {len(profile.steps)} could be told to be a layer of the network (such as {profile.steps[0].name!r})."
    elif unknown:
        share = sum(step.seconds for step in unknown) / profile.total_s
        yield (
            f"{len(unknown)} of {len(profile.steps)} steps, {100 * share:.0f} % of the time, could not be told to be layers of "
            f"the network (such as {unknown[0].name!r}): they count in the total only."
        )
    added = [step for step in profile.steps if step.between]
    if added:
        share = sum(step.seconds for step in added) / profile.total_s
        yield f"{len(added)} copies between layers take {100 * share:.0f} % of the time; they count in the total only."
    if names.by_order:
        yield "layers with weights are named by numbers: they were matched in their order, of which there are as many."
    units = {step.unit for step in profile.steps} - {""}
    if units and "NPU" not in units:
        yield f"every step ran on the {' and '.join(sorted(units))}: fit a device that describes it."
    if elsewhere:
        away = " and ".join(sorted({step.unit for step in elsewhere}))
        share = sum(step.seconds for step in elsewhere) / profile.total_s
        said = "" if usable else ": the total is not used, since it says little about the NPU"
        yield f"{len(elsewhere)} of {len(profile.steps)} steps ran on the {away}, {100 * share:.0f} % of the time{said}."


class _Names:
    """Which node of the network a part of a step is."""

    def __init__(self, steps: Sequence[TimedOperation], workload: Workload, nodes: Iterable[str]) -> None:
        self._layers = {layer.name for layer in workload.layers}
        self._followed_by = {layer.name: _activations(workload, layer) for layer in workload.layers}
        self._exact = set(nodes) | self._layers
        self._forms: dict[str, set[str]] = {}
        for name in self._exact:
            for form in (canonical(name), canonical(_path(name))):
                self._forms.setdefault(form, set()).add(name)
        self._wrapper = self._common_wrapper([part for step in steps for part in step.parts])
        weighted = [layer.name for layer in workload.layers if layer.contracts]
        parts = dict.fromkeys(part for step in steps for part in step.parts if part not in self._exact)
        self._numbered: dict[str, str] = {}
        for numbering in _NUMBERED:
            numbers = {part: int(found[1] or 0) for part in parts if (found := numbering.match(canonical(part)))}
            if len(numbers) == len(weighted):
                self._numbered = dict(zip(sorted(numbers, key=numbers.__getitem__), weighted, strict=True))
        self.by_order = bool(self._numbered)

    def layers_of(self, step: TimedOperation) -> set[str] | None:
        """The layers that a step executes, none where it is something that the workload does not count; None: not known."""
        names = {part: self.node_of(part) for part in step.parts}
        known = {name for name in names.values() if name is not None}
        unknown = [part for part, name in names.items() if name is None]
        if not known or not all(_IS_FOLDED.search(canonical(part)) for part in unknown):
            return None
        found = known & self._layers
        return found.union(*(self._followed_by[name] for name in found)) if unknown else found

    def node_of(self, part: str) -> str | None:
        """The node of which ``part`` is the name, after the wrapper that all share and before the kind of operator."""
        part = _OUR_KIND.sub("", part)
        if part in self._exact or part in self._numbered:
            return self._numbered.get(part, part)
        return self._form(canonical(part).removeprefix(self._wrapper))

    def _form(self, text: str) -> str | None:
        found = self._forms.get(text) or self._forms.get(_TYPE.sub("", text.removesuffix(BEFORE)), set())
        return next(iter(found)) if len(found) == 1 else None

    def _common_wrapper(self, parts: Sequence[str]) -> str:
        """Words that all names begin with and no node's does, such as that of a module around the network."""
        names = [canonical(_OUR_KIND.sub("", part)) for part in parts]
        if not names or any(self._form(name) for name in names):
            return ""
        shared = [words[0] for words in zip(*(name.split("_") for name in names), strict=False) if len(set(words)) == 1]
        wrappers = ["_".join(shared[:count]) + "_" for count in range(1, len(shared) + 1)]
        return next((w for w in wrappers if any(self._form(name.removeprefix(w)) for name in names)), "")


def _activations(workload: Workload, layer: Layer) -> set[str]:
    """Maps of one tensor that read what a layer writes: what a tool that fused an unnamed activation into it fused."""
    readers = [workload.layers[at] for at in workload.tensors[layer.output].readers]
    return {reader.name for reader in readers if isinstance(reader.work, Map) and reader.work.arity == 1}


def _path(name: str) -> str:
    """The name of a module as PyTorch's ONNX exporter writes it: ``body.0.conv`` is ``body/body.0/conv``, lists said twice."""
    words: list[str] = []
    for word in name.split("."):
        words.append(f"{words[-1]}.{word}" if word.isdigit() and words else word)
    return "/".join(words)


def canonical(name: str) -> str:
    """Letters and digits of a name, anything else as one underscore: what compilers leave of it."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
