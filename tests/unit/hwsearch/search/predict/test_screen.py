"""Cheap looks: what is pruned is worse beyond doubt, what is promising is promoted, and the study says so."""

from __future__ import annotations

import zlib

import numpy as np
import optuna
import pytest
import torch
from random_tables import chain

from hwsearch.quality.evaluate import Evaluator, Score, on_patches
from hwsearch.search.evolve import refine
from hwsearch.search.predict.screen import Screen, trust
from searchspaces.data.pictures import Pair, patches
from searchspaces.space import PlanRow
from searchspaces.tasks.image import SuperResolution
from searchspaces.tasks.task import Signature

TABLE, NOISE, SPACE = chain(6, 1)
PRUNED = optuna.trial.TrialState.PRUNED


def loss(plan: np.ndarray) -> float:
    return float(np.log1p(NOISE[np.arange(len(plan)), plan].sum()))


def predict(plans: np.ndarray) -> np.ndarray:
    return np.array([loss(plan) for plan in plans])


def on_few(plan: PlanRow, spread: float = 0.3) -> np.ndarray:
    """Patches of different difficulty, the same for all plans, and a little noise."""
    rng = np.random.default_rng(zlib.crc32(np.asarray(plan).tobytes()))
    return loss(plan) * np.array([0.5, 0.8, 1.0, 1.3, 1.4]) + rng.normal(0, 0.02 * spread, 5)


WIDE, NARROW = SPACE.uniform(8, 16), SPACE.uniform(2, 4)


def test_a_prediction_that_even_cut_down_is_worse_is_enough():
    asked = []
    screen = Screen(predict, 0.5, lambda plan: asked.append(plan) or on_few(plan), 0.1)
    verdict = screen.judge(NARROW, [WIDE], np.array([loss(NARROW) * 0.4]))
    assert (verdict.fidelity, verdict.rival, asked) == ("proxy", 0, [])
    assert screen.judge(NARROW, [WIDE], np.array([loss(NARROW) * 0.6])).facts.keys() >= {"excess_db", "excess_stderr_db"}


def test_patches_prune_by_the_paired_error():
    """Patches differ far more than plans do: only pairing shows the difference."""
    base = np.array([0.1, 0.9, 0.2, 1.5, 0.4])
    looks = {WIDE: base, NARROW: base + 0.05 + np.array([0, 0.01, -0.01, 0.005, 0])}
    screen = Screen(predict, 0.0, lambda plan: looks[plan], 0.1)
    verdict = screen.judge(NARROW, [WIDE], np.array([0.5]))
    assert verdict.fidelity == "patches"
    assert verdict.facts["excess_db"] == pytest.approx(0.051)
    assert verdict.facts["excess_stderr_db"] < 0.004 < base.std(ddof=1) / np.sqrt(5)
    assert screen.judge(WIDE, [NARROW], np.array([0.5])).fidelity == "pictures"
    looks[NARROW] = base + np.array([0.3, -0.25, 0.2, -0.2, 0.05])
    assert Screen(predict, 0.0, lambda p: looks[p], 0.1).judge(NARROW, [WIDE], np.array([0.5])).fidelity == "pictures"


def test_nothing_cheaper_means_promoted_unseen():
    screen = Screen(predict, 1.0, lambda plan: pytest.fail("not needed"), 0.1)
    assert screen.judge(NARROW, [], np.empty(0)).fidelity == "pictures"


def test_trust_is_what_nearly_all_measured_plans_confirm():
    predicted = np.ones(100)
    assert trust(predicted, np.linspace(0.2, 1.2, 100)) == pytest.approx(0.25)
    assert trust(predicted, predicted * 3) == 1.0
    assert trust(np.zeros(3), np.ones(3)) == 0.0


def run(path, screen=None, evaluations=40):
    measured = []

    def evaluate(plans):
        for plan in plans:
            measured.append(plan)
            yield Score(0.0, loss(plan), 0.01)

    starts = [SPACE.uniform(w, a) for w in (2, 4, 6, 8) for a in (8, 16)]
    refine(
        SPACE,
        [TABLE],
        evaluate,
        starts,
        evaluations=evaluations,
        batch=8,
        seed=0,
        storage_path=path,
        sampler="random",
        screen=screen,
    )
    return measured


def trials(path):
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    return optuna.load_study(study_name=None, storage=storage).get_trials()


def test_pruned_trials_say_why_and_are_really_dominated(tmp_path):
    measured = run(tmp_path / "journal", Screen(predict, 0.5, on_few, 0.1))
    found = trials(tmp_path / "journal")
    pruned = [t for t in found if t.state == PRUNED]
    assert {t.user_attrs["fidelity"] for t in pruned} == {"proxy", "patches"}
    assert all(t.user_attrs["fidelity"] == "pictures" for t in found if t.state != PRUNED)
    assert len(measured) == len(found) - len(pruned)
    assert len(found) > 40 > len(measured)
    for trial in pruned:
        rival = found[trial.user_attrs["compared_with_trial"]]
        assert rival.state == optuna.trial.TrialState.COMPLETE
        assert rival.number < trial.number
        assert rival.values[0] < trial.user_attrs["predicted_loss_db"]


def test_a_screened_study_that_was_cut_goes_on_as_it_would_have(tmp_path):
    run(tmp_path / "whole", Screen(predict, 0.5, on_few, 0.1))
    content = (tmp_path / "whole").read_bytes()
    wanted = [(t.params, t.values, t.state, t.user_attrs) for t in trials(tmp_path / "whole")]
    for share in (0.3, 0.5, 0.77, 0.93):
        (tmp_path / "cut").write_bytes(content[: int(share * len(content))])
        run(tmp_path / "cut", Screen(predict, 0.5, on_few, 0.1))
        assert [(t.params, t.values, t.state, t.user_attrs) for t in trials(tmp_path / "cut")] == wanted


def test_a_screen_that_passes_nothing_still_ends(tmp_path):
    run(tmp_path / "journal", Screen(predict, 1.0, lambda plan: np.arange(5) * 1e-3 - loss(plan) * 1e3, 0.0), evaluations=16)
    assert len(trials(tmp_path / "journal")) <= 4 * 16


def test_patches_lie_inside_their_pictures_and_flat_ones_are_left_out():
    rng = np.random.default_rng(0)
    high = rng.integers(0, 256, (96, 128)).astype(np.uint8)
    low = torch.from_numpy(high[::2, ::2].astype(np.float32) / 255)[None, None]
    pair = Pair("a", low, high)
    for patch in patches([pair], 5, 16):
        assert patch.low.shape == (1, 1, 16, 16)
        np.testing.assert_array_equal(patch.high[::2, ::2], (patch.low[0, 0] * 255).round().numpy())

    def enlarge(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(x, scale_factor=2, mode="nearest")

    evaluator = on_patches(enlarge, [pair], SuperResolution(Signature(2, 1)), seed=0)
    assert isinstance(evaluator, Evaluator)
    assert evaluator.losses_db(enlarge) == pytest.approx(np.zeros(8))
    flat = Pair("flat", torch.full((1, 1, 64, 64), 0.2), np.full((128, 128), 51, dtype=np.uint8))
    assert on_patches(enlarge, [flat], SuperResolution(Signature(2, 1)), seed=0) is None
