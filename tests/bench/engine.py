"""Speed of the integer engine against torch in float32 (channels-last), and against ONNX Runtime, LiteRT and OpenVINO in int8
(the last where it is installed); one thread, 180x320.

    python tests/bench/engine.py [--seconds 2]

The runs are interleaved, the process's CPU time is taken, and the smallest of all repeats is printed.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "support"), str(Path(__file__).parents[2])]

from random_networks import Deep, Residual, picture, quantize  # noqa: E402

from hwsearch.formats.onnx import write as exported  # noqa: E402
from hwsearch.formats.tflite import litert  # noqa: E402
from hwsearch.quant.engine import integer  # noqa: E402
from searchspaces.ir.graph import execute  # noqa: E402
from searchspaces.networks.cnn.abpn import ABPN  # noqa: E402
from searchspaces.networks.cnn.fsrcnn import FSRCNN  # noqa: E402
from searchspaces.tracing.trace import trace  # noqa: E402


def networks() -> dict[str, tuple[nn.Module, int]]:
    return {
        "FSRCNN(56,12,4) ReLU x2": (FSRCNN(2, 1, 56, 12, 4, "relu"), 1),
        "FSRCNN(56,12,4) PReLU x2": (FSRCNN(2, 1, 56, 12, 4, "prelu"), 1),
        "ABPN x3": (ABPN(3, 4, 28), 3),
        "EDSR body, 64 channels, 2 blocks": (Residual(64, 2), 3),
        "VDSR 64 channels, 4 layers": (Deep(64, 4), 1),
    }


def simulated(network: nn.Module) -> nn.Module:
    """The network as written, with what every layer writes rounded to 8 bits by torch, as tools for quantization simulate
    it. The scales make no difference to the time."""

    def rounded(module: nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
        return torch.fake_quantize_per_tensor_affine(output, 1 / 64, 128, 0, 255)

    copied = copy.deepcopy(network)
    for module in copied.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.ReLU | nn.PReLU):
            module.register_forward_hook(rounded)
    return copied


def smallest_ms(runs: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Interleaved repeats of every run for about ``seconds`` in all; smallest CPU time of each in milliseconds."""
    best = dict.fromkeys(runs, float("inf"))
    for run in runs.values():
        run()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, run in runs.items():
            start = time.process_time()
            run()
            best[name] = min(best[name], (time.process_time() - start) * 1e3)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="time for each network")
    seconds = parser.parse_args().seconds
    torch.set_num_threads(1)
    for title, (module, channels) in networks().items():
        torch.manual_seed(0)
        network = module.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        graph = trace(network, channels, "bench")
        x = picture(graph, 180, 320)
        nhwc = x.contiguous(memory_format=torch.channels_last)
        q, narrow, wide = quantize(graph), quantize(graph, 7), quantize(graph, 8, 16)
        session = exported.session(exported.to_model(q).SerializeToString(), threads=1)
        feed = {"input": x.numpy()}
        xnnpack = litert.open_plan(q)
        formats = q.formats
        others = {"LiteRT (XNNPACK) int8": lambda plan=xnnpack, x=x: plan.run(x)}
        if find_spec("openvino"):
            from hwsearch.formats.onnx import openvino

            compiled = openvino.open_plan(q)
            others["OpenVINO int8"] = lambda plan=compiled, x=x: plan.run(x)
        written = simulated(network)
        with torch.inference_mode():
            ms = smallest_ms(
                {
                    "torch fp32 channels-last": lambda network=network, x=nhwc: network(x),
                    "the same, canonical graph": lambda g=graph, x=nhwc: execute(g, x),
                    "engine, 8 bits": lambda q=q, x=x: integer.run(q, x),
                    "engine, 7-bit weights": lambda q=narrow, x=x: integer.run(q, x),
                    "engine, 16-bit tensors": lambda q=wide, x=x: integer.run(q, x),
                    "torch fake-quantized": lambda written=written, x=nhwc: written(x),
                    "our simulation": lambda g=graph, x=nhwc, f=formats: execute(g, x, lambda n, t: f[n.name].fake(t)),
                    "ONNX Runtime int8": lambda s=session, feed=feed: s.run(None, feed),
                    **others,
                },
                seconds,
            )
        print(title)
        for name, value in ms.items():
            print(f"  {name:27s} {value:8.1f} ms   {ms['torch fp32 channels-last'] / value:5.2f}x")
        print(f"  8 bits: {integer.path(q)}; 7-bit weights: {integer.path(narrow)}")


if __name__ == "__main__":
    main()
