"""What enlarging a picture costs: processor time, time by the clock and peak memory of `hwsearch upscale`, start included.

    python tests/bench/upscaling.py RUN/plans/PLAN.json [--against CHECKOUT] [--sizes 1080p 4k 8k]

Pictures are a shipped photo, enlarged by Pillow, with noise. ``--against`` runs another checkout of this repository in turn with
this one, on the same pictures and the same plan, and counts pixels that differ.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

HERE = Path(__file__).parents[2]
SIZES = {"360p": (640, 360), "1080p": (1920, 1080), "4k": (3840, 2160), "8k": (7680, 4320)}
NOISE = 3


class Cost(NamedTuple):
    processor_s: float
    wall_s: float
    peak_bytes: int


def picture(size: tuple[int, int], path: Path) -> None:
    rng = np.random.default_rng(0)
    with Image.open(HERE / "searchspaces/photos/wine.png") as photo:
        values = np.asarray(photo.convert("RGB").resize(size, Image.Resampling.BICUBIC)).astype(np.int16)
    noisy = np.clip(values + rng.integers(-NOISE, NOISE + 1, values.shape), 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(path, compress_level=1)


def run(checkout: Path, source: Path, out: Path, plan: Path) -> Cost:
    """Of one process, which must end well."""
    words = [sys.executable, "-m", "hwsearch", "upscale", str(source), str(out), "--plan", str(plan), "--quiet"]
    times = os.times()
    child = os.posix_spawn(
        "/usr/bin/env",
        ["env", "-C", str(checkout), *words],
        dict(os.environ),
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)],
    )
    _, status, used = os.wait4(child, 0)
    if status:
        raise SystemExit(f"{' '.join(words)} ended with {os.waitstatus_to_exitcode(status)}")
    return Cost(used.ru_utime + used.ru_stime, os.times().elapsed - times.elapsed, used.ru_maxrss * 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", type=Path)
    parser.add_argument("--against", type=Path, metavar="CHECKOUT")
    parser.add_argument("--sizes", nargs="+", default=["1080p", "4k", "8k"], choices=SIZES)
    asked = parser.parse_args()
    checkouts = [HERE, *([asked.against.resolve()] if asked.against else [])]
    Image.MAX_IMAGE_PIXELS = None
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "360p.png"
        picture(SIZES["360p"], small)
        started = []
        for checkout in checkouts:
            run(checkout, small, Path(folder) / "out.png", asked.plan.resolve())  # compiles
            started.append(run(checkout, small, Path(folder) / "out.png", asked.plan.resolve()))
        for name in asked.sizes:
            source = Path(folder) / f"{name}.png"
            picture(SIZES[name], source)
            outs = [Path(folder) / f"{name}-{i}.png" for i in range(len(checkouts))]
            share = SIZES["360p"][0] * SIZES["360p"][1] / (SIZES[name][0] * SIZES[name][1])
            for checkout, out, first in zip(checkouts, outs, started, strict=True):
                cost = run(checkout, source, out, asked.plan.resolve())
                # Both grow with pixels: what a picture costs beyond the start follows from two sizes.
                frame_s = (cost.processor_s - first.processor_s) / (1 - share)
                print(
                    f"{name:6} {checkout}: {cost.processor_s:.1f} s of processor time, of them {frame_s:.2f} s for the picture,"
                    f" {cost.wall_s:.1f} s by the clock, {cost.peak_bytes / 1e9:.2f} GB, file {out.stat().st_size / 1e6:.1f} MB",
                    flush=True,
                )
            if asked.against:
                a, b = (np.asarray(Image.open(out)) for out in outs)
                print(f"{name:6} values that differ: {np.count_nonzero(a != b)} of {a.size}", flush=True)


if __name__ == "__main__":
    main()
