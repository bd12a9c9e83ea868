"""Speed of pricing: plan-layers a second of every hardware class, growth with layers and with plans, and memory when streamed.

A plan-layer is one weighted layer of one plan; residual additions and pixel shuffles are priced and not counted. All four
objectives are priced, with all terms. Seconds are those of one core (of the thread, not of others that share it). Run:

    python tests/bench/pricing.py [--plans 200000] [--most 10000000]
"""

from __future__ import annotations

import argparse
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.extend([str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "support")])

from cost_twins import edsr, plain, random_plans, space_of

from hwmodels import cost
from hwmodels.device import catalogue

DEVICES = ("ethos-u55-128", "snapdragon-8gen3-hexagon", "jetson", "stm32h743", "host")
"""At least one of each class; documented and undocumented NPUs are two models."""
CHUNK = 10_000
BLOCKS = (1, 5, 16, 50, 166, 500)
"""Residual blocks of networks with 2 x blocks + 5 convolutions: 7 to 1,005."""


def rate(table: cost.CostTable, plans: np.ndarray, price: object = cost.estimate, repeats: int = 7) -> float:
    """Plan-layers a second, the best of some repeats."""
    price(table, plans[:10])  # type: ignore[operator]
    times = []
    for _ in range(repeats):
        begun = time.thread_time()
        price(table, plans)  # type: ignore[operator]
        times.append(time.thread_time() - begun)
    return len(plans) * table.weighted / min(times)


def table_of(name: str, blocks: int = 16) -> cost.CostTable:
    target, workload = catalogue.load(name), edsr(blocks)
    return cost.lower(target, workload, space_of(target, workload))


def classes(plans: int) -> None:
    print(f"\nEDSR-baseline (37 convolutions, 56 layers, 58 decisions), {plans} plans")
    print(f"{'device':28s} {'class':5s} {'million plan-layers/s':>22s} {'numpy':>8s} {'table made in':>14s}")
    for name in DEVICES:
        table_of(name)  # compiles
        begun = time.thread_time()
        table = table_of(name)
        made_s = time.thread_time() - begun
        rows = random_plans(table, plans)
        fast, slow = rate(table, rows), rate(table, rows[:2000], plain, 2)
        print(f"{name:28s} {catalogue.load(name).kind:5s} {fast / 1e6:22.0f} {slow / 1e6:8.1f} {1e3 * made_s:11.1f} ms")


def layers(plans: int) -> None:
    print(f"\nGrowth with layers (jetson, {plans} plans)")
    print(f"{'convolutions':>12s} {'layers':>7s} {'ns per plan':>12s} {'ns per plan-layer':>18s} {'table made in':>14s}")
    for blocks in BLOCKS:
        begun = time.thread_time()
        table = table_of("jetson", blocks)
        _ = table.packed
        made_s = time.thread_time() - begun
        speed = rate(table, random_plans(table, plans), repeats=3)
        each = 1e9 / speed
        print(f"{table.weighted:12d} {len(table.layers):7d} {each * table.weighted:12.0f} {each:18.2f} {made_s:12.2f} s")


def chunks(table: cost.CostTable, plans: int) -> Iterator[np.ndarray]:
    for begin in range(0, plans, CHUNK):
        yield random_plans(table, min(CHUNK, plans - begin), seed=begin)


def peak_mb() -> float:
    """Most memory that this process has held. Linux hands ``ru_maxrss`` down to children, so its own record is read there."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) / 1024  # type: ignore[index]
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def streamed(plans: int) -> None:
    """Price ``plans`` random plans a chunk at a time, keeping the fastest; print seconds of pricing alone and peak memory."""
    table = table_of("jetson")
    cost.estimate(table, random_plans(table, 10))
    before = peak_mb()
    best, spent, mark = np.inf, 0.0, time.thread_time()

    def timed() -> Iterator[np.ndarray]:
        nonlocal mark
        for rows in chunks(table, plans):
            mark = time.thread_time()
            yield rows

    for found in cost.estimate_chunks(table, timed()):
        spent += time.thread_time() - mark
        best = min(best, float(found.latency_s.min()))
    after = peak_mb()
    each = 1e9 * spent / plans
    print(f"{plans:12d} {spent:9.3f} s {each:12.0f} {after - before:15.0f} MB {after:14.0f} MB", flush=True)


def growth_with_plans(most: int) -> None:
    print("\nGrowth with plans (jetson, EDSR-baseline), streamed in chunks of 10,000, a process each")
    print(f"{'plans':>12s} {'pricing':>11s} {'ns per plan':>12s} {'for the plans':>18s} {'whole process':>17s}", flush=True)
    plans = 1000
    while plans <= most:
        subprocess.run([sys.executable, __file__, "--streamed", str(plans)], check=True)
        plans *= 10


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--plans", type=int, default=200_000)
    options.add_argument("--most", type=int, default=10_000_000)
    options.add_argument("--streamed", type=int, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.streamed:
        streamed(given.streamed)
        return
    classes(given.plans)
    layers(min(given.plans, 20_000))
    growth_with_plans(given.most)


if __name__ == "__main__":
    main()
