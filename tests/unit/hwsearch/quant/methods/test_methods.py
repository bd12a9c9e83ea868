"""Quantization methods: found by their place, held to a contract; every plan is measured with those on offer, and told with the
better one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import optuna
import pytest
import synthetic_results
from random_tables import chain, space_of

from hwmodels.errors import UsageError
from hwsearch.cli import notations
from hwsearch.contracts import check_method, tiny_calibration, tiny_graph, tiny_pairs
from hwsearch.documents.plan import Plan
from hwsearch.problem.request import Request
from hwsearch.quality import log
from hwsearch.quality.evaluate import Evaluator, Score
from hwsearch.quality.measurement import Measure
from hwsearch.quant import methods
from hwsearch.runs.directory import RunDirectory
from hwsearch.runs.on_disk import request_of
from hwsearch.runs.run import Run
from hwsearch.search.evolve import refine
from searchspaces.ir.graph import execute
from searchspaces.tasks.image import SuperResolution
from searchspaces.tasks.task import Signature

TWO = ("output_noise", "nearest")


@pytest.fixture(scope="module")
def calibration():
    return tiny_calibration()


def test_integers_of_nearest_are_the_nearest_on_scales_that_reach_the_largest_weight(calibration):
    plan = calibration.space.uniform(4, 8)
    draft = calibration.by("nearest").draft(plan)
    for name, layer in draft.quantized.layers.items():
        weight = draft.network[name].weights["weight"].numpy()
        scale = np.abs(weight).reshape(len(weight), -1).max(axis=1) / 7
        np.testing.assert_allclose(layer.scale, scale, rtol=1e-4)
        # What lies half-way between two integers may go either way.
        assert np.abs(layer.weight - weight / layer.scale.reshape(-1, 1, 1, 1)).max() <= 0.5 + 1e-3


def test_ranges_of_nearest_hold_every_value_seen(calibration):
    ends = (calibration.graph.input.name, calibration.graph.output.name)
    groups = calibration.graph.quantizer_groups()
    spreads = calibration._seen.equalized.spreads
    inner = spreads.keys() - {groups[end] for end in ends}
    assert inner
    for name in inner:
        fmt, seen = calibration.by("nearest").format(name, 0), spreads[name].spread()
        low, high = ((code - fmt.zero_point) * fmt.scale for code in (fmt.qmin, fmt.qmax))
        assert low - fmt.scale <= seen.low
        assert high + fmt.scale >= seen.high


def test_what_was_made_is_kept_and_the_usual_numbers_stay(calibration):
    plan = calibration.space.uniform(4, 8)
    before = calibration.quantized(plan).layers
    name = next(iter(before))
    assert calibration.by("nearest").quantized(plan).layers[name] is calibration.by("nearest").quantized(plan).layers[name]
    assert calibration.by("output_noise") is calibration
    assert calibration.by("nearest").by("output_noise").quantized(plan).layers[name] is before[name]
    after = calibration.quantized(plan).layers
    assert all(np.array_equal(before[name].weight, after[name].weight) for name in before)
    assert any(
        not np.array_equal(before[name].weight, calibration.by("nearest").quantized(plan).layers[name].weight) for name in before
    )


def test_a_plan_gets_the_score_of_the_better_method(calibration):
    graph = tiny_graph()
    evaluator = Evaluator(lambda x: execute(graph, x), tiny_pairs(), SuperResolution(Signature(2, 1)))
    alone = [Measure(calibration, evaluator, (name,)) for name in TWO]
    both = Measure(calibration, evaluator, TWO)
    winners = set()
    for plan in calibration.space.random(np.random.default_rng(0), 12):
        scores = [measure(plan) for measure in alone]
        assert both(plan) == max(scores, key=lambda score: score.quality_db)
        winners.add(both(plan).method)
    assert "output_noise" in winners


def test_the_study_tells_the_method_as_a_parameter_and_goes_on_after_a_stop(tmp_path):
    table, noise, space = chain(4, 0)

    def score(plan):
        loss = float(noise[np.arange(len(plan)), plan].sum())
        return Score(0.0, loss, 0.0, TWO[int(plan[0]) % 2])

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
            methods=TWO,
        )
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
        return optuna.load_study(study_name="hwsearch", storage=storage).get_trials()

    run(tmp_path / "stopped", 8)
    resumed, whole = run(tmp_path / "stopped", 16), run(tmp_path / "whole", 16)
    assert [(t.params, t.values) for t in resumed] == [(t.params, t.values) for t in whole]
    widths = space.widths(0)
    assert all(t.params["method"] == TWO[widths.index(t.params["layer0.weight_bits"]) % 2] for t in whole)
    assert {t.params["method"] for t in whole} == set(TWO)
    assert whole[0].distributions["method"].choices == TWO


def test_a_run_keeps_what_it_was_asked_for():
    saved = dataclasses.asdict(Request(methods=TWO))
    assert request_of(saved | {"methods": list(TWO)}, Path("run.json")).methods == TWO


def of_earlier_version(document, quantizers=None):
    """What ``run.json`` of a version with quantizers, or (None) of one before them, says of a request."""
    del document["request"]["methods"]
    document["request"] |= {} if quantizers is None else {"quantizers": quantizers}
    return document


@pytest.mark.parametrize(
    ("saved", "meant"),
    [(None, ("output_noise",)), (["measured"], ("output_noise",)), (["measured", "plain"], TWO), (["plain"], ("nearest",))],
)
def test_a_run_of_an_earlier_version_goes_on(tmp_path, saved, meant):
    request = Request(run_dir=tmp_path / "run", methods=meant)
    with RunDirectory.create(tmp_path / "run") as run:
        run.write_configuration(request, {})
        document = of_earlier_version(json.loads(run.configuration_path.read_text()), saved)
        run.configuration_path.write_text(json.dumps(document))
        run.check_same(request, {})
        with pytest.raises(UsageError, match="methods"):
            run.check_same(dataclasses.replace(request, methods=(*meant[::-1], "nearest")), {})
    assert Run(tmp_path / "run").same({"methods": meant})["methods"] == meant
    with pytest.raises(UsageError, match="methods"):
        Run(tmp_path / "run").same({"methods": (*meant, "other")})


def test_scores_and_plans_of_an_earlier_version_are_read(tmp_path):
    path = tmp_path / "evaluations.jsonl"
    score = {"quality_db": 30.0, "loss_db": 0.1, "stderr_db": 0.0}
    lines = [{"plan": [0, 1], "score": score}, {"plan": [1, 1], "score": score | {"quantizer": "plain"}}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [score.method for score in log.read(path, space_of(1, 1, (4, 8), (8, 16))).values()] == ["output_noise", "nearest"]
    now = synthetic_results.results(tmp_path).front[0]
    document = json.loads(now.model_dump_json())
    assert Plan.model_validate(document) == now
    del document["method"]
    assert Plan.model_validate(document).method == "output_noise"
    assert Plan.model_validate(document | {"quantizer": "measured"}) == now
    assert Plan.model_validate(document | {"quantizer": "plain"}).method == "nearest"


@pytest.mark.parametrize("given", [(), ("nearer",), ("output_noise", "measured")])
def test_a_request_for_a_method_that_there_is_not_is_refused(given):
    with pytest.raises(UsageError, match="method"):
        Request(methods=given)


def test_the_command_line_takes_names_and_what_earlier_versions_called_them():
    assert notations.read_methods(["nearest", "output_noise", "nearest"]) == ("nearest", "output_noise")
    assert notations.read_methods(None) is None
    assert notations.read_methods([]) is None
    assert notations.read_methods(None, "plain, measured") == TWO
    with pytest.raises(UsageError, match="nearer"):
        notations.read_methods(["nearer"])
    with pytest.raises(UsageError, match="nearest"):
        notations.read_methods(None, "nearest")
    with pytest.raises(UsageError, match="earlier"):
        notations.read_methods(["nearest"], "plain")


def test_a_file_in_the_folder_is_a_method():
    folder = Path(methods.__file__).parent
    assert set(methods.names()) == {path.stem for path in folder.glob("*/*.py")} - {"__init__"}
    assert methods.names()[0] == methods.USUAL


@pytest.mark.parametrize("name", methods.names())
def test_every_method_keeps_the_contract(name):
    check_method(name)
