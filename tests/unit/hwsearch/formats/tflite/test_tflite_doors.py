"""What converters write around a network: channels first at both ends, several outputs, pictures in half precision, borders that
lose against every value, pictures taken apart; and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hwmodels.errors import FileError, UncountedError
from hwsearch.formats.reading import file_network, readers
from hwsearch.formats.tflite.writing.file import FlatModel, Options

HEIGHT, WIDTH = 12, 16
I32 = np.int32


class Net(FlatModel):
    """A file of two convolutions with a shuffle behind them, with what stands around."""

    def constant(self, values: np.ndarray) -> int:
        return self.tensor(f"c{len(self.tensors)}", values.shape, str(values.dtype), data=values)

    def conv(
        self, x: int, channels: tuple[int, int], name: str, *, activation: int = 0, sides: tuple[int, ...] = (), **more: int
    ) -> int:
        random = np.random.default_rng(len(self.tensors))
        weight = self.constant(random.normal(size=(channels[1], 3, 3, channels[0])).astype(np.float32) / 4)
        bias = self.constant(random.normal(size=channels[1]).astype(np.float32) / 8)
        y = self.tensor(name, (*(sides or (1, HEIGHT, WIDTH)), channels[1]), "float32")
        how = {"Padding": 0, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1, **more}
        return self.op("CONV_2D", [x, weight, bias], y, Options("Conv2DOptions", {"FusedActivationFunction": activation, **how}))

    def turned(self, x: int, order: tuple[int, ...]) -> int:
        before = self.tensors[x]
        y = self.tensor(f"turned{x}", [before.shape[axis] for axis in order], before.kind)
        return self.op("TRANSPOSE", [x, self.constant(np.array(order, I32))], y)

    def enlarged(self, x: int) -> int:
        y = self.tensor("enlarged", (1, 2 * HEIGHT, 2 * WIDTH, 3), "float32")
        return self.op("DEPTH_TO_SPACE", [x], y, Options("DepthToSpaceOptions", {"BlockSize": 2}))

    def body(self, x: int) -> tuple[int, int]:
        """The features and the picture of an input of three channels, channels last."""
        features = self.conv(x, (3, 8), "features", activation=1)
        return features, self.enlarged(self.conv(features, (8, 12), "last"))

    def write(self, folder: Path, inputs: list[int], outputs: list[int]) -> Path:
        path = folder / "net.tflite"
        path.write_bytes(self.serialize(inputs, outputs, "another tool", {}))
        return path


@pytest.mark.parametrize("back", [True, False])
@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_channels_first_as_converters_of_pytorch_write_them(back: bool, kind: str, tmp_path: Path) -> None:
    net = Net()
    x = net.tensor("args_0", (1, 3, HEIGHT, WIDTH), kind, **({"scale": 1 / 255, "zero_point": -128} if kind == "int8" else {}))
    inner = x if kind == "float32" else net.op("DEQUANTIZE", [x], net.tensor("real", (1, 3, HEIGHT, WIDTH), "float32"))
    _, picture = net.body(net.turned(inner, (0, 2, 3, 1)))
    path = net.write(tmp_path, [x], [net.turned(picture, (0, 3, 1, 2)) if back else picture])
    network = file_network.load(path)  # compares with LiteRT
    assert (network.scale, network.channels) == (2, 3)
    found = readers.inspect(path)
    assert found.input_size == (HEIGHT, WIDTH)
    assert [node.op.kind for node in found.graph.nodes] == ["input", "conv", "conv", "pixel_shuffle"]


@pytest.mark.parametrize("place", [0, 1])
def test_of_several_outputs_the_picture_is_read(place: int, tmp_path: Path) -> None:
    net = Net()
    x = net.tensor("x", (1, HEIGHT, WIDTH, 3), "float32")
    features, picture = net.body(x)
    path = net.write(tmp_path, [x], [picture, features] if place == 0 else [features, picture])
    assert file_network.load(path).scale == 2
    found = readers.inspect(path)
    assert found.taken == place
    assert found.remarks == (f"{'the first' if place == 0 else 'enlarged'} of 2 outputs is read; left out: features",)


def test_several_inputs_are_named(tmp_path: Path) -> None:
    net = Net()
    x, level = net.tensor("x", (1, HEIGHT, WIDTH, 3), "float32"), net.tensor("noise", (1, 1), "float32")
    path = net.write(tmp_path, [x, level], [net.body(x)[1]])
    with pytest.raises(FileError, match=r"2 inputs \(x, noise\)"):
        readers.inspect(path)


def test_a_picture_in_half_precision(tmp_path: Path) -> None:
    net = Net()
    x = net.tensor("x", (1, HEIGHT, WIDTH, 3), "float16")
    inner = net.op("DEQUANTIZE", [x], net.tensor("real", (1, HEIGHT, WIDTH, 3), "float32"))
    assert file_network.load(net.write(tmp_path, [x], [net.body(inner)[1]])).scale == 2


def pooled(folder: Path, reads: str) -> Path:
    net = Net()
    x = net.tensor("x", (1, HEIGHT, WIDTH, 3), "float32")
    padded = net.tensor("padded", (1, HEIGHT + 2, WIDTH + 2, 3), "float32")
    amounts = np.array([[0, 0], [1, 1], [1, 1], [0, 0]], I32)
    net.op("PADV2", [net.conv(x, (3, 3), "first"), net.constant(amounts), net.constant(np.array(-np.inf, np.float32))], padded)
    sides = {"Padding": 1, "StrideH": 1, "StrideW": 1, "FilterHeight": 3, "FilterWidth": 3}
    y = net.tensor("pooled", (1, HEIGHT, WIDTH, 3), "float32")
    net.op(reads, [padded], y, Options("Pool2DOptions", sides))
    return net.write(folder, [x], [net.body(y)[1]])


def test_borders_that_lose_against_every_value(tmp_path: Path) -> None:
    assert file_network.load(pooled(tmp_path, "MAX_POOL_2D")).scale == 2
    with pytest.raises(UncountedError, match="padding with -inf"):
        file_network.load(pooled(tmp_path, "AVERAGE_POOL_2D"))


@pytest.mark.parametrize("operator", ["RELU", "MAX_POOL_2D"])
def test_a_picture_taken_apart_is_a_dilated_convolution(operator: str, tmp_path: Path) -> None:
    """With two rows more in front than behind, and a column cut off; operators that see neighbours are refused between."""
    net = Net()
    x = net.tensor("x", (1, HEIGHT, WIDTH, 3), "float32")
    block = net.constant(np.array([2, 3], I32))
    apart = net.tensor("apart", (6, HEIGHT // 2 + 2, WIDTH // 3 + 3, 8), "float32")
    first = net.conv(x, (3, 8), "first", activation=1)
    net.op("SPACE_TO_BATCH_ND", [first, block, net.constant(np.array([[3, 1], [3, 5]], I32))], apart)
    inside = net.conv(apart, (8, 8), "inside", sides=(6, HEIGHT // 2, WIDTH // 3 + 1), Padding=1)
    after = net.tensor("after", (6, HEIGHT // 2, WIDTH // 3 + 1, 8), "float32")
    sides = {"Padding": 0, "StrideH": 1, "StrideW": 1, "FilterHeight": 3, "FilterWidth": 3}
    net.op(operator, [inside], after, Options("Pool2DOptions", sides) if operator == "MAX_POOL_2D" else None)
    whole = net.tensor("whole", (1, HEIGHT, WIDTH, 8), "float32")
    net.op("BATCH_TO_SPACE_ND", [after, block, net.constant(np.array([[0, 0], [1, 1]], I32))], whole)
    path = net.write(tmp_path, [x], [net.enlarged(net.conv(whole, (8, 12), "last"))])
    if operator == "RELU":
        assert file_network.load(path).scale == 2
        assert readers.inspect(path).graph["inside"].op.dilation == (2, 3)
    else:
        with pytest.raises(UncountedError, match="taken apart"):
            file_network.load(path)


def test_a_transpose_without_its_operands_does_not_tell_the_order_of_axes(tmp_path: Path) -> None:
    net = Net()
    x = net.tensor("x", (1, HEIGHT, WIDTH, 3), "float32")
    _, picture = net.body(x)
    net.op("TRANSPOSE", [x], net.tensor("nothing", (1,), "float32"))
    found = readers.inspect(net.write(tmp_path, [x], [picture]))
    assert found.graph.uncounted == ("TRANSPOSE nothing: its order is left out",)
    net.op("TRANSPOSE", [], net.tensor("either", (1,), "float32"))
    with pytest.raises(FileError, match="cannot be read"):
        readers.inspect(net.write(tmp_path, [x], [picture]))


def test_an_output_that_is_taken_apart_is_refused(tmp_path: Path) -> None:
    net = Net()
    x = net.tensor("x", (1, HEIGHT, WIDTH, 3), "float32")
    apart = net.tensor("apart", (4, HEIGHT // 2, WIDTH // 2, 3), "float32")
    net.op("SPACE_TO_BATCH_ND", [x, net.constant(np.array([2, 2], I32)), net.constant(np.zeros((2, 2), I32))], apart)
    with pytest.raises(FileError, match="taken apart"):
        readers.inspect(net.write(tmp_path, [x], [apart]))


def test_a_place_that_is_not_there_is_named(tmp_path: Path) -> None:
    net = Net()
    x, y = net.tensor("x", (1, HEIGHT, WIDTH, 3), "float32"), net.tensor("y", (1, HEIGHT, WIDTH), "float32")
    begin, end, steps = (net.constant(np.array(at, I32)) for at in ([0, 0, 0, 5], [1, HEIGHT, WIDTH, 6], [1, 1, 1, 1]))
    net.op("STRIDED_SLICE", [x, begin, end, steps], y, Options("StridedSliceOptions", {"ShrinkAxisMask": 8}))
    assert "place 5 of 3" in readers.inspect(net.write(tmp_path, [x], [y])).graph.uncounted[0]


def test_the_width_of_what_lies_between_a_transposed_convolution_and_its_shuffle(tmp_path: Path) -> None:
    random, net = np.random.default_rng(0), Net()
    x = net.tensor("x", (1, HEIGHT, WIDTH, 3), "int8", scale=1 / 255, zero_point=-128)
    weight = net.tensor("w", (3, 4, 4, 3), "int8", scale=0.01, data=random.integers(-120, 120, (3, 4, 4, 3)).astype(np.int8))
    y = net.tensor("y", (1, 2 * HEIGHT, 2 * WIDTH, 3), "int8", scale=0.03)
    size = net.constant(np.array([1, 2 * HEIGHT, 2 * WIDTH, 3], I32))
    net.op("TRANSPOSE_CONV", [size, weight, x], y, Options("TransposeConvOptions", {"Padding": 0, "StrideH": 2, "StrideW": 2}))
    found = readers.inspect(net.write(tmp_path, [x], [y]))
    assert set(found.tensor_bits.values()) == {8}


def test_types_and_storage_that_are_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tflite

    net = Net()
    x = net.tensor("x", (1, HEIGHT, WIDTH, 3), "float32")
    path = net.write(tmp_path, [x], [net.body(x)[1]])
    monkeypatch.setattr(tflite.Tensor, "Sparsity", lambda self: object())
    with pytest.raises(FileError, match="sparse"):
        readers.inspect(path)
    monkeypatch.undo()
    monkeypatch.setattr(tflite.Tensor, "Type", lambda self: 99)
    with pytest.raises(FileError, match="'x' has the type 99"):
        readers.inspect(path)
