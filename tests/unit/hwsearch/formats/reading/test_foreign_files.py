"""Files of other tools that are handed in as models: named, with what to hand in instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwmodels.errors import UsageError
from hwsearch.formats.reading.readers import endings, reader_of
from hwsearch.problem.network import _check_model


@pytest.mark.parametrize(
    ("name", "what", "instead"),
    [
        ("net.h5", "Keras", "from_keras_model"),
        ("net.KERAS", "Keras", "from_keras_model"),
        ("net.pb", "TensorFlow", "tf2onnx"),
        ("net.ckpt.data-00000-of-00001", "checkpoint", "tf2onnx"),
        ("weights.npz", "NumPy", "--weights"),
        ("net.engine", "TensorRT", "was made from"),
        ("photo.PNG", "picture", "--images"),
        ("net.py", "Python", "FILE.py:build"),
    ],
)
def test_files_of_other_tools_are_told_apart(name: str, what: str, instead: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"x")
    with pytest.raises(UsageError, match=what) as refused:
        reader_of(path)
    assert instead in refused.value.hint
    assert all(ending in refused.value.hint for ending in endings())
    if path.suffix != ".py":
        with pytest.raises(UsageError, match=what):
            _check_model(str(path))


def test_folders_and_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a folder"):
        reader_of(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"x")
    with pytest.raises(UsageError, match="TensorFlow"):
        reader_of(tmp_path)
    with pytest.raises(UsageError, match=r"no reader for files that end in \.h5"):
        reader_of(tmp_path / "net.h5")
