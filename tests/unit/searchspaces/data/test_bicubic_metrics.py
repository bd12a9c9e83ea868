"""Bicubic against MATLAB's own pictures, metrics against scikit-image and hand computations."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from searchspaces.data.bicubic import imresize
from searchspaces.data.luma import luma
from searchspaces.tasks.metrics import psnr_from_mse, psnr_y, ssim_y


def test_set5_is_shrunk_as_matlab_does(shared: Path) -> None:
    """Bit for bit, by the checksums of the pictures that MATLAB made."""
    with open(shared / "data" / "Set5" / "LR_SHA256.tsv", newline="") as table:
        rows = list(csv.DictReader(table, delimiter="\t"))
    assert len(rows) == 15
    for row in rows:
        scale = int(row["scale"])
        high = np.asarray(Image.open(shared / "data" / "Set5" / f"{row['image']}.png").convert("RGB"))
        high = high[: high.shape[0] // scale * scale, : high.shape[1] // scale * scale]
        low = imresize(high, 1 / scale)
        assert low.shape == (int(row["height"]), int(row["width"]), 3)
        assert hashlib.sha256(low.tobytes()).hexdigest() == row["sha256_of_rgb_bytes"], row


@pytest.mark.parametrize(("scale", "published_db"), [(2, 33.66), (3, 30.39), (4, 28.42)])
def test_bicubic_baseline_of_the_literature(shared: Path, scale: int, published_db: float) -> None:
    scores = []
    for path in sorted((shared / "data" / "Set5").glob("*.png")):
        high = np.asarray(Image.open(path).convert("RGB"))
        high = np.rint(luma(high[: high.shape[0] // scale * scale, : high.shape[1] // scale * scale]))
        back = imresize(imresize(high, 1 / scale), scale)
        scores.append(psnr_y(np.rint(np.clip(back, 0, 255)), high, scale))
    assert np.mean(scores) == pytest.approx(published_db, abs=0.01)


@pytest.mark.parametrize("scale", [1 / 4, 1 / 3, 1 / 2, 2, 3, 4])
def test_bicubic_keeps_constants_and_mirror_symmetry(scale: float) -> None:
    flat = np.full((24, 36), 77.25)
    assert np.allclose(imresize(flat, scale), 77.25)
    noise = np.random.default_rng(0).random((24, 36))
    assert np.allclose(imresize(noise[::-1, ::-1], scale), imresize(noise, scale)[::-1, ::-1])


def test_enlarging_a_ramp_is_exact_away_from_the_border() -> None:
    """Keys' kernel reproduces polynomials of degree two when it interpolates."""
    x = np.arange(32, dtype=float)
    fine = imresize(np.tile(0.5 * x**2 - 3 * x, (8, 1)), 2)
    centres = (np.arange(64) + 0.5) / 2 - 0.5
    assert np.allclose(fine[4, 6:-6], 0.5 * centres[6:-6] ** 2 - 3 * centres[6:-6])


def test_luma_of_the_primaries() -> None:
    colours = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], dtype=np.uint8)
    assert np.allclose(luma(colours), [[16.0, 235.0, 81.481, 144.553, 40.966]], atol=1e-3)


def _noisy() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    reference = np.rint(imresize(rng.random((16, 20)) * 219 + 16, 4)).clip(0, 255)
    return np.rint(reference + rng.normal(0, 6, reference.shape)).clip(0, 255), reference


def test_psnr_against_scikit_image() -> None:
    output, reference = _noisy()
    for border in (0, 3):
        inner = slice(border, -border or None)
        expected = peak_signal_noise_ratio(reference[inner, inner], output[inner, inner], data_range=255)
        assert psnr_y(output, reference, border) == pytest.approx(expected, abs=1e-9)
    assert psnr_from_mse(0.0) == float("inf")


def test_ssim_against_scikit_image() -> None:
    """Same window and constants; scikit-image averages over the positions at which the 11x11 window fits, as we do."""
    output, reference = _noisy()
    _, everywhere = structural_similarity(
        reference, output, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, full=True
    )
    expected = everywhere[5:-5, 5:-5].mean()
    assert ssim_y(output, reference, 0) == pytest.approx(expected, abs=1e-6)
    assert ssim_y(reference, reference, 2) == pytest.approx(1.0)
    assert 0.5 < ssim_y(output, reference, 0) < 0.99
