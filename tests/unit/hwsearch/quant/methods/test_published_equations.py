"""Methods against their equations as published, written down here once more: one number at a time, from raw values and without
anything of the methods' own code."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from hwmodels.numbers import INT16, Int
from hwsearch.contracts import tiny_calibration
from hwsearch.quant import methods
from hwsearch.quant.learn.bounds import Student, distillation_loss, targets_of
from hwsearch.quant.learn.quantizers.grid import on_grid
from hwsearch.quant.methods.learned.harmoq import corrected, harmonized
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.normalized import Normalized
from hwsearch.quant.ranges import bounds
from hwsearch.quant.weights.rounding import compensated
from hwsearch.search.allocate import deviation_rank, gradient_rank
from searchspaces.ir.graph import execute


@pytest.fixture(scope="module")
def calibration():
    return tiny_calibration((2, 4, 8), (4, 8), "minmax")


def seen(calibration, name: str) -> np.ndarray:
    """All values of a tensor on all calibration pictures."""
    found: list[np.ndarray] = []
    with torch.no_grad():
        for crop in calibration._seen.crops:
            execute(
                calibration.graph, crop, lambda node, y: found.append(y.double().numpy().ravel()) if node.name == name else None
            )
    return np.concatenate(found)


def tensors(calibration) -> list[tuple[str, np.ndarray]]:
    groups = calibration.graph.quantizer_groups()
    alone = [node for node in calibration.graph.nodes if list(groups.values()).count(groups[node.name]) == 1]
    found = [(groups[node.name], seen(calibration, node.name)) for node in alone if node.name != calibration.graph.output.name]
    assert found
    return found


# Bounds


def dbdc(values: np.ndarray, dropped: float) -> tuple[float, float]:
    """Drop the outermost of 2048 bins at whichever end has fewer values until at most ``1 - dropped`` of all are kept."""
    counts, edges = np.histogram(values, 2048)
    bins = [*zip(counts, edges[:-1], edges[1:], strict=True)]
    while sum(count for count, _, _ in bins) > (1 - dropped) * len(values):
        bins.pop(0 if bins[0][0] < bins[-1][0] else -1)
    return bins[0][1], bins[-1][2]


def quantized(x: np.ndarray, low: float, high: float, bits: int) -> np.ndarray:
    """``Q(x) = D round((clip(x) - l) / D) + l``, with zero on the grid."""
    step = (high - low) / (2**bits - 1)
    zero = round(-low / step)
    return (np.clip(np.rint(x / step), -zero, 2**bits - 1 - zero)) * step


def test_density_based_dual_clipping(calibration) -> None:
    for group, values in tensors(calibration):
        spread = calibration._seen.spreads[group].spread(None)
        for bits, dropped in ((4, 5e-4), (8, 1e-5)):
            low, high = dbdc(np.append(values, 0.0), dropped)
            width = (spread.high - spread.low) / 2048
            assert bounds.density(spread, Int(bits)) == pytest.approx((min(low, 0), max(high, 0)), abs=2.01 * width)


@pytest.mark.parametrize("bits", [3, 4])
def test_bounds_by_the_shape_of_the_distribution(calibration, bits: int) -> None:
    """100 points; both ends of a bell inwards by ``(max - min) / 200`` a step, of one side the upper end alone."""
    for group, values in tensors(calibration):
        spread = calibration._seen.spreads[group].spread(None)
        low, high = values.min(), values.max()
        half, tried = (high - min(low, 0)) / 200, []
        for i in range(100):
            one_sided = low >= 0
            ends = (0.0, high - 2 * i * half) if one_sided else (min(low + i * half, 0.0), max(high - i * half, 0.0))
            tried.append((float(np.sum((quantized(values, *ends, bits) - values) ** 2)), ends))
        best = min(tried)[0]
        ours = float(np.sum((quantized(values, *bounds.by_shape(spread, Int(bits)), bits) - values) ** 2))
        assert ours <= 1.02 * best  # a histogram knows values to a bin


@pytest.mark.parametrize("bits", [2, 4])
def test_octav_on_raw_values(calibration, bits: int) -> None:
    """``s <- E[|x| 1(|x| > s)] / (4^-b / 3 P(0 < |x| <= s) + P(|x| > s))``, a quarter of the first term without a sign."""
    for group, values in tensors(calibration):
        magnitudes, share = np.abs(values), 4.0**-bits / (12 if values.min() >= 0 else 3)
        s = float(magnitudes[magnitudes > 0].mean())
        for _ in range(100):
            beyond = magnitudes > s
            s = magnitudes[beyond].sum() / (share * np.sum((magnitudes > 0) & ~beyond) + beyond.sum())
        low, high = bounds.octav(calibration._seen.spreads[group].spread(None), Int(bits))
        assert high == pytest.approx(min(s, max(values.max(), 0)), rel=0.02)
        assert low == pytest.approx(max(-s, min(values.min(), 0)), rel=0.02, abs=1e-3)


# Allocation


@pytest.mark.parametrize("count", [4, 6, 8, 16, 40])
def test_a_quarter_of_the_layers_gets_a_bit_and_a_quarter_loses_one(count: int) -> None:
    """Ranks by falling gradient, ``s = 2 r / (K - 1) - 1``, ``round(s)``: the most negative gradient gets one more."""
    gradients = np.random.default_rng(count).normal(0, 1, count)
    falling = sorted(range(count), key=lambda k: -gradients[k])
    expected = np.zeros(count, dtype=int)
    for rank, k in enumerate(falling):
        expected[k] = round(2 * rank / (count - 1) - 1)
    found = gradient_rank.offsets(gradients)
    assert found.tolist() == expected.tolist()
    assert found.sum() == 0
    assert abs(np.sum(found == 1) - count / 4) <= 1
    assert found[np.argmin(gradients)] == 1
    assert found[np.argmax(gradients)] == -1


@pytest.mark.parametrize("count", [3, 10, 17])
def test_offsets_of_layers_by_deviation(count: int) -> None:
    values = np.random.default_rng(count).permutation(count) + 0.5
    few = int(0.3 * count)
    expected = [-1 if value < few else 1 if value > count - few else 0 for value in values]
    assert deviation_rank.offsets(values).tolist() == expected


# Weights


def gptq(rows: np.ndarray, moment: np.ndarray, scales: np.ndarray, limit: int) -> np.ndarray:
    """Column by column, by the inverse itself: after each column it is eliminated from what is left of the inverse."""
    damped = moment + 0.01 * np.diag(moment).mean() * np.eye(len(moment))
    left, codes = rows.astype(np.float64).copy(), np.zeros(rows.shape)
    waiting, inverse = [*range(len(moment))], np.linalg.inv(damped)
    for column in sorted(waiting, key=lambda k: -damped[k, k]):
        codes[:, column] = np.clip(np.rint(left[:, column] / scales), -limit, limit)
        error = (left[:, column] - codes[:, column] * scales) / inverse[column, column]
        left -= np.outer(error, inverse[column])
        inverse -= np.outer(inverse[:, column], inverse[column]) / inverse[column, column]
    return codes


@pytest.mark.parametrize("bits", [2, 4])
def test_gptq_column_by_column(bits: int) -> None:
    rng = np.random.default_rng(bits)
    samples = rng.normal(0, 1, (400, 12)) @ rng.normal(0, 1, (12, 12))
    moment, rows = samples.T @ samples / 400, rng.normal(0, 1, (6, 12)).astype(np.float32)
    limit = 2 ** (bits - 1) - 1
    scales = (np.abs(rows).max(axis=1) / limit).astype(np.float32)
    np.testing.assert_array_equal(compensated(rows, moment, scales, limit, 0.01), gptq(rows, moment, scales, limit))


def test_structural_residual_calibration_is_its_closed_form() -> None:
    rng = np.random.default_rng(0)
    weight, x = rng.normal(0, 1, (4, 6)), rng.normal(0, 1, (200, 1, 6))
    d = rng.normal(0, 0.1, x.shape) + 0.2 * x
    second, cross = x[:, 0].T @ x[:, 0] / 200, d[:, 0].T @ x[:, 0] / 200
    damped = second + 1e-3 * np.diag(second).mean() * np.eye(6)
    expected = weight - weight @ cross @ np.linalg.inv(damped)
    found = corrected(torch.tensor(weight, dtype=torch.float32).view(4, 6, 1, 1), x, d)
    np.testing.assert_allclose(found.flatten(1).numpy(), expected, atol=1e-5)


def test_harmonized_scales_follow_the_widths() -> None:
    """``Rx^a / Rw^(1-a)`` up to one factor, which changes nothing where bounds follow the data."""
    tensor, weights = np.array([8.0, 1.0, 2.0]), np.array([0.1, 0.4, 0.2])
    for share in (0.5, 0.25):
        found = harmonized(tensor, weights, share)
        expected = tensor**share / weights ** (1 - share)
        np.testing.assert_allclose(found / found[0], expected / expected[0])


# Tensors in training


def test_dynamic_normalization_is_the_published_one() -> None:
    """``xt = 2 (x - min) / (max - min) - 1`` of each picture and channel, rounded to ``2^b`` codes between l and u, and back."""
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 0.1, 3.0]).view(1, 3, 1, 1)
    low, high, bits, step = -0.75, 0.5, 4, 2.0**-11
    part = [round((end + 1) / 2 * 2**15) for end in (low, high)]
    fmt = TensorFormat(INT16, step, INT16.middle, 0, INT16.last_code, normalized=Normalized(Int(bits), *part))
    lowest, highest = x.amin(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True)
    normal = 2 * (x - lowest) / (highest - lowest) - 1
    width = (high - low) / (2**bits - 1)
    rounded = torch.round((normal.clamp(low, high) - low) / width) * width + low
    expected = (rounded + 1) / 2 * (highest - lowest) + lowest
    apart = (fmt.fake(x) - expected).abs()
    code = width / 2 * (highest - lowest)
    # Ends and values are whole 16-bit steps: a value near a half may fall to the next code.
    assert float((apart > 2 * step).float().mean()) < 0.02
    assert bool((apart <= code + 2 * step).all())


def test_gradients_of_lsq() -> None:
    """Inside ``round(v / s) - v / s``, outside ``-Q_N`` and ``Q_P``; a value gets its own where it is not clipped."""
    x = torch.tensor([-3.0, -0.3, 0.14, 0.9, 5.0], requires_grad=True)
    step = torch.tensor(0.5, requires_grad=True)
    for i, (by_step, by_value) in enumerate([(-2, 0), (0 - -0.6 - 1, 1), (0 - 0.28, 1), (2 - 1.8, 1), (5, 0)]):
        y = on_grid(x, step, torch.tensor(2.0), 7)[i]
        to_x, to_step = torch.autograd.grad(y, (x, step))
        assert float(to_x[i]) == by_value
        assert float(to_step) == pytest.approx(by_step, abs=1e-6)


# Losses


def unit(x: Tensor) -> Tensor:
    return x.flatten(1) / x.flatten(1).norm(dim=1, keepdim=True)


def ptq4sr(out: Tensor, y: Tensor, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    """L1 on 0..255, and 5 times the mean over blocks of the MSE of ``normalise(mean_c F^2)``."""
    parts = [((unit(f.pow(2).mean(1)) - unit(g.pow(2).mean(1))) ** 2).mean() for f, g in pairs]
    return 255 * (out - y).abs().mean() + 5 * torch.stack(parts).mean()


def adabm(out: Tensor, y: Tensor, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    """L1, and 10 times the sum of distances of normalised features over batch and blocks."""
    total = sum((unit(f) - unit(g)).norm(dim=1).sum() for f, g in pairs)
    return 255 * (out - y).abs().mean() + 10 * total / (len(out) * len(pairs))


def dan(out: Tensor, y: Tensor, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    """L1, and 10 times the MSE between features of length one."""
    return 255 * (out - y).abs().mean() + 10 * torch.stack([((unit(f) - unit(g)) ** 2).mean() for f, g in pairs]).mean()


def dual_region(out: Tensor, y: Tensor, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    """``(10 / K) sum_k s_k |...| + 5 L1``, over 5: the share of a layer is the softmax of its deviation, here over the mean."""
    deviations = [float(np.mean([float(one.std()) for one in g])) for _, g in pairs]
    powers = [math.exp(one / np.mean(deviations)) for one in deviations]
    shares = [power / sum(powers) for power in powers]
    parts = [share * (unit(f) - unit(g)).norm(dim=1).sum() / len(out) for share, (f, g) in zip(shares, pairs, strict=True)]
    return (10 / len(pairs) * sum(parts) + 5 * 255 * (out - y).abs().mean()) / 5


def pams(out: Tensor, y: Tensor, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    """L1, and 1000 times the MSE of ``normalise(mean_c F^2)`` of the body's result."""
    f, g = pairs[-1]
    return 255 * (out - y).abs().mean() + 1000 * ((unit(f.pow(2).mean(1)) - unit(g.pow(2).mean(1))) ** 2).mean()


@pytest.mark.parametrize("loss", [ptq4sr, adabm, dan, dual_region, pams])
def test_losses_are_the_published_ones(loss) -> None:
    distillation = methods.load(loss.__name__).DISTILLATION
    calibration = tiny_calibration((4, 8), (4, 8), loss.__name__)
    draft = calibration.draft(calibration.space.uniform(4, 4))
    student, windows = Student(draft, distillation), draft.windows(24)[:3]
    targets = targets_of(student, draft.target, windows)
    with torch.no_grad():
        found = float(distillation_loss(student, windows, targets, distillation))
        out, features = student(windows)
        pairs = [(f, targets[name]) for f, name in zip(features, student.kept, strict=True)]
        assert found == pytest.approx(float(loss(out, targets[student.graph.output.name], pairs)), rel=1e-5)
