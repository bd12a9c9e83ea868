"""Profiles of tools: small ones in each tool's format, written here with times that a known device would take, read and fitted.

What is expected does not come from the readers: times are those of the device that made them, names and layouts stand here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from file_fuzzer import Tally

from hwmodels.device import catalogue
from hwmodels.device.device import Device
from hwmodels.device.facts import number, with_numbers
from hwmodels.device.values import Quantity
from hwmodels.errors import FileError, UsageError
from hwmodels.fitting import constants
from hwmodels.fitting.constants import Measurement
from hwmodels.numbers import Precision
from hwsearch.boards import timings
from hwsearch.boards.library import Library
from hwsearch.boards.profiles import found, tensorrt
from hwsearch.boards.profiles.match import match
from hwsearch.boards.profiles.profile import Document, Profile, TimedOperation, open_document
from hwsearch.cli.app import main

SAID = {"network": "espcn", "height": "90", "width": "160", "precision": "W8A8", "scale": "2"}
LAYERS = ("conv1", "tanh", "conv2", "tanh@2", "conv3", "shuffle", "sigmoid")
W8A8 = Precision.integers(8, 8)


def times(device: Device, layers: Sequence[str] = LAYERS) -> tuple[float, list[float]]:
    """Seconds of ESPCN on a device, whole and by layer."""
    workload = Library().workload("espcn", 2, "", 90, 160)
    whole, *each = constants.predict(
        device, [Measurement(workload, W8A8, 1.0, "", ())] + [Measurement(workload, W8A8, 1.0, "", (layer,)) for layer in layers]
    )
    return float(whole), [float(seconds) for seconds in each]


def document(text: str, name: str = "profile.txt") -> Document:
    return Document(Path(name), text)


def profile(text: str) -> Profile:
    known = found.read(document(text))
    assert known is not None
    return known


def read(tmp_path: Path, text: str, device: str = "jetson", **said: str) -> timings.Timings:
    path = tmp_path / "any-name.dat"
    path.write_text(text)
    return timings.read(path, catalogue.load(device), said={**SAID, **said})


def trt(entries: Sequence[tuple[str, float]], runs: int = 100) -> str:
    """As ``trtexec --exportProfile`` lays it out: one object a line, commas first."""
    total = sum(ms for _, ms in entries)
    lines = [f'  {{ "count" : {runs} }}']
    for name, ms in entries:
        share = 100 * ms / total if total else 0
        lines.append(
            f', {{ "name" : "{name}", "timeMs" : {runs * ms:g}, "averageMs" : {1.2 * ms!r}, "medianMs" : {ms!r}, '
            f'"percentage" : {share:g} }}'
        )
    return "[\n" + "\n".join(lines) + "\n]\n"


BENCHMARK = """\
INFO: STARTING!
INFO: Log parameter values verbosely: [0]
count=5 first=9000 curr=8800 min=8700 max=9000 avg=8820 std=90

Inference timings in us: Init: 1450, First inference: 9000, Warmup (avg): 8820, Inference (avg): {whole_us}
Profiling Info for Benchmark Initialization:
============================== Run Order ==============================
\t             [node type]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]
\t         AllocateTensors\t    5.000\t    5.000\t100.000%\t100.000%\t     0.000\t        1\tAllocateTensors/0

Operator-wise Profiling Info for Regular Benchmark Runs:
============================== Run Order ==============================
\t             [node type]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]
{rows}

============================== Top by Computation Time ==============================
\t             [node type]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]
\t                 CONV_2D\t  777.000\t  777.000\t 50.000%\t 50.000%\t     0.000\t        1\t[elsewhere]:9

Number of nodes executed: 7
"""
TENSORS = ("m/conv1/BiasAdd;m/conv1/Conv2D", "m/tanh", "m/conv2/BiasAdd", "m/tanh@2", "m/conv3/BiasAdd", "m/shuffle", "m/sigmoid")


def benchmark(whole_s: float, each_s: Sequence[float]) -> str:
    rows = [
        f"\t                 CONV_2D\t    9.000\t{1e3 * seconds:9.6f}\t 10.000%\t 10.000%\t     0.000\t        1\t[{name}]:{at}"
        for at, (name, seconds) in enumerate(zip(TENSORS, each_s, strict=True))
    ]
    return BENCHMARK.format(whole_us=f"{1e6 * whole_s:.2f}", rows="\n".join(rows))


def test_what_a_tensorrt_layer_was_fused_of() -> None:
    assert tensorrt.parts("/conv1/Conv + /act1/Relu") == ("/conv1/Conv", "/act1/Relu")
    assert tensorrt.parts("Conv_0 + PWN(Clip_3)") == ("Conv_0", "Clip_3")
    assert tensorrt.parts("PWN(PWN(/a/Sigmoid), /a/Mul)") == ("/a/Sigmoid", "/a/Mul")
    assert tensorrt.parts("/b1/Conv || /b2/Conv") == ("/b1/Conv", "/b2/Conv")
    assert tensorrt.parts("{ForeignNode[/a/Add.../z/Mul]}") == ()


def test_a_tensorrt_profile_on_its_layers(tmp_path: Path) -> None:
    text = trt(
        [
            ("Reformatting CopyNode for Input Tensor 0 to /conv1/Conv", 0.25),
            ("/conv1/Conv + PWN(/tanh/Tanh)", 0.5),
            ("/conv2/Conv", 0.75),
            ("PWN(/tanh_1/Tanh)", 0.125),
            ("/conv3/Conv", 0.375),
            ("{ForeignNode[/shuffle/DepthToSpace.../sigmoid/Sigmoid]}", 1.0),
        ]
    )
    read_ = read(tmp_path, text)
    by_layers = {m.layers: m.latency_s for m in read_.measurements}
    assert by_layers == {
        LAYERS: pytest.approx(3e-3),  # the sum of all, without the call
        ("conv1", "tanh"): 0.5e-3,  # the median, not the average
        ("conv2",): 0.75e-3,
        ("conv3",): 0.375e-3,
    }
    said = " ".join(read_.remarks)
    assert "2 of 6 steps, 38 % of the time" in said  # 1.125 ms of 3
    assert "1 copies between layers take 8 %" in said


def test_names_of_both_exporters_and_of_compilers() -> None:
    """A residual network's convolutions, nested and listed, by the names that PyTorch's exporter and ours give them."""
    library = Library()
    workload = library.workload("edsr", 2, "n_blocks=2 n_feats=8", 24, 24)
    nodes = [node.name for node in library.graph("edsr", 2, "n_blocks=2 n_feats=8")[0].nodes]
    given = {
        "/head/head.0/Conv": "head.0",
        "/net/body/body.0/Add": None,
        "/body/body.0/body/body.0/Conv": "body.0.body.0",
        "_body_body_1_body_body_2_Conv": "body.1.body.2",
        "_body_1_body_2_Conv": "body.1.body.2",
        "_wrapped_body_body_2_Conv": "body.2",
        "_body_body_1_body_body_7_Conv": None,
        "Conv:body.0.body.0.before": "body.0.body.0",
        "Add:body.0.add": "body.0.add",
        "body.0.body.2": "body.0.body.2",
        "/body.0/Conv": None,
        "/conv.2/Conv": None,
    }
    for name, layer in given.items():
        steps = (TimedOperation(name, 1.0, (name,)),)
        matched = match(Profile("a tool", 1.0, steps), workload, nodes)
        assert [layers for layers, _ in matched.times] == ([(layer,)] if layer else []), name


def test_numbered_convolutions_match_in_order_only_when_all_are_there(tmp_path: Path) -> None:
    names = ["Conv_0 + Tanh_1", "Conv_2 + Tanh_3", "Conv_4"]
    whole = read(tmp_path, trt([(name, 1.0) for name in names]))
    assert [m.layers for m in whole.measurements[1:]] == [("conv1", "tanh"), ("conv2", "tanh@2"), ("conv3",)]
    assert any("in their order" in remark for remark in whole.remarks)
    part = read(tmp_path, trt([("Conv_0", 1.0), ("Conv_4", 1.0)]))
    assert [m.layers for m in part.measurements] == [LAYERS]
    assert any("no step of 2" in remark for remark in part.remarks)


def test_benchmark_model_takes_the_table_of_regular_runs(tmp_path: Path) -> None:
    whole_s, each_s = times(catalogue.load("jetson"))
    read_ = read(tmp_path, benchmark(whole_s, each_s))
    assert read_.measurements[0].layers == ()
    assert read_.measurements[0].latency_s == pytest.approx(whole_s, abs=1e-8)
    by_layer = {m.layers[0]: m.latency_s for m in read_.measurements[1:]}
    long = {name: s for name, s in zip(LAYERS, each_s, strict=True) if s >= 0.01 * whole_s}
    assert by_layer == {name: pytest.approx(seconds, abs=1e-8) for name, seconds in long.items()}


@pytest.mark.parametrize(
    "text",
    [
        "Operator-wise Profiling Info for Regular Benchmark Runs:\n"
        "node type, start, first, avg_ms, %, cdf%, mem KB, times called, name\n"
        "CONV_2D, 0, 0.11, 2.5, 50%, 50%, 0, 1, [conv1]:0\n"
        "CONV_2D, 2.5, 0.03, 1.5, 30%, 80%, 0, 1, [conv2]:1\n\nnode type, count, avg_ms, avg %, cdf %, mem KB, times called\n",
        "node type,first,avg_ms,%,cdf%,mem KB,times called,name\n"
        "Convolution (NHWC, QS8) IGEMM,0.16,2.5,50%,50%,0,1,Delegate/Convolution (NHWC\t QS8) IGEMM:0\n"
        "Convolution (NHWC, QS8) DWConv,0.01,1.5,30%,80%,0,1,Delegate/Convolution (NHWC\t QS8) DWConv:1\n",
    ],
)
def test_tables_of_benchmark_model_as_csv(text: str) -> None:
    known = profile(text)
    assert [step.seconds for step in known.steps] == [2.5e-3, 1.5e-3]
    assert known.total_s == pytest.approx(4e-3)
    assert not known.with_call
    assert ("conv1",) in [step.parts for step in known.steps] or "delegate" in known.remarks[0]


def hub(whole_s: float, entries: Sequence[tuple[str, float, str]]) -> str:
    detail = [
        {"name": name, "type": "Conv2d", "compute_unit": unit, "execution_time": 1e6 * s, "execution_cycles": 1000}
        for name, s, unit in entries
    ]
    summary = {"estimated_inference_time": 1e6 * whole_s, "all_inference_times": [1e6 * whole_s], "first_load_time": 88000}
    return json.dumps({"execution_summary": summary, "execution_detail": detail})


def test_an_ai_hub_profile(tmp_path: Path) -> None:
    text = hub(4e-3, [("_conv1_Conv", 1e-3, "NPU"), ("_conv2_Conv_2d", 2e-3, "NPU"), ("_conv3_Conv", 0.9e-3, "npu")])
    read_ = read(tmp_path, text, "snapdragon-8gen3-hexagon")
    assert {m.layers: m.latency_s for m in read_.measurements} == {
        (): pytest.approx(4e-3),
        ("conv1",): pytest.approx(1e-3),
        ("conv3",): pytest.approx(0.9e-3),
    }  # what kind of operator Conv_2d is, nobody said: it stays in the total
    assert any("1 of 3 steps, 50 % of the time" in remark for remark in read_.remarks)


def test_what_fell_back_to_the_cpu_does_not_count_for_the_npu(tmp_path: Path) -> None:
    text = hub(4e-3, [("_conv1_Conv", 1e-3, "NPU"), ("_conv2_Conv", 2e-3, "CPU"), ("_conv3_Conv", 1e-3, "NPU")])
    read_ = read(tmp_path, text, "snapdragon-8gen3-hexagon")
    assert sorted(m.layers for m in read_.measurements) == [("conv1",), ("conv3",)]
    assert any("ran on the CPU, 50 % of the time" in remark for remark in read_.remarks)


ST_OLD = """\
Results for 10 inference(s) @84/84MHz (macc:{macs})
 duration    : 99.405 ms (average)
 CPU cycles  : 8350026 (average)
 cycles/MACC : 8.78 (average for all layers)

Inspector report (layer by layer)
Clayer  id  desc                          oshape            ms
0       0   10011/(Merged Conv2d / Pool)  (10, 15, 15, 16)  31.126
"""
ST_APPLICATION = """\
Results for "network", 16 inferences @216MHz/216MHz (complexity: {macs} MACC)
 duration     : 73.735 ms (average)
 CPU cycles   : 15926760 -458/+945 (average,-/+)
 cycles/MACC  : 5.58 (average for all layers)
"""
ST_NEW = """\
ST Edge AI Core v2.2.0
  nb sample(s)     : 10
  duration         : 21.125 ms by sample (21.120/21.130/0.002)
  macc             : {with_commas}
  cycles/MACC      : 3.21
  CPU cycles       : [8,111,222]
"""
ST_SECTION = """\
ST.AI Profiling results v2.0 - "network"
---------------------------------------------------------------
nb sample(s)   :   20
duration       :   21.125 ms by sample (21.120/21.130/0.002)
macc           :   {macs}
cycles/MACC    :   3.21
---------------------------------------------------------------

Inference time per node
------------------------------------------------------------
c_id    m_id   type            dur (ms)       %    cumul     name
0       0      Conv2D (0x103)    20.000   94.7%    94.7%     conv2d_0
------------------------------------------------------------
total                            21.125
"""


def espcn_macs() -> int:
    """By hand: 5x5 of 3 to 64 channels, 3x3 of 64 to 32, 3x3 of 32 to 12, at every pixel."""
    return 90 * 160 * (25 * 3 * 64 + 9 * 64 * 32 + 9 * 32 * 12)


@pytest.mark.parametrize(("text", "ms"), [(ST_OLD, 99.405), (ST_APPLICATION, 73.735), (ST_NEW, 21.125), (ST_SECTION, 21.125)])
def test_reports_of_st_over_their_releases(tmp_path: Path, text: str, ms: float) -> None:
    macs = espcn_macs()
    read_ = read(tmp_path, text.format(macs=macs, with_commas=f"{macs:,}"), "stm32h743")
    assert [(m.layers, m.latency_s) for m in read_.measurements] == [((), pytest.approx(1e-3 * ms))]
    assert any("only the time of the whole network" in remark for remark in read_.remarks)
    with pytest.raises(FileError, match=r"million multiply-accumulates"):
        read(tmp_path, text.format(macs=2 * macs, with_commas=f"{2 * macs:,}"), "stm32h743")


def test_a_report_of_st_that_ran_on_the_computer_is_refused(tmp_path: Path) -> None:
    """`validate` without a board prints the computer's time in the same words, but no cycles for each multiply-accumulate."""
    text = "".join(line for line in ST_SECTION.splitlines(keepends=True) if "cycles/MACC" not in line)
    with pytest.raises(FileError, match="that of the computer") as caught:
        read(tmp_path, "ST Edge AI Core v2.2.0\n" + text.format(macs=espcn_macs()), "stm32h743")
    assert "--mode target" in str(caught.value.hint)


def test_a_report_of_the_neural_art_counts_no_work(tmp_path: Path) -> None:
    text = "".join(line for line in ST_SECTION.splitlines(keepends=True) if "cycles/MACC" not in line)
    for counted in (text.format(macs=0), "".join(line for line in text.splitlines(keepends=True) if "macc" not in line)):
        assert profile(counted).macs is None
        assert read(tmp_path, counted, "stm32n6-neural-art").measurements[0].latency_s == pytest.approx(21.125e-3)


@pytest.mark.parametrize("holder", ["report", "graph", "nodes"])
def test_st_reports_as_json(tmp_path: Path, holder: str) -> None:
    macs, nodes = espcn_macs(), [{"name": "a", "macc": espcn_macs() - 5}, {"name": "b", "macc": 5}]
    graph: dict[str, object] = {"exec_time": {"duration_ms": 12.5, "cycles": 3_500_000, "device": "STM32H743"}}
    graph |= {"report": {}, "graph": {"macc": macs}, "nodes": {"nodes": nodes}}[holder]
    text = json.dumps({"report": {"rom_n_macc": macs} if holder == "report" else {}, "graph": graph})
    assert profile(text).macs == macs
    assert read(tmp_path, text, "stm32h743").measurements[0].latency_s == pytest.approx(12.5e-3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[ { "count" : 10 } ]', "nothing was timed"),
        (trt([("/conv1/Conv", 0.0)]), "nothing was timed"),
        (trt([("/conv1/Conv", 1.0)]).replace("1.0,", "-1.0,"), "no time of 0 or above"),
        (trt([("/conv1/Conv", 1.0)]).replace("1.0,", '"soon",'), "'soon'"),
        (trt([("/conv1/Conv", 1.0)]).replace("1.0,", "NaN,"), "nan"),
        ('[{"name": 3, "averageMs": 1}]', "has no name"),
        ("Inference timings in us: Init: 1, Inference (avg): ?", "Inference (avg) is '?'"),
        ("Inference timings in us: Init: 1, Inference (avg): 0", "nothing was timed"),
        ("node type,first,avg_ms,%,cdf%,mem KB,times called,name\n", "no operator of a regular run"),
        ('{"execution_summary": {}}', "estimated_inference_time"),
        ('{"execution_summary": {"estimated_inference_time": true}}', "True"),
        ('{"execution_summary": {"estimated_inference_time": 5}, "execution_detail": {"a": 1}}', "no list"),
        ('{"execution_summary": {"estimated_inference_time": 5}, "execution_detail": [7]}', "has no name"),
        ("X-CUBE-AI 7.3\n macc : 5", "holds no time"),
        ('{"graph": {"exec_time": {"duration_ms": -1}}}', "holds no time"),
        ('{"rom_n_macc": 7}', "holds no time"),
        ("cycles/MACC : 3\n duration : now ms", "'now'"),
    ],
)
def test_damaged_profiles_are_refused_with_the_reason(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(FileError) as caught:
        found.read(document(text))
    assert words in str(caught.value)
    assert caught.value.hint
    path = tmp_path / "p.json"
    path.write_text(text)
    arguments = ["devices", "calibrate", "jetson", "--measurements", str(path), "--out", str(tmp_path / "n.toml"), "--quiet"]
    assert main([*arguments, "--network", "espcn", "--input", "90x160", "--precision", "W8A8"]) == 3


def test_profiles_cut_short_never_break_the_program() -> None:
    """Whatever is left of a file is read, refused, or not known; nothing else happens."""
    tally = Tally()
    whole_s, each_s = times(catalogue.load("jetson"))
    for text in (
        trt([("/conv1/Conv + /tanh/Tanh", 0.5)] * 3),
        benchmark(whole_s, each_s)[-400:],
        hub(whole_s, [("conv1", 1e-3, "NPU")] * 3),
        ST_OLD.format(macs=5),
        json.dumps({"report": {"rom_n_macc": 5}, "graph": {"exec_time": {"duration_ms": 2.0}}}),
    ):
        for cut in range(0, 400, 23):
            for part in (text[:cut], text[cut:], text[:cut] + "\x00}" + text[cut + 1 :]):
                with tally.judging(FileError):
                    found.read(document(part))
    tally.check()


def test_texts_as_windows_writes_them_and_files_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_bytes(trt([("a", 1.0)]).encode("utf-16"))
    assert found.read(open_document(path)) == profile(trt([("a", 1.0)]))
    path.write_bytes(b"\x89PNG\xff\x00")
    with pytest.raises(FileError, match="not a text file"):
        open_document(path)
    path.write_text("[" * 100_000)
    assert found.read(open_document(path)) is None


def test_a_profile_needs_to_be_told_what_it_is_of(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text(trt([("a", 1.0)]))
    with pytest.raises(UsageError, match="--network NAME --input"):
        timings.read(path, catalogue.load("jetson"))
    with pytest.raises(UsageError, match="no network is called 'espn'"):
        timings.read(path, catalogue.load("jetson"), said={**SAID, "network": "espn"})
    path.write_text("network,height,width,precision,latency_ms\nespcn,90,160,W8A8,3\n")
    with pytest.raises(UsageError, match="leave the options out"):
        timings.read(path, catalogue.load("jetson"), said=SAID)


def test_a_profile_of_a_known_device_gives_its_constants_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the shipped file to a board half as fast, by one profile in a CSV file beside whole times."""
    start = catalogue.load("jetson")
    rate = number(start, "rates.W8A8") / 2
    truth = with_numbers(start, {"rates.W8A8": Quantity(value=rate)})
    whole_s, each_s = times(truth)
    (tmp_path / "bench.txt").write_text(benchmark(whole_s, each_s))
    csv = tmp_path / "t.csv"
    csv.write_text(
        "network,scale,height,width,precision,latency_ms,profile\n"
        f"espcn,2,90,160,W8A8,{1e3 * whole_s!r},\n"
        "espcn,2,90,160,W8A8,,bench.txt\n"
    )
    new = tmp_path / "new.toml"
    arguments = ["devices", "calibrate", "jetson", "--measurements", str(csv), "--out", str(new), "--json", "--quiet"]
    assert main([*arguments, "--free", "rates.W8A8"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert number(catalogue.load(str(new)), "rates.W8A8") == pytest.approx(rate, rel=0.01)
    assert told["median_error_before"] > 10 * told["median_error"]
    assert told["undetermined"] == []
    assert any("benchmark_model: the whole network" in remark for remark in told["remarks"])


def test_mistakes_about_profiles_in_a_csv_file(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("nothing of interest")
    (tmp_path / "cut.json").write_text('{"execution_summary": {}}')
    csv = tmp_path / "t.csv"
    csv.write_text(
        "network,height,width,precision,layer,latency_ms,profile\n"
        "espcn,90,160,W8A8,,3,text.txt\nespcn,90,160,W8A8,,,text.txt\nespcn,90,160,W8A8,,,gone.txt\n"
        "espcn,90,160,W8A8,conv1,,cut.json\nespcn,90,160,W8A8,,,cut.json\nespcn,90,160,W8A8,,,\n"
    )
    with pytest.raises(timings.TimingFileError) as caught:
        timings.read(csv, catalogue.load("jetson"))
    words = [
        "leave one of them",
        "no profile that is known",
        "no such file",
        "leave the layer empty",
        "estimated_inf",
        "not a number",
    ]
    assert len(caught.value.problems) == len(words)
    for at, (problem, part) in enumerate(zip(caught.value.problems, words, strict=True)):
        assert problem.startswith(f"line {at + 2}: ")
        assert part in problem
