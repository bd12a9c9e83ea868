"""Speed of pricing: plan-layers per second of the compiled loop against plain numpy, on EDSR-baseline (37 convolutions).

A plan-layer is one weighted layer of one plan; residual additions and pixel shuffles are priced and not counted. Run:

    python tests/bench/pricing.py [--device jetson] [--plans 200000]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from cost_twins import edsr, plain, random_plans, space_of

from hwmodels import cost, device


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--device", default="jetson")
    options.add_argument("--plans", type=int, default=200_000)
    given = options.parse_args()
    target, workload = device.load(given.device), edsr()
    table = cost.lower(target, workload, space_of(target, workload))
    plans = random_plans(table, given.plans)
    cost.estimate(table, plans[:10])
    work = len(plans) * len(workload.weighted)

    def rate(price: object, repeats: int) -> float:
        times = []
        for _ in range(repeats):
            begun = time.perf_counter()
            price(table, plans)  # type: ignore[operator]
            times.append(time.perf_counter() - begun)
        return work / min(times)

    fast, slow = rate(cost.estimate, 15), rate(plain, 1)
    print(
        f"{target.name}, EDSR-baseline: {len(workload.weighted)} convolutions of {len(workload.layers)} layers, "
        f"{table.decisions} decisions, "
        f"{len(table.weight_bits)} weight and {len(table.activation_bits)} tensor widths, {len(plans)} plans"
    )
    print("latency, weight bytes, peak activation bytes and energy, one core:")
    print(f"  compiled {fast / 1e6:8.1f} million plan-layers/s")
    print(f"  numpy    {slow / 1e6:8.1f} million plan-layers/s   ({fast / slow:.0f} times slower)")


if __name__ == "__main__":
    main()
