"""Are weights and tensors 2 to 4 times smaller at a loss below 0.3 dB, and than what? A table for the four networks of the claim.

    python tests/bench/snr_claim.py FOLDER --networks fsrcnn_x2 lapsrn_y_x2 resnet18 [--vgg16 FILE.onnx] [--into reports]

"SNR-driven mixed precision" promises that for VGG-16, ResNet-18, FSRCNN and LapSRN, and does not say whether 32 or 8 bits are
what it compares with. Here published rules of allocation, and the exact solver at the cost of each, get the loss for a budget
(``hwsearch allocators compare``); bits are counted over all weights and all stored tensors, against both. The plans run in
integers on pictures that nothing else saw. What is measured is kept in ``INTO/snr_claim``, and the page written from all that is
there: without ``--networks`` it is only written anew.

Classifiers have no PSNR. Theirs is the signal-to-quantization-noise ratio of the output, for which the claim names no bound:
``SQNR_DB`` is ours. Weights of ResNet-18 are random where no file is given, with statistics of normalization taken on the photos
that ship, because no published ones are at hand: their rows say what rounding does to such a network, and nothing of a trained
one's accuracy.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from hwmodels.counting import FLOAT_BITS
from hwsearch.documents import files
from hwsearch.documents.comparisons import Allocated, AllocatorComparison
from hwsearch.plans import compare_allocators
from hwsearch.problem.request import Request
from searchspaces.networks.classifier import IMAGENET
from searchspaces.networks.classifier.resnet import ResNet18
from searchspaces.tasks.classifier import FLOOR, Classifier
from searchspaces.tasks.task import Signature

TARGET = "bitserial-npu"
"""It offers 2 to 8 bits for weights and 4, 6, 8 and 16 for tensors: no product offers as many."""
PSNR_DB = 0.3
SQNR_DB = 20.0
"""What a classifier's output is to keep: noise of a hundredth of its power."""
RULES = ("snr_threshold", "snr_greedy", "water_filling")
SEED = 0
PUBLISHED = {"fsrcnn_x2": ("fsrcnn", 2), "lapsrn_y_x2": ("lapsrn", 2)}
ROUNDED = ("mse",)
"""How weights of classifiers are rounded: millions of them, to the nearest, between ends of least squared error."""
CLASSIFIERS = ("resnet18", "vgg16")


def request(name: str, folder: Path, vgg16: Path | None, scratch: Path) -> Request:
    """What is measured for a network of the claim."""
    if name in PUBLISHED:
        network, scale = PUBLISHED[name]
        return Request(
            network=network,
            scale=scale,
            weights=folder / "weights" / f"{name}.safetensors",
            images=folder / "photos" / "train",
            target=TARGET,
            input_size=(96, 96),
            budgets={"loss": PSNR_DB},
            seed=SEED,
        )
    budgets = {"loss": most_lost_db()}
    if name == "vgg16":
        if vgg16 is None:
            raise SystemExit("vgg16 needs a file: --vgg16 FILE.onnx")
        return Request(model=str(vgg16), task=Classifier.name, target=TARGET, budgets=budgets, seed=SEED, methods=ROUNDED)
    weights = scratch / "resnet18.safetensors"
    save_file(random_resnet18().state_dict(), weights)
    return Request(network=name, weights=weights, target=TARGET, budgets=budgets, seed=SEED, methods=ROUNDED)


def most_lost_db() -> float:
    """What an output of ``SQNR_DB`` loses against an identical one, which counts as noise of ``FLOOR``."""
    return 10 * torch.tensor(1 / FLOOR).log10().item() - SQNR_DB


def random_resnet18() -> nn.Module:
    """ResNet-18 as PyTorch begins it, with mean and deviation of each normalization as shipped photos give them."""
    torch.manual_seed(SEED)
    module = ResNet18()
    task = Classifier(Signature(1, 3))
    mean, deviation = (torch.tensor([*map(float, part.split(","))]).view(1, 3, 1, 1) for part in IMAGENET.split("/"))
    samples = task.samples(None, SEED, lambda x: torch.zeros(1, 1)).calibration
    module.train()
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.momentum = None  # the plain mean over what it is shown
    with torch.no_grad():
        module((torch.cat([sample.low for sample in samples]) - mean) / deviation)
    return module.eval()


def page(comparisons: Sequence[AllocatorComparison]) -> str:
    """The page, as Markdown."""
    lines = ["# Weights and tensors 2 to 4 times smaller, under 0.3 dB?", "", *INTRODUCTION]
    names = ("network", "plan", "weight bits", "tensor bits", "than fp32: weights", "tensors", "than int8: weights", "tensors")
    rows = [row for found in comparisons for row in _rows(found)]
    lines += ["", "| " + " | ".join([*names, "loss or SQNR, dB", "second figure"]) + " |", "|---" * (len(names) + 2) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    lines += ["", "## Where the claim holds", ""]
    lines += [f"- {line}" for found in comparisons for line in _verdict(found)]
    lines += ["", "## What was measured on", ""]
    for found in comparisons:
        of = f"{len(found.pictures)} pictures, seed {found.seed}, weights {found.weights_sha256[:12]}"
        lines.append(f"- {_named(found)}: {of}; {ORIGIN[_key(found)]}.")
    if left := [name for name in ORIGIN if name not in map(_key, comparisons)]:
        lines.append(f"- Not measured: {', '.join(left)}.")
    return "\n".join(lines) + "\n"


INTRODUCTION = (
    'Written by `tests/bench/snr_claim.py` from what it measured. The claim ("SNR-driven mixed precision", known from a press '
    "notice alone) does not say what it compares with. Bits are means over all weights and over all stored tensors, by elements; "
    "32 and 8 bits over them are told beside each other. The budget was, in simulation on other pictures, "
    f"{PSNR_DB:g} dB of PSNR, or {SQNR_DB:g} dB of SQNR at a classifier's output. What is told is of integers, with 95 % "
    "intervals over pictures; the second figure is SSIM, or how often the largest output has the place that it has in floating "
    "point. Weights of classifiers are rounded to the nearest (method `mse`), the others by the usual method, none is trained.",
)
ORIGIN = {
    "fsrcnn": "published weights",
    "lapsrn": "published weights",
    "resnet18": "random weights, normalization as the shipped photos give it: nothing is said of a trained one's accuracy",
    "vgg16": "the weights of the file that was given, on photos that it may not have been trained for",
}


def _key(found: AllocatorComparison) -> str:
    return next((name for name in ORIGIN if name in found.network.lower()), found.network)


def _named(found: AllocatorComparison) -> str:
    return f"{_key(found)} x{found.scale}" if found.scale > 1 else _key(found)


def _plans(found: AllocatorComparison) -> Iterator[tuple[str, Allocated]]:
    if found.eight_bits is not None:
        yield "W8A8", found.eight_bits
    for row in found.rows:
        yield row.allocator, row.rule
        yield f"exact, at the cost of {row.allocator}" + ("" if row.tie else f" ({row.gain_db:+.2f} dB)"), row.exact


def _quality(found: AllocatorComparison, plan: Allocated) -> tuple[float, str]:
    """Loss, or SQNR, in dB, and as it is written."""
    if _key(found) in CLASSIFIERS:
        return found.float_db - plan.loss_db, f"{found.float_db - plan.loss_db:.1f} ± {plan.half_db:.1f}"
    return plan.loss_db, f"{plan.loss_db:.3f} ± {plan.half_db:.3f}"


def _rows(found: AllocatorComparison) -> Iterator[tuple[str, ...]]:
    for name, plan in _plans(found):
        second = f"{plan.second:.0f} %" if _key(found) in CLASSIFIERS else f"{plan.second:.4f} ({found.float_second:.4f} float)"
        yield (
            _named(found),
            name,
            f"{plan.mean_weight_bits:.2f}",
            f"{plan.mean_tensor_bits:.2f}",
            f"{plan.weights_than_fp32:.2f}x",
            f"{plan.tensors_than_fp32:.2f}x",
            f"{plan.weights_than_int8:.2f}x",
            f"{plan.tensors_than_int8:.2f}x",
            _quality(found, plan)[1],
            second,
        )


def _verdict(found: AllocatorComparison) -> Iterator[str]:
    """Whether any plan within the budget, in integers, makes both weights and tensors at least twice as small."""
    within = [(name, plan) for name, plan in _plans(found) if _within(found, plan)]
    if not within:
        yield f"{_named(found)}: no plan of these is within the budget in integers."
        return
    for bits, what in ((FLOAT_BITS, "fp32"), (compare_allocators.BYTE, "int8")):
        name, plan = max(within, key=lambda one: min(bits / one[1].mean_weight_bits, bits / one[1].mean_tensor_bits))
        both = (bits / plan.mean_weight_bits, bits / plan.mean_tensor_bits)
        holds = "holds" if min(both) >= 2 else "does not hold"
        yield (
            f"{_named(found)}, against {what}: {holds}; of the plans within the budget the one whose larger part is smallest "
            f"({name}) has weights {both[0]:.2f} and tensors {both[1]:.2f} times smaller, {_quality(found, plan)[1]} dB."
        )


def _within(found: AllocatorComparison, plan: Allocated) -> bool:
    quality = _quality(found, plan)[0]
    return quality >= SQNR_DB if _key(found) in CLASSIFIERS else quality <= PSNR_DB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds weights/ and photos/train")
    parser.add_argument("--networks", nargs="*", default=[], choices=[*PUBLISHED, *CLASSIFIERS])
    parser.add_argument("--vgg16", type=Path, help="a trained VGG-16 as ONNX")
    parser.add_argument("--into", type=Path, default=Path("reports"))
    asked = parser.parse_args()
    kept = asked.into / "snr_claim"
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for name in asked.networks:
            found = compare_allocators.compare(request(name, asked.folder, asked.vgg16, Path(scratch)), RULES)
            files.write_json(kept / f"{name}.json", found)
            print(f"{name}: measured", flush=True)
    found_all = [AllocatorComparison.model_validate_json(path.read_text()) for path in sorted(kept.glob("*.json"))]
    (asked.into / "snr_claim.md").write_text(page(found_all))


if __name__ == "__main__":
    main()
