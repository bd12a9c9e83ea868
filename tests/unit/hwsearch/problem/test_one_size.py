"""Networks that are another graph for each size of the picture, as window attention with masks is."""

from __future__ import annotations

from pathlib import Path

import pytest
from block_networks import build
from torch import nn

from hwmodels.device import catalogue
from hwmodels.errors import FileError
from hwsearch.problem.pose import Request, choose_pictures, pose
from searchspaces.networks.registry import LoadedNetwork


def loaded(module: nn.Module) -> LoadedNetwork:
    """The network, its pictures enlarged twice."""
    return LoadedNetwork(nn.Sequential(module, nn.Upsample(scale_factor=2)), "mine", 2, 3, "low", "", {})


def test_without_a_size_it_is_searched_where_pictures_are_large_enough() -> None:
    request = Request(target="jetson")
    assert catalogue.load("jetson").default_input > (64, 64)
    problem = pose(request, loaded(build("shifted")))
    assert problem.input_size == problem.graph.size == problem.network.only == (64, 64)
    (said,) = problem.network.remarks
    assert "64x64 pixels here" in said
    assert "--input HxW" in said
    assert {sample.low.shape[-2:] for sample in choose_pictures(request, problem.network).evaluation} == {(64, 64)}


def test_the_size_that_is_asked_for_is_taken() -> None:
    problem = pose(Request(target="jetson", input_size=(72, 80)), loaded(build("shifted")))
    assert problem.input_size == problem.graph.size == (72, 80)
    assert not problem.network.remarks


def test_a_network_for_all_sizes_is_priced_at_the_size_of_the_device() -> None:
    problem = pose(Request(target="jetson"), loaded(build("swin")))
    assert problem.graph.size is None
    assert problem.input_size == catalogue.load("jetson").default_input
    assert not problem.network.remarks


def test_pictures_that_are_too_small_name_the_way_out(tmp_path: Path) -> None:
    request = Request(target="jetson", input_size=(360, 640))
    network = loaded(build("shifted"))
    with pytest.raises(FileError, match=r"1280x1280 pixels here. The network is made for .* 640x360 pixels.*smaller --input"):
        choose_pictures(request, pose(request, network).network)
