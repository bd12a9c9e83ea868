"""Timings from a file and from this machine: read, fitted, written; mistakes found all at once."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from fractional_network import STRIDED

from hwmodels.device import catalogue, device, reader
from hwmodels.device.facts import number, with_numbers
from hwmodels.device.sections.cpu import Cpu
from hwmodels.device.values import Quantity
from hwmodels.errors import FileError
from hwmodels.fitting import constants
from hwsearch.boards import board, host, timings
from hwsearch.boards.library import Library
from hwsearch.boards.pieces import Tokens, pieces
from hwsearch.boards.runtime import (
    FP32,
    INT8,
    Prepared,
    Subject,
    arbitrary_integers,
    block_channels,
    conv_graph,
    latencies,
    settled,
)
from hwsearch.boards.subjects import all_subjects
from hwsearch.cli.app import main
from hwsearch.documents.progress import Silent
from searchspaces.tracing.trace import trace

HEADER = "network,arguments,scale,height,width,layer,precision,latency_ms\n"


def write(path: Path, truth: device.Device, lines: list[str]) -> Path:
    """A CSV with the times that ``truth`` would take."""
    path.write_text(HEADER + "\n".join(f"{line},1" for line in lines) + "\n")
    exact = constants.predict(truth, timings.read(path, truth).measurements)
    path.write_text(
        HEADER + "# remark\n\n" + "\n".join(f"{line},{1e3 * s!r}" for line, s in zip(lines, exact.tolist(), strict=True))
    )
    return path


LINES = [
    "fsrcnn,,2,48,64,,W8A8",
    "fsrcnn,,2,180,320,,W8A8",
    "fsrcnn,d=32 s=5 m=1,2,180,320,,W8A8",
    "espcn,,2,90,160,,W8A8",
    "espcn,,2,90,160,conv2,W8A8",
]


@pytest.fixture
def truth() -> device.Device:
    numbers = {"rates.W8A8": 9e9, "overhead.inference_s": 2e-3}
    return with_numbers(catalogue.load("host"), {key: Quantity(value=value) for key, value in numbers.items()})


def test_lines_become_measurements(tmp_path: Path, truth: device.Device) -> None:
    found = timings.read(write(tmp_path / "t.csv", truth, LINES), truth).measurements
    assert [m.layers for m in found] == [(), (), (), (), ("conv2",)]
    assert found[1].workload.tensors[0].height == 180
    assert found[3].label == "line 7: espcn x2 90x160 W8A8"
    assert found[2].workload.macs < found[1].workload.macs


PLAIN = "network,height,width,precision,latency_ms\nfsrcnn,90,160,W8A8,3.25\nespcn,90,160,W8A8,1.5\n"


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.replace("\n", "\r\n"),
        "\ufeff" + PLAIN,
        PLAIN.replace("latency_ms", "Latency (ms)").replace("height", "Height [px]"),
        PLAIN.replace("latency_ms", "latency_[ms]").replace("width", "width (pixels)"),
        PLAIN.replace("latency_ms", "latency (\u00b5s)").replace("3.25", "3250").replace("1.5", "1500"),
        PLAIN.replace("latency_ms", "Latency ms"),
        PLAIN.replace("latency_ms", "latency (usec)").replace("3.25", "3250").replace("1.5", "1500"),
        PLAIN.replace("latency_ms", "latency (seconds)").replace("3.25", "0.00325").replace("1.5", "0.0015"),
        PLAIN.replace(",", "\t"),
        "sep=;\r\n" + PLAIN.replace(",", ";").replace(".", ","),
        "# of my board, 2 runs\n" + PLAIN.replace(",", ";"),
        "SEP=;\n" + PLAIN.replace(",", ";"),
        "  # of my board; 2, runs; warm\n" + PLAIN.replace(",", "\t"),
        '"# of my board; 2 runs"\n' + PLAIN.replace(",", "\t"),
    ],
)
def test_tables_as_spreadsheets_and_people_write_them(tmp_path: Path, truth: device.Device, text: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode("utf-8"))
    found = timings.read(path, truth).measurements
    assert [m.latency_s for m in found] == pytest.approx([3.25e-3, 1.5e-3])
    assert [m.workload.tensors[0].height for m in found] == [90, 90]


@pytest.mark.parametrize(("cells", "told"), [(("3,250", "1,500"), True), (("3,250", "1,5"), False), (("0,003", "1,500"), False)])
def test_a_comma_that_could_be_one_of_thousands_is_told(
    tmp_path: Path, truth: device.Device, cells: tuple[str, str], told: bool
) -> None:
    """Where no other number of the column shows that it is one of decimals."""
    path = tmp_path / "t.csv"
    path.write_text(PLAIN.replace(",", ";").replace("3.25", cells[0]).replace("1.5", cells[1]))
    found = timings.read(path, truth)
    assert found.measurements[1].latency_s == pytest.approx(1.5e-3)
    assert [remark for remark in found.remarks if "'3,250' is read as 3.250" in remark] == list(found.remarks)
    assert bool(found.remarks) == told


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (PLAIN.replace("latency_ms", "latency (h)"), "latency (h)"),
        (PLAIN.replace("height", "height (mm)"), "height (mm)"),
        (PLAIN.replace("3.25", "3.25 ms"), "without a unit"),
        (PLAIN.replace(",", "\t").replace("3.25", "3,250"), "3,250"),
        (PLAIN.replace(",", ";").replace("3.25", "1.003,25"), "'1.003,25' has a point where other lines have a decimal comma"),
        (PLAIN.replace(",", ";").replace("3.25", "3,25").replace("1.5", "1.500"), "'1.500' has a point"),
        (PLAIN.replace("3.25", '"3,25"'), "'3,25' is not a number above 0, without a unit; decimals have a point"),
        (PLAIN.replace("3.25", "3,25"), "a number with a decimal comma needs semicolons"),
        (PLAIN.replace("3.25", "1e30"), "latency_ms '1e30' is more than a day"),
        (PLAIN.replace(",", "|"), "no column has a name that is known"),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path: Path, truth: device.Device, text: str, words: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode("utf-8"))
    with pytest.raises(timings.TimingFileError, match=re.escape(words)):
        timings.read(path, truth)


@pytest.mark.parametrize("text", ['{"a": 1}', "\n[{broken"])
def test_json_of_no_known_tool_is_not_taken_for_a_table(tmp_path: Path, truth: device.Device, text: str) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(FileError, match="JSON, but no profile that is known"):
        timings.read(tmp_path / "p.json", truth)


def test_every_mistake_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    lines = ["fsrcn,,2,90,160,,W8A8,4", "fsrcnn,,7,18o,320,,W9A8,-5", "fsrcnn,dd=32,2,180,320,,W8A8,nan", ""]
    path.write_text(HEADER + "\n".join([*lines, "espcn,,2,90,160,conv9,FP16,3", "edsr,2"]))
    with pytest.raises(timings.TimingFileError) as caught:
        timings.read(path, catalogue.load("host"))
    wanted = [
        ("line 2", "no network is called 'fsrcn'. Did you mean fsrcnn"),
        ("line 3", "height '18o'"),
        ("line 3", "'W9A8' is not a precision"),
        ("line 3", "not made for scale 7"),
        ("line 3", "latency_ms '-5'"),
        ("line 4", "no argument 'dd'"),
        ("line 4", "latency_ms 'nan'"),
        ("line 6", "no layer 'conv9'"),
        ("line 7", "2 cells under 8 columns"),
    ]
    assert len(caught.value.problems) == len(wanted)
    for problem, (line, words) in zip(caught.value.problems, wanted, strict=True):
        assert problem.startswith(f"{line}: ")
        assert words in problem


@pytest.mark.parametrize(("heading", "cell"), [("size", "180x320"), ("Size (px)", "180 x 320"), ("size", "180×320")])
def test_height_and_width_may_stand_in_one_cell(tmp_path: Path, heading: str, cell: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"network,scale,{heading},precision,latency_ms\nespcn,2,{cell},W8A8,3\n")
    (found,) = timings.read(path, catalogue.load("host")).measurements
    assert (found.workload.tensors[0].height, found.workload.tensors[0].width) == (180, 320)


def test_a_size_that_is_none_is_told_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("network,size,precision,latency_ms\nespcn,180,W8A8,3\nespcn,0x320,W8A8,3\n")
    with pytest.raises(timings.TimingFileError) as caught:
        timings.read(path, catalogue.load("host"))
    first, second = caught.value.problems
    assert first == "line 2: size '180' is no height x width in pixels, as 180x320"
    assert second.startswith("line 3: height '0'")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file is empty"),
        ("network,size,height,precision,latency_ms\n", "size stands in place of height and width"),
        (HEADER, "no line with a timing"),
        ("network,hight,width,precision,latency_ms\n", "unknown column 'hight'. Did you mean height"),
        ("network,height,width,precision\n", "one column of latency_ms"),
        ("network,network,height,width,precision,latency_s\n", "'network' stands twice"),
    ],
)
def test_bad_headers(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(timings.TimingFileError) as caught:
        timings.read(path, catalogue.load("host"))
    assert any(words in problem for problem in caught.value.problems), caught.value.problems


def test_a_board_is_fitted_and_written_beside_the_old_file(
    tmp_path: Path, truth: device.Device, capsys: pytest.CaptureFixture[str]
) -> None:
    csv, old, new = write(tmp_path / "t.csv", truth, LINES), tmp_path / "board.toml", tmp_path / "new.toml"
    old.write_text(reader.shipped_text("host"))
    before = old.read_text()
    arguments = ["devices", "calibrate", str(old), "--measurements", str(csv), "--out", str(new), "--json", "--quiet"]
    assert main([*arguments, "--free", "rates.W8A8", "--free", "overhead.inference_s"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["median_error"] < 0.01
    assert document["held_out_median_error"] < 0.05
    assert document["undetermined"] == []
    assert old.read_text() == before
    fitted = catalogue.load(str(new))
    assert number(fitted, "rates.W8A8") == pytest.approx(9e9, rel=0.02)
    assert "fitted to 5 measurements of t.csv" in new.read_text()
    assert main([*arguments[:5], "--out", str(old)]) == 2  # never over the old file


def test_too_few_timings_are_said_to_be_too_few(tmp_path: Path, truth: device.Device, capsys: pytest.CaptureFixture[str]) -> None:
    csv = write(tmp_path / "t.csv", truth, LINES[1:2])
    assert main(["devices", "calibrate", "host", "--measurements", str(csv), "--out", str(tmp_path / "n.toml"), "--quiet"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Warning: the timings" in said
    assert "More sizes, networks or single layers would tell more" in said


def test_a_fit_that_tells_nothing_of_its_timings_is_said_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    csv = tmp_path / "t.csv"
    csv.write_text(HEADER + "fsrcnn,,2,48,64,,W8A8,1\nfsrcnn,,2,48,64,,W8A8,100\n")
    assert main(["devices", "calibrate", "host", "--measurements", str(csv), "--out", str(tmp_path / "n.toml"), "--quiet"]) == 0
    assert "after the fit the timings are off by" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(("factor", "said"), [(1e-3, "times shorter"), (1e3, "times longer"), (2.0, "")])
def test_timings_in_another_unit_are_pointed_out(
    factor: float, said: str, tmp_path: Path, truth: device.Device, capsys: pytest.CaptureFixture[str]
) -> None:
    csv = write(tmp_path / "t.csv", truth, LINES[:2])
    rows = [line.rpartition(",") for line in csv.read_text().splitlines()]
    lines = [f"{row},{factor * float(time)}" if row.startswith("fsrcnn") else row + comma + time for row, comma, time in rows]
    csv.write_text("\n".join(lines))
    assert main(["devices", "calibrate", "host", "--measurements", str(csv), "--out", str(tmp_path / "n.toml"), "--quiet"]) == 0
    found = " ".join(capsys.readouterr().out.split())
    assert (said in found) if said else ("in the unit that the file says" not in found)


def test_timings_are_needed_for_a_board(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "calibrate", "jetson"]) == 2
    assert "--measurements" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["jetson", "stm32h743", "rk3588", "ethos-u55-128", "host"])
def test_what_is_free_by_default_exists(name: str) -> None:
    target = catalogue.load(name)
    workload = Library().workload("espcn", 2, "", 16, 16)
    measured = [constants.Measurement(workload, INT8, 1.0, "x")]
    free = board.free_constants(target, measured)
    assert "rates.W8A8" in free
    assert "overhead.inference_s" in free
    assert np.isfinite(constants.fit(target, measured, free).predicted_s).all()


def test_this_machine_is_timed_and_fitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few subjects only: that the steps fit together. The accuracy is measured by tests/bench/host_accuracy.py."""
    few = all_subjects()[:12:2] + all_subjects()[1:12:2]
    monkeypatch.setattr(host, "all_subjects", lambda: few)
    monkeypatch.setattr(host, "LANES", ())
    monkeypatch.setenv("HWSEARCH_HOME", str(tmp_path))
    shipped = catalogue.load("host")
    found = host.fit(host.measure(1, Silent(), rounds=3), 1, Silent())
    path = host.write(found)
    assert path == tmp_path / "devices" / "host.toml"
    own = catalogue.load("host")
    assert own.device_sha256 != shipped.device_sha256
    assert "timings of this machine" in path.read_text()
    assert number(own, "rates.W8A8") == pytest.approx(number(found.device, "rates.W8A8"), rel=1e-4)
    path.unlink()
    assert catalogue.load("host").device_sha256 == shipped.device_sha256


def test_larger_layers_take_longer() -> None:
    small, large = (Subject("x", conv_graph(16, 16, 3), side, side, FP32, "x") for side in (32, 128))
    steps: list[int] = []
    times = latencies([small, large], 1, 3, lambda: steps.append(1))
    assert times[1] > 4 * times[0]
    assert len(steps) == 2 * (3 + 1)


def test_all_subjects_can_be_exported_and_priced() -> None:
    subjects = all_subjects()
    assert len({subject.label for subject in subjects}) == len(subjects)
    assert np.isfinite(constants.predict(catalogue.load("host"), [subject.measured(1.0) for subject in subjects])).all()
    quantized = arbitrary_integers(conv_graph(4, 8, 3))
    assert int(quantized.layers["conv"].weight.max()) == 127


def test_a_piece_of_a_transformer_runs_in_integers() -> None:
    graph, height, width = next(found for found in pieces() if found[0].name == "products 32")
    prepared = Prepared(Subject("products", graph, height, width, INT8, "products"), 1)
    assert prepared.seconds() > 0


def test_what_transformers_compute_has_constants_of_its_own() -> None:
    """Each constant changes the price of the pieces that do its work, and of no other; a device file without them is priced as
    it was before they were told apart."""
    shipped = catalogue.load("host")
    of_32 = [piece for piece in pieces() if "32" in piece[0].name]
    made = {graph.name: Subject(graph.name, graph, height, width, FP32, "").measured(1.0) for graph, height, width in of_32}
    usual = {name: constants.predict(shipped, [measured])[0] for name, measured in made.items()}

    def changed(constant: str) -> set[str]:
        key = f"cpu.kernels.FP32.{constant}"
        factor = {"product": 0.5, "dense": 0.5, "visit_depth": 10}.get(constant, 2)
        dearer = with_numbers(shipped, {key: Quantity(value=number(shipped, key) * factor)})
        now = {name: constants.predict(dearer, [measured])[0] for name, measured in made.items()}
        return {name.split()[0] for name in made if now[name] > 1.001 * usual[name]}

    assert changed("normalize_s") == {"norms", "block"}
    assert changed("row_s") == {"norms", "attention", "block", "narrow"}
    assert changed("softmax_s") == {"attention", "block", "narrow"}
    products = {"products", "thin", "attention", "block", "narrow"}
    assert changed("product") == changed("matrix_s") == products
    assert changed("dense") == changed("visit_depth") == {*products, "perceptron", "windows"}
    assert changed("transpose_s") == {"products", "thin", "attention", "block", "windows", "narrow"}
    assert changed("lookup_s") == {"functions", "perceptron", "block"}
    assert changed("copy_s") == {"shifts", "products", "thin", "attention", "block", "windows", "narrow"}
    text = reader.shipped_text("host")
    old = "\n".join(line for line in text.splitlines() if line.split(" ")[0] not in ("transpose_s", "normalize_s", "softmax_s"))
    kernel = catalogue.load_text(old, "host.toml").own(Cpu).kernels["FP32"]
    moved = np.prod(made["norms 32"].workload.tensors[0].axes)  # of 3 channels; the tokens have 32
    tokens = moved // 3 * 32
    less = usual["norms 32"] - constants.predict(catalogue.load_text(old, "host.toml"), [made["norms 32"]])[0]
    new = shipped.own(Cpu).kernels["FP32"]
    assert new.normalize_s is not None
    normalized = 4 * tokens * (new.normalize_s.value - 2 * kernel.elementwise_s.value)
    assert less == pytest.approx(normalized, rel=1e-6)


def test_rows_of_dense_layers_of_codes_begin_anew() -> None:
    shipped = catalogue.load("host")
    dearer = with_numbers(shipped, {"cpu.kernels.W8A8.row_s": Quantity(value=number(shipped, "cpu.kernels.W8A8.row_s") + 1e-6)})
    found = next(piece for piece in pieces() if piece[0].name == "perceptron 32")
    for precision, rows in ((INT8, 2 * 32 * 48), (FP32, 0)):
        measured = [Subject("x", *found, precision, "").measured(1.0)]
        more = constants.predict(dearer, measured)[0] - constants.predict(shipped, measured)[0]
        assert more == pytest.approx(rows * 1e-6, abs=1e-12)


def test_normalizations_across_planes_that_share_a_set_of_the_cache_are_dearer() -> None:
    """Planes of 32x32 numbers of single precision lie 4096 bytes apart; of 32x33, they do not."""
    shipped, seconds = catalogue.load("host"), []
    for width in (32, 33):
        tokens = Tokens(16, torch.nn.Sequential(torch.nn.LayerNorm(16))).eval()
        graph = trace(tokens, 3, "norm", scale=1, size=(32, width))
        seconds.append(constants.predict(shipped, [Subject("norm", graph, 32, width, FP32, "").measured(1.0)])[0] / width)
    assert seconds[0] > 1.2 * seconds[1]


def test_patches_of_codes_that_leave_the_cache_pass_the_memory() -> None:
    """A layer four times as large takes longer than four times, once its patches are larger than the last cache."""
    shipped = catalogue.load("host")
    cache = number(shipped, "memory.onchip.bytes")

    def seconds(side: int) -> float:
        graph = conv_graph(64, 8, 3)
        return float(constants.predict(shipped, [Subject("x", graph, side, side, INT8, "").measured(1.0)])[0])

    assert cache < 128**2 * 64 * 9
    more = seconds(128) - 4 * seconds(64)
    written_and_read = 2 * (128**2 * 64 * 9 - cache) / number(shipped, "memory.dram.bytes_per_s")
    assert more == pytest.approx(written_and_read, rel=0.1)


def test_blocks_are_those_that_onnx_runtime_pads_to() -> None:
    blocks = block_channels()
    assert blocks is None or blocks in (4, 8, 16)
    if torch.backends.cpu.get_cpu_capability() == "AVX512":
        assert blocks == 16


def test_a_time_is_settled_when_its_median_is_known() -> None:
    """The standard error of a median of n normal draws is sqrt(pi / 2 / n) deviations."""
    rng = np.random.default_rng(0)
    still, noisy = 1 + 0.001 * rng.standard_normal((9, 1)), 1 + 0.5 * rng.standard_normal((9, 1))
    assert settled(np.concatenate([still, noisy], axis=1)).tolist() == [True, False]
    many = 1 + 0.5 * rng.standard_normal((9000, 1))
    assert settled(many).tolist() == [True]  # 0.5 * sqrt(pi / 2 / 9000) is 0.7 %


def test_a_network_that_reads_no_picture_is_timed_as_it_is(tmp_path: Path) -> None:
    """Its own channels count, whatever they are made from."""
    (tmp_path / "net.py").write_text("from torch import nn\n\ndef build():\n    return nn.Conv2d(12, 48, 3, padding=1)\n")
    workload = Library({"own": f"{tmp_path / 'net.py'}:build"}).workload("own", 4, "", 20, 24)
    assert [layer.macs for layer in workload.layers] == [20 * 24 * 9 * 12 * 48]


def test_a_network_of_ones_own_may_enlarge_by_a_fraction(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(STRIDED)
    path = tmp_path / "t.csv"
    path.write_text("network,scale,size,precision,latency_ms\nmine,3/2,24x32,W8A8,3\nmine,1.5,24x32,W8A8,3\n")
    known = Library({"mine": f"{tmp_path / 'net.py'}:build"})
    found = timings.read(path, catalogue.load("host"), known).measurements
    assert [m.workload.macs for m in found] == [24 * 32 * 4 * 9 * (1 + 9) + 36 * 48 * 9] * 2
    path.write_text(
        "network,scale,size,precision,latency_ms\nmine,4/3,24x32,W8A8,3\nmine,0,24x32,W8A8,3\nespcn,1.5,24x32,W8A8,3\n"
    )
    with pytest.raises(timings.TimingFileError) as caught:
        timings.read(path, catalogue.load("host"), known)
    words = ("enlarges 1.5 times, not 4/3 times", "not above 0", "not made for scale 1.5")
    assert all(word in problem for word, problem in zip(words, caught.value.problems, strict=True))
