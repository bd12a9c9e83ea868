"""Networks of tokens as TFLite files, beside LiteRT's reference kernels (and TFLite Micro): code for code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from block_networks import LayerNorm2d, build
from operator_samples import CHANNELS, SAMPLES
from random_networks import on_shares, quantize
from torch import Tensor, nn

from hwsearch.formats.reading import readers
from hwsearch.formats.running.runtime import to_tflite
from hwsearch.formats.tflite import litert, tables, tflm, write
from hwsearch.quant.engine import integer
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.ir.graph import Graph
from searchspaces.ops.reductions.norm import LayerNorm
from searchspaces.tracing.trace import trace

KINDS = (
    *("linear", "matmul", "softmax", "gelu", "exp", "layer_norm", "mean"),
    *("reshape", "permute", "pad", "roll", "flip", "gather"),
)


class Block(nn.Module):
    """A picture to tokens, attention in windows and an MLP, and back to a larger picture."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = build("swin")

    def forward(self, x: Tensor) -> Tensor:
        inner = self.inner
        y = inner.head(x)  # type: ignore[operator]
        size = (y.shape[2], y.shape[3])
        tokens = inner.norm(inner.block(y.flatten(2).transpose(1, 2), size))  # type: ignore[operator]
        return inner.tail(y + tokens.transpose(1, 2).view(x.shape[0], -1, *size))  # type: ignore[operator]


def differing(q: QuantizedGraph, x: Tensor) -> tuple[int, float]:
    """How many codes of the output differ from the engine's, and by how much at most."""
    plan = litert.open_plan(q, reference=True)
    ours, theirs = integer.run(plan.executed, x), plan.run(x)
    steps = ((ours - theirs).abs() / plan.executed.formats[q.graph.output.name].scale).round()
    assert len(ours.unique()) > 8
    return int((steps > 0).sum()), float(steps.max())


def picture(channels: int, height: int = 16, width: int = 24) -> Tensor:
    return torch.randint(0, 256, (1, channels, height, width), generator=torch.Generator().manual_seed(3)) / 255


@pytest.fixture(scope="module")
def block() -> Graph:
    return trace(Block().eval(), 3, "block")


@pytest.mark.parametrize("bits", [8, 16])
def test_a_block_of_attention_has_the_codes_of_the_reference_kernels(block: Graph, bits: int) -> None:
    q = on_shares(quantize(block, 8, bits))
    count, most = differing(q, picture(3))
    assert (count, most) == (0, 0)


def test_a_plan_of_mixed_widths(block: Graph) -> None:
    """Every second group of tensors at 16 bits."""
    leaders = list(dict.fromkeys(block.quantizer_groups().values()))
    widths = {name: 16 if i % 2 else 8 for i, name in enumerate(leaders)}
    count, most = differing(on_shares(quantize(block, 8, widths)), picture(3))
    assert (count, most) == (0, 0)


class NormalizedChannels(nn.Module):
    """Layer normalization over the channels of a picture between two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.norm, self.tail = nn.Conv2d(3, 32, 3, padding=1), nn.LayerNorm(32), nn.Conv2d(32, 12, 1)
        with torch.no_grad():
            self.norm.weight.uniform_(0.3, 2)
            self.norm.bias.uniform_(-1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.norm(self.head(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2))  # type: ignore[no-any-return]


@pytest.mark.parametrize("bits", [8, 16])
def test_layer_normalization_has_the_codes_of_the_reference_kernels_and_of_micro(bits: int) -> None:
    """So many codes that some lie on a half: with halves to even 10 and 983 of 172,800 were others."""
    torch.manual_seed(0)
    q = on_shares(quantize(trace(NormalizedChannels().eval(), 3, "normalized"), 8, bits))
    for plan in (litert.open_plan(q, reference=True), tflm.open_plan(q)):
        assert torch.equal(integer.run(plan.executed, x := picture(3, 96, 150)), plan.run(x))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", KINDS)
def test_single_operators(kind: str, bits: int) -> None:
    graph = SAMPLES[kind]()
    q = on_shares(quantize(graph, 8, bits))
    plan = litert.open_plan(q, reference=True)
    sample = picture(CHANNELS, 8, 12)
    ours = (
        integer.run_codes(plan.executed, sample)[graph.output.name].numpy() - plan.executed.formats[graph.output.name].grid.middle
    )
    made = plan._sized((8, 12))
    made.set_tensor(made.get_input_details()[0]["index"], to_tflite(sample, plan.executed.formats[graph.input.name]))
    made.invoke()
    theirs = made.get_tensor(made.get_output_details()[0]["index"]).astype(np.int64)
    if theirs.shape != ours.shape:
        ours = ours.transpose(0, 2, 3, 1)
    assert np.array_equal(theirs, ours)
    assert len(np.unique(theirs)) > 1


class Normalized(nn.Module):
    """Its channels are normalized between a convolution and a pixel shuffle, which takes them in an order of its own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head, self.norm, self.tail, self.shuffle = (
            nn.Conv2d(3, 8, 3, padding=1),
            LayerNorm2d(8),
            nn.Conv2d(8, 12, 1),
            nn.PixelShuffle(2),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.shuffle(self.tail(self.norm(self.head(x))))


@pytest.mark.parametrize("bits", [8, 16])
def test_channels_are_normalized_where_a_picture_stands(bits: int, tmp_path: Path) -> None:
    """Without a TRANSPOSE but that of a pixel shuffle in 16 bits, and read back as what they are."""
    q = on_shares(quantize(trace(Normalized().eval(), 3, "normalized"), 8, bits))
    assert differing(q, picture(3)) == (0, 0.0)
    path = write.export(q, tmp_path / "net.tflite", size=(16, 24), flavour="litert")
    assert [each.name for each in tables.load(path).operators].count("TRANSPOSE") == (bits == 16)
    found = readers.inspect(path).graph
    assert [node.op.axes for node in found.nodes if isinstance(node.op, LayerNorm)] == [(1,)]
