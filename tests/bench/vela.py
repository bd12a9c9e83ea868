"""Time to price one network: ours beside that of Arm's compiler, on the same file and the same system (needs the extra: vela).

    python tests/bench/vela.py [target]

Ours is lowering (all widths of all layers) and estimating one plan; the compiler's is a process that compiles one file.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.extend([str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "support")])

from random_networks import quantize

from hwmodels import cost
from hwmodels.device import catalogue
from hwsearch.boards import vela
from hwsearch.formats.tflite import write
from searchspaces.ir.lower import to_workload
from searchspaces.networks.cnn.fsrcnn import FSRCNN
from searchspaces.space import build_space
from searchspaces.tracing.trace import trace

SIZE = (180, 320)
REPEATS = 5


def main(name: str) -> None:
    target, graph = catalogue.load(name), trace(FSRCNN(), 1, "fsrcnn", 2)
    workload = to_workload(graph, *SIZE)
    space = build_space(workload, target.offered.weight_widths, target.offered.tensor_widths, wide=target.offered.wide)
    lowering, estimating = [], []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        table = cost.lower(target, workload, space)
        lowering.append(time.perf_counter() - start)
        plan = np.zeros((1, table.decisions), dtype=np.int8)
        start = time.perf_counter()
        cost.estimate(table, plan)
        estimating.append(time.perf_counter() - start)
    # The first round compiles the kernels.
    print(f"{graph.name} {SIZE[0]}x{SIZE[1]} on {name}, best of {REPEATS}")
    print(f"hwsearch: {1e3 * min(lowering[1:]):.1f} ms to lower all widths, {1e3 * min(estimating[1:]):.3f} ms for one plan")
    with tempfile.TemporaryDirectory() as folder:
        path = write.export(quantize(graph), Path(folder, "net.tflite"), size=SIZE, flavour="ethos")
        start = time.perf_counter()
        rows = vela.compile_file(path, target)
        print(f"Vela:     {1e3 * (time.perf_counter() - start):.0f} ms for one plan ({len(rows)} operations) with its start")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("target", nargs="?", default="ethos-u55-128", help="a device with an Ethos-U")
    main(parser.parse_args().target)
