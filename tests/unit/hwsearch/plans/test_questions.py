"""Questions to finished runs: several devices in one run, plans compared, explained, and chosen again without a search."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_job import TARGETS, Job, answer, refusal

from hwmodels import cost
from hwsearch.cli import main
from hwsearch.documents.files import write_json
from hwsearch.documents.reading import read_json
from hwsearch.pipeline import several_devices
from hwsearch.plans import choose_again, plan_file
from hwsearch.runs.run import Run
from searchspaces.space import PlanRow

# Several devices in one run


def test_every_device_has_a_complete_run_and_proxies_are_measured_once(job: Job) -> None:
    run = job.folder / "run"
    assert read_json(run / "targets.json", "")["targets"] == {name: name for name in TARGETS}
    for target in TARGETS:
        assert {"run.json", "results.json", "report.html", "evaluations.jsonl", "damage.json"} <= {
            path.name for path in (run / target).iterdir()
        }
        assert Run(run / target).results.target == target
    assert job.measured
    assert len(job.measured) == len(set(job.measured))


def test_plans_alike_are_measured_once(job: Job) -> None:
    """The scores of the same widths on two devices are the same numbers to the last bit."""
    scores: list[dict[PlanRow, float]] = []
    for target in TARGETS:
        problem = Run(job.folder / "run" / target, job.model).problem
        lines = (job.folder / "run" / target / "evaluations.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        scores.append({problem.space.row(r["plan"]): r["score"]["loss_db"] for r in rows})
    common = scores[0].keys() & scores[1].keys()
    assert common
    assert all(scores[0][plan] == scores[1][plan] for plan in common)


def test_a_stopped_run_goes_on_with_the_device_at_which_it_stopped(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    run = job.folder / "resumed"
    shutil.copytree(job.folder / "run", run)
    before = {target: read_json(run / target / "results.json", "")["points"] for target in TARGETS}
    # As a process leaves it that is killed while it probes on the second device.
    for name in ("results.json", "journal.log"):
        (run / TARGETS[1] / name).unlink()
    lines = (run / TARGETS[1] / "evaluations.jsonl").read_text().splitlines(keepends=True)
    (run / TARGETS[1] / "evaluations.jsonl").write_text("".join(lines[:5]) + lines[5][:9])
    stamp = (run / TARGETS[0] / "results.json").stat().st_mtime_ns
    said = answer(capsys, "optimize", "--resume", str(run), "--model", job.model)
    assert [row["target"] for row in said["table"]] == list(TARGETS)
    assert (run / TARGETS[0] / "results.json").stat().st_mtime_ns == stamp
    for target in TARGETS:
        points = read_json(run / target / "results.json", "")["points"]
        assert {json.dumps(p) for p in points} == {json.dumps(p) for p in before[target]}
    assert "seed" in refusal(capsys, 2, "optimize", "--resume", str(run), "--seed", "4", "--model", job.model)
    assert TARGETS[0] in refusal(capsys, 2, "optimize", "--resume", str(run), "--target", "jetson", "--model", job.model)


def test_one_table_across_devices(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    said = answer(capsys, "optimize", "--resume", str(job.folder / "run"), "--model", job.model)
    assert set(said["targets"]) == set(TARGETS)
    for row in said["table"]:
        assert row["measured"]["quality_db"] > 20
        assert row["predicted"]["latency_s"] > 0
    assert main(["optimize", "--resume", str(job.folder / "run"), "--model", job.model]) == 0
    text = capsys.readouterr().out
    assert all(target in text for target in TARGETS)
    runs = several_devices.load(job.folder / "run")
    assert list(runs.results) == list(TARGETS)


def test_a_device_named_twice_or_a_budget_out_of_reach_on_one(
    job: Job, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = ("--out", str(tmp_path / "run"))
    assert "one device" in refusal(capsys, 2, "optimize", "--target", "jetson", "--target", "jetson-orin-nano", *out)
    assert "stm32h734" in refusal(capsys, 2, "optimize", "--target", "jetson", "--target", "stm32h734", *out)
    said = refusal(capsys, 4, *job.words, "--budget", "latency=1ms", *out)
    assert "stm32h743" in said
    assert "best reachable" in said
    assert not (tmp_path / "run").exists()


# One plan


def test_a_plan_says_which_limit_binds_and_what_every_step_would_change(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    run = job.folder / "run" / "stm32h743"
    results = Run(run).results
    plan = next(plan for plan in results.front if plan.name == results.chosen["budget"])
    path = job.plan("stm32h743", plan.name)
    said = answer(capsys, "explain", path, "--model", job.model)
    problem = Run(run, job.model).problem
    space, counting = problem.space, problem.space.counting
    assert counting is not None
    row = space.plan(plan.weight_bits, plan.activation_bits)
    price = cost.estimate(problem.table, row)
    limits = {limit["objective"]: limit for limit in said["limits"]}
    assert limits.keys() == {"mean_bits", "weight_bytes", "peak_activation_bytes"}
    assert limits["mean_bits"]["used"] == counting.mean_bits(row)[0] <= limits["mean_bits"]["allowed"] == 5
    # Half a mebibyte of RAM is never short here.
    assert not limits["peak_activation_bytes"]["binds"]
    breaking = []
    for d, decision in enumerate(said["decisions"]):
        for step, move in (("narrower", -1), ("wider", 1)):
            found, changed = decision[step], np.array(row)
            changed[d] += move
            if found is None:
                assert changed[d] not in space.choices(d)
                continue
            after = cost.estimate(problem.table, changed)
            assert found["bits"] == space.widths(d)[changed[d]]
            assert found["latency_s"] == pytest.approx(after.latency_s[0] - price.latency_s[0], abs=1e-12)
            assert found["weight_bytes"] == after.weight_bytes[0] - price.weight_bytes[0]
            assert found["breaks"] == (["the budget on mean bits"] if counting.mean_bits(changed)[0] > 5 else [])
            breaking += found["breaks"]
    assert limits["mean_bits"]["binds"] == bool(breaking)
    assert "refitted" in said["proxy"]
    assert main(["explain", path, "--quiet", "--model", job.model]) == 0
    text = capsys.readouterr().out
    assert "The budget on mean bits" in text
    assert ("*: " in text) == bool(breaking)
    assert "8 bit" in text


# Two plans


def test_plans_of_one_device_compared(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    results = Run(job.folder / "run" / "stm32h743").results
    names = [results.chosen["fastest"], results.chosen["best quality"]]
    assert names[0] != names[1]
    words = ("compare", *(job.plan("stm32h743", name) for name in names), "--model", job.model)
    said = answer(capsys, *words)
    one, other = (next(plan for plan in results.front if plan.name == name) for name in names)
    assert {(w["kind"], w["name"]): w["bits"] for w in said["widths"]} == {
        **{("weights", n): [b, other.weight_bits[n]] for n, b in one.weight_bits.items() if b != other.weight_bits[n]},
        **{("tensor", n): [b, other.activation_bits[n]] for n, b in one.activation_bits.items() if b != other.activation_bits[n]},
    }
    assert len(said["devices"]) == 1
    for price, plan in zip(said["devices"][0]["prices"], (one, other), strict=True):
        assert price["latency_s"] == pytest.approx(plan.predicted.latency_s, rel=1e-12)
        assert price["weight_bytes"] == plan.predicted.weight_bytes
    for entry, plan in zip(said["plans"], (one, other), strict=True):
        assert plan.measured is not None
        assert entry["measured"]["quality_db"] == plan.measured.quality_db
    assert any(not layer["same"] for layer in said["layers"])
    assert said["remarks"] == []
    assert main([*words]) == 0
    text = capsys.readouterr().out
    assert "runs as" in text
    assert "dB" in text


def test_plans_of_two_devices_are_priced_on_both(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    plans = [job.plan(target, "plan-01") for target in TARGETS]
    said = answer(capsys, "compare", *plans, "--model", job.model)
    assert len(said["devices"]) == 2
    (fast_first, fast_second), (slow_first, slow_second) = (device["prices"] for device in said["devices"])
    assert fast_first["latency_s"] == pytest.approx(plan_file.load(Path(plans[0])).predicted.latency_s)
    assert slow_second["latency_s"] == pytest.approx(plan_file.load(Path(plans[1])).predicted.latency_s)
    # 480 MHz of a Cortex-M7 against 120 MHz of a Cortex-M4.
    assert fast_first["latency_s"] < slow_first["latency_s"]
    assert fast_second["latency_s"] < slow_second["latency_s"]
    assert not any("different pictures" in remark for remark in said["remarks"])
    assert main(["compare", *plans, "--model", job.model]) == 0
    assert "STM32L4R5" in capsys.readouterr().out


def test_what_cannot_be_compared_is_said(job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_file.load(Path(job.plan("stm32h743", "plan-01")))
    write_json(tmp_path / "lonely.json", plan)
    words = ("compare", job.plan("stm32h743", "plan-01"), str(tmp_path / "lonely.json"))
    said = answer(capsys, *words)
    assert said["widths"] == []
    # A plan knows the name of its network and not the module behind it; and code that a run names is not executed.
    assert any("lonely.json is not priced" in remark for remark in said["remarks"])
    assert any("plan-01.json is not priced" in remark and "--model" in remark for remark in said["remarks"])
    said = answer(capsys, *words, "--model", job.model)
    assert not any("priced layer" in remark for remark in said["remarks"])
    assert any("may have been measured on different pictures" in remark for remark in said["remarks"])
    assert main([*words]) == 0
    write_json(tmp_path / "other.json", plan.model_copy(update={"network": "vdsr"}).sealed())
    assert "vdsr" in refusal(capsys, 2, "compare", job.plan("stm32h743", "plan-01"), str(tmp_path / "other.json"))
    assert "a plan" in refusal(capsys, 3, "compare", job.plan("stm32h743", "plan-01"), str(tmp_path / "absent.json"))


# Another choice from a finished run


def test_the_front_of_a_run_is_listed(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(job.folder / "run" / "stm32h743")
    front = answer(capsys, "front", run)["front"]
    assert [entry["plan"] for entry in front] == [plan.name for plan in Run(Path(run)).results.front]
    assert main(["front", run]) == 0
    assert front[0]["plan"] in capsys.readouterr().out
    assert "Budgets" in refusal(capsys, 2, "front", run, "--out", "x.json")
    assert "latency" in refusal(capsys, 2, "front", run, "--budget", "latncy=8ms")
    assert "optimize" in refusal(capsys, 3, "front", str(job.folder))


def test_the_front_of_a_run_for_several_devices_is_one_table(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    run = job.folder / "run"
    devices = sorted(found.name for found in run.iterdir() if found.is_dir())
    rows = answer(capsys, "front", str(run))["table"]
    assert sorted(row["target"] for row in rows) == devices
    both = answer(capsys, "front", str(run), "--budget", "loss=50dB", "--model", job.model)["targets"]
    for name in devices:
        alone = answer(capsys, "front", str(run / name), "--budget", "loss=50dB", "--model", job.model)
        assert both[name] == alone
    # A latency that one device reaches and the other does not.
    best = {name: min(point.latency_s for point in Run(run / name).results.points if point.latency_s) for name in devices}
    slow = max(devices, key=best.__getitem__)
    between = (min(best.values()) * max(best.values())) ** 0.5
    found = answer(capsys, "front", str(run), "--budget", f"latency={between:.9f}s", "--model", job.model)["targets"]
    assert "latency" in found[slow]["out_of_reach"]
    assert main(["front", str(run), "--budget", f"latency={between:.9f}s", "--model", job.model]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in devices)
    refusal(capsys, 4, "front", str(run), "--budget", "latency=1us", "--model", job.model)
    assert "several devices" in refusal(capsys, 2, "front", str(run), "--out", "x.json", "--budget", "latency=1s")


def test_a_budget_chooses_the_best_measured_plan(job: Job) -> None:
    run = job.folder / "run" / "stm32h743"
    results = Run(run).results
    sizes = sorted(point.weight_bytes for point in results.points)
    limit = float(sizes[len(sizes) // 2])
    picked = choose_again.pick(Run(run, job.model), {"weights": limit})
    best = min(point.loss_db for point in results.points if point.weight_bytes <= limit)
    assert picked.simulated is not None
    assert picked.simulated.predicted.loss_db == best
    assert picked.chosen.predicted.weight_bytes <= limit
    assert picked.chosen.predicted.loss_db <= best
    if picked.predicted is not None:
        assert picked.predicted.predicted.weight_bytes <= limit
        assert (picked.chosen is picked.predicted) == (picked.predicted.predicted.loss_db + picked.error_db < best)


def test_the_plan_of_fewest_bits_is_written_and_proven(job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = job.folder / "run" / "stm32h743"
    results = Run(run).results
    lowest = min(plan.counted.mean_weight_bits for plan in results.front if plan.counted)
    problem = Run(run, job.model).problem
    assert problem.space.counting is not None
    narrow = problem.space.uniform(2, 8)
    limit = float(problem.space.counting.mean_bits(narrow)[0])
    assert limit <= lowest
    path = tmp_path / "again.json"
    said = answer(capsys, "front", str(run), "--equal-bits", f"{limit:g}", "--out", str(path), "--model", job.model)
    assert said["chosen"]["counted"]["scope_weight_bits"] <= limit
    assert set(said["chosen"]["weight_bits"].values()) == {2}
    written = plan_file.load(path)
    assert written.measured is not None
    assert written.measured.mismatched_codes == 0
    assert str(written.provenance.origin) == f"picked again, {said['chosen']['source']}"
    assert written.weight_bits == said["chosen"]["weight_bits"]
    assert main(["validate", str(path), "--images", str(job.folder / "photos"), "--quiet", "--runtime", "engine"]) == 0
    assert main(["front", str(run), "--equal-bits", f"{limit:g}", "--model", job.model]) == 0
    assert "bits a weight" in capsys.readouterr().out


def test_a_plan_that_loses_more_elsewhere_says_so(job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Budgets on quality are met on the search pictures, and proven on others."""
    run = job.folder / "run" / "stm32h743"
    losses = sorted(point.loss_db for point in Run(run).results.points if point.loss_db > 0)
    said = set()
    for number, share in enumerate((0.2, 0.5, 0.8)):
        budget, path = losses[int(share * len(losses))] * 1.0001, tmp_path / f"{number}.json"
        assert main(["front", str(run), "--budget", f"loss={budget:.9f}dB", "--out", str(path), "--model", job.model]) == 0
        written = plan_file.load(path)
        assert written.measured is not None
        more = written.measured.loss_db > budget
        assert ("set a tighter one" in " ".join(capsys.readouterr().out.split())) == more
        said.add(more)
    assert True in said


def test_an_impossible_budget_says_the_best_reachable_value(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(job.folder / "run" / "stm32h743")
    said = refusal(capsys, 4, "front", run, "--budget", "latency=1us", "--model", job.model)
    assert "best reachable" in said
    said = refusal(capsys, 4, "front", run, "--equal-bits", "1", "--model", job.model)
    assert "mean bits: the best reachable value is 2 bits" in said
    # Narrow weights are unpacked: what is fastest is not what is narrowest.
    least_s = min(point.latency_s for point in Run(Path(run)).results.points) + 1e-9
    said = refusal(capsys, 4, "front", run, "--budget", f"latency={least_s:.9f}s", "--equal-bits", "2", "--model", job.model)
    assert "within the other budgets the best is" in said


def test_a_run_whose_network_has_changed_answers_nothing(job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    shutil.copytree(job.folder / "run" / "stm32h743", run)
    document = read_json(run / "run.json", "")
    document["provenance"]["state_sha256"] = "0" * 64
    write_json(run / "run.json", document)
    assert "state" in refusal(capsys, 3, "front", str(run), "--budget", "latency=10s", "--model", job.model)


@pytest.mark.parametrize("damage", ["", "[]", '{"schema_version": 1}', '{"tables": 3}'])
def test_a_damaged_damage_table_is_refused(job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(job.folder / "run" / "stm32h743", run)
    (run / "damage.json").write_text(damage)
    assert "damage" in refusal(capsys, 3, "front", str(run), "--budget", "latency=10s", "--model", job.model)
