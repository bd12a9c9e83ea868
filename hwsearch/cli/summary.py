"""A finished run in one document for machines, or one screen for people."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hwmodels.errors import HwsearchError
from hwsearch.cli.terminal import bold, table
from hwsearch.documents import trust, units
from hwsearch.documents.results import DeviceFacts, Reference, Results
from hwsearch.runs.interrupted import naming
from hwsearch.search import frame_rate
from hwsearch.search.correlation import loss_range
from searchspaces.data.scale import network_text, scale_text

if TYPE_CHECKING:
    from rich.console import Console

    from hwsearch.documents.plan import Plan
    from hwsearch.pipeline.several_devices import Runs

WIDE = 100
"""Columns from which widths and numbers stand in one table."""
EXTRA = 14
"""Columns more for each of ``_extras``."""
BITS = ("weight bits", "tensor bits")
NUMBERS = ("loss\ndB", "latency", "weights", "peak\nmemory", "smaller\nthan fp32", "than\nint8")
"""After the quality, which has the task's name."""
ROWS = 20
"""Plans of the front that one screen shows; the others are in results.json and in the report."""


def shown_plans(results: Results) -> list[Plan]:
    """The plans that fit on one screen: every chosen one, and others evenly along the front."""
    front = results.front
    if len(front) <= ROWS:
        return list(front)
    chosen = set(results.chosen.values())
    others = [plan for plan in front if plan.name not in chosen]
    room = max(ROWS - len(front) + len(others), 0)
    kept = chosen | {others[i * len(others) // room].name for i in range(room)}
    return [plan for plan in front if plan.name in kept]


def render_front(results: Results, screen: Console) -> None:
    """What the run was about, and a table of its front."""
    int8, plans = results.int8_weight_bytes, shown_plans(results)
    reference = results.reference
    simplest = reference.baseline_db
    beside = f" ({results.baseline} {units.decibel(simplest)})" if simplest is not None else f" {results.quality.name}"
    screen.print(
        bold(
            f"{network_text(results.network, results.scale)} on {results.device.title}",
            f", input {results.input_height}x{results.input_width}, "
            f"floating point {units.decibel(reference.quality_db)}{beside}, "
            f"{units.bytes_(reference.weight_bytes)} of weights at 32 bits",
        )
    )
    headings = (f"{results.quality.name}\ndB", *NUMBERS)
    bits = [units.brief_bits(plan.weight_bits, plan.activation_bits) for plan in plans]
    numbers = [_numbers(plan, reference.weight_bytes, int8) for plan in plans]
    extra, extras = _extras(results, plans)
    names = [plan.name for plan in plans]
    if screen.width >= WIDE + EXTRA * len(extra):
        rows = [(name, *widths, *values, *more) for name, widths, values, more in zip(names, bits, numbers, extras, strict=True)]
        screen.print(table(("plan", *BITS, *headings, *extra), rows, left=BITS))
    else:
        screen.print(table(("plan", *headings), [(name, *values) for name, values in zip(names, numbers, strict=True)]))
        rows = [(name, *widths, *more) for name, widths, more in zip(names, bits, extras, strict=True)]
        screen.print(table(("plan", *BITS, *extra), rows, left=BITS))
    if counts := units.on_counts(bits):
        screen.print(counts)
    if len(plans) < len(results.front):
        screen.print(f"{len(results.front) - len(plans)} more plans are in the report.")
    if results.rewritten_alike:
        screen.print(f"All plans are {results.rewritten_alike}.")
    measured = "measured in integers on the evaluation pictures; ~ simulated on the search pictures"
    screen.print(f"{results.quality.name} and loss: {measured}.")
    if said := trust.of(results.device).below:
        screen.print(said)


def render(results: Results, screen: Console) -> None:
    """The front, the chosen plans, how far the proxies can be trusted, and what to type next."""
    roles: dict[str, list[str]] = {}
    for role, name in results.chosen.items():
        roles.setdefault(name, []).append(role)
    best = results.chosen.get("budget") or results.chosen.get("knee") or (results.front[0].name if results.front else None)
    render_front(results, screen)
    if best is not None and (line := as_papers_count(next(plan for plan in results.front if plan.name == best))):
        screen.print(line)
    unproven = {plan.name for plan in results.unproven}
    for said, names in (("Chosen and proven: ", roles.keys() - unproven), ("Chosen and NOT PROVEN: ", unproven)):
        picked = [part for name in roles if name in names for part in (name, f" {units.listing(roles[name])}; ")]
        if picked:
            screen.print(bold("", said, *picked[:-1], f"{picked[-1].removesuffix('; ')}."))
    if results.proxies[0].ranks:
        ranks = units.listing(f"{check.name} {check.spearman:.3f}" for check in results.proxies)
        low, high = loss_range(np.array(results.proxies[0].simulated_db))
        screen.print(
            "Rank correlation of the proxies with simulated plans (Spearman), nine of ten of which lose "
            f"{low:.2g} to {high:.2g} dB: {ranks}."
        )
    if results.front_proxies:
        errors = [
            f"{check.median_error_db:.3f} dB ({check.median_error_share:.0%}) by {check.name}" for check in results.front_proxies
        ]
        count = len(results.front_proxies[0].simulated_db)
        screen.print(
            f"Median error of the predicted loss of {count} exact plans, before they were simulated: {units.listing(errors)}."
        )
    told = trust.of(results.device).below  # above, beside the latencies
    for note in (note for note in results.notes if note != told):
        screen.print(f"- {note}")
    if results.run_dir is None:
        return
    screen.print(bold("\nReport", f"  {results.run_dir / 'report.html'}"), soft_wrap=True)
    if best is not None:
        explain, *others = _next_commands(results, results.run_dir / results.file_of(best))
        screen.print(bold("Next", f"    {explain}"), soft_wrap=True)
        for command in others:
            screen.print(f"        {command}", soft_wrap=True)
    _print_unproven(results, screen)


def _print_unproven(results: Results, screen: Console) -> None:
    """The last words of a run of which chosen plans are not proven."""
    for plan in results.unproven:
        screen.print(bold(f"\n{plan.name}", f"{plan.not_proven.removeprefix(plan.name)}."))


def _next_commands(results: Results, path: Path) -> list[str]:
    """What to do with the plan in ``path``: ask why it is so, and hand it over in a format that its device reads."""
    from hwsearch.plans import handover, plan_file
    from hwsearch.runs.run import Run

    run = Run.of_plan(path)
    named = naming(None if run is None else run.model)
    plan = shlex.quote(str(_near(path)))
    explain, export = f"hwsearch explain {plan}{named}", f"hwsearch export {plan}"
    if any(one.name == path.stem for one in results.unproven):
        return [explain, f"hwsearch validate {plan}{named}"]
    try:
        opened = plan_file.open_plan(path)
        suggestion = handover.suggest(opened) if opened.plan.integers is not None else None
    except HwsearchError:  # a run whose plans were moved away still has a report
        return [explain, export + named]
    if suggestion is None:
        return [explain]
    info = suggestion.exporter
    in_name = scale_text(results.scale).replace("/", "-")
    export += f" --to {info.name} --out {shlex.quote(f'{results.network}_x{in_name}{info.suffix}')}{named}"
    if suggestion.made_for_device:
        return [explain, export]
    why = suggestion.why or f"no format here is made for {results.device.runtime}"
    return [explain, export, f"# {why}; many tools read {info.name}"]


def render_targets(runs: Runs, screen: Console) -> None:
    """One table across devices: the plan that each run recommends, and where to read on."""
    from hwsearch.documents.recommended import of_budget

    first = next(iter(runs.results.values()))
    screen.print(
        bold(
            f"{network_text(first.network, first.scale)} on {len(runs.results)} devices",
            f", floating point {units.decibel(first.reference.quality_db)}",
        )
    )
    rows = []
    for name, results in runs.results.items():
        plan, reference = of_budget(results), results.reference
        price, measured = plan.predicted, plan.measured
        faster = _faster(reference, price.latency_s, results.device)
        rows.append(
            (
                name,
                f"{results.input_height}x{results.input_width}",
                plan.name,
                units.decibel_number(measured.quality_db) if measured else units.NONE,
                units.decibel_number(measured.loss_db, 3) if measured else units.NONE,
                units.seconds(price.latency_s),
                faster,
                units.bytes_(price.weight_bytes),
                units.bytes_(price.peak_activation_bytes),
                units.ratio(reference.weight_bytes / price.weight_bytes if price.weight_bytes else None),
                *units.brief_bits(plan.weight_bits, plan.activation_bits),
            )
        )
    quality = f"{first.quality.name}\ndB"
    columns = (
        *("device", "input", "plan", quality, "loss\ndB", "latency", "faster\nthan", "weights", "peak\nmemory"),
        *("smaller\nthan fp32", *BITS),
    )
    screen.print(table(columns, rows, left=("input", "plan", *BITS)))
    if counts := units.on_counts((row[-2], row[-1]) for row in rows):
        screen.print(counts)
    screen.print(
        "The plan of each device is that of the budget, else the knee; quality and loss are measured in integers, and left out "
        "where the plan is not proven. A question mark: within what the model gets wrong between plans of one network."
    )
    for said in dict.fromkeys(trust.of(results.device).below for results in runs.results.values()):
        if said:
            screen.print(said)
    for results in runs.results.values():
        _print_unproven(results, screen)
    for name in runs.results:
        screen.print(bold("Report", f"  {runs.folder / name / 'report.html'}"), soft_wrap=True)


def _faster(reference: Reference, latency_s: float, device: DeviceFacts) -> str:
    """How many times faster than the widest arithmetic of the device; where that is within what the model gets wrong between
    plans of one network, a question mark behind it."""
    if not reference.latency_s:
        return units.NONE
    unsure = device.doubt is not None and not device.doubt.tells_apart(latency_s, reference.latency_s)
    return f"{units.ratio(reference.latency_s / latency_s)} {reference.precision}{' ?' if unsure else ''}"


def as_papers_count(plan: Plan) -> str:
    """A plan beside a paper's row, in one sentence; empty for a plan that was not counted."""
    counted = plan.counted
    if counted is None:
        return ""
    inside = f" ({counted.scope_weight_bits:.3g} in the scope {plan.scope})" if plan.scope != "all" else ""
    return (
        f"As papers count, convolution weights alone: {plan.name} has {counted.mean_weight_bits:.3g} bits a weight{inside}, "
        f"{units.ratio(counted.compression)} fewer than fp32, and {units.count(counted.bitops)}BitOPs."
    )


def _extras(results: Results, plans: Sequence[Plan]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns that only some runs have: what plans differ in beside widths, and the headroom of a rate; their headings, and a row
    for each plan."""
    columns: dict[str, list[str]] = {}
    if results.rewritten_alike is None:
        if any(plan.dropped for plan in results.front):
            columns["without"] = [units.blocks(plan.dropped) for plan in plans]
        if any(plan.branches for plan in results.front):
            columns["branches"] = [units.branches(plan.branches) for plan in plans]
    if any(plan.tiling for plan in results.front):
        columns["tile"] = [units.tile(plan.tiling) for plan in plans]
    if results.fps is not None:
        left = [frame_rate.headroom(plan.predicted.latency_s, results.fps) for plan in plans]
        columns[f"headroom\nat {results.fps:g}/s"] = [units.headroom(share) for share in left]
    return tuple(columns), [tuple(cells[i] for cells in columns.values()) for i in range(len(plans))]


def _numbers(plan: Plan, float_bytes: int, int8_bytes: int | None) -> tuple[str, ...]:
    """The cells of the quality and of ``NUMBERS``."""
    predicted, measured = plan.predicted, plan.measured
    size = predicted.weight_bytes
    return (
        units.decibel_number(measured.quality_db) if measured else units.NONE,
        units.decibel_number(measured.loss_db, 3) if measured else f"~{units.decibel_number(predicted.loss_db, 3)}",
        units.seconds(predicted.latency_s),
        units.bytes_(size),
        units.bytes_(predicted.peak_activation_bytes),
        units.ratio(float_bytes / size if size else None),
        units.ratio(int8_bytes / size if int8_bytes and size else None),
    )


def _near(path: Path) -> Path:
    """Relative to the current folder where it lies below it: shorter to type."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
