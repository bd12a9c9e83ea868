"""Files that hold something else by accident are told by what they hold, whatever is asked of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hwsearch.cli import main

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
PAGE = b"\n<!DOCTYPE html><html><head><title>Sign in</title></head></html>"
COMMANDS = {
    ".onnx": "inspect FILE",
    ".tflite": "inspect FILE",
    ".pt2": "optimize --model FILE --quick",
    ".ts": "estimate --model FILE",
    ".pth": "inspect FILE",
    ".safetensors": "optimize --weights FILE --quick",
    ".toml": "devices check FILE",
    ".csv": "devices calibrate jetson --measurements FILE",
    ".json": "explain FILE",
    ".png": "upscale FILE out.jpg --plan abpn_x3-w4a8",
}


@pytest.mark.parametrize("ending", COMMANDS)
@pytest.mark.parametrize(
    ("content", "cause", "hint"),
    [
        (POINTER, "a Git LFS pointer", "git lfs pull"),
        (POINTER.replace(b"\n", b"\r\n"), "a Git LFS pointer", "git lfs pull"),
        (PAGE, "a web page that was saved as", "Download the file itself"),
    ],
)
def test_the_true_cause_is_told(
    tmp_path: Path, ending: str, content: bytes, cause: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / f"x{ending}"
    file.write_bytes(content)
    assert main([*COMMANDS[ending].replace("FILE", str(file)).split(), "--json", "--quiet"]) == 3
    error = json.loads(capsys.readouterr().out)["error"]
    assert cause in error["message"]
    assert hint in error["hint"]


def test_a_drawing_is_no_web_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.png"
    file.write_bytes(b'<?xml version="1.0"?><svg width="1" height="1"/>')
    assert main(["upscale", str(file), "out.jpg", "--plan", "abpn_x3-w4a8", "--json", "--quiet"]) == 3
    assert "not a picture" in json.loads(capsys.readouterr().out)["error"]["message"]
