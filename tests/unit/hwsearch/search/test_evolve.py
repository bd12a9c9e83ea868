"""Refinement: what is proposed, what is stored, and that a killed run ends like one that was left alone."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import optuna
import pytest
from random_tables import chain

from hwmodels.errors import FileError
from hwsearch.quality.evaluate import Score
from hwsearch.quality.log import EvaluationLog
from hwsearch.search.evolve import refine
from hwsearch.search.exact.additive import lower


def loss(noise, plan):
    """Damage with an interaction that no additive table has."""
    chosen = noise[np.arange(len(plan)), plan]
    return float(np.log1p(chosen.sum() + 5 * chosen[0] * chosen[1]))


def run(path, evaluations=40, seed=3, tables=None, starts=None, evaluate=None, batch=8):
    table, noise, space = tables or chain(4, 0)
    starts = [space.uniform(w, a) for w in (4, 6, 8) for a in (8, 16)] if starts is None else starts
    score = evaluate or (lambda plan: Score(0.0, loss(noise, plan), 0.0))
    return refine(
        space,
        [table],
        lambda plans: map(score, plans),
        starts,
        evaluations=evaluations,
        batch=batch,
        seed=seed,
        storage_path=path,
    )


def trials(path):
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    study = optuna.load_study(study_name="hwsearch", storage=storage)
    return [(t.number, t.params, t.values) for t in study.get_trials() if t.state == optuna.trial.TrialState.COMPLETE]


def test_measures_each_plan_once_starting_with_the_given_ones(tmp_path):
    table, noise, space = chain(4, 0)
    asked = []

    def score(plan):
        asked.append(plan)
        return Score(0.0, loss(noise, plan), 0.0)

    starts = [space.uniform(8, 16), space.uniform(4, 8), space.uniform(8, 16)]
    found = run(tmp_path / "journal", tables=(table, noise, space), starts=starts, evaluate=score)
    assert asked[:2] == starts[:2]
    assert len(asked) == len(set(asked)) == len(found) == 40
    costs = lower(table, noise, space).costs(np.stack([e.plan for e in found]))
    np.testing.assert_allclose([e.objectives[1] for e in found], costs["latency_s"])
    np.testing.assert_allclose([e.objectives[2] for e in found], costs["memory_bytes"])
    assert [e.objectives[0] for e in found] == [loss(noise, e.plan) for e in found]


def test_parameters_are_readable(tmp_path):
    run(tmp_path / "journal", evaluations=8)
    names = trials(tmp_path / "journal")[0][1]
    assert set(names) == {f"layer{i}.weight_bits" for i in range(4)} | {f"tensor{i}.activation_bits" for i in range(5)}


def test_same_seed_same_trials_other_seed_others(tmp_path):
    run(tmp_path / "a")
    run(tmp_path / "b")
    run(tmp_path / "c", seed=4)
    assert trials(tmp_path / "a") == trials(tmp_path / "b")
    assert trials(tmp_path / "a") != trials(tmp_path / "c")


def test_hard_limits_are_never_measured_over(tmp_path):
    table, noise, space = chain(4, 0)
    costs = lower(table, noise, space).costs(space.random(np.random.default_rng(0), 500))
    table.limits = {
        "weight_bytes": float(np.quantile(costs["weight_bytes"], 0.2)),
        "peak_activation_bytes": float(np.quantile(costs["peak_activation_bytes"], 0.3)),
    }
    found = run(tmp_path / "journal", tables=(table, noise, space))
    costs = lower(table, noise, space).costs(np.stack([e.plan for e in found]))
    assert len(found) == 40
    for name, limit in table.limits.items():
        assert costs[name].max() <= limit * (1 + 1e-9)


def test_a_small_space_is_exhausted_and_ends(tmp_path):
    tables = chain(2, 0, weight_bits=(4, 8), activation_bits=(8,))
    found = run(tmp_path / "journal", tables=tables, starts=[])
    assert sorted(tuple(e.plan[:2]) for e in found) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_refinement_improves_the_front(tmp_path):
    """With the same evaluations, more of the space is dominated than by random plans."""
    from hwsearch.search.exact.exact import front
    from hwsearch.search.pareto import hypervolume

    table, noise, space = chain(6, 5)
    starts = front(table, noise, space)
    found = run(tmp_path / "journal", evaluations=60, tables=(table, noise, space), starts=starts)
    problem = lower(table, noise, space)
    blind = space.random(np.random.default_rng(0), 60)
    costs = problem.costs(blind)
    random = np.stack([[loss(noise, p) for p in blind], costs["latency_s"], costs["memory_bytes"]], axis=1)
    ours = np.array([e.objectives for e in found])
    reference = np.maximum(random.max(axis=0), ours.max(axis=0)) * 1.01
    assert hypervolume(ours, reference) > hypervolume(random, reference)
    assert hypervolume(ours, reference) > hypervolume(ours[: len(starts)], reference)


def test_a_torn_last_line_is_dropped(tmp_path):
    run(tmp_path / "whole")
    run(tmp_path / "torn", evaluations=15)
    with (tmp_path / "torn").open("ab") as file:
        file.write(b'{"op_code":5,"worker_id":"x","tri')
    run(tmp_path / "torn")
    assert trials(tmp_path / "torn") == trials(tmp_path / "whole")


def test_damage_before_the_end_is_reported(tmp_path):
    run(tmp_path / "journal", evaluations=8)
    lines = (tmp_path / "journal").read_bytes().splitlines(keepends=True)
    lines[5] = b"rubbish\n"
    (tmp_path / "journal").write_bytes(b"".join(lines))
    with pytest.raises(FileError, match="line 6"):
        run(tmp_path / "journal")


def search(folder):
    """A search as a run does it, measured through the log."""
    table, noise, space = chain(4, 0)

    def measure(plan):
        time.sleep(0.001)
        return Score(0.0, loss(noise, plan), 0.0)

    log = EvaluationLog(folder / "evaluations.jsonl", lambda plans: map(measure, plans), space)
    starts = [space.uniform(w, a) for w in (4, 6, 8) for a in (8, 16)]
    refine(space, [table], log, starts, evaluations=120, batch=8, seed=3, storage_path=folder / "journal.log")


def lines(folder):
    """The whole lines of the evaluation log."""
    path = folder / "evaluations.jsonl"
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def kill_after(process, folder, more, delay_s):
    """kill -9 a child process once it has finished ``more`` evaluations and a moment has passed; whether it was still alive."""
    wanted, deadline = len(lines(folder)) + more, time.monotonic() + 60
    while len(lines(folder)) < wanted and os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        assert time.monotonic() < deadline
        time.sleep(0.0005)
    time.sleep(delay_s)
    os.kill(process, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(process, 0)[1])


def test_killed_at_twenty_random_moments_nothing_is_lost_or_measured_twice(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    search(whole)
    rng = np.random.default_rng(0)
    found = []
    for _ in range(20):
        process = os.fork()
        if process == 0:
            try:
                search(killed)
            finally:
                os._exit(0)
        assert kill_after(process, killed, int(rng.integers(0, 9)), float(rng.uniform(0, 0.005)))
        found.append(len(lines(killed)))
        # The log is at every moment the beginning of that of a search left alone: nothing is lost, nothing is there twice.
        assert lines(killed) == lines(whole)[: found[-1]]
    assert found == sorted(found)
    search(killed)
    assert lines(killed) == lines(whole)
    assert trials(killed / "journal.log") == trials(whole / "journal.log")
