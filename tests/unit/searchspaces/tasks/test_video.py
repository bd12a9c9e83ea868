"""The video task: clips from folders of frames, judged over all frames; what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from hwmodels.errors import FileError
from hwsearch.contracts import check_task
from searchspaces.data.bicubic import imresize
from searchspaces.tasks.task import Signature
from searchspaces.tasks.video import CALIBRATION_FRAMES, Clip, Video


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Four clips of five frames, 48x64 pixels, in which a smooth scene moves."""
    y, x = np.mgrid[0:48, 0:64] / 16.0
    for number in range(4):
        folder = tmp_path / "source" / f"clip{number}"
        folder.mkdir(parents=True)
        for frame in range(5):
            grey = 128 + 60 * np.sin(x + 0.3 * frame + number) + 50 * np.cos(y * (1 + number / 3))
            grey += np.random.default_rng(number * 10 + frame).normal(0, 4, grey.shape)
            rgb = np.repeat(np.clip(grey, 0, 255)[..., None], 3, axis=2).astype(np.uint8)
            Image.fromarray(rgb).save(folder / f"{frame:03d}.png")
    return tmp_path / "source"


def test_contract(clips: Path) -> None:
    check_task(Video, clips)


def test_samples_are_whole_clips_in_disjoint_roles(clips: Path) -> None:
    samples = Video(Signature(2, 1)).samples(clips, 0, torch.nn.Identity())
    assert {tuple(one.low.shape) for one in samples.evaluation} == {(5, 1, 24, 32)}
    assert all(one.high.shape == (5, 48, 64) for one in samples.evaluation)
    assert {len(one.low) for one in samples.calibration} == {CALIBRATION_FRAMES}
    assert len({tuple(one.low.shape) for one in samples.calibration}) == 1
    names = [*samples.sources, *(one.name for one in (*samples.search, *samples.evaluation))]
    assert sorted(names) == [f"clip{number}" for number in range(4)]


def test_quality_is_the_psnr_over_all_frames(clips: Path) -> None:
    """Against another library, on frames of very different errors."""
    task = Video(Signature(2, 1))
    clip = task.samples(clips, 0, torch.nn.Identity()).evaluation[0]
    output = torch.from_numpy(clip.high[:, None] / 255).float()
    output[0] = (output[0] + 0.2).clamp(0, 1)
    output[3] = (output[3] - 0.02).clamp(0, 1)
    inside = (slice(None), slice(2, -2), slice(2, -2))
    shown = np.rint(output[:, 0].numpy() * 255)
    expected = peak_signal_noise_ratio(clip.high[inside], shown[inside].astype(np.float64), data_range=255)
    assert task.figures(output, clip).quality == pytest.approx(expected, abs=1e-4)
    assert task.figures(output, clip).quality == task.quality_of(task.error(output, clip), clip)


def test_the_baseline_is_bicubic_frame_by_frame(clips: Path) -> None:
    task = Video(Signature(2, 1))
    clip = task.samples(clips, 0, torch.nn.Identity()).evaluation[0]
    enlarged = np.stack([imresize(frame[0].double().numpy() * 255, 2) for frame in clip.low]) / 255
    expected = task.figures(torch.from_numpy(enlarged).float()[:, None], clip)
    assert tuple(task.baseline(clip) or ()) == pytest.approx(tuple(expected), rel=1e-4)  # halves are rounded either way


def test_windows_and_sizes_cut_every_frame_alike() -> None:
    low, high = torch.rand(3, 1, 20, 26), np.zeros((3, 40, 52))
    clip = Clip("made", low, high)
    (cut,) = Video(Signature(2, 1, multiple=8)).fitted([clip])
    assert (tuple(cut.low.shape), cut.high.shape) == ((3, 1, 16, 24), (3, 32, 48))
    assert torch.equal(cut.low, low[:, :, 2:18, 1:25])
    (small,) = Video(Signature(2, 1)).windows([clip], 3 * 16 * 16)
    assert tuple(small.low.shape) == (3, 1, 16, 16)
    with pytest.raises(FileError, match="smaller than the 30x40 pixels"):
        Video(Signature(2, 1, only=(30, 40))).fitted([clip])


def test_what_is_no_clip_is_refused(clips: Path) -> None:
    task = Video(Signature(2, 1))
    with pytest.raises(FileError, match="needs clips"):
        task.entries(None)
    (clips / "clip0" / "004.png").rename(clips / "loose.png")
    with pytest.raises(FileError, match=r"loose\.png is in no folder of its clip"):
        task.entries(clips)
    (clips / "loose.png").unlink()
    (clips / "clip0" / "003.png").unlink()
    with pytest.raises(FileError, match=r"clip0: 3 frame\(s\)"):
        task.entries(clips)
    shutil.rmtree(clips / "clip0")
    Image.open(clips / "clip2" / "001.png").crop((0, 0, 60, 48)).save(clips / "clip2" / "001.png")
    with pytest.raises(FileError, match="another size than the first"):
        task.read(next(entry for entry in task.entries(clips) if entry.name == "clip2"))
