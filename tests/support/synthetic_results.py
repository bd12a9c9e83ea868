"""A made-up but consistent run for tests of the report: FSRCNN-like layers, 400 points, five chosen plans."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hwsearch.documents.plan import Measured, Plan, Predicted, Provenance
from hwsearch.documents.results import DeviceFacts, Fact, LayerRow, Point, ProxyCheck, Reference, Results, ScheduleStep
from hwsearch.report.crops import save_crops

LAYERS = ("head", "shrink", "map.0", "map.1", "map.2", "map.3", "expand", "tail")
COUNTS = (1400, 672, 1296, 1296, 1296, 1296, 672, 4536)
GROUPS = ("input", *LAYERS[:-1], "output")
AREA = 480 * 270
CHANNELS = (1, 56, 12, 12, 12, 12, 12, 56, 4)


def plan(name: str, weight_bits: list[int], activation_bits: list[int], loss_db: float, measured: bool) -> Plan:
    """A plan whose costs follow from its widths."""
    weight_bytes = sum(c * b for c, b in zip(COUNTS, weight_bits, strict=True)) // 8 + 600
    return Plan(
        name=name,
        network="fsrcnn",
        scale=2,
        target="board",
        input_height=270,
        input_width=480,
        scope="all",
        weight_bits=dict(zip(LAYERS, weight_bits, strict=True)),
        activation_bits=dict(zip(GROUPS, activation_bits, strict=True)),
        predicted=Predicted(
            loss_db=loss_db,
            latency_s=2e-3 + 1e-3 * sum(activation_bits) / 32,
            weight_bytes=weight_bytes,
            peak_activation_bytes=AREA * 68 * max(activation_bits) // 8,
            energy_j=4e-3 * sum(weight_bits) / 64,
        ),
        measured=Measured(
            quality_db=36.72 - loss_db * 1.1,
            loss_db=loss_db * 1.1,
            second=0.9561,
            runtime="ONNX Runtime 1.31",
            mismatched_codes=0,
            codes=1_572_864,
        )
        if measured
        else None,
        provenance=Provenance(
            created="2026-01-02T03:04:05+00:00",
            seed=7,
            weights_sha256="ab" * 32,
            device_sha256="cd" * 32,
            calibration=["coffee"],
            versions={"hwsearch": "0.1.0"},
            origin="exact",
        ),
    )


FRONT = [
    plan("plan-01", [4] * 8, [8] * 9, 0.412, True),
    plan("plan-02", [6, 4, 4, 4, 4, 4, 4, 6], [8] * 9, 0.221, False),
    plan("plan-03", [8, 6, 6, 6, 6, 6, 6, 8], [8] * 9, 0.118, True),
    plan("plan-04", [8] * 8, [8] * 8 + [16], 0.061, True),
    plan("plan-05", [8] * 8, [8, 16, 8, 8, 8, 8, 8, 16, 8], 0.021, False),
    plan("plan-06", [8] * 8, [16] * 9, 0.004, True),
]
CHOSEN = {"knee": "plan-04", "best quality": "plan-06", "fastest": "plan-01", "smallest": "plan-01", "budget": "plan-03"}


def layer_rows(of: Plan) -> list[LayerRow]:
    """Rows in which every term binds somewhere."""
    rows = []
    activations = list(of.activation_bits.values())
    for i, (name, bits) in enumerate(of.weight_bits.items()):
        compute, traffic = COUNTS[i] * AREA / 2e12, AREA * (CHANNELS[i] + CHANNELS[i + 1]) * activations[i] / 8 / 60e9
        weights, overhead = COUNTS[i] * bits / 8 / 60e9, 20e-6
        rows.append(
            LayerRow(
                name=name,
                op="conv",
                macs=COUNTS[i] * AREA,
                weight_bits=bits,
                input_bits=activations[i],
                output_bits=activations[i + 1],
                runs_as="W8A8" if activations[i] == 8 else "W16A16",
                stored_as=f"{bits}-bit packed" if bits < 8 else f"int{bits}",
                compute_s=compute,
                weight_s=weights,
                activation_s=traffic,
                overhead_s=overhead,
                latency_s=max(compute, traffic + weights) + overhead,
                weight_bytes=COUNTS[i] * bits // 8,
                binds="compute" if compute > traffic + weights else "activations",
            )
        )
    return rows


def schedule(of: Plan) -> list[ScheduleStep]:
    """Input and output of each layer are alive while it runs."""
    widths = list(of.activation_bits.values())
    size = [AREA * c * b // 8 for c, b in zip(CHANNELS, widths, strict=True)]
    return [
        ScheduleStep(layer=name, live_bytes={GROUPS[i]: size[i], GROUPS[i + 1]: size[i + 1]}) for i, name in enumerate(LAYERS)
    ]


def points(rng: np.random.Generator) -> list[Point]:
    """Random plans above the front, the front itself, and uniform widths."""
    found = []
    for _ in range(400):
        weight_bits, activation_bits = rng.choice([2, 3, 4, 6, 8], 8), rng.choice([8, 16], 9)
        loss = 0.02 + float(np.sum(4.0 ** (4 - weight_bits.astype(float)))) * 0.12 * rng.lognormal(0, 0.3)
        made = plan("point", [int(b) for b in weight_bits], [int(b) for b in activation_bits], loss, False)
        found.append(Point(**made.predicted.model_dump(), origin="probe"))
    found += [Point(**p.predicted.model_dump(), origin="front", on_front=True, plan=p.name) for p in FRONT]
    for bits, loss in ((8, 0.13), (4, 0.95)):
        made = plan("point", [bits] * 8, [8] * 9, loss, False)
        found.append(Point(**made.predicted.model_dump(), origin=f"uniform W{bits}A8"))
    return found


def results(run_dir: Path, seed: int = 0) -> Results:
    """A whole run; its picture details are written to ``run_dir``."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[0:120, 0:160]
    high = np.clip(127 + 90 * np.sin(xx**2 / 300 + yy / 9) + rng.normal(0, 6, (120, 160)), 0, 255)
    soft = (high + np.roll(high, 1, 0) + np.roll(high, 1, 1)) / 3
    crops = [
        save_crops(
            run_dir, name, high, soft, 0.8 * high + 0.2 * soft, 0.8 * high + 0.2 * soft + rng.normal(0, 1.5, high.shape), 2,
            plan_name="plan-03",
        )
        for name in ("wine", "harbour")
    ]  # fmt: skip
    measured = rng.lognormal(-0.5, 1.2, 200)
    proxies = [
        ProxyCheck(
            name=name,
            spearman=rank,
            seconds=3.2,
            predicted_db=list(measured * rng.lognormal(shift, spread, 200)),
            simulated_db=list(measured),
        )
        for name, rank, shift, spread in (
            ("noise_gain", 0.981, 0.1, 0.15),
            ("gradient", 0.874, -0.4, 0.6),
            ("output_sqnr", 0.99, 0, 0.1),
        )
    ]
    chosen = [p for p in FRONT if p.name in CHOSEN.values()]
    return Results(
        target="board",
        network="fsrcnn",
        scale=2,
        input_height=270,
        input_width=480,
        macs=sum(COUNTS) * AREA,
        parameters=12_637,
        space_size=5.0**8 * 2.0**9,
        scope="all",
        reference=Reference(
            quality_db=36.72, second=0.9568, baseline_db=33.66, weight_bytes=50_548, latency_s=8.1e-3, precision="FP16"
        ),
        device=DeviceFacts(
            name="board",
            title="Example Board",
            kind="gpu",
            runtime="ExampleRT 10",
            hypothetical=False,
            facts=[
                Fact(
                    key="rates.W8A8",
                    value="10.0 TMAC/s",
                    source="Example Board datasheet, table 4, https://example.org/board.pdf",
                ),
                Fact(key="memory.dram.bandwidth", value="68.0 GB/s", source="Example Board datasheet, table 2"),
                Fact(key="overhead.layer", value="20.0 µs", source=None, note="typical of this class of runtime"),
            ],
            assumptions=["overhead.layer: 20.0 µs"],
        ),
        uncounted=[],
        notes=["Latency, memory and energy are predictions of a cost model; quality is measured."],
        front=FRONT,
        chosen=CHOSEN,
        points=points(rng),
        proxies=proxies,
        layers={p.name: layer_rows(p) for p in chosen},
        schedule={p.name: schedule(p) for p in chosen},
        crops=crops,
        pictures={"calibration": ["coffee"], "search": ["friends"], "evaluation": ["wine", "harbour"]},
        budgets={"latency": 6e-3},
        limits={"peak_activation_bytes": 16e6},
        command="hwsearch optimize --target board --budget latency=6ms --seed 7",
        seed=7,
        evaluations=408,
        wall_s=71.4,
        stages_s={"calibrate": 9.1, "proxies": 21.0, "search": 30.2, "prove": 8.0, "report": 2.1},
        versions={"hwsearch": "0.1.0", "python": "3.11", "torch": "2.13.0"},
        created="2026-01-02T03:04:05+00:00",
    )
