"""Files of integers: what is saved is what is loaded; what is damaged is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from random_networks import MODULES, float_graph, picture, quantize
from safetensors.numpy import save_file

from hwmodels.errors import FileError
from hwmodels.numbers import FP16
from hwsearch.quant.engine import integer
from hwsearch.quant.network import storage
from hwsearch.quant.network.graph import LayerFloats, QuantizedGraph


@pytest.mark.parametrize("name", MODULES)
def test_a_loaded_network_runs_equal_and_saves_to_the_same_bytes(name: str, tmp_path: Path) -> None:
    q = quantize(float_graph(name), {"first_part.0": 3}, 8)
    digest = storage.save(q, tmp_path / "a.safetensors")
    loaded = storage.load(tmp_path / "a.safetensors", sha256=digest)
    assert loaded.formats == q.formats
    assert [(n.name, n.op, n.inputs) for n in loaded.graph.nodes] == [(n.name, n.op, n.inputs) for n in q.graph.nodes]
    x = picture(q.graph, 15, 17)
    a, b = integer.run_codes(q, x), integer.run_codes(loaded, x)
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert storage.save(loaded, tmp_path / "b.safetensors") == digest


def test_half_precision_layers_are_kept(tmp_path: Path) -> None:
    q = quantize(float_graph("fsrcnn-relu"), 8, 16, wide=FP16)
    storage.save(q, tmp_path / "q")
    loaded = storage.load(tmp_path / "q")
    assert loaded.float_layers == q.float_layers
    assert torch.equal(integer.run(q, picture(q.graph)), integer.run(loaded, picture(q.graph)))


def test_damaged_files_are_refused_with_a_message(tmp_path: Path) -> None:
    path = tmp_path / "q.safetensors"
    storage.save(quantize(float_graph("fsrcnn-relu")), path)
    data = path.read_bytes()
    middle = len(data) - 300
    damaged = {
        "empty": b"",
        "truncated": data[: len(data) // 2],
        "flipped": data[:middle] + bytes([data[middle] ^ 64]) + data[middle + 1 :],
        "pickle": b"\x80\x04\x95garbage.",
        "text": b"not a file of integers",
    }
    for name, content in damaged.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FileError, match=name):
            storage.load(tmp_path / name)
    with pytest.raises(FileError, match="missing"):
        storage.load(tmp_path / "missing")
    with pytest.raises(FileError, match="not the integers"):
        storage.load(path, sha256="0" * 64)


def test_other_safetensors_files_are_refused(tmp_path: Path) -> None:
    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "weights")
    with pytest.raises(FileError, match="hwsearch"):
        storage.load(tmp_path / "weights")


def _resaved(tmp_path: Path, q: QuantizedGraph, change) -> Path:  # type: ignore[no-untyped-def]
    """A file with a right checksum whose content was changed on purpose."""
    document, arrays = storage.to_document(q)
    arrays = {k: v.copy() for k, v in arrays.items()}
    change(document, arrays)
    text = json.dumps(document)
    save_file(
        arrays, tmp_path / "q", metadata={"hwsearch": json.dumps({"sha256": storage._digest(text, arrays), "document": text})}
    )
    return tmp_path / "q"


def _nan_scale(document, arrays):  # type: ignore[no-untyped-def]
    arrays["scale/first_part.0"][0] = np.nan


def _zero_scale(document, arrays):  # type: ignore[no-untyped-def]
    document["formats"]["input"]["scale"] = 0.0


def _wide_weight(document, arrays):  # type: ignore[no-untyped-def]
    document["layers"]["first_part.0"]["bits"] = 3


def _short_bias(document, arrays):  # type: ignore[no-untyped-def]
    arrays["bias/first_part.0"] = arrays["bias/first_part.0"][:-1]


def _loose_node(document, arrays):  # type: ignore[no-untyped-def]
    document["nodes"][1]["inputs"] = ["nowhere"]


def _lost_layer(document, arrays):  # type: ignore[no-untyped-def]
    del document["layers"]["first_part.0"]


def _newer(document, arrays):  # type: ignore[no-untyped-def]
    document["schema_version"] = 99


@pytest.mark.parametrize("change", [_nan_scale, _zero_scale, _wide_weight, _short_bias, _loose_node, _lost_layer, _newer])
def test_impossible_values_are_refused(change, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    q = quantize(float_graph("fsrcnn-relu"))
    with pytest.raises(FileError):
        storage.load(_resaved(tmp_path, q, change))


def test_the_weights_of_a_loaded_graph_are_what_the_integers_stand_for(tmp_path: Path) -> None:
    q = quantize(float_graph("abpn"), 4)
    storage.save(q, tmp_path / "q")
    loaded = storage.load(tmp_path / "q")
    for node in loaded.graph.convs:
        layer = q.layers[node.name]
        assert not isinstance(layer, LayerFloats)
        original = q.graph[node.name].weights["weight"]
        step = torch.from_numpy(layer.scale)[:, None, None, None]
        assert ((node.weights["weight"] - original).abs() <= step * 0.5001).all()
