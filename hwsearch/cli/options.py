"""Options that several commands share. What their values mean is read in ``notations``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from searchspaces.scopes import SCOPES

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, everything else on stderr.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no remarks.")]
Network = Annotated[
    str | None, typer.Option(help="A built-in network (`hwsearch networks`). Default: fsrcnn.", show_default=False)
]
Model = Annotated[
    str | None, typer.Option(help="Your own network: FILE.py:CALLABLE, or a model file (.onnx, .tflite).", metavar="FILE")
]
Weights = Annotated[Path | None, typer.Option(help="Weights, .safetensors or .pth.", metavar="FILE", resolve_path=True)]
Scale = Annotated[int | None, typer.Option(help="Enlargement. Default: that of the weights that ship.", show_default=False)]
Target = Annotated[
    str | None, typer.Option(help="A device (see `devices`) or a device file. Default: jetson.", show_default=False)
]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        help="A device (see `devices`) or a device file; several share what is measured. Default: jetson.",
        show_default=False,
    ),
]
Images = Annotated[
    Path | None,
    typer.Option(
        help="Your pictures: a folder, or pairs in its low/ and high/ or in a CSV file. Default: photos that ship.",
        metavar="DIR",
        resolve_path=True,
    ),
]
TaskName = Annotated[
    str | None,
    typer.Option(
        "--task",
        help="What quality means (`hwsearch tasks`). Default: super-resolution, or restoration where --images holds pairs.",
        metavar="NAME",
        show_default=False,
    ),
]
ValueRange = Annotated[
    str | None,
    typer.Option(
        "--range",
        help="Values that the network expects: 0..1 (default), 0..255, -1..1, or MEAN/STD, one number or one a channel; IN:OUT "
        "where the output has another range.",
        metavar="RANGE",
        show_default=False,
    ),
]
Order = Annotated[
    Literal["rgb", "bgr"] | None,
    typer.Option("--order", help="Order of the colours that the network expects. Default: rgb.", show_default=False),
]
Force = Annotated[bool, typer.Option("--force", help="Go on with a network that the simplest method (bicubic) beats.")]
Quick = Annotated[
    bool,
    typer.Option(
        "--quick",
        help="A first answer: a quarter of the calibration, one proxy, 12 probes and 12 evaluations if none are given, one plan "
        "proven, not polished.",
    ),
]
NoCache = Annotated[
    bool, typer.Option("--no-cache", help="Measure, polish and prove anew, also where an earlier run has done the same.")
]
Input = Annotated[
    str | None,
    typer.Option("--input", help="Height and width of the low-resolution picture. Default: the device's.", metavar="HxW"),
]
Tile = Annotated[
    str | None,
    typer.Option(
        help="Cut the picture into tiles of this size, in pixels of the network's input; auto: compare sizes; whole: do not cut.",
        metavar="HxW|auto|whole",
    ),
]
Halo = Annotated[
    str | None,
    typer.Option(
        help="How tiles are joined: recompute borders, or keep rows between strips. Default: both are compared; where a size is "
        "given, recompute.",
        metavar="recompute|keep",
    ),
]
Fps = Annotated[float | None, typer.Option(help="Pictures a second, one after another: latency=1s/FPS.", metavar="RATE")]
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
        help="An upper limit (repeatable): latency=8ms, memory=512KiB, weights=1MB, loss=0.3dB, energy=2mJ, mean_bits=4, "
        "bitops=12G.",
        metavar="KEY=VALUE",
    ),
]
EqualBits = Annotated[
    float | None,
    typer.Option(help="As papers compare: mean weight bits by parameters over the layers of the scope, at most.", metavar="BITS"),
]
Bitops = Annotated[
    str | None,
    typer.Option(help="As papers compare: MACs times weight bits times bits read, for the given input, at most.", metavar="12G"),
]
WeightBits = Annotated[
    str | None, typer.Option(help="Widths of weights to consider, such as 2,4,8 or 8,fp8e4m3.", metavar="LIST")
]
ActivationBits = Annotated[str | None, typer.Option(help="Widths of tensors to consider, such as 8,16.", metavar="LIST")]
Pin = Annotated[list[str] | None, typer.Option(help="Fix a layer or tensor to a width (repeatable).", metavar="NAME=BITS")]
Arg = Annotated[list[str] | None, typer.Option(help="An argument of the network (repeatable).", metavar="KEY=VALUE")]
Drop = Annotated[
    list[str] | None,
    typer.Option(help="A block to leave out, by its name in the weights (repeatable).", metavar="BLOCK"),
]
DropAuto = Annotated[
    list[str] | None,
    typer.Option(
        "--drop",
        help="A block to leave out, by its name in the weights (repeatable); auto: the search decides.",
        metavar="BLOCK|auto",
    ),
]
Seed = Annotated[int | None, typer.Option(help="Seed of everything random. Default: 0.", min=0, show_default=False)]
STORAGE_HELP = "A PostgreSQL database that workers share. The password: better in PGPASSWORD or ~/.pgpass than here."
Storage = Annotated[str | None, typer.Option(help=STORAGE_HELP, metavar="URL", show_default=False)]
OwnModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="The plan's or run's own network, path/to/file.py:callable: code that a file names runs only where you name it.",
        metavar="FILE:CALLABLE",
    ),
]
AllowEdited = Annotated[
    bool, typer.Option("--allow-edited", help="Take a plan that was edited: quantize it anew, and say so. Default: refuse it.")
]
PlanFile = Annotated[Path, typer.Argument(help="A plan: plans/NAME.json of a run.", metavar="PLAN", resolve_path=True)]

Sampler = Annotated[
    str | None,
    typer.Option(
        help="What proposes plans: exact (default), or after the exact front nsga2, nsga3, tpe, gp or random.",
        metavar="NAME",
        show_default=False,
    ),
]

Methods = Annotated[
    list[str] | None,
    typer.Option(
        help="How ranges and integers are found (see `methods`); several: every plan keeps the better. Default: output_noise.",
        metavar="NAME",
        show_default=False,
    ),
]
Quantizers = Annotated[str | None, typer.Option(help="What --method was called earlier, as a list.", hidden=True)]
