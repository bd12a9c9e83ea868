"""A job in the user's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hwmodels.errors import UsageError
from hwsearch.documents.bounds import Amount, Many, Rate, Scale, Seed, Side, Text, Width
from hwsearch.documents.url import StorageUrl
from hwsearch.quant import methods
from searchspaces.data.scale import exact
from searchspaces.networks import input_channels
from searchspaces.networks.own_code import OwnCode
from searchspaces.scopes import Scope

AUTO = ("auto",)
"""What ``Request.dropped`` and ``Request.branches`` may be beside names: a search decides (see ``pipeline.variants``)."""
COMPLEXITY = ("complexity",)
"""What ``Request.branches`` may be instead of names: ranks by what layers read (see ``problem.complexity``)."""
UNSIZED = ("whole", "auto")
"""What ``Request.tile`` may be beside a size."""


def refuse_auto(option: str, given: tuple[str, ...]) -> None:
    """Raise UsageError where an option leaves to a search what is to be known now."""
    if AUTO[0] in given:
        raise UsageError(
            f"{option} auto is for `hwsearch optimize`, which decides by a search", "Name them here, or leave it out."
        )


@dataclass(frozen=True)
class Request:
    """One job, in the user's words.

    ``arguments``: of a built-in network; those of code of one's own become part of the name of the code, ``model`` (see
    ``searchspaces.networks.own_code``). ``dropped``: blocks that the network is to be without (see
    ``networks.adapted.blocks``), or ``AUTO``. ``branches``: low-rank branches of its layers, as ``LAYER=RANK`` (see
    ``searchspaces.ir.branches``), ``AUTO``, or ``COMPLEXITY``. ``task``: its name (see ``searchspaces.tasks``), None: what the
    samples show.
    ``input_channels``: how what the network reads is made from a picture, where it is not the picture itself (see
    ``networks.input_channels``; numbers, not files). ``value_range``: what the network expects, where that is not 0..1 (see
    ``networks.adapted.value_range``); ``order``: of its colours, None or "rgb", "bgr". ``force``: go on with a network that the
    simplest method beats. Budgets are in seconds, bytes, dB and joules; ``input_size`` is (height, width) of the low-resolution
    picture. ``tile`` is "whole", "auto", or height x width in pixels of the network's input, None: whole, but cut where memory
    demands it; ``halo``: "keep" or "recompute", None: whichever is better. ``fps``: pictures a second, one after another.
    ``batch``: plans that the refinement proposes together; the result depends on it, and not on how many processes measure
    them. ``sampler``: one of ``samplers.SAMPLERS``. ``methods``: quantization methods that every plan is measured with, the
    better one is kept. ``finalists``: plans that are finished before one is picked, None: what is usual (see
    ``pipeline.finalists``).
    ``storage`` and ``study``: the database and the study that workers share; one that gives no sign of life for ``grace_s``
    seconds is taken for dead.
    ``quick``: a first answer: a quarter of the calibration, one proxy, and one plan proven, which is not polished.
    ``cache``: damage tables, scores and finished plans of earlier runs are used again (see ``runs.by_content``).
    """

    network: Text = "fsrcnn"
    model: Text | None = None
    weights: Path | None = None
    scale: Scale | None = None
    arguments: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    target: Text = "jetson"
    images: Path | None = None
    dropped: tuple[Text, ...] = ()
    branches: tuple[Text, ...] = ()
    task: Text | None = None
    input_channels: tuple[Text, ...] = ()
    value_range: Text | None = None
    order: Text | None = None
    force: bool = False
    input_size: tuple[Side, Side] | None = None
    tile: Text | None = None
    halo: Literal["keep", "recompute"] | None = None
    fps: Rate | None = None
    budgets: Mapping[str, Amount] = field(default_factory=dict)
    scope: Scope = "all"
    weight_bits: tuple[Width, ...] | None = None
    activation_bits: tuple[Width, ...] | None = None
    pins: Mapping[str, Width] = field(default_factory=dict)
    evaluations: Many = 120
    batch: Many = 8
    probes: Many = 200
    sampler: str = "exact"
    methods: tuple[str, ...] = (methods.USUAL,)
    finalists: Many | None = None
    seed: Seed = 0
    storage: str | None = None
    study: str | None = None
    grace_s: Many = 60
    cache: bool = True
    quick: bool = False
    run_dir: Path | None = None
    resume: bool = False
    command: Text = ""

    def __post_init__(self) -> None:
        methods.check(self.methods)
        code = None if self.model is None else OwnCode.read(self.model)
        if code is not None:
            object.__setattr__(self, "model", str(code.given(self.arguments)))
            object.__setattr__(self, "arguments", {})
        given = self.input_channels
        object.__setattr__(self, "input_channels", (given,) if isinstance(given, str) else tuple(given))
        input_channels.parse(self.input_channels)
        if self.scale is not None:
            object.__setattr__(self, "scale", exact(self.scale))
        if (self.storage is None) != (self.study is None):
            raise UsageError("a shared study needs both --storage and --study", "Give the database and the name of the study.")
        if self.storage is not None:
            object.__setattr__(self, "storage", StorageUrl.read(self.storage))
