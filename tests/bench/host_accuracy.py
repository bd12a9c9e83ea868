"""How well a calibrated processor predicts networks that it did not measure, by network, size and precision.

Calibrates this machine (nothing is written), then times built-in networks, none of which the calibration has seen, and compares.
With --use-host the device that `host` means is compared as it is, with --drawn by the networks of ``drawn_networks``. About six
minutes on an idle core, most of them for tracing transformers; two with --drawn. Run:

    python tests/bench/host_accuracy.py [--threads 1] [--rounds 9] [--use-host] [--drawn]
"""

from __future__ import annotations

import argparse
from typing import Any

import drawn_networks
import numpy as np

from hwmodels.device import catalogue
from hwmodels.fitting import constants
from hwsearch.boards import host
from hwsearch.boards.runtime import FP32, INT8, Subject, latencies
from hwsearch.documents.progress import Lines
from searchspaces.ir.graph import Graph
from searchspaces.networks import registry
from searchspaces.tracing.trace import trace

NETWORKS: tuple[tuple[str, int, dict[str, Any]], ...] = (
    ("fsrcnn", 2, {}),
    ("fsrcnn", 3, {"d": 32, "s": 5, "m": 1}),
    ("fsrcnn", 2, {"activation": "prelu"}),
    ("abpn", 3, {}),
    ("ecbsr", 2, {}),
    ("espcn", 2, {}),
    ("edsr", 2, {"n_feats": 16, "n_blocks": 4}),
    ("edsr", 4, {"n_feats": 32, "n_blocks": 4}),
    ("edsr", 2, {"n_feats": 64, "n_blocks": 2}),
    ("vdsr", 2, {}),
    ("imdn", 2, {}),
)
WHOLE = (
    *(("carn_m", 4, 48), ("pan", 4, 48), ("rfdn", 4, 48), ("bsrn", 4, 48), ("srvgg", 4, 48), ("lapsrn", 2, 48), ("etds", 4, 64)),
    *(("swinir", 2, 32), ("swinir", 2, 64), ("mobilesr", 4, 32), ("mobilesr", 4, 64), ("imdtn", 4, 32), ("imdtn", 4, 64)),
    *(("eswt", 4, 32), ("eswt", 4, 48), ("hit_srf", 4, 32), ("ngswin", 2, 32)),
)
"""Further networks with their enlargement and the side of a square input; those from ``swinir`` on are transformers."""
TRANSFORMERS = ("transformer", "swinir", "mobilesr", "imdtn", "eswt", "hit_srf", "ngswin")
SIZES = ((48, 64), (120, 160), (180, 320))
MOST_MACS = 3e9
"""Larger ones are left out: a run of a second is hardly ever undisturbed."""


def graph_of(name: str, scale: int, arguments: dict[str, Any]) -> Graph:
    spec = registry.spec(name)
    channels = spec.channels or int({**spec.arguments, **arguments}["channels"])
    return trace(registry.build(name, scale, **arguments), channels, name)


def subjects() -> list[Subject]:
    found = []
    for name, scale, arguments in NETWORKS:
        graph = graph_of(name, scale, arguments)
        label = f"{name} x{scale} {' '.join(f'{k}={v}' for k, v in arguments.items())}".strip()
        for height, width in SIZES:
            for precision in (FP32, INT8):
                subject = Subject(label, graph, height, width, precision, label)
                if subject.measured(1.0).workload.macs <= MOST_MACS:
                    found.append(subject)
    for name, scale, side in WHOLE:
        spec = registry.spec(name)
        channels = spec.channels or int(spec.arguments["channels"])
        graph = trace(registry.build(name, scale), channels, name, size=(side, side))
        found += [Subject(f"{name} x{scale}", graph, side, side, precision, name) for precision in (FP32, INT8)]
    return found


def drawn() -> list[Subject]:
    """The networks of ``drawn_networks``; the group tells transformers from others."""
    return [
        Subject(graph.name, graph, height, width, precision, "transformer" if is_transformer else graph.name)
        for graph, height, width, is_transformer in drawn_networks.graphs()
        for precision in (FP32, INT8)
    ]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--use-host", action="store_true")
    options.add_argument("--drawn", action="store_true", help="time the networks that were drawn up after the prices")
    given = options.parse_args()
    progress = Lines()
    target = catalogue.load("host")
    if not given.use_host:
        target = host.fit(host.measure(given.threads, progress), given.threads, progress).device
    held_out = drawn() if given.drawn else subjects()
    with progress.stage("held-out networks", len(held_out) * (given.rounds + 1)) as stage:
        seconds = latencies(held_out, given.threads, given.rounds, stage.advance)
    measured = [subject.measured(float(s)) for subject, s in zip(held_out, seconds, strict=True)]
    predicted = constants.predict(target, measured)
    errors = predicted / seconds - 1
    print(f"{'network':34s} {'size':>9s} {'':5s} {'measured':>10s} {'predicted':>10s} {'error':>6s}")
    for subject, s, p, e in zip(held_out, seconds, predicted, errors, strict=True):
        size = f"{subject.height}x{subject.width}"
        print(f"{subject.label:34s} {size:>9s} {subject.precision!s:5s} {1e3 * s:7.2f} ms {1e3 * p:7.2f} ms {100 * e:+5.0f} %")
    for kind, transformer in (("convolutional", False), ("transformers", True)):
        own = [(s, abs(e)) for s, e in zip(held_out, errors, strict=True) if (s.group in TRANSFORMERS) == transformer]
        for precision in (FP32, INT8):
            mine = [e for subject, e in own if subject.precision == precision]
            print(
                f"{kind}, {precision!s}: median error {100 * np.median(mine):.1f} %, 90th percentile "
                f"{100 * np.quantile(mine, 0.9):.1f} %, of {len(mine)}"
            )
    print(f"both: median error {100 * np.median(np.abs(errors)):.1f} % over {len(errors)} timings")


if __name__ == "__main__":
    main()
