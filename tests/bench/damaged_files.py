"""How readers of device files, weights, plans and results end on damaged ones: as many as wanted, by a seed.

    python tests/bench/damaged_files.py --count 5000 --seed 0

Prints how many were read, how many were refused, and every other ending with the seed that repeats it; exits with 1 if there is
any of these.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

import torch

sys.path.extend([str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "support")])

import file_fuzzer
import synthetic_results

from hwmodels.device import reader
from hwmodels.errors import HwsearchError
from hwsearch.documents.files import write_json
from hwsearch.plans import plan_file, pricing
from hwsearch.problem.request import Request
from hwsearch.report import html
from hwsearch.runs.run import Run
from searchspaces.networks.registry import build, load


def device(path: Path, rng: random.Random) -> None:
    path.write_bytes(file_fuzzer.damaged_device(sorted(reader.FOLDER.glob("*.toml")), rng))
    offered = reader.load(str(path)).offered
    bits = f"W{offered.weight_bits[-1]}A{offered.activation_bits[-1]}"
    pricing.estimate(Request(network="espcn", target=str(path), input_size=(24, 32)), bits)


def weights(path: Path, rng: random.Random) -> None:
    torch.manual_seed(0)
    ending, data = file_fuzzer.damaged_weights(dict(build("espcn").state_dict()), rng)
    file = path.with_suffix(ending)
    file.write_bytes(data)
    load("espcn", weights=file)


def plan(path: Path, rng: random.Random) -> None:
    file = path.with_suffix(".json")
    write_json(file, rng.choice(synthetic_results.FRONT).sealed())
    file.write_bytes(file_fuzzer.damaged_document(file.read_bytes(), rng))
    plan_file.load(file)


def results(path: Path, rng: random.Random) -> None:
    folder = path.parent
    write_json(folder / "run.json", {"schema_version": 1, "request": {}})
    whole = synthetic_results.results(folder)
    write_json(folder / "results.json", whole.model_copy(update={"points": whole.points[:3]}))
    data = (folder / "results.json").read_bytes()
    (folder / "results.json").write_bytes(file_fuzzer.damaged_document(data, rng))
    html.write(Run(folder).results, folder)


KINDS = {"device": device, "weights": weights, "plan": plan, "results": results}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--of", choices=tuple(KINDS), nargs="*", default=tuple(KINDS))
    options = parser.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        for kind in options.of:
            endings: Counter[str] = Counter()
            for seed in range(options.seed, options.seed + options.count):
                try:
                    KINDS[kind](Path(folder) / "board.toml", random.Random(seed))
                    endings["read"] += 1
                except HwsearchError as error:
                    endings[f"refused, exit {error.exit_code}"] += 1
                except Exception as error:
                    endings[type(error).__name__] += 1
                    bad += 1
                    print(f"{kind} {seed}: {type(error).__name__}: {str(error)[:150]}")
            print(f"{kind}: " + ", ".join(f"{number} {ending}" for ending, number in endings.most_common()))
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
