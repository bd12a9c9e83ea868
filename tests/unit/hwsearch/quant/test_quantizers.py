"""Two ways to find ranges and integers: every plan is measured with those on offer, and told with the better one."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import optuna
import pytest
from random_tables import chain

from hwmodels.errors import UsageError
from hwsearch.cli import options
from hwsearch.contracts import tiny_calibration, tiny_graph, tiny_pairs
from hwsearch.problem.pose import Request
from hwsearch.quality.evaluate import Evaluator, Score
from hwsearch.quality.measuring import Measuring
from hwsearch.quant.calibrate import QUANTIZERS
from hwsearch.runs.directory import RunDirectory, request_fields, saved_request
from hwsearch.search.evolve import refine
from searchspaces.ir.graph import execute


@pytest.fixture(scope="module")
def calibration():
    return tiny_calibration()


def test_plain_integers_are_the_nearest_on_scales_that_reach_the_largest_weight(calibration):
    plan = calibration.space.uniform(4, 8)
    quantized = calibration.by("plain").quantized(plan)
    for name, layer in quantized.layers.items():
        weight = calibration.by("plain").plan_weight(plan, name).numpy()
        scale = np.abs(weight).reshape(len(weight), -1).max(axis=1) / 7
        np.testing.assert_allclose(layer.scale, scale, rtol=1e-4)
        # What lies half-way between two integers may go either way.
        assert np.abs(layer.weight - weight / layer.scale.reshape(-1, 1, 1, 1)).max() <= 0.5 + 1e-3


def test_plain_ranges_hold_every_value_seen(calibration):
    for name, spread in calibration._seen.spreads.items():
        fmt = calibration.by("plain")._group_format(name, 0, calibration._default(name))
        if name not in calibration._pictures:
            low, high = ((code - fmt.zero_point) * fmt.scale for code in (fmt.qmin, fmt.qmax))
            seen = spread.spread()
            assert low - fmt.scale <= seen.low
            assert high + fmt.scale >= seen.high


def test_what_was_made_is_kept_and_the_usual_numbers_stay(calibration):
    plan = calibration.space.uniform(4, 8)
    before = calibration.quantized(plan).layers
    assert calibration.by("plain") is calibration.by("plain")
    assert calibration.by("measured") is calibration
    assert calibration.by("plain").by("measured") is calibration
    after = calibration.quantized(plan).layers
    assert all(np.array_equal(before[name].weight, after[name].weight) for name in before)
    assert any(
        not np.array_equal(before[name].weight, calibration.by("plain").quantized(plan).layers[name].weight) for name in before
    )


def test_a_plan_gets_the_score_of_the_better_quantizer(calibration):
    graph = tiny_graph()
    evaluator = Evaluator(lambda x: execute(graph, x), tiny_pairs(), 2)
    alone = [Measuring(calibration, evaluator, (name,)) for name in QUANTIZERS]
    both = Measuring(calibration, evaluator, QUANTIZERS)
    winners = set()
    for plan in calibration.space.random(np.random.default_rng(0), 12):
        scores = [measure(plan) for measure in alone]
        assert both(plan) == max(scores, key=lambda score: score.psnr_db)
        winners.add(both(plan).quantizer)
    assert "measured" in winners


def test_the_study_tells_the_quantizer_as_a_parameter_and_goes_on_after_a_stop(tmp_path):
    table, noise, space = chain(4, 0)

    def score(plan):
        loss = float(noise[np.arange(len(plan)), plan].sum())
        return Score(0.0, loss, 0.0, QUANTIZERS[int(plan[0]) % 2])

    def run(path, evaluations):
        refine(
            space,
            [table],
            lambda plans: map(score, plans),
            [space.uniform(8, 8)],
            evaluations=evaluations,
            batch=4,
            seed=0,
            storage_path=path,
            quantizers=QUANTIZERS,
        )
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
        return optuna.load_study(study_name="hwsearch", storage=storage).get_trials()

    run(tmp_path / "stopped", 8)
    resumed, whole = run(tmp_path / "stopped", 16), run(tmp_path / "whole", 16)
    assert [(t.params, t.values) for t in resumed] == [(t.params, t.values) for t in whole]
    widths = space.widths(0)
    assert all(t.params["quantizer"] == QUANTIZERS[widths.index(t.params["layer0.weight_bits"]) % 2] for t in whole)
    assert {t.params["quantizer"] for t in whole} == set(QUANTIZERS)
    assert whole[0].distributions["quantizer"].choices == QUANTIZERS


def test_a_run_keeps_what_it_was_asked_for():
    saved = dataclasses.asdict(Request(quantizers=QUANTIZERS))
    assert Request(**request_fields(saved | {"quantizers": list(QUANTIZERS)})).quantizers == QUANTIZERS
    del saved["quantizers"]
    assert Request(**request_fields(saved)).quantizers == ("measured",)


def test_a_run_of_before_there_was_a_choice_goes_on(tmp_path):
    request = Request(run_dir=tmp_path / "run")
    with RunDirectory.create(tmp_path / "run") as run:
        run.write_configuration(request, {})
        document = json.loads(run.configuration_path.read_text())
        del document["request"]["quantizers"]
        run.configuration_path.write_text(json.dumps(document))
        run.check_same(request, {})
        with pytest.raises(UsageError, match="quantizers"):
            run.check_same(dataclasses.replace(request, quantizers=QUANTIZERS), {})
    assert saved_request(tmp_path / "run", {"quantizers": ("measured",)})["quantizers"] == ("measured",)
    with pytest.raises(UsageError, match="quantizers"):
        saved_request(tmp_path / "run", {"quantizers": ("plain",)})


@pytest.mark.parametrize("given", ["plain", (), ("nearest",)])
def test_a_request_for_a_quantizer_that_there_is_not_is_refused(given):
    with pytest.raises(UsageError, match="measured, plain"):
        Request(quantizers=given)


def test_the_command_line_names_what_there_is():
    assert options.QUANTIZERS == QUANTIZERS
    assert options.read_quantizers("plain, measured") == QUANTIZERS
    assert options.read_quantizers(None) is None
    with pytest.raises(UsageError, match="nearest"):
        options.read_quantizers("nearest")
