"""Refinement: what is proposed, what is stored, and that a killed run ends like one that was left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import optuna
import pytest
from random_tables import chain

from hwmodels.errors import FileError
from hwsearch.evaluate import Score
from hwsearch.search.additive import lower
from hwsearch.search.evolve import refine

HERE = Path(__file__).parents[1]


def loss(noise, plan):
    """Damage with an interaction that no additive table has."""
    chosen = noise[np.arange(len(plan)), plan]
    return float(np.log1p(chosen.sum() + 5 * chosen[0] * chosen[1]))


def run(path, evaluations=40, seed=3, tables=None, starts=None, evaluate=None):
    table, noise, space = tables or chain(4, 0)
    starts = [space.uniform(w, a) for w in (4, 6, 8) for a in (8, 16)] if starts is None else starts
    score = evaluate or (lambda plan: Score(0.0, loss(noise, plan), 0.0))
    return refine(space, [table], score, starts, evaluations=evaluations, seed=seed, storage_path=path)


def trials(path):
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    study = optuna.load_study(study_name="hwsearch", storage=storage)
    return [(t.number, t.params, t.values) for t in study.get_trials() if t.state == optuna.trial.TrialState.COMPLETE]


def test_measures_each_plan_once_starting_with_the_given_ones(tmp_path):
    table, noise, space = chain(4, 0)
    asked = []

    def score(plan):
        asked.append(plan.tobytes())
        return Score(0.0, loss(noise, plan), 0.0)

    starts = [space.uniform(8, 16), space.uniform(4, 8), space.uniform(8, 16)]
    found = run(tmp_path / "journal", tables=(table, noise, space), starts=starts, evaluate=score)
    assert asked[:2] == [starts[0].tobytes(), starts[1].tobytes()]
    assert len(asked) == len(set(asked)) == len(found) == 40
    costs = lower(table, noise, space).costs(np.stack([e.plan for e in found]))
    np.testing.assert_allclose([e.objectives[1] for e in found], costs["latency_s"])
    np.testing.assert_allclose([e.objectives[2] for e in found], costs["memory_bytes"])
    assert [e.objectives[0] for e in found] == [loss(noise, e.plan) for e in found]


def test_parameters_are_readable(tmp_path):
    run(tmp_path / "journal", evaluations=8)
    names = trials(tmp_path / "journal")[0][1]
    assert set(names) == {f"weights:layer{i}" for i in range(4)} | {f"tensor:tensor{i}" for i in range(5)}


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
    from hwsearch.search.exact import front
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


VICTIM = """
import sys, time
sys.path.insert(0, {here!r})
sys.path.insert(0, {root!r})
from pathlib import Path
sys.path.insert(0, {here!r} + "/unit")
import test_evolve as t
from hwsearch.evaluate import Score
tables = t.chain(4, 0)
def score(plan):
    with open({log!r}, "a") as f:
        f.write(",".join(map(str, plan)) + "\\n")
    time.sleep(0.02)
    return Score(0.0, t.loss(tables[1], plan), 0.0)
t.run(Path({path!r}), evaluate=score)
"""


def test_killed_runs_end_like_one_left_alone(tmp_path):
    run(tmp_path / "whole")
    path, log = tmp_path / "killed", tmp_path / "log"
    script = VICTIM.format(here=str(HERE), root=str(HERE.parent), path=str(path), log=str(log))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    rng = np.random.default_rng(0)
    done = 0
    for _ in range(3):
        victim = subprocess.Popen([sys.executable, "-c", script], env=environment)
        goal, deadline = done + int(rng.integers(3, 9)), time.monotonic() + 60
        while time.monotonic() < deadline and victim.poll() is None:
            if log.exists() and len(log.read_text().splitlines()) >= goal:
                break
            time.sleep(0.005)
        time.sleep(float(rng.random() * 0.03))
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        lines = log.read_text().splitlines()
        finished = {json.dumps(t[1]) for t in trials_if_any(path)}
        # What was measured before this kill and told is not measured again; at most the one in flight is.
        assert len(lines) - len(set(lines)) <= 3
        assert len(finished) >= len(set(lines)) - 1
        done = len(lines)
    run(path)
    assert trials(path) == trials(tmp_path / "whole")


def trials_if_any(path):
    from hwsearch.search.evolve import mend

    mend(path)
    return trials(path)
