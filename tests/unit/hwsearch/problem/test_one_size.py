"""Networks that are another graph for each size of the picture, as window attention with masks is."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
from block_networks import build
from PIL import Image
from torch import nn

from hwmodels.device import catalogue
from hwmodels.errors import FileError
from hwsearch.documents.progress import Silent
from hwsearch.pipeline.optimize import optimize
from hwsearch.plans import compare_methods, plan_file, pricing, recheck
from hwsearch.problem.pictures import choose_pictures
from hwsearch.problem.pose import pose
from hwsearch.problem.request import Request
from hwsearch.problem.sizes import ONE_SIZE
from hwsearch.search import ranking
from searchspaces.data.decoding import load_picture
from searchspaces.data.pictures import shipped
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
    assert "at 64x64 pixels" in said
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


def test_pictures_that_are_too_small_name_the_way_out() -> None:
    request = Request(target="jetson", input_size=(360, 640))
    network = loaded(build("shifted"))
    with pytest.raises(FileError, match=r"1280x1280 pixels here. The network is made for .* 360x640 pixels.*smaller --input"):
        choose_pictures(request, pose(request, network).network)


def written(folder: Path, *sizes: tuple[int, int]) -> Path:
    """A folder of noise pictures of these heights and widths."""
    random = np.random.default_rng(0)
    for number, size in enumerate(sizes):
        Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


def test_pictures_that_are_smaller_decide_the_size(tmp_path: Path) -> None:
    folder = written(tmp_path, (140, 100), (150, 120), (120, 160), (200, 200))
    request = Request(target="jetson", images=folder)
    problem = pose(request, loaded(build("shifted")))
    assert problem.input_size == problem.graph.size == (56, 48)  # 60x50 are in all of them, 8 divides 56x48
    assert "at 56x48 pixels" in problem.network.remarks[0]
    photos = choose_pictures(request, problem.network)
    assert {tuple(sample.low.shape[2:]) for role in (photos.crops, photos.search, photos.evaluation) for sample in role} == {
        (56, 48)
    }


def test_a_price_needs_no_pictures(tmp_path: Path) -> None:
    problem = pose(Request(target="jetson", images=tmp_path / "nowhere"), loaded(build("shifted")))
    assert problem.input_size == (64, 64)


def own_file(folder: Path) -> str:
    """A file with such a network that enlarges four times, and its callable."""
    file = folder / "mine.py"
    file.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(Path(inspect.getfile(build)).parent)!r})\n"
        "from block_networks import build as block\n"
        "from torch import nn\n"
        "def build(scale=4):\n"
        "    return nn.Sequential(block('shifted'), nn.Upsample(scale_factor=2))\n"
    )
    return f"{file}:build"


def test_a_price_says_for_which_size_it_is(tmp_path: Path) -> None:
    price = pricing.estimate(Request(model=own_file(tmp_path), scale=4, target="jetson"), "W8A8")
    (said,) = (remark for remark in price.remarks if "depends on the size of the picture" in remark)
    assert "at {}x{} pixels".format(*price.problem.input_size) in said


def test_methods_and_proxies_are_compared_on_such_a_network_at_any_scale(tmp_path: Path) -> None:
    """At x4 the photos that ship are 60 pixels wide, less than ``ONE_SIZE``."""
    request = Request(
        model=own_file(tmp_path), scale=4, target="jetson", probes=10, force=True, weight_bits=(8,), activation_bits=(8, 16)
    )
    assert min(load_picture(photo.path).shape[0] for photo in shipped()) < 4 * ONE_SIZE[0]
    found = compare_methods.compare(request, [(8, 8)], ["minmax"], pictures=1)
    assert found.input_size == (56, 56)
    (row,) = found.rows
    assert np.isfinite(row.quality_db)
    assert len(ranking.compare(request).plans) == 10


def test_a_comparison_says_for_which_pictures_it_priced() -> None:
    found = compare_methods.compare(Request(target="stm32h743", input_size=(24, 32)), [(8, 8)], ["minmax"], pictures=1)
    assert found.input_size == (24, 32)


def test_its_plans_are_validated_on_the_middle_of_pictures(tmp_path: Path) -> None:
    """Those of its run, and others, which are larger than the network takes."""
    made = optimize(
        Request(
            model=own_file(tmp_path),
            scale=4,
            target="stm32h743",
            weight_bits=(8,),
            activation_bits=(8,),
            probes=4,
            evaluations=0,
            quick=True,
            force=True,
            run_dir=tmp_path / "run",
        )
    )
    (proven,) = (plan for plan in made.front if plan.measured is not None)
    assert proven.measured is not None
    opened = plan_file.open_plan(tmp_path / "run" / "plans" / f"{proven.name}.json", own_file(tmp_path))
    verdict = recheck.recheck(opened, "ort", None, Silent())
    assert (verdict.recorded_db, verdict.middle) == (proven.measured.quality_db, (proven.input_height, proven.input_width))
    (tmp_path / "larger").mkdir()
    verdict = recheck.recheck(opened, "engine", written(tmp_path / "larger", (300, 280)), Silent())
    assert verdict.recorded_db is None
    assert verdict.codes == 3 * 16 * proven.input_height * proven.input_width
