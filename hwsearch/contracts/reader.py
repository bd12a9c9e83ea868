"""The contract of a reader of model files."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from hwmodels.errors import FileError
from hwsearch.formats.reading.readers import ReaderInfo
from searchspaces.ir.graph import execute
from searchspaces.ir.shapes import shapes


def check_reader(info: ReaderInfo, file: Path) -> None:
    """A reader of model files: what it finds is one network, the same each time, with a width for every tensor; its table has
    every operator that it gives; and a file that is cut short is refused as one.

    Args:
        file: one of its files.
    """
    assert file.suffix.lower() in info.endings, f"{file.suffix} is none of its endings {', '.join(info.endings)}"
    found, again = info.read(file), info.read(file)
    graph = found.graph
    assert [layer.name for layer in found.layers] == [node.name for node in graph.convs], "layers and convolutions differ"
    assert set(found.tensor_bits) == {node.name for node in graph.nodes}, "a tensor has no width"
    height, width = found.input_size or graph.size or (24, 24)
    assert shapes(graph, height, width)[graph.output.name], "the output has no shape"
    missing = [line for line in info.operators.missing(node.op for node in graph.nodes) if not graph.uncounted]
    assert not missing or not info.table, f"its table lacks what it gives: {'; '.join(missing)}"
    if found.executable:
        x = torch.rand(1, graph.channels, height, width, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            y = execute(graph, x)
            assert bool(torch.isfinite(y).all()), "the network gives no numbers"
            assert torch.equal(y, execute(again.graph, x)), "another network the second time"
        info.check(found, (height, width))
    with tempfile.TemporaryDirectory() as folder:
        short = Path(folder) / file.name
        short.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        try:
            info.read(short)
        except FileError:
            return
        raise AssertionError("half of a file is read as if it were whole")
