"""Other tools on the network, weights, pictures and judge of ``peers``: what its table sets beside our plans.

    pip install model-compression-toolkit torchvision       # or aimet-torch, or nvidia-modelopt
    OMP_NUM_THREADS=1 python tests/bench/other_tools.py DATA mct:6 mct-minmax:4 mct-default:6 mct-psnr:6 ... --network vdsr_y_x2

``TOOL:BITS`` names a setting and its mean weight bits; tensors have 8 bits. Prints one line of JSON for each: dB on Set5, mean
bits, and seconds of processor time without the evaluation. Settings:

    mct              one width, the tool's ranges of least error
    mct-minmax       one width, ranges from least to greatest
    mct-default      widths 2 to 8 mixed by its own metric
    mct-psnr         mixed by a metric against the originals of the crops that rank our plans; mct-psnr-minmax: the other ranges
    aimet            one width
    modelopt         one width
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "support"), str(Path(__file__).parents[2])]

from bench.peers import SEARCH_CROPS, SUBJECTS, Protocol, protocol  # noqa: E402

from searchspaces.tasks.metrics import mse_y  # noqa: E402

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
WIDTHS = (8, 7, 6, 5, 4, 3, 2)


@dataclass(frozen=True, eq=False)
class Quantized:
    """What a tool made: a model, and the weight bits of its convolutions in order."""

    forward: Callable[[Tensor], Tensor]
    bits: list[int]


def mct(same: Protocol, bits: float, mixed: str | None, minmax: bool) -> Quantized:
    """Sony's Model Compression Toolkit: the widths of its imx500 platform replaced, activations affine instead of power of two.

    Args:
        mixed: None, "default" or "psnr", the metric by which widths are mixed.
    """
    import model_compression_toolkit as tool
    from mct_quantizers import PytorchQuantizationWrapper, QuantizationMethod
    from model_compression_toolkit.core import QuantizationErrorMethod
    from model_compression_toolkit.target_platform_capabilities.constants import KERNEL_ATTR, WEIGHTS_N_BITS
    from model_compression_toolkit.target_platform_capabilities.tpc_models.imx500_tpc.v1_0 import tpc

    first, _, last = tpc.get_op_quantization_configs()
    base, default = (one.clone_and_edit(activation_quantization_method=QuantizationMethod.UNIFORM) for one in (first, last))
    offered = [
        base.clone_and_edit(attr_to_edit={KERNEL_ATTR: {WEIGHTS_N_BITS: width}}) for width in (WIDTHS if mixed else (int(bits),))
    ]
    platform = tpc.generate_tpc(
        default_config=default, base_config=offered[0], mixed_precision_cfg_list=offered, name="imx500_tpc"
    )

    def lows() -> Iterator[list[np.ndarray]]:
        for crop in same.crops:
            yield [crop.low.numpy()]

    def error(model: nn.Module) -> float:
        """MSE against the originals, which ranks as PSNR does."""
        total = 0.0
        with torch.no_grad():
            for crop in same.crops[:SEARCH_CROPS]:
                out = model(crop.low)
                while isinstance(out, list | tuple):
                    out = out[-1]
                total += mse_y(_picture(out), crop.high, same.judge.scale)
        return total / SEARCH_CROPS

    core = tool.core
    method = QuantizationErrorMethod.NOCLIPPING if minmax else QuantizationErrorMethod.MSE
    ranges = core.QuantizationConfig(activation_error_method=method, weights_error_method=method)
    options: dict[str, Any] = {}
    metric = None
    if mixed:
        metric = core.MixedPrecisionQuantizationConfig(
            num_of_images=SEARCH_CROPS, custom_metric_fn=error if mixed == "psnr" else None
        )
        weights = sum(_counts(same))
        options["target_resource_utilization"] = core.ResourceUtilization(weights_memory=weights * bits / 8)
    found, _ = tool.ptq.pytorch_post_training_quantization(
        same.network.module,
        lows,
        core_config=core.CoreConfig(quantization_config=ranges, mixed_precision_config=metric),
        target_platform_capabilities=platform,
        **options,
    )
    wrapped = [module for module in found.modules() if isinstance(module, PytorchQuantizationWrapper)]
    return Quantized(found, [next(iter(module.weights_quantizers.values())).num_bits for module in wrapped])


def aimet(same: Protocol, bits: float) -> Quantized:
    """Qualcomm's AIMET: ranges from least to greatest."""
    from aimet_torch.nn.modules import custom
    from aimet_torch.quantsim import QuantizationSimModel

    model = _Modules(same.network.module, custom.Add()).eval()
    lows = [crop.low for crop in same.crops]

    def calibrate(quantized: nn.Module, _: object) -> None:
        with torch.no_grad():
            for low in lows:
                quantized(low)

    with torch.no_grad():
        made = QuantizationSimModel(model, lows[0], quant_scheme="tf", default_output_bw=8, default_param_bw=int(bits))
        made.compute_encodings(calibrate, None)
    return Quantized(made.model, [int(bits)] * len(_counts(same)))


def modelopt(same: Protocol, bits: float) -> Quantized:
    """NVIDIA's Model Optimizer: weights and inputs of convolutions, ranges to the greatest magnitude."""
    import modelopt.torch.quantization as tool

    form = {
        "quant_cfg": [
            {"quantizer_name": "*", "enable": False},
            {"quantizer_name": "*weight_quantizer", "cfg": {"num_bits": int(bits), "axis": 0}},
            {"quantizer_name": "*input_quantizer", "cfg": {"num_bits": 8, "axis": None}},
        ],
        "algorithm": "max",
    }

    def calibrate(quantized: nn.Module) -> None:
        with torch.no_grad():
            for crop in same.crops:
                quantized(crop.low)

    found = tool.quantize(copy.deepcopy(same.network.module), form, calibrate)
    convs = [module for module in found.modules() if isinstance(module, CONVOLUTIONS)]
    return Quantized(found, [conv.weight_quantizer.num_bits for conv in convs])


SETTINGS: dict[str, Callable[[Protocol, float], Quantized]] = {
    "mct": lambda same, bits: mct(same, bits, None, minmax=False),
    "mct-minmax": lambda same, bits: mct(same, bits, None, minmax=True),
    "mct-default": lambda same, bits: mct(same, bits, "default", minmax=False),
    "mct-psnr": lambda same, bits: mct(same, bits, "psnr", minmax=False),
    "mct-psnr-minmax": lambda same, bits: mct(same, bits, "psnr", minmax=True),
    "aimet": aimet,
    "modelopt": modelopt,
}


class _Modules(nn.Module):
    """VDSR with a module for each operation, as AIMET asks for: it does not see functions."""

    def __init__(self, source: Any, add: nn.Module) -> None:
        super().__init__()
        self.convs = copy.deepcopy(source.convs)
        self.relus = nn.ModuleList(nn.ReLU() for _ in self.convs[:-1])
        self.add = add

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for conv, relu in zip(self.convs, self.relus, strict=False):
            y = relu(conv(y))
        return self.add(x, self.convs[-1](y))  # type: ignore[no-any-return]


def _counts(same: Protocol) -> list[int]:
    """Weights of every convolution."""
    return [module.weight.numel() for module in same.network.module.modules() if isinstance(module, CONVOLUTIONS)]


def _picture(out: Tensor) -> np.ndarray:
    """``[1, C, H, W]`` in 0..1 as a picture in 0..255, not rounded."""
    planes = out[0].double().numpy() * 255
    return planes[0] if len(planes) == 1 else planes.transpose(1, 2, 0)  # type: ignore[no-any-return]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with Set5, B100 and weights")
    parser.add_argument("settings", nargs="+", metavar="TOOL:BITS", help=", ".join(SETTINGS))
    parser.add_argument("--network", choices=list(SUBJECTS), default="vdsr_y_x2", help="AIMET takes VDSR only")
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    same = protocol(wanted.data, SUBJECTS[wanted.network])
    counts = _counts(same)
    for setting in wanted.settings:
        name, bits = setting.split(":")
        begin = time.process_time()
        made = SETTINGS[name](same, float(bits))
        seconds = time.process_time() - begin
        with torch.no_grad():
            score = same.judge.score(made.forward)
        mean = sum(width * count for width, count in zip(made.bits, counts, strict=True)) / sum(counts)
        row = {
            "setting": setting,
            "mean_bits": round(mean, 3),
            "quality_db": round(score.quality_db, 3),
            "seconds": round(seconds),
        }
        print(json.dumps({**row, "weight_bits": made.bits}), flush=True)


if __name__ == "__main__":
    main()
