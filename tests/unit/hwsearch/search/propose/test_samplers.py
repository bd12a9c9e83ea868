"""Every sampler: what it proposes follows from seed and journal alone, starts come first, and Optuna reads the journal."""

from __future__ import annotations

import re

import numpy as np
import optuna
import pytest
from random_tables import chain

from hwmodels.errors import FileError
from hwsearch.cli import notations, options
from hwsearch.quality.evaluate import Score
from hwsearch.search.evolve import Evaluated, refine
from hwsearch.search.exact.additive import lower
from hwsearch.search.propose.samplers import SAMPLERS
from searchspaces.space import matrix

TABLE, NOISE, SPACE = chain(4, 0)
STARTS = [SPACE.uniform(w, a) for w in (4, 8) for a in (8, 16)]


def score(plan: np.ndarray) -> Score:
    """Damage with an interaction that no additive table has."""
    chosen = NOISE[np.arange(len(plan)), plan]
    return Score(0.0, float(np.log1p(chosen.sum() + 5 * chosen[0] * chosen[1])), 0.0)


def run(path, sampler, evaluations=None, seed=3, evaluate=score) -> list[Evaluated]:
    # The Gaussian process takes a second a plan: it gets past its start-up trials and little further.
    evaluations = evaluations or (17 if sampler == "gp" else 40)
    return refine(
        SPACE,
        [TABLE],
        lambda plans: map(evaluate, plans),
        STARTS,
        evaluations=evaluations,
        batch=8,
        seed=seed,
        storage_path=path,
        sampler=sampler,
    )


def study(path) -> optuna.Study:
    """The journal as Optuna's own tools open it."""
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    return optuna.load_study(study_name=None, storage=storage)


def trials(path) -> list[tuple]:
    return [(t.number, t.params, t.values, t.state) for t in study(path).get_trials()]


def test_the_command_line_knows_all_of_them():
    assert [notations.read_sampler(name) for name in SAMPLERS] == list(SAMPLERS)
    (option,) = options.Sampler.__metadata__
    assert set(SAMPLERS) <= set(re.findall(r"\w+", option.help))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_starts_first_then_distinct_plans_and_the_same_again(tmp_path, sampler):
    found = run(tmp_path / "a", sampler)
    plans = [e.plan for e in found]
    assert plans[: len(STARTS)] == STARTS
    assert len(set(plans)) == len(plans) == (17 if sampler == "gp" else 40)
    run(tmp_path / "b", sampler)
    assert trials(tmp_path / "a") == trials(tmp_path / "b")
    run(tmp_path / "c", sampler, seed=4)
    assert trials(tmp_path / "a") != trials(tmp_path / "c")


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_journal_cut_anywhere_ends_like_one_left_alone(tmp_path, sampler):
    """kill -9 leaves a prefix of the journal, perhaps with a torn line."""
    whole = tmp_path / "whole"
    run(whole, sampler)
    content, wanted = whole.read_bytes(), trials(whole)
    rng = np.random.default_rng(0)
    for _ in range(1 if sampler == "gp" else 3):
        cut = tmp_path / "cut"
        # From the end of the set-up on: a study without directions is none.
        cut.write_bytes(content[: rng.integers(len(content) // 10, len(content))])
        run(cut, sampler)
        assert trials(cut) == wanted


@pytest.mark.filterwarnings("ignore:PedAnova")
def test_optuna_reads_names_widths_directions_and_metrics(tmp_path):
    found = run(tmp_path / "journal", "tpe")
    opened = study(tmp_path / "journal")
    assert [d.name for d in opened.directions] == ["MINIMIZE"] * 3
    assert opened.metric_names == ["loss_db", "latency_s", "memory_bytes"]
    assert opened.user_attrs["sampler"] == "tpe"
    for trial, entry in zip(opened.trials, found, strict=True):
        weights, tensors = SPACE.named(entry.plan)
        named = {f"{name}.weight_bits": bits for name, bits in weights.items()}
        named |= {f"{name}.activation_bits": bits for name, bits in tensors.items()}
        assert trial.params == named
        assert trial.values == list(entry.objectives)
    assert {t.user_attrs["origin"] for t in opened.trials} == {"start", "tpe"}
    assert len(opened.best_trials) >= 1
    optuna.importance.get_param_importances(opened, target=lambda t: -t.values[0])


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_what_was_measured_matters(tmp_path, sampler):
    """Where bad plans are said to be good, other plans are proposed; not so by chance."""

    def reverse(plan: np.ndarray) -> Score:
        return Score(0.0, -score(plan).loss_db, 0.0)

    run(tmp_path / "a", sampler)
    run(tmp_path / "b", sampler, evaluate=reverse)
    same = [t[1] for t in trials(tmp_path / "a")] == [t[1] for t in trials(tmp_path / "b")]
    assert same == (sampler == "random")


def test_a_journal_of_another_network_is_refused(tmp_path):
    run(tmp_path / "journal", "random", evaluations=4)
    table, _, space = chain(3, 0)
    with pytest.raises(FileError, match=r"layer3\.weight_bits"):
        refine(
            space, [table], lambda plans: map(score, plans), [], evaluations=8, batch=8, seed=0, storage_path=tmp_path / "journal"
        )


def test_hard_limits_hold_for_samplers_too(tmp_path):
    table, noise, space = chain(4, 0)
    problem = lower(table, noise, space)
    table.limits = {
        "weight_bytes": float(np.quantile(problem.costs(space.random(np.random.default_rng(0), 500))["weight_bytes"], 0.2))
    }
    found = refine(
        space,
        [table],
        lambda plans: map(score, plans),
        STARTS,
        evaluations=30,
        batch=8,
        seed=0,
        storage_path=tmp_path / "journal",
        sampler="tpe",
    )
    assert len(found) == 30
    assert problem.costs(np.stack([e.plan for e in found]))["weight_bytes"].max() <= table.limits["weight_bytes"] * (1 + 1e-9)


def test_the_cut_that_a_plan_takes_is_told_and_not_sampled(tmp_path):
    """Two ways to cut: one that is slower and needs less memory, so that only some plans fit the fast one."""
    slow, noise, space = chain(4, 0)
    fast, _, _ = chain(4, 0)
    slow.latency_s, slow.live = slow.latency_s * 2, slow.live // 4
    peaks = [lower(fast, noise, space).costs(space.random(np.random.default_rng(0), 200))["peak_activation_bytes"]]
    fast.limits = slow.limits = {"peak_activation_bytes": float(np.median(peaks))}
    found = refine(
        space,
        [fast, slow],
        lambda plans: map(score, plans),
        STARTS,
        evaluations=40,
        batch=8,
        seed=0,
        storage_path=tmp_path / "journal",
        sampler="tpe",
        tilings=("whole", "strips of 8"),
    )
    told = study(tmp_path / "journal").trials
    assert {t.params["tiling"] for t in told} == {"whole", "strips of 8"}
    for entry, trial in zip(found, told, strict=True):
        fits = (
            lower(fast, noise, space).costs(matrix([entry.plan]))["peak_activation_bytes"][0]
            <= fast.limits["peak_activation_bytes"]
        )
        assert trial.params["tiling"] == ("whole" if fits else "strips of 8")
