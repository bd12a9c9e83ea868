"""Picture details for the report: where a plan can be seen to differ, if it differs at all.

The window is the one where the plan's error is largest, and among windows of equal error the one with most detail: the report
shows the worst place, never a flattering one. Pixels are repeated (nearest neighbour), so that nothing is smoothed over.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import uniform_filter

from hwsearch.documents.files import replacing
from hwsearch.documents.results import Crop
from searchspaces.data.luma import luma
from searchspaces.tasks.metrics import psnr_y

ERROR_GAIN = 16
"""How much the error picture is enlarged: one grey step of error becomes 16."""
FOLDER = "crops"


def save_crops(
    run_dir: Path,
    name: str,
    high: np.ndarray,
    bicubic: np.ndarray,
    float_: np.ndarray,
    plan: np.ndarray,
    scale: int,
    *,
    plan_name: str = "plan",
    window: int = 72,
    magnify: int = 3,
) -> Crop:
    """Write one magnified detail of a picture as PNG files below ``run_dir/crops``.

    Args:
        run_dir: the run directory.
        name: name of the picture; with ``plan_name`` it makes the file names.
        high, bicubic, float_, plan: the original and three enlargements, ``[H, W]`` luma or ``[H, W, 3]`` RGB, 0..255.
        scale: enlargement factor; PSNR is taken after shaving that many border pixels.
        plan_name: name of the plan that made ``plan``.
        window: side of the detail, in pixels of the original.
        magnify: every pixel is repeated this often in both directions.
    Returns:
        File names relative to ``run_dir``, and PSNR of the whole pictures in dB.
    Raises:
        ValueError: the four pictures differ in shape.
    """
    pictures = {"high": high, "bicubic": bicubic, "float": float_, "plan": plan}
    if len({p.shape for p in pictures.values()}) != 1:
        raise ValueError(f"pictures of different shape: {', '.join(f'{k} {p.shape}' for k, p in pictures.items())}")
    output = {key: _displayed(picture) for key, picture in pictures.items()}
    rows, columns = window_of_interest(output["high"], output["float"], output["plan"], window, border=scale)
    error = ERROR_GAIN * np.abs(luma(output["plan"]) - luma(output["float"]))
    output["error"] = _displayed(error)
    folder = run_dir / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for key, picture in output.items():  # the window depends on the plan, so its name is in all five file names
        files[key] = f"{FOLDER}/{_file_name(f'{name}.{plan_name}')}.{key}.png"
        detail = np.repeat(np.repeat(picture[rows, columns], magnify, axis=0), magnify, axis=1)
        with replacing(run_dir / files[key]) as temporary:
            Image.fromarray(detail).save(temporary, format="PNG", optimize=True)
    return Crop(
        picture=name,
        high=files["high"],
        bicubic=files["bicubic"],
        float_=files["float"],
        plan=files["plan"],
        error=files["error"],
        plan_name=plan_name,
        psnr_db={key: psnr_y(output[key], pictures["high"], scale) for key in ("bicubic", "float", "plan")},
    )


def window_of_interest(high: np.ndarray, float_: np.ndarray, plan: np.ndarray, side: int, border: int = 0) -> tuple[slice, slice]:
    """Rows and columns of the ``side`` x ``side`` window (smaller for smaller pictures) with the largest squared error of
    ``plan`` against ``float_``; the gradient of ``high`` decides where the error is even."""
    height, width = high.shape[:2]
    margin = border if min(height, width) > side + 2 * border else 0
    tall, wide = min(side, height), min(side, width)
    reference = luma(high)
    detail = np.hypot(*np.gradient(reference)) if min(height, width) > 1 else np.zeros_like(reference)
    error = (luma(plan) - luma(float_)) ** 2
    # A tenth of a grey step of error outweighs the strongest edge: detail breaks ties only.
    interest = error + 0.01 * detail / max(float(detail.max()), 1e-9)
    means = uniform_filter(interest, size=(tall, wide), mode="constant")
    top, left = tall // 2 + margin, wide // 2 + margin
    inside = means[top : height - (tall - tall // 2) - margin + 1, left : width - (wide - wide // 2) - margin + 1]
    at = divmod(int(np.argmax(inside)), inside.shape[1])
    row, column = at[0] + margin, at[1] + margin
    return slice(row, row + tall), slice(column, column + wide)


def _displayed(picture: np.ndarray) -> np.ndarray:
    """What a display receives: clipped and rounded to 8 bits."""
    found: np.ndarray = np.rint(np.clip(picture, 0, 255)).astype(np.uint8)
    return found


def _file_name(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in text).lstrip(".") or "picture"
