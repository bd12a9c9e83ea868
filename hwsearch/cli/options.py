"""Options that several commands share. What their values mean is read in ``notations``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from searchspaces.networks import endings
from searchspaces.scopes import SCOPES

MODEL_FILES = ".onnx, .tflite, .pt2, .ts, .torchscript, .pt, .pth"
"""Endings of the model files that the built-in readers read. They are written down so that ``--help`` need not load the readers;
a test compares them."""
RUNTIMES = (
    "engine (ours), ort (ONNX Runtime), litert (LiteRT with XNNPACK), tflm (TensorFlow Lite Micro), openvino (OpenVINO on the "
    "CPU), qemu (C on an emulated Cortex-M4), qemu-m7 (Cortex-M7), qemu-m55 (Cortex-M55 with Helium)"
)
"""The built-in runtimes, likewise."""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout; everything else goes to stderr.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress and no remarks.")]
Network = Annotated[
    str | None, typer.Option(help="A built-in network (`hwsearch networks`). Default: fsrcnn.", show_default=False)
]
Model = Annotated[
    str | None, typer.Option(help=f"Your own network: FILE.py:CALLABLE, or a model file ({MODEL_FILES}).", metavar="FILE")
]
Weights = Annotated[
    Path | None,
    typer.Option(
        help=f"A file of weights: {endings.USUAL}, or the index of several ({endings.INDEX}).", metavar="FILE", resolve_path=True
    ),
]
Scale = Annotated[
    str | None,
    typer.Option(
        help="Enlargement factor: 2, or with a network of your own 1.5 or 4/3. Default: that of the shipped weights, or of your "
        "network.",
        metavar="FACTOR",
        show_default=False,
    ),
]
Target = Annotated[
    str | None, typer.Option(help="A device (see `hwsearch devices`) or a device file. Default: jetson.", show_default=False)
]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        help="A device (see `hwsearch devices`) or a device file (repeatable: what does not depend on a device is measured "
        "once). Default: jetson.",
        show_default=False,
    ),
]
Images = Annotated[
    Path | None,
    typer.Option(
        help="Your pictures: a folder of originals, a folder with pairs in low/ and high/, or a CSV file of pairs. Default: the "
        "shipped photos.",
        metavar="DIR",
        resolve_path=True,
    ),
]
TaskName = Annotated[
    str | None,
    typer.Option(
        "--task",
        help="What the network is for, which decides what quality means (see `hwsearch tasks`). Default: super-resolution, "
        "restoration if --images holds pairs, fidelity if it holds low/ alone.",
        metavar="NAME",
        show_default=False,
    ),
]
ValueRange = Annotated[
    str | None,
    typer.Option(
        "--range",
        help="Range of the values that the network expects: 0..1 (default), 0..255, -1..1, or MEAN/STD, each one number or one "
        "per channel; IN:OUT if its output has another range.",
        metavar="RANGE",
        show_default=False,
    ),
]
Order = Annotated[
    Literal["rgb", "bgr"] | None,
    typer.Option("--order", help="Channel order that the network expects. Default: rgb.", show_default=False),
]
InputChannels = Annotated[
    list[str] | None,
    typer.Option(
        "--input-channels",
        help="How what the network reads is made from the picture, where it reads more channels (repeatable, one after the "
        "other): unshuffle:2 or space-to-depth:2 (pixels of blocks as channels, in PyTorch's or TensorFlow's order), repeat:4 "
        "(the picture so often), append:0.1,0.2 or append:FILE (constant channels behind it; prepend: in front).",
        metavar="HOW",
        show_default=False,
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Go on even if the network is worse than the simplest method (bicubic).")]
Quick = Annotated[
    bool,
    typer.Option(
        "--quick",
        help="Get a first answer fast: a quarter of the calibration crops, one proxy, 12 probes and 12 evaluations unless given, "
        "and one plan proven without polishing.",
    ),
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Measure, polish and prove again, even what an earlier run has done.")]
Input = Annotated[
    str | None,
    typer.Option(
        "--input", help="Height and width of the low-resolution picture. Default: that of the device file.", metavar="HxW"
    ),
]
Tile = Annotated[
    str | None,
    typer.Option(
        help="Cut the picture into tiles of this size, in input pixels; auto: compare sizes; whole: do not cut.",
        metavar="HxW|auto|whole",
    ),
]
Halo = Annotated[
    str | None,
    typer.Option(
        help="How tiles are joined: recompute their borders, or keep rows from one strip to the next. Default: compare both, or "
        "recompute if --tile gives a size.",
        metavar="recompute|keep",
    ),
]
Fps = Annotated[
    float | None,
    typer.Option(help="Frames per second to sustain, one after another: a latency budget of 1s/FPS.", metavar="RATE"),
]
Scope = Annotated[
    str | None,
    typer.Option(
        help="Layers to quantize: "
        + "; ".join(f"{info.name} ({info.summary}{': as ' + info.papers if info.papers else ''})" for info in SCOPES.values())
        + ". Default: all.",
        show_default=False,
    ),
]
Budget = Annotated[
    list[str] | None,
    typer.Option(
        help="An upper limit (repeatable), such as latency=8ms, memory=512KiB, weights=1MB, loss=0.3dB, energy=2mJ, mean_bits=4, "
        "bitops=12G.",
        metavar="KEY=VALUE",
    ),
]
EqualBits = Annotated[
    float | None,
    typer.Option(
        help="Upper limit on the mean weight bits per parameter over the layers of the scope, as papers count them.",
        metavar="BITS",
    ),
]
Bitops = Annotated[
    str | None,
    typer.Option(
        help="Upper limit on MACs x weight bits x activation bits at the given input size, as papers count them.", metavar="12G"
    ),
]
WeightBits = Annotated[str | None, typer.Option(help="Weight widths to consider, such as 2,4,8 or 8,fp8e4m3.", metavar="LIST")]
ActivationBits = Annotated[str | None, typer.Option(help="Activation widths to consider, such as 8,16.", metavar="LIST")]
Pin = Annotated[
    list[str] | None, typer.Option("--pin", help="Fix the width of a layer or tensor (repeatable).", metavar="NAME=BITS")
]
Arg = Annotated[
    list[str] | None,
    typer.Option(
        "--arg", help="An argument for a built-in network, or for a callable of your own (repeatable).", metavar="KEY=VALUE"
    ),
]
Drop = Annotated[
    list[str] | None,
    typer.Option("--drop", help="A block to leave out, by its name in the weights (repeatable).", metavar="BLOCK"),
]
DropAuto = Annotated[
    list[str] | None,
    typer.Option(
        "--drop",
        help="A block to leave out, by its name in the weights (repeatable); auto: let the search decide.",
        metavar="BLOCK|auto",
    ),
]
Branches = Annotated[
    list[str] | None,
    typer.Option(help="A low-rank branch of a layer, in integers like the rest (repeatable).", metavar="LAYER=RANK"),
]
BranchesByComplexity = Annotated[
    list[str] | None,
    typer.Option(
        "--branches",
        help="A low-rank branch of a layer, in integers like the rest (repeatable); complexity: ranks by how much what a layer "
        "reads varies in space and time.",
        metavar="LAYER=RANK|complexity",
    ),
]
BranchesAuto = Annotated[
    list[str] | None,
    typer.Option(
        "--branches",
        help="A low-rank branch of a layer, in integers like the rest (repeatable); auto: let the search decide; complexity: "
        "ranks by how much what a layer reads varies in space and time.",
        metavar="LAYER=RANK|auto|complexity",
    ),
]
Seed = Annotated[int | None, typer.Option(help="Random seed. Default: 0.", min=0, show_default=False)]
STORAGE_HELP = "The PostgreSQL database that workers share. Keep its password in PGPASSWORD or ~/.pgpass rather than here."
Storage = Annotated[str | None, typer.Option(help=STORAGE_HELP, metavar="URL", show_default=False)]
OwnModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="The network of this plan or run, if it is code: path/to/file.py:callable, with arguments callable(key=value). It "
        "runs only if you name it here.",
        metavar="FILE:CALLABLE",
    ),
]
AllowEdited = Annotated[
    bool,
    typer.Option(
        "--allow-edited",
        help="Accept a plan that was edited, or is of an earlier version: quantize it again, and say so. Default: refuse it.",
    ),
]
PLAN_HELP = "A plan: plans/NAME.json of a run, or the name of a ready one (see `hwsearch networks`)."
PlanFile = Annotated[Path, typer.Argument(help=PLAN_HELP, metavar="PLAN", resolve_path=True)]

ComparisonFile = Annotated[
    Path | None,
    typer.Option("--out", help="Write the comparison, with every plan and picture, as JSON.", metavar="FILE", resolve_path=True),
]
Sampler = Annotated[
    str | None,
    typer.Option(
        help="What proposes plans: exact (default); or nsga2, nsga3, tpe, gp or random, which continue from the exact front.",
        metavar="NAME",
        show_default=False,
    ),
]

Methods = Annotated[
    list[str] | None,
    typer.Option(
        help="How ranges and integers are found (see `hwsearch methods`; repeatable: every plan keeps the best; mse+gptq: every "
        "layer and tensor by the better of these). Default: output_noise.",
        metavar="NAME",
        show_default=False,
    ),
]
Quantizers = Annotated[str | None, typer.Option(help="What --method was called earlier, as a list.", hidden=True)]
