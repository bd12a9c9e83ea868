"""Train the small networks that the package ships: ``python -m searchspaces.training.train --help``.

Any folders of pictures do (see ``training.patches``). Adam, one cosine decay, Charbonnier loss and then squared error for the
last fifth (PSNR is squared error), and an exponential moving average of the weights is what is saved.

``--expand`` trains each kernel as a sum ``W0 + P K`` with K a wider bank of kernels and P a 1x1 convolution after it, collapsed
before every forward pass (the idea of SESR's collapsible blocks: Bhardwaj et al., MLSys 2022): the same network, easier to
optimise.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils import parametrize

from searchspaces.data.bicubic import imresize
from searchspaces.data.luma import BT601_LUMA, luma
from searchspaces.networks.cnn.abpn import ABPN
from searchspaces.networks.cnn.fsrcnn import FSRCNN
from searchspaces.tasks.metrics import psnr_y
from searchspaces.training.patches import PatchSampler, picture_pairs

LUMA = torch.from_numpy(BT601_LUMA).float().view(1, 3, 1, 1) / 219
NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "fsrcnn": lambda scale: FSRCNN(scale=scale, channels=1, activation="relu"),
    "abpn": lambda scale: ABPN(scale=scale),
}


class Expansion(nn.Module):
    """Kernel ``W0 [O, I, k, k]`` plus the collapse of a wider bank: ``W0 + sum_m P[o, m] K[m]``. Starts as ``W0`` alone."""

    def __init__(self, shape: torch.Size, width: int) -> None:
        super().__init__()
        fan_in = shape[1] * shape[2] * shape[3]
        self.bank = nn.Parameter(torch.randn(width, *shape[1:]) / fan_in**0.5)
        self.mix = nn.Parameter(torch.zeros(shape[0], width))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + torch.einsum("om,mikl->oikl", self.mix, self.bank)


def collapsed(network: nn.Module) -> dict[str, Tensor]:
    """The plain state dict of a network whose kernels may be expanded."""
    plain = {}
    for name, module in network.named_modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.PReLU)):
            plain[f"{name}.weight"] = module.weight.detach()
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) and module.bias is not None:
                plain[f"{name}.bias"] = module.bias.detach()
    return plain


def test_psnr(network: nn.Module, folder: Path, scale: int, channels: int) -> float:
    """Mean PSNR-Y over a folder of pictures by the protocol of the literature (see ``metrics``)."""
    scores = []
    for path in sorted(folder.glob("*.png")):
        high = np.asarray(Image.open(path).convert("RGB"))
        high = high[: high.shape[0] // scale * scale, : high.shape[1] // scale * scale]
        if channels == 1:
            high = np.rint(luma(high))[..., None]
        low = imresize(high, 1 / scale)
        x = torch.from_numpy(np.ascontiguousarray(low)).float().div(255).permute(2, 0, 1)[None]
        with torch.no_grad():
            y = network(x).clamp(0, 1).mul(255).round()[0].permute(1, 2, 0).numpy()
        scores.append(psnr_y(y.squeeze(-1) if channels == 1 else y, high.squeeze(-1) if channels == 1 else high, scale))
    return float(np.mean(scores))


def samples(arguments: argparse.Namespace, channels: int) -> PatchSampler:
    """Patches of the pictures that the command line names."""
    started = time.monotonic()
    pairs = picture_pairs(
        arguments.images,
        scale=arguments.scale,
        channels=channels,
        long_sides=arguments.long_sides,
        drawings=arguments.drawings,
        seed=arguments.seed,
    )
    sampler = PatchSampler(
        pairs,
        scale=arguments.scale,
        patch=arguments.patch,
        seed=arguments.seed,
        candidates=arguments.candidates,
        area_power=arguments.area_power,
    )
    print(f"{len(sampler.pairs)} picture pairs read in {time.monotonic() - started:.0f} s", flush=True)
    return sampler


def expand(network: nn.Module, width: int) -> None:
    """Train every kernel as a sum with a bank of ``width`` kernels (see ``Expansion``)."""
    for module in [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]:
        parametrize.register_parametrization(module, "weight", Expansion(module.weight.shape, width))


def rate(step: int, steps: int) -> float:
    """Learning rate over its largest: up over the first hundredth of the steps, then down to 0.005 by half a cosine."""
    warmup = max(1, steps // 100)
    return float(min(1.0, (step + 1) / warmup) * (0.005 + 0.995 * 0.5 * (1 + np.cos(np.pi * step / steps))))


def loss_of(error: Tensor, step: int, arguments: argparse.Namespace) -> Tensor:
    """Charbonnier's loss, and squared error towards the end; ``error``: ``[N, C, h, w]`` of values in 0..1."""
    if error.shape[1] == 3 and arguments.chroma < 1:
        error = torch.cat([error * arguments.chroma, (error * LUMA).sum(dim=1, keepdim=True)], dim=1)
    if step < arguments.squared_from * arguments.steps:
        return torch.sqrt(error**2 + 1e-6).mean()
    return (error**2).mean() * 50


def follow(average: nn.Module, network: nn.Module, step: int) -> None:
    """Let the exponential moving average take in what the network is now."""
    decay = min(0.999, (step + 1) / (step + 10))
    with torch.no_grad():
        values = collapsed(network)
        for name, mean in average.named_parameters():
            mean.lerp_(values[name], 1 - decay)


def blended(average: nn.Module, earlier: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """What is saved. An average with an earlier stage generalises better than the last stage alone (Wortsman et al., CVPR
    2022)."""
    state = {key: value.contiguous() for key, value in average.state_dict().items()}
    return {key: value.lerp(earlier.get(key, value), share) for key, value in state.items()}


RECORDED = (
    "network", "scale", "seed", "steps", "batch", "patch", "rate", "expand", "long_sides", "candidates", "area_power", "chroma",
    "drawings", "squared_from", "blend",
)  # fmt: skip
"""Options that the provenance of weights tells."""


def train(arguments: argparse.Namespace) -> None:
    """Train a network as the command line says, and save it at every report."""
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    network = NETWORKS[arguments.network](arguments.scale)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs know neither the format nor attributes of networks
    channels = int(network.channels)  # type: ignore[arg-type]  # torch's stubs know neither the format nor attributes of networks
    sampler = samples(arguments, channels)
    history, earlier = [], load_file(arguments.blend_with) if arguments.blend_with else {}
    if arguments.start is not None:
        network.load_state_dict(load_file(arguments.start))
        with safe_open(arguments.start, "pt") as file:
            history = [json.loads(file.metadata()["provenance"])]
    average = copy.deepcopy(network)
    if arguments.expand:
        expand(network, arguments.expand)
    optimiser = torch.optim.Adam(network.parameters(), lr=arguments.rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, partial(rate, steps=arguments.steps))
    provenance = {"script": "python -m searchspaces.training.train", **{name: getattr(arguments, name) for name in RECORDED}}
    provenance |= {"earlier_stages": history, "pictures": arguments.about}
    started = time.monotonic()
    for step in range(1, arguments.steps + 1):
        low, high = sampler.batch(arguments.batch)
        loss = loss_of(network(low) - high, step, arguments)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        slope = nn.utils.clip_grad_norm_(network.parameters(), 0.5)
        if not bool(loss.isfinite() and slope.isfinite()):
            raise SystemExit(
                f"step {step}: the loss is {float(loss.detach()):g} and its derivative {float(slope):g}, so the training stops. "
                f"{arguments.out} holds the weights of the last report before, if there was one. Take a lower --rate."
            )
        optimiser.step()
        schedule.step()
        follow(average, network, step)
        if step % arguments.every == 0 or step == arguments.steps:
            report = {"step": step, "loss": float(loss.detach()), "minutes": round((time.monotonic() - started) / 60, 1)}
            state = blended(average, earlier, arguments.blend)
            if arguments.test is not None:
                shown = copy.deepcopy(average)
                shown.load_state_dict(state)
                report["test_psnr_y_db"] = round(test_psnr(shown, arguments.test, arguments.scale, channels), 3)
                provenance["test_psnr_y_db"] = report["test_psnr_y_db"]
                provenance["test_set"] = arguments.test.name
            print(json.dumps(report), flush=True)
            save_file(state, arguments.out, metadata={"provenance": json.dumps(provenance | {"step": step})})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=sorted(NETWORKS), required=True)
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument(
        "--images", type=Path, nargs="+", required=True, help="folders of training pictures, searched recursively"
    )
    parser.add_argument("--about", default="", help="where the pictures come from; written into the provenance")
    parser.add_argument("--test", type=Path, help="folder of HR pictures (PNG) for the PSNR printed on the way")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--steps", type=int, default=40_000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--patch", type=int, default=32, help="side of the low-resolution patch in pixels")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--expand", type=int, default=0, help="kernels in the bank that overparameterises each layer; 0: none")
    parser.add_argument(
        "--long-sides", type=int, nargs="+", default=[1400, 1000, 700, 480, 340], help="sizes of the shrunk pictures"
    )
    parser.add_argument("--drawings", type=int, default=0, help="made-up pictures of sharp edges among the photos")
    parser.add_argument(
        "--squared-from",
        type=float,
        default=0.8,
        help="share of the steps after which the loss is squared error instead of Charbonnier",
    )
    parser.add_argument("--candidates", type=int, default=3, help="random patches of which the one with most detail is used")
    parser.add_argument(
        "--area-power", type=float, default=0.5, help="a picture is drawn in proportion to its area to this power"
    )
    parser.add_argument(
        "--chroma",
        type=float,
        default=0.25,
        help="weight of the RGB error beside the luma error (RGB networks); 1: RGB error alone",
    )
    parser.add_argument("--blend-with", type=Path, help="weights of an earlier stage that are averaged into what is saved")
    parser.add_argument("--blend", type=float, default=0.0, help="share of the earlier stage in that average")
    parser.add_argument("--start", type=Path, help="weights to start from (an earlier stage)")
    parser.add_argument("--every", type=int, default=1000, help="steps between two reports")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    train(parser.parse_args())


if __name__ == "__main__":
    main()
