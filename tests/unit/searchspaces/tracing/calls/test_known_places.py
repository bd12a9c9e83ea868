"""Places that a network knows beforehand, powers and products, kernels that are computed, clips, pooling by number of windows:
graph and module are compared at sizes at which ``trace`` has not compared them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from spelled import Spelled
from torch import Tensor

from searchspaces.ir.graph import Node, execute
from searchspaces.tracing.trace import trace

SWAPPED, TWICE = torch.tensor([1, 0, 3]), torch.tensor([7, 6, 5, 4, 3, 2, 1, 1])
BANK, SLOPES = torch.linspace(-1, 1, 4 * 8 * 8 * 9).view(4, 8, 8, 3, 3), torch.linspace(0.2, 2, 8).view(1, 8, 1, 1)
KERNELS = torch.linspace(-1, 1, 8 * 8 * 3)


def _written(y: Tensor) -> Tensor:
    z = y.clone()
    z[:, SWAPPED] = torch.relu(y[:, :3])
    return z


def _shifted(y: Tensor) -> Tensor:
    z = torch.zeros_like(y)
    z[:, :2, 1:] = y[:, :2, :-1]
    z[:, 2:4, :, :-1] = y[:, 2:4, :, 1:]
    z[:, 4:] = y[:, 4:]
    return z


def _mixed_kernels(y: Tensor) -> Tensor:
    b, c, h, w = y.shape
    shares = torch.softmax(y.mean((2, 3))[:, :4], 1)
    kernels = (shares @ BANK.view(4, -1)).view(b * 8, 8, 3, 3)
    return F.conv2d(y.reshape(1, b * c, h, w), kernels, padding=1, groups=b).view(b, 8, h, w)


def _kernels_a_channel(y: Tensor) -> Tensor:
    kernels = F.adaptive_avg_pool2d(y, 3).view(-1, 1, 3, 3)
    return F.conv2d(y.view(1, -1, *y.shape[2:]), kernels, y.mean((0, 2, 3)), stride=1, padding=1, groups=len(kernels)).view_as(y)


ANY_SIZE: dict[str, Callable[[Tensor], Tensor]] = {
    "index_add": lambda y: torch.zeros_like(y).index_add(1, TWICE, y) + y.index_add(1, SWAPPED, y[:, :3], alpha=0.5),
    "index_copy": lambda y: y.index_copy(1, SWAPPED, torch.relu(y[:, :3])),
    "written by index": _written,
    "scatter": lambda y: torch.zeros_like(y).scatter(1, torch.arange(7, -1, -1).view(1, 8, 1, 1).expand_as(y), y),
    "scatter_add": lambda y: torch.ones_like(y).scatter_add(1, TWICE.view(1, 8, 1, 1).expand_as(y), y),
    "gather": lambda y: y.gather(1, TWICE.view(1, 8, 1, 1).expand_as(y)),
    "taken along an axis": lambda y: torch.take_along_dim(y, TWICE.view(1, 8, 1, 1), 1),
    "shifted into zeros": _shifted,
    "product": lambda y: y * torch.sigmoid(y).prod(1, keepdim=True) + torch.sigmoid(y[:, :5]).prod(dim=1).unsqueeze(1),
    "power of tensors": lambda y: torch.sigmoid(y) ** torch.sigmoid(y.flip(1)),
    "power by channel": lambda y: (y.abs() + 0.1) ** SLOPES + SLOPES ** torch.sigmoid(y),
    "power of zero": lambda y: torch.relu(y) ** SLOPES,
    "generalized mean": lambda y: F.avg_pool2d(y.clamp(min=1e-6) ** torch.tensor([3.0]), 3, 1, 1) ** (1 / torch.tensor([3.0])),
    "mixed kernels": _mixed_kernels,
    "pictures of a clip": lambda y: F.conv3d(y.unsqueeze(2), KERNELS.view(8, 8, 1, 3, 1), padding=(0, 1, 0)).squeeze(2),
    "through a clip": lambda y: F.conv3d(
        y.view(-1, 2, 4, *y.shape[2:]), KERNELS[:12].view(2, 2, 3, 1, 1), padding=(1, 0, 0)
    ).flatten(1, 2),
    "means of a clip": lambda y: F.avg_pool3d(y.unsqueeze(1), (3, 3, 5), 1, (1, 1, 2)).squeeze(1),
    "local response": lambda y: F.local_response_norm(y, 3, alpha=1.0),
    "means of rows and columns": lambda y: (
        y
        * torch.sigmoid(F.adaptive_avg_pool2d(y, (None, 1)) + F.adaptive_max_pool2d(y, (1, y.shape[3])))
        * F.avg_pool2d(y, (1, y.shape[3]))
    ),
}
ONE_SIZE: dict[str, Callable[[Tensor], Tensor]] = {
    "uneven means": lambda y: y * F.interpolate(F.adaptive_avg_pool2d(y, (5, 7)), size=y.shape[2:]),
    "uneven extremes": lambda y: y * F.interpolate(F.adaptive_max_pool2d(y, (y.shape[2] // 5, 3)), size=y.shape[2:]),
    "kernels a channel": _kernels_a_channel,
    "constant grid": lambda y: F.grid_sample(
        y, F.affine_grid(torch.tensor([[[1.0, 0.0, 0.1], [0.0, 0.9, 0.05]]]), [1, *y.shape[1:]], align_corners=False),
        align_corners=False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ANY_SIZE)
def test_any_size(name: str) -> None:
    module = Spelled(ANY_SIZE[name]).eval()
    graph = trace(module, 3, name)
    assert (graph.uncounted, graph.size, graph.multiple) == ((), None, 1)
    x = torch.rand(1, 3, 33, 22)
    with torch.no_grad():
        assert torch.allclose(execute(graph, x), module(x), atol=1e-5)


@pytest.mark.parametrize("name", ONE_SIZE)
def test_one_size(name: str) -> None:
    module = Spelled(ONE_SIZE[name]).eval()
    graph = trace(module, 3, name, size=(33, 22))
    assert graph.uncounted == ()
    x = torch.rand(1, 3, 33, 22)
    with torch.no_grad():
        assert torch.allclose(execute(graph, x), module(x), atol=1e-5)


REFUSED: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "random": (lambda y: F.gumbel_softmax(y, dim=1), "random numbers"),
    "added noise": (lambda y: y + torch.randn(1, 8, 1, 1), "random numbers"),
    "places of values": (lambda y: y.gather(1, y.argsort(1)), "which places it takes depends"),
    "a place for every value": (
        lambda y: y.gather(2, torch.arange(y[0].numel()).view(1, *y.shape[1:]) % y.shape[2]), "every value has a place of its own"
    ),
    "three axes": (lambda y: F.conv3d(y.unsqueeze(1), KERNELS[:27].view(1, 1, 3, 3, 3), None, 1, 1)[:, 0], "three axes at once"),
    "many factors": (lambda y: y * y.repeat(1, 20, 1, 1).prod(1, keepdim=True), "more than 128 values"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_by_its_reason(name: str) -> None:
    spelling, reason = REFUSED[name]
    found = trace(Spelled(spelling).eval(), 3, name).uncounted
    assert any(reason in line for line in found)


def test_no_tensor_of_a_power_is_infinite() -> None:
    """Its logarithm at zero would be; ranges of integers could not be found."""
    graph = trace(Spelled(ANY_SIZE["power of zero"]).eval(), 3, "power")
    held: dict[str, Tensor] = {}

    def note(node: Node, value: Tensor) -> None:
        held[node.name] = value

    execute(graph, torch.rand(1, 3, 12, 12), note)
    assert any(bool((held[node.inputs[0]] < 1e-6).any()) for node in graph.nodes if node.op.kind == "log")
    assert all(bool(torch.isfinite(value).all()) for value in held.values())
