"""Fitting a device's constants: found again from timings made with them, and honest about what timings do not tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cost_twins import edsr

from hwmodels import cost
from hwmodels.device import catalogue, device
from hwmodels.device.facts import number, with_numbers
from hwmodels.device.values import Quantity
from hwmodels.errors import UsageError
from hwmodels.fitting import constants
from hwmodels.fitting.constants import Measurement
from hwmodels.numbers import Precision

INT8 = Precision.parse("W8A8")
SIZES = ((8, 8), (24, 32), (90, 160))


def changed(name: str, **values: float) -> device.Device:
    numbers = {key.replace("__", "."): Quantity(value=value) for key, value in values.items()}
    return with_numbers(catalogue.load(name), numbers)


def timed(target: device.Device, precision: Precision = INT8, noise: float = 0.0, sizes: object = SIZES) -> list[Measurement]:
    """Timings of EDSRs of several widths and sizes, whole and one layer each, as ``target`` would give them."""
    rng = np.random.default_rng(0)
    found = []
    for blocks, width in ((2, 8), (3, 32), (2, 64)):
        for height, pixels in sizes:  # type: ignore[attr-defined]
            workload = edsr(blocks, width, height, pixels)
            for layers in ((), ("head",), ("body.0.0",), ("shuffle.0",)):
                measured = Measurement(workload, precision, 1.0, f"{workload.name} {width} {height} {layers}", layers)
                exact = constants.predict(target, [measured])[0]
                found.append(Measurement(workload, precision, exact * np.exp(noise * rng.normal()), measured.label, layers))
    return found


def test_the_price_of_a_network_and_of_its_layers() -> None:
    target, workload = catalogue.load("jetson"), edsr(2, 16, 20, 30)
    layers = [Measurement(workload, INT8, 1.0, layer.name, (layer.name,)) for layer in workload.layers]
    whole, *parts = constants.predict(target, [Measurement(workload, INT8, 1.0, "whole"), *layers])
    assert whole == pytest.approx(cost.uniform(target, workload, INT8).latency_s)
    assert whole == pytest.approx(sum(parts) + target.overhead.inference_s.value)
    together = Measurement(workload, INT8, 1.0, "all layers", tuple(layer.name for layer in workload.layers))
    assert constants.predict(target, [together])[0] == pytest.approx(sum(parts))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("host", {"rates__W8A8": 200e9, "cpu__kernels__W8A8__output_s": 3e-9, "overhead__inference_s": 3e-4}),
        ("stm32h743", {"mcu__cycles_per_output_requant": 40.0, "overhead__layer_s": 1e-3}),
        ("snapdragon-8gen3-hexagon", {"rates__W8A8": 2e12, "overhead__layer_s": 5e-5, "npu__vector_bytes_per_s": 5e9}),
        ("jetson", {"gpu__efficiency": 0.9, "memory__dram__bytes_per_s": 20e9, "overhead__layer_s": 1e-6}),
    ],
)
def test_constants_are_found_again(name: str, values: dict[str, float]) -> None:
    truth = changed(name, **values)
    keys = [key.replace("__", ".") for key in values]
    fitted = constants.fit(catalogue.load(name), timed(truth), keys, prior_weight=1e-4)
    assert fitted.undetermined == ()
    assert fitted.at_bound == ()
    for key in keys:
        assert fitted.values[key] == pytest.approx(number(truth, key), rel=0.01)
        assert number(fitted.device, key) == fitted.values[key]
    assert fitted.median_error < 1e-3
    assert fitted.predicted_s == pytest.approx(constants.predict(fitted.device, timed(truth)))


def test_noise_shows_in_the_spread() -> None:
    truth = changed("host", rates__W8A8=200e9, memory__dram__bytes_per_s=5e9)  # so slow that it binds
    free = ["rates.W8A8", "memory.dram.bytes_per_s", "overhead.inference_s"]
    quiet, loud = (constants.fit(catalogue.load("host"), timed(truth, noise=n), free) for n in (0.02, 0.2))
    for key in free:
        assert quiet.spread[key] < loud.spread[key]
        assert abs(np.log(loud.values[key] / number(truth, key))) < 4 * loud.spread[key]
    assert 0.05 < loud.median_error < 0.2


def test_one_size_cannot_tell_overhead_from_rate() -> None:
    truth = changed("host", rates__W8A8=2e9, overhead__inference_s=3e-3)
    free = ["rates.W8A8", "overhead.inference_s"]
    one, another = (m for m in timed(truth, sizes=((8, 8), (24, 32)))[:8] if not m.layers)
    near = changed("host", rates__W8A8=3e9, overhead__inference_s=2e-3)
    fitted = constants.fit(near, [one], free)
    assert fitted.undetermined == (("rates.W8A8", "overhead.inference_s"),)
    assert fitted.residuals == pytest.approx([0.0], abs=0.02)
    assert constants.fit(near, [one, another], free).undetermined == ()


def test_what_only_their_product_enters_is_named_together() -> None:
    truth = changed("jetson-nano", rates__FP16=100e9)
    free = ["rates.FP16", "gpu.efficiency", "overhead.inference_s"]
    fitted = constants.fit(catalogue.load("jetson-nano"), timed(truth, Precision.parse("FP16")), free)
    assert fitted.undetermined == (("rates.FP16", "gpu.efficiency"),)
    product = number(truth, "gpu.efficiency") * 100e9
    assert fitted.values["rates.FP16"] * fitted.values["gpu.efficiency"] == pytest.approx(product, rel=0.02)


def test_what_does_not_matter_stays_where_it_was() -> None:
    truth = changed("host", rates__W8A8=1e9)  # so slow that memory never binds
    fitted = constants.fit(catalogue.load("host"), timed(truth), ["rates.W8A8", "rates.FP32", "memory.dram.bytes_per_s"])
    assert ("rates.FP32",) in fitted.undetermined
    assert fitted.values["rates.FP32"] == pytest.approx(number(catalogue.load("host"), "rates.FP32"))


def test_ranges_of_the_file_hold() -> None:
    truth = changed("jetson-nano", gpu__efficiency=1.0, rates__FP16=9e12)
    fitted = constants.fit(catalogue.load("jetson-nano"), timed(truth, Precision.parse("FP16")), ["gpu.efficiency"])
    assert fitted.values["gpu.efficiency"] <= 1.0
    assert fitted.at_bound == ("gpu.efficiency",)


def test_a_constant_that_the_file_gives_as_zero_can_be_fitted() -> None:
    truth = changed("stm32h743", overhead__layer_s=1e-3)
    assert catalogue.load("stm32h743").overhead.layer_s.value == 0
    fitted = constants.fit(catalogue.load("stm32h743"), timed(truth), ["overhead.layer_s"])
    assert fitted.values["overhead.layer_s"] == pytest.approx(1e-3, rel=0.02)


def test_fixed_constants_are_set_and_left() -> None:
    truth = changed("host", memory__dram__bytes_per_s=2e9, rates__W8A8=200e9)
    given = {"memory.dram.bytes_per_s": 2e9}
    fitted = constants.fit(catalogue.load("host"), timed(truth), ["rates.W8A8"], fixed=given)
    assert number(fitted.device, "memory.dram.bytes_per_s") == 2e9
    assert fitted.values["rates.W8A8"] == pytest.approx(200e9, rel=0.02)


def test_robust_loss_ignores_a_wild_timing() -> None:
    truth = changed("host", rates__W8A8=200e9)
    timings = timed(truth, noise=0.02)
    timings[0] = replace(timings[0], latency_s=50 * timings[0].latency_s)
    square, robust = (
        constants.fit(catalogue.load("host"), timings, ["rates.W8A8", "overhead.inference_s"], loss=loss).values[
            "overhead.inference_s"
        ]
        for loss in ("linear", "soft_l1")
    )
    assert abs(np.log(robust / 50e-6)) < abs(np.log(square / 50e-6))


def test_leave_one_out_predicts_from_the_others_only() -> None:
    truth = changed("host", rates__W8A8=200e9, overhead__inference_s=3e-3)
    timings = timed(truth)
    groups = [m.workload.tensors[1].channels for m in timings]
    lied = [
        Measurement(m.workload, INT8, 9 * m.latency_s, m.label, m.layers) if g == 8 else m
        for m, g in zip(timings, groups, strict=True)
    ]
    predicted = constants.leave_one_out(catalogue.load("host"), lied, groups, ["rates.W8A8", "overhead.inference_s"])
    own = [p / m.latency_s for p, m, g in zip(predicted, timings, groups, strict=True) if g == 8]
    assert own == pytest.approx(np.ones(len(own)), rel=0.03)  # the lie was about what had been left out


def test_mistakes_are_named() -> None:
    target = catalogue.load("host")
    good = timed(target)[:2]
    with pytest.raises(UsageError, match="no measurements"):
        constants.fit(target, [], [])
    with pytest.raises(UsageError, match=r"memory\.dram\.bytes_per_s"):
        constants.fit(target, good, ["memory.dram.byte_per_s"])
    with pytest.raises(UsageError, match="above 0: broken"):
        constants.fit(target, [Measurement(good[0].workload, INT8, 0.0, "broken")], ["rates.W8A8"])
    with pytest.raises(UsageError, match=r"no layer 'hea'[\s\S]*head"):
        constants.predict(target, [Measurement(good[0].workload, INT8, 1.0, "x", ("hea",))])
    with pytest.raises(UsageError, match="twice"):
        constants.fit(target, good, ["rates.W8A8", "rates.W8A8"])
    with pytest.raises(UsageError, match="two groups"):
        constants.leave_one_out(target, good, [1, 1], ["rates.W8A8"])
