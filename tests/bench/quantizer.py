"""What uniform plans lose on Set5, and what calibration costs: ``OMP_NUM_THREADS=1 python tests/bench/quantizer.py
SHARED_DATA [fsrcnn abpn vdsr shipped]``.

Prints PSNR-Y, its loss against the floating-point network, and CPU seconds, for networks calibrated on other photos.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch

from hwsearch.quality.evaluate import Evaluator
from hwsearch.quant.calibrate import calibrate
from searchspaces.data import pictures
from searchspaces.ir.graph import execute
from searchspaces.networks import registry
from searchspaces.space import build_space
from searchspaces.tasks.image import SuperResolution
from searchspaces.tasks.task import Contract
from searchspaces.tracing.trace import to_workload, trace

NETWORKS = {
    "fsrcnn": ("fsrcnn", 2, "fsrcnn_x2"),
    "abpn": ("abpn", 3, "abpn_m4c28_x3"),
    "vdsr": ("vdsr", 2, "vdsr_y"),
    "shipped": ("fsrcnn", 2, None),
}


def measure(data: Path, title: str) -> None:
    name, scale, file = NETWORKS[title]
    network = registry.load(name, scale, data / "weights" / f"{file}.safetensors" if file else None)
    kind, channels = network.input_kind, network.channels
    graph = trace(network.module, channels, name, 1 if kind == "upsampled" else scale)
    space = build_space(to_workload(graph, 64, 64), (2, 3, 4, 5, 6, 7, 8), (8, 16))
    photos = pictures.load_folder(data / "photos" / "train")[::2]
    crops = [pair.low for pair in pictures.crops(photos, scale, channels, kind, count=32, size=64)]
    set5 = pictures.pairs(pictures.load_folder(data / "Set5"), scale, channels, kind)
    evaluator = Evaluator(lambda x: execute(graph, x), set5, SuperResolution(Contract(scale, channels)))
    begin = time.process_time()
    calibration = calibrate(graph, crops, space)
    print(f"{title}: float {evaluator.float_psnr_db:.3f} dB, calibration {time.process_time() - begin:.1f} CPU s")
    for weight_bits, activation_bits in ((8, 8), (6, 8), (5, 8), (4, 8), (8, 16), (4, 16)):
        plan = space.uniform(weight_bits, activation_bits)
        begin = time.process_time()
        calibration.quantized(plan)
        spent = time.process_time() - begin
        score = evaluator.score(lambda x, plan=plan: calibration.simulate(plan, x))
        print(
            f"  W{weight_bits}A{activation_bits:<2} {score.psnr_db:7.3f} dB, loses {score.psnr_loss_db:6.3f}; {spent:5.1f} CPU s",
            flush=True,
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    for wanted in sys.argv[2:] or list(NETWORKS):
        measure(Path(sys.argv[1]), wanted)
