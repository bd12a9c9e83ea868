"""The exact front of EDSR-baseline (37 convolutions, 16 residual additions): 20 latency budgets, 4 weight and 3 tensor widths.

    python tests/bench/exact_front.py [--blocks 16]

Costs and damage are random and no sums over decisions (see ``random_tables``). Prints wall and processor time, the largest gap,
and the hypervolume of the front.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "support"), str(Path(__file__).parents[2])]

from random_tables import edsr  # noqa: E402

from hwsearch.search import pareto  # noqa: E402
from hwsearch.search.exact import exact  # noqa: E402
from hwsearch.search.exact.additive import lower  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--blocks", type=int, default=16, help="residual blocks; 77 make a network of 160 convolutions")
    blocks = parser.parse_args().blocks
    for seed in range(3):
        table, noise, space = edsr(blocks, seed)
        solver = exact.Solver(lower(table, noise, space))
        wall, cpu = time.perf_counter(), time.process_time()
        best = solver.solve({})
        low, high = (solver.problem.costs(p[None])["latency_s"][0] for p in (solver.solve({}, "latency_s").plan, best.plan))
        solutions, warm = [], []
        for budget in np.geomspace(low * (1 + 1e-9), high, 20):
            solutions.append(solver.solve({"latency_s": float(budget)}, warm=warm))
            warm = [solutions[-1].plan]
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        costs = solver.problem.costs(np.stack([s.plan for s in solutions]))
        points = np.log(np.stack([costs["latency_s"], costs["noise"]], axis=1))
        print(
            f"seed {seed}: {int((table.weight_column >= 0).sum())} convolutions, {len(solutions)} points, {wall:.2f} s wall, "
            f"{cpu:.2f} s processor, largest gap {max(s.gap for s in solutions):.1e}, "
            f"hypervolume {pareto.hypervolume(points, points.max(axis=0)):.4f}"
        )


if __name__ == "__main__":
    main()
