"""Published weights load by their keys alone and reproduce the golden pairs and the published Set5 PSNR, as graphs too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hwsearch.quality.evaluate import Evaluator
from searchspaces.data import pictures
from searchspaces.ir.graph import Graph, execute
from searchspaces.networks import registry
from searchspaces.networks.adapted import value_range
from searchspaces.networks.registry import LoadedNetwork
from searchspaces.tasks.image import SuperResolution
from searchspaces.tasks.metrics import psnr_y
from searchspaces.tasks.task import Signature
from searchspaces.tracing.trace import trace

FILES = [
    *(f"fsrcnn_x{s}" for s in (2, 3, 4)),
    *(f"espcn_x{s}" for s in (2, 3, 4)),
    *(f"ecbsr_{size}_x{s}" for size in ("m4c16", "m4c32", "m6c40") for s in (2, 3, 4)),
    *(f"abpn_{size}_x{s}" for size in ("m4c28", "m6c40") for s in (2, 3, 4)),
    "vdsr_y",
    "imdn_x2",
    "imdn_x4",
    *(f"etds_{size}_x{s}" for size in ("m4c32", "m5c16", "m6c32", "m7c48") for s in (2, 3, 4)),
    *(f"lapsrn_y_x{s}" for s in (2, 4)),
    *(f"carn_m_x{s}" for s in (2, 3, 4)),
    *(f"{name}_x{s}" for name in ("pan", "bsrn", "srmdnf") for s in (2, 4)),
    "rfdn_aim_x4",
    "animevideov3_x4",
    "rrdb_anime6b_x4",
    "mobilesr_x4",
    "hit_srf_x4",
    "imdtn_x4",
    "ngswin_x2",
    "ngswin_x3",
    "eswt_24_6_x4",
]
ON_SET5 = [
    "fsrcnn_x2",
    "fsrcnn_x3",
    "fsrcnn_x4",
    "espcn_x2",
    "ecbsr_m4c16_x2",
    "ecbsr_m6c40_x2",
    "abpn_m4c28_x2",
    "abpn_m4c28_x3",
    "etds_m4c32_x2",
    "etds_m5c16_x3",
]
SLOW_ON_SET5 = ["imdn_x2", "vdsr_y"]
MEASURED_ON_SET5 = [
    *(f"lapsrn_y_x{s}" for s in (2, 4)),
    *(f"carn_m_x{s}" for s in (2, 3, 4)),
    *(f"{name}_x4" for name in ("pan", "rfdn_aim", "bsrn", "srmdnf", "animevideov3", "rrdb_anime6b")),
    *("imdtn_x4", "mobilesr_x4", "hit_srf_x4", "eswt_24_6_x4", "ngswin_x2", "ngswin_x3"),
]
TRACED_AT_ANOTHER_SCALE = ["ngswin_x3"]
"""Slow to trace, and the same graph but for its last two layers as another file here."""
OF_ONE_SIZE = ["hit_srf_x4", "imdtn_x4", "ngswin_x2", "eswt_24_6_x4"]
"""With masks of windows: traced at the size of the golden pair alone, which is one export where finding out takes up to five."""
NAMES = {"animevideov3": "srvgg", "carn_m": "carn_m", "hit_srf": "hit_srf"}
"""Networks that are not called as their file begins."""


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def _network(shared: Path, file: str) -> LoadedNetwork:
    scale = int(file[-1]) if file[-1].isdigit() else 2
    name = NAMES.get(file.removesuffix(f"_x{scale}"), file.partition("_")[0])
    return registry.load(name, scale=scale, weights=shared / "data" / "weights" / f"{file}.safetensors")


def _load(shared: Path, file: str, size: tuple[int, int] | None = None) -> tuple[LoadedNetwork, Graph]:
    network = _network(shared, file)
    factor = 1 if network.input_kind == "upsampled" else network.scale
    return network, trace(network.module, network.channels, file, factor, size)


@pytest.mark.parametrize("file", FILES)
def test_golden_pair(shared: Path, file: str) -> None:
    """The module and its canonical graph reproduce the output of the authors' own code."""
    golden = load_file(shared / "data" / "weights" / "golden" / f"{file}.safetensors")
    runs = [_network(shared, file).module]
    if file not in TRACED_AT_ANOTHER_SCALE:
        height, width = golden["input"].shape[2:]
        _, graph = _load(shared, file, (height, width) if file in OF_ONE_SIZE else None)
        assert graph.uncounted == ()
        runs.append(lambda x: execute(graph, x))
    for run in runs:
        with torch.no_grad():
            output = run(golden["input"])
        assert output.shape == golden["output"].shape
        assert float((output - golden["output"]).abs().max()) < 1e-5 * max(1.0, float(golden["input"].abs().max()))


def _published(shared: Path, file: str, scale: int) -> float:
    row = json.loads((shared / "data" / "weights" / "INDEX.json").read_text())[file]["set5_y_psnr_published"]
    return float(row[f"x{scale}"] if isinstance(row, dict) else row)


def _set5(shared: Path, network: LoadedNetwork, runs: list) -> list[float]:  # type: ignore[type-arg]
    """Mean PSNR-Y in dB on Set5 of each function in ``runs``."""
    scores = []
    for picture in pictures.load_folder(shared / "data" / "Set5"):
        pair = pictures.make_pair(picture.name, picture.rgb, network.scale, network.channels, network.input_kind)
        row = []
        for run in runs:
            with torch.no_grad():
                shown = run(pair.low).clamp(0, 1).mul(255).round()[0].permute(1, 2, 0).numpy()
            row.append(psnr_y(shown[..., 0] if network.channels == 1 else shown, pair.high, network.scale))
        scores.append(row)
    assert len(scores) == 5
    return [float(mean) for mean in np.mean(scores, axis=0)]


@pytest.mark.parametrize("file", ON_SET5)
def test_published_psnr(shared: Path, file: str) -> None:
    network, graph = _load(shared, file)
    module_db, graph_db = _set5(shared, network, [network.module, lambda x: execute(graph, x)])
    assert module_db == pytest.approx(_published(shared, file, network.scale), abs=0.05)
    assert graph_db == pytest.approx(module_db, abs=1e-3)


@pytest.mark.parametrize("file", SLOW_ON_SET5)
def test_published_psnr_of_large_networks(shared: Path, file: str) -> None:
    """The graph alone: that it equals the module is shown by the golden pair."""
    network, graph = _load(shared, file)
    (graph_db,) = _set5(shared, network, [lambda x: execute(graph, x)])
    assert graph_db == pytest.approx(_published(shared, file, network.scale), abs=0.05)


@pytest.mark.parametrize("file", MEASURED_ON_SET5)
def test_measured_psnr(shared: Path, file: str) -> None:
    """What the authors' own code gives for these weights, where nothing is published for the file or it was measured otherwise.
    The module: graphs of networks with masks are for one size each, and that others equal it is shown by the golden pairs."""
    network = _network(shared, file)
    network = value_range.wrapped(network, network.value_range, returns=True) if network.value_range else network
    (found_db,) = _set5(shared, network, [network.module])
    measured = json.loads((shared / "data" / "weights" / "INDEX.json").read_text())[file]["set5_y_psnr_measured"]
    assert found_db == pytest.approx(measured["mod_scale"], abs=0.05)


@pytest.mark.parametrize(("name", "scale", "least_db"), [("fsrcnn", 2, 36.6), ("abpn", 3, 33.53 - 0.4)])
def test_shipped_weights_reach_their_marks(shared: Path, name: str, scale: int, least_db: float) -> None:
    """FSRCNN-ReLU x2 on luma at least 36.6 dB on Set5; ABPN x3 within 0.4 dB of the published 33.53 dB."""
    network = registry.load(name, scale=scale)
    set5 = pictures.load_folder(shared / "data" / "Set5")
    pairs = pictures.pairs(set5, scale, network.channels, network.input_kind)
    graph = trace(network.module, network.channels, name)
    task = SuperResolution(Signature(scale, network.channels))
    assert Evaluator(lambda x: execute(graph, x), pairs, task).float_db >= least_db
