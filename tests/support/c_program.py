"""Compiling and running an exported C network on this machine, as a user would."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from hwsearch.formats.c import write
from hwsearch.quant.network.graph import QuantizedGraph

FLAGS = ("-std=c99", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wno-sign-conversion", "-Werror")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")
MAIN = """
#include <stdio.h>
#include "{name}.h"
static {input} in[{macro}_INPUT_BYTES / sizeof({input})];
static {output} out[{macro}_OUTPUT_BYTES / sizeof({output})];
int main(void) {{
    while (fread(in, sizeof in, 1, stdin) == 1) {{
        {name}_run(in, out);
        fwrite(out, sizeof out, 1, stdout);
    }}
    return 0;
}}
"""


def compiler() -> str:
    """The C compiler of this machine; skips the test, with the reason, where there is none."""
    found = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if found is None:
        pytest.skip("NOT RUN: no C compiler, so the exported C was not compiled (install gcc)")
    return found


@lru_cache(maxsize=4)
def kernels(flags: tuple[str, ...]) -> tuple[tempfile.TemporaryDirectory[str], list[str]]:
    """The kernels' object files, compiled once; they lie in the folder as long as it is referenced."""
    folder = tempfile.TemporaryDirectory()
    objects = [f"{folder.name}/{Path(name).stem}.o" for name in write.KERNEL_SOURCES]
    for name, target in zip(write.KERNEL_SOURCES, objects, strict=True):
        call([compiler(), *FLAGS, *flags, "-c", str(files("hwsearch.formats.c") / "source" / name), "-o", target])
    return folder, objects


def call(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def build(qgraph: QuantizedGraph, folder: Path, size: tuple[int, int], flags: tuple[str, ...] = SANITIZERS) -> Path:
    """Export ``qgraph`` for inputs of ``size`` and compile it with warnings as errors; the executable."""
    compile_with = compiler()
    write.export(qgraph, folder / "net", size=size, name="net")
    program = write.lower(qgraph, *size)
    ends = {
        "input": program.qgraph.formats[qgraph.graph.input.name],
        "output": program.qgraph.formats[qgraph.graph.output.name],
    }
    types = {key: "uint16_t" if fmt.bits > 8 else "uint8_t" for key, fmt in ends.items()}
    (folder / "main.c").write_text(MAIN.format(name="net", macro="NET", **types))
    executable = folder / "program"
    sources = [str(folder / "net" / "net.c"), str(folder / "main.c"), *kernels(flags)[1]]
    call([compile_with, *FLAGS, *flags, f"-I{folder / 'net'}", *sources, "-lm", "-o", str(executable)])
    return executable


def run(executable: Path, qgraph: QuantizedGraph, codes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Codes ``[C, H, W]`` to output codes of ``shape`` (channels, height, width)."""
    source, target = (qgraph.formats[node.name] for node in (qgraph.graph.input, qgraph.graph.output))
    data = np.ascontiguousarray(codes.transpose(1, 2, 0)).astype(np.uint16 if source.bits > 8 else np.uint8).tobytes()
    done = subprocess.run([str(executable)], input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    flat = np.frombuffer(done.stdout, np.uint16 if target.bits > 8 else np.uint8).astype(np.int64)
    channels, height, width = shape
    return flat.reshape(height, width, channels).transpose(2, 0, 1)
