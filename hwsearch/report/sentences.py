"""What the report says in words: its headline, the summary, the warnings, and the figures of the recommended plan."""

from __future__ import annotations

from hwmodels.errors import grouped
from hwmodels.numbers import Width, bits_of
from hwsearch.documents import elsewhere, trust, units
from hwsearch.documents.plan import Plan
from hwsearch.documents.recommended import recommended
from hwsearch.documents.results import Results
from hwsearch.search import frame_rate
from searchspaces.data.scale import scale_text


def headline(results: Results, plan: Plan | None) -> str:
    rewritten = "" if plan is None else units.behind(units.rewritten(plan.dropped, plan.branches))
    where = f"{results.network} ×{scale_text(results.scale)}{rewritten} on {results.device.title}"
    if plan is None:
        return f"{where}: no plan was found"
    quality = plan.measured.loss_db if plan.measured else plan.predicted.loss_db
    what = f"{units.loss(quality)} lost" if quality >= 0.0005 else "no loss"
    lack = trust.of(results.device).lack
    unsure = f" predicted ({lack})" if lack else ""
    latency, size = units.seconds(plan.predicted.latency_s), units.bytes_(plan.predicted.weight_bytes)
    return f"{where}: {latency}{unsure}, {size} of weights, {what}"


def summary(results: Results, plan: Plan | None) -> list[str]:
    network = f"{results.network} ×{scale_text(results.scale)}"
    asked = f"Asked: the bit-widths, layer by layer, with which {network} runs best on {results.device.title}"
    size = f"for input pictures of {results.input_height}×{results.input_width} pixels (height × width)"
    budgets = units.listing(units.budget(*item) for item in results.budgets.items())
    sentences = [f"{asked}, {size}{', within ' + budgets if budgets else ''}."]
    if plan is None:
        return sentences
    roles = [role for role, name in results.chosen.items() if name == plan.name]
    role = f" ({' · '.join(roles)})" if roles else ""
    weights, activations = _widths(plan.weight_bits), _widths(plan.activation_bits)
    sentences.append(f"Recommended: {plan.name}{role}, with weights of {weights} and activations of {activations} bits.")
    if rewritten := units.rewritten(plan.dropped, plan.branches):
        sentences.append(f"Its network is {rewritten}.")
    if plan.tiling is not None:
        sentences.append(
            f"It works through the picture by tiles of {plan.tiling.height}×{plan.tiling.width} pixels, with their halo "
            f"{units.HALO[plan.tiling.halo]}."
        )
    if results.fps is not None:
        sentences.append(f"{units.rate(plan.predicted.latency_s, results.fps)}.")
    measured = plan.measured
    if plan.unproven is not None:
        sentences.append(f"{plan.not_proven}. Its loss is that of the simulation on the search pictures.")
        return sentences
    if measured is None:
        sentences.append("This plan was not run in integers: its loss is that of the simulation on the search pictures.")
        return sentences
    pictures = len(results.pictures.get("evaluation", []))
    wrong = (
        "with not one code of {codes:,} different from our integer engine"
        if measured.mismatched_codes == 0
        else "with {wrong:,} of {codes:,} codes different from our integer engine"
    ).format(wrong=measured.mismatched_codes, codes=measured.codes)
    if measured.float_layers and measured.mismatched_codes:
        wrong += " (floating-point layers round differently from runtime to runtime)"
    how = "in integers" if not measured.float_layers else "in integers where the device runs integers"
    sentences.append(
        f"Proven {how} by {measured.runtime} on {pictures} evaluation picture{'s' * (pictures != 1)}, {wrong}: "
        f"{units.decibel(measured.quality_db)} {results.quality.name} and {measured.second:.4f} {results.second.name}, "
        f"against {units.decibel(results.reference.quality_db)} and {results.reference.second:.4f} in floating point."
    )
    if measured.near_db is not None:
        sentences.append(f"PSNR of its pictures against the floating-point network's: {units.decibel(measured.near_db)}.")
    return sentences


def warnings(results: Results) -> list[str]:
    said = []
    if results.device.hypothetical:
        said.append(f"{results.device.title} is a hypothetical device.")
    if results.uncounted:
        said.append(f"Not traced or not priced, hence in no number here: {units.listing(grouped(results.uncounted))}.")
    plan = recommended(results)
    floats = plan.measured.float_layers if plan and plan.measured else []
    if floats:
        said.append(f"{len(floats)} of its layers run in floating point and are not proven in integers: {units.listing(floats)}.")
    said += [f"{p.not_proven}." for p in results.front if p.unproven is not None and p is not plan]
    wrong = [p for p in results.front if p.measured and p.measured.mismatched_codes and not p.measured.float_layers]
    if wrong:
        named = units.listing(f"{p.name} ({p.measured.mismatched_codes:,})" for p in wrong if p.measured)
        said.append(f"Output codes differ between the runtime and our integer engine for {named}.")
    return said


def tiles(results: Results, plan: Plan) -> list[tuple[str, str, str]]:
    predicted, measured, reference = plan.predicted, plan.measured, results.reference
    small = results.int8_weight_bytes
    fps = f"{1 / predicted.latency_s:.0f} pictures a second" if 0 < predicted.latency_s <= 1 else "per picture"
    faster = reference.latency_s and predicted.latency_s and reference.latency_s / predicted.latency_s
    lack, doubt = trust.of(results.device).lack, results.device.doubt
    unsure = f"; {lack}" if lack else ""
    versus = f", {_compared(faster, 'faster', 'slower')} than {reference.precision}" if faster and reference.precision else ""
    if doubt is not None:
        if versus and not doubt.tells_apart(predicted.latency_s, reference.latency_s or 0.0):
            versus += ", within the cost model's error between plans"
        uncompared_s = elsewhere.seconds(results.layers.get(plan.name, ()), results.device)
        unsure = f"; 90 % interval {units.interval(*doubt.interval_s(predicted.latency_s, uncompared_s))}"
    compared = []
    if predicted.weight_bytes:
        compared.append(f"{_compared(reference.weight_bytes / predicted.weight_bytes, 'smaller', 'larger')} than fp32")
        if small:
            compared.append(f"{_compared(small / predicted.weight_bytes, 'smaller', 'larger')} than int8")
    tiles = [
        (
            f"{results.quality.name} loss",
            units.loss(measured.loss_db if measured else predicted.loss_db),
            "measured, evaluation pictures" if measured else "simulated, search pictures",
        ),
        ("Latency", units.seconds(predicted.latency_s), f"predicted; {fps}{versus}{unsure}"),
        ("Weights", units.bytes_(predicted.weight_bytes), ", ".join(compared)),
        ("Peak activations", units.bytes_(predicted.peak_activation_bytes), "predicted"),
    ]
    if results.fps is not None:
        left = units.headroom(frame_rate.headroom(predicted.latency_s, results.fps))
        tiles.append(("Headroom", left, f"at {results.fps:g} pictures a second"))
    energy = "predicted, per picture" if predicted.energy_j is not None else "the device file has no figure for it"
    tiles.append(("Energy", units.joules(predicted.energy_j), energy))
    if measured:
        of = f"of {units.count(measured.codes)} output codes"
        if measured.float_layers and measured.mismatched_codes:
            of += "; floating-point layers round differently from runtime to runtime"
        tiles.append(("Mismatched codes", f"{measured.mismatched_codes:,}", of))
    return tiles


def _widths(widths: dict[str, Width]) -> str:
    """Widths for a sentence: in network order where that is short, else their range and mean."""
    text = units.compress_bits(widths.values())
    if len(text) <= 28 or not widths:
        return text
    bits = [*map(bits_of, widths.values())]
    return f"{min(bits)} to {max(bits)} (on average {sum(bits) / len(bits):.1f})"


def _compared(ratio: float, better: str, worse: str) -> str:
    """``2.5 -> "2.50× smaller"``, ``0.4 -> "2.50× larger"``."""
    return f"{units.ratio(ratio)} {better}" if ratio >= 0.9995 else f"{units.ratio(1 / ratio)} {worse}"
