"""Tasks: what they measure against hand computation and another library, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio
from torch import Tensor, nn

from hwmodels.errors import FileError, UsageError
from hwsearch.quality.evaluate import Evaluator
from searchspaces.networks.adapted import value_range
from searchspaces.networks.registry import LoadedNetwork
from searchspaces.tasks import registry
from searchspaces.tasks.classifier import Answered, Classifier
from searchspaces.tasks.image import SuperResolution
from searchspaces.tasks.restoration import Restoration, pair_files
from searchspaces.tasks.task import Signature
from searchspaces.tracing.trace import trace


def identity(x: Tensor) -> Tensor:
    return x


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Four coloured scenes with noise, 40x48 pixels, as low/ and high/."""
    rng = np.random.default_rng(0)
    for side in ("low", "high"):
        (tmp_path / side).mkdir()
    for i in range(4):
        clean = rng.integers(20, 236, (40, 48, 3))
        noisy = np.clip(clean + rng.normal(0, 9, clean.shape), 0, 255)
        for side, picture in (("low", noisy), ("high", clean)):
            Image.fromarray(np.rint(picture).astype(np.uint8)).save(tmp_path / side / f"scene{i}.png")
    return tmp_path


def test_found_by_place() -> None:
    assert next(iter(registry.known())) == registry.DEFAULT
    assert {"super-resolution", "restoration", "classifier"} <= registry.known().keys()
    with pytest.raises(UsageError, match="classifer") as refused:
        registry.task("classifer")
    assert "classifier" in refused.value.hint


def test_chosen_by_what_the_samples_are(pairs: Path) -> None:
    assert registry.choose(None, None, Signature(2, 1)).name == "super-resolution"
    assert registry.choose(None, pairs, Signature(1, 3)).name == "restoration"
    assert registry.choose(None, pairs / "low", Signature(2, 3)).name == "super-resolution"
    assert registry.choose(None, pairs / "pairs.csv", Signature(1, 3)).name == "restoration"
    with pytest.raises(UsageError) as refused:
        registry.choose(None, pairs / "low", Signature(1, 3))
    assert "low/ and high/" in refused.value.hint


def test_view_and_target_make_the_error() -> None:
    """Mean squares of view minus target are the error of the luma, where nothing is rounded or shaved."""
    rng = np.random.default_rng(1)
    high = rng.integers(0, 256, (12, 14, 3)).astype(np.uint8)
    output = torch.from_numpy(rng.integers(0, 256, (1, 3, 12, 14)) / 255).float()

    class Shown:
        name, low = "x", output

    Shown.high = high
    task = Restoration(Signature(1, 3))
    difference = task.view(output)[0, 0] - task.target(Shown)
    assert float((difference.double() ** 2).mean()) == pytest.approx(task.error(output, Shown), rel=1e-5)
    weights = np.array([65.481, 128.553, 24.966]) / 255
    by_hand = ((output[0].permute(1, 2, 0).numpy() * 255 - high) @ weights) ** 2
    assert task.error(output, Shown) == pytest.approx(by_hand.mean(), rel=1e-5)
    inner = by_hand[3:-3, 3:-3].mean()
    assert SuperResolution(Signature(3, 3)).error(output, Shown) == pytest.approx(inner, rel=1e-5)


def test_pairs_of_grey_pictures_are_measured_as_they_are(tmp_path: Path) -> None:
    """A one-channel network gets grey values 0..255; the input's PSNR is that of scikit-image."""
    rng = np.random.default_rng(2)
    clean = rng.integers(30, 220, (32, 36)).astype(np.uint8)
    noisy = np.clip(clean + rng.normal(0, 12, clean.shape), 0, 255).round().astype(np.uint8)
    for side, picture in (("low", noisy), ("high", clean)):
        (tmp_path / side).mkdir()
        Image.fromarray(picture).save(tmp_path / side / "a.png")
    task = Restoration(Signature(1, 1))
    (entry,) = task.entries(tmp_path)
    pair = task.read(entry)
    assert np.array_equal((pair.low[0, 0] * 255).round().numpy(), noisy)
    expected = peak_signal_noise_ratio(clean, noisy, data_range=255)
    assert task.baseline(pair).quality == pytest.approx(expected, abs=1e-6)
    assert task.figures(pair.low, pair).quality == pytest.approx(expected, abs=1e-6)
    assert task.baseline_name == "the input"


def test_roles_of_pairs_are_disjoint(pairs: Path) -> None:
    samples = Restoration(Signature(1, 3)).samples(pairs, 0, identity)
    named = [sample.name for sample in (*samples.search, *samples.evaluation)] + samples.sources
    assert sorted(named) == [f"scene{i}" for i in range(4)]
    assert {sample.name.partition("#")[0] for sample in samples.calibration} == set(samples.sources)
    assert all(sample.high.shape[:2] == tuple(sample.low.shape[2:]) for role in (0, 2, 3) for sample in samples[role])


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_csv_says_what_folders_say(pairs: Path, mark: str) -> None:
    lines = [f"degraded{mark}clean", *(f"low/scene{i}.png{mark} high/scene{i}.png" for i in range(4))]
    (pairs / "pairs.csv").write_text("\ufeff" + "\n".join(lines) + "\n", encoding="utf-8")
    assert pair_files(pairs / "pairs.csv") == pair_files(pairs)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda p: (p / "high" / "scene2.png").unlink(), "scene2"),
        (lambda p: Image.new("RGB", (47, 40)).save(p / "high" / "scene0.png"), "40x47"),
        (lambda p: Image.new("RGB", (48, 40), "red").save(p / "low" / "scene0.png"), "one colour"),
    ],
)
def test_pairs_that_are_none(pairs: Path, spoil: object, said: str) -> None:
    spoil(pairs)  # type: ignore[operator]
    with pytest.raises(FileError, match=said):
        Restoration(Signature(1, 3)).samples(pairs, 0, identity)


@pytest.mark.parametrize("text", ["", "a.png\n", "low.png,high.png,more.png\n", "degraded,clean\n"])
def test_tables_without_pairs(tmp_path: Path, text: str) -> None:
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(FileError) as refused:
        pair_files(tmp_path / "pairs.csv")
    assert "two columns" in refused.value.hint


def test_low_pictures_alone_are_compared_with_the_floating_point_network(pairs: Path) -> None:
    """What the network gives is right, up to the rounding of a display; a change is told by its own size."""
    for file in (pairs / "high").iterdir():
        file.unlink()
    (pairs / "high").rmdir()
    chosen = registry.choose(None, pairs, Signature(2, 3))
    assert chosen.name == "fidelity"
    assert "floating point" in chosen.quality.name

    def network(x: Tensor) -> Tensor:
        return nn.functional.interpolate(x * 0.7 + 0.1, scale_factor=2, mode="bilinear")

    samples = chosen.samples(pairs, 0, network)
    sample = samples.evaluation[0]
    assert sample.low.shape == (1, 3, 40, 48)
    assert sample.high.shape == (80, 96, 3)
    right = network(sample.low)
    assert chosen.quality_of(chosen.error(right, sample), sample) > 56  # the rounding of three colours to 8 bits
    moved = chosen.error(right + 4 / 255, sample)
    assert moved == pytest.approx((4 * 219 / 255) ** 2, rel=0.05)  # of the luma, 16..235
    assert chosen.baseline(sample) is None

    def looking(x: Tensor) -> Tensor:
        return nn.functional.interpolate(nn.functional.avg_pool2d(x, 9, 1, 4), scale_factor=2)

    for part in (*chosen.samples(pairs, 0, looking).search, *chosen.patches(samples.search, 0)):
        assert chosen.quality_of(chosen.error(looking(part.low), part), part) > 56  # zeros stand at the border of a part


def test_classifier_by_hand() -> None:
    answer = np.array([[3.0, -1.0, 2.0, 0.0]], dtype=np.float32)
    sample = Answered("x", torch.zeros(1, 3, 8, 8), answer)
    task = Classifier(Signature(1, 3))
    assert task.figures(torch.from_numpy(answer), sample) == pytest.approx((60.0, 100.0))
    moved = task.figures(torch.tensor([[2.0, -1.0, 2.5, 0.0]]), sample)
    noise, signal = (1.0**2 + 0.5**2) / 4, (9 + 1 + 4) / 4
    assert moved.quality == pytest.approx(10 * np.log10(signal / (noise + 1e-6 * signal)))
    assert moved.second == 0.0
    assert task.figures(torch.tensor([[2.6, -1.0, 2.5, 0.0]]), sample).second == 100.0


def test_classifier_is_asked_at_its_size() -> None:
    net = nn.Conv2d(1, 5, 3).eval()
    samples = Classifier(Signature(1, 1, size=(20, 24))).samples(None, 0, net)
    for sample in samples.search[:3]:
        assert sample.low.shape == (1, 1, 20, 24)
        assert 0 <= float(sample.low.min()) <= float(sample.low.max()) <= 1
        assert np.array_equal(sample.high, net(sample.low).detach().numpy())


class Expects(nn.Module):
    """A network of other values: 3x3 convolutions with padding, and a bias that counts on the range."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(x)))


@pytest.mark.parametrize(
    ("text", "into", "back"),
    [
        ("0..255", lambda x: 255 * x, lambda y: y / 255),
        ("-1..1", lambda x: 2 * x - 1, lambda y: (y + 1) / 2),
        ("0..255:-1..1", lambda x: 255 * x, lambda y: (y + 1) / 2),
        ("0..1:0..255", lambda x: x, lambda y: y / 255),
        ("0.5,0.4,0.3/0.2,0.25,0.5", *(lambda t, k=k: (t - M) / S if k else t * S + M for k in (1, 0))),
    ],
)
def test_other_ranges(text: str, into: object, back: object) -> None:
    """The wrapped network, and its traced graph (``trace`` compares it with the module), compute back(network(into(x)))."""
    network = LoadedNetwork(Expects().eval(), "expects", 1, 3, "low", "", {})
    wrapped = value_range.wrapped(network, text, returns=True)
    x = torch.rand(1, 3, 10, 12)
    with torch.no_grad():
        expected = back(network.module(into(x)))  # type: ignore[operator]
        assert torch.allclose(wrapped.module(x), expected, atol=1e-5)
    assert not trace(wrapped.module, 3, "wrapped").uncounted
    assert text in wrapped.remarks[-1]


M, S = torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1), torch.tensor([0.2, 0.25, 0.5]).view(1, 3, 1, 1)


@pytest.mark.parametrize(
    "text", ["255", "1..0", "0.5/0", "a/b", "0.1,0.2/0.3", "nan/1", "inf/1", "0/nan", "0/1e-320", f"0..{10**400}"]
)
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        value_range.parse(text)
    assert "0..255" in refused.value.hint


def test_fidelity_of_a_network_that_gives_whole_grey_steps_can_be_measured(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in "abc":
        Image.fromarray(rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    task = registry.task("fidelity")(Signature(2, 3))
    network = nn.Upsample(scale_factor=2)
    samples = task.samples(tmp_path, 0, network)
    judge = Evaluator(network, samples.evaluation, task)
    assert np.isfinite(judge.float_db)
    (sample, *_) = samples.evaluation
    exact, off = network(sample.low), network(sample.low) + 2 / 255
    assert task.figures(exact, sample).quality == task.quality_of(task.error(exact, sample), sample)
    assert task.figures(off, sample).quality == task.quality_of(task.error(off, sample), sample) < judge.float_db
