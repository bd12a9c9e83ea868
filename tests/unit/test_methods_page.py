"""The page of quantization methods (``tests/bench/methods.py``): verdicts of claims from losses that are known."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))

from methods import WANTED, beside_published, figure, joined, missing, page, verdicts

from hwsearch.documents.comparisons import MethodComparison, MethodRow

HARD = np.array([1.0, 3.0, 2.0, 5.0, 4.0])
"""What every method loses on five pictures, before its own share."""


def row(method: str, losses: np.ndarray) -> MethodRow:
    return MethodRow(
        method=method, weight_bits=2, activation_bits=2, quality_db=30 - losses.mean(), loss_db=losses.mean(), stderr_db=0.1,
        half_db=0.2, behind_db=0.5, behind_half_db=0.1, tie=False, second=0.9, first_db=20.0, losses_db=losses.tolist(),
        seconds=1.0, latency_s=1e-3, energy_j=None, weight_bytes=1024, peak_activation_bytes=1024, priced_as="W2A2",
        run_time_price="none",
    )  # fmt: skip


def comparison() -> MethodComparison:
    wobble = np.array([0.01, -0.01, 0.0, 0.01, -0.01])
    rows = [
        row("minmax", HARD + 1),
        row("mse", HARD + 0.5 + wobble),
        row("ptq4sr", HARD + 0.8 + wobble),  # the other way round
        row("twodquant", HARD + 0.5),
        row("harmoq", HARD + 0.4 + wobble),  # better, by less than is claimed
    ]
    return MethodComparison(
        network="net", scale=4, weights_sha256="0" * 64, target="device", scope="all", float_db=32.0, float_second=0.9,
        pictures=list("abcde"), seed=0, versions={}, rows=rows,
    )  # fmt: skip


def test_verdicts_follow_from_pairs_of_pictures() -> None:
    found = {claim.split(" (")[0]: verdict for claim, _, verdict in verdicts(comparison(), (2, 2))}
    assert found == {
        "mse above minmax": "reproduced",
        "ptq4sr above mse": "reversed",
        "harmoq above twodquant": "right order, less than 0.3 dB",
    }


def at(bits: tuple[int, int], *rows: MethodRow) -> MethodComparison:
    """The rows as if of these widths."""
    update = {"weight_bits": bits[0], "activation_bits": bits[1]}
    return comparison().model_copy(update={"rows": [row.model_copy(update=update) for row in rows]})


@pytest.mark.parametrize(
    ("bits", "told"), [((2, 2), {"quantsr_plus"}), ((4, 4), {"percentile"}), ((3, 4), {"percentile"}), ((4, 8), set())]
)
def test_a_claim_is_asked_at_the_widths_that_it_was_published_for(bits: tuple[int, int], told: set[str]) -> None:
    names = ("quantsr_plus", "lsq", "percentile", "minmax")
    found = at(bits, *(row(name, HARD + share) for name, share in zip(names, (1, 2, 3, 4), strict=True)))
    assert {claim.partition(" ")[0] for claim, _, _ in verdicts(found, bits)} == told
    assert ("| quantsr_plus above lsq" in page([found])) == ("quantsr_plus" in told)


def test_pictures_that_differ_more_than_the_methods_make_a_tie() -> None:
    wobble = np.array([0.4, -0.4, 0.0, 0.4, -0.4])
    found = at((4, 4), row("minmax", HARD + 1), row("percentile", HARD + 1 + wobble))
    assert [verdict for _, _, verdict in verdicts(found, (4, 4))] == ["tie"]


def test_ours_is_set_beside_the_best_published_method() -> None:
    whole = comparison()
    assert beside_published(whole, (2, 2)) is None
    ours = whole.model_copy(update={"rows": [*whole.rows, row("together", HARD - 0.6), row("output_noise", HARD - 1)]})
    (best, gain) = beside_published(ours, (2, 2)) or ("", "")
    assert best == "harmoq"  # output_noise is ours, too
    assert gain.startswith("+1.00 ± 0.01 dB")
    assert "| net x4 W2A2, all | 5 | 1 | harmoq | +1.00 ± 0.01 dB |" in page([ours])


def test_what_costs_more_is_not_set_beside_ours() -> None:
    whole = comparison()
    dearer = row("dan", HARD - 2).model_copy(update={"latency_s": 2e-3})
    ours = whole.model_copy(update={"rows": [*whole.rows, row("together", HARD - 0.6), dearer]})
    assert (beside_published(ours, (2, 2)) or ("", ""))[0] == "harmoq"
    alone = whole.model_copy(update={"rows": [row("together", HARD - 0.6), dearer]})
    assert beside_published(alone, (2, 2)) is None


def test_a_set_among_the_pictures_is_told_alone() -> None:
    whole = comparison()
    some = whole.model_copy(update={"pictures": ["a_set5_a", "a_set5_b", "c", "d", "e"]})
    assert "On the 2 pictures of Set5 they lose, dB: harmoq 2.40, " in page([some])
    assert "Set5 they lose" not in page([whole])


def test_what_was_not_measured_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = comparison().model_copy(update={"network": "imdn"})
    ours = whole.model_copy(update={"rows": [*whole.rows, row("together", HARD - 0.6)]})
    assert missing([whole]) == "W4A4: any of them; W3A3: any of them; W2A2: any of them"
    assert missing([ours]) == f"W4A4: any of them; W3A3: any of them; W2A2: {', '.join(WANTED[1:])}"
    assert f"was not measured for {missing([ours])}." in page([ours])
    monkeypatch.setattr("methods.WANTED", WANTED[:1])
    assert missing([ours]) == "W4A4: any of them; W3A3: any of them"


def test_the_page_counts_how_often_a_claim_held() -> None:
    whole = comparison()
    other = whole.model_copy(update={"network": "other", "rows": [row("minmax", HARD), row("mse", HARD + 1)]})
    text = page([whole, other])
    assert "| mse above minmax (OAQ-SR's table of EDSR x4 W4A4: 27.74 and 26.83 dB) | 2 | 1 | 0 | 0 | 1 |" in text


def test_comparisons_on_the_same_pictures_are_one() -> None:
    whole = comparison()
    parts = [whole.model_copy(update={"rows": whole.rows[:2]}), whole.model_copy(update={"rows": whole.rows[2:]})]
    (found,) = joined(parts)
    assert [row.method for row in found.rows] == [row.method for row in whole.rows]
    best = min(whole.rows, key=lambda row: row.loss_db)
    for row in found.rows:
        assert row.behind_db == pytest.approx(row.loss_db - best.loss_db)
    assert len(joined([whole, whole.model_copy(update={"pictures": list("abcdf")})])) == 2


def test_the_page_tells_every_method_and_what_is_reconstructed(tmp_path: Path) -> None:
    text = page([comparison()])
    assert text.index("| mse |") < text.index("| minmax |")
    assert "| 2.00 KiB |" in text
    assert "the scales and the refinement in full" in text
    figure([comparison()], tmp_path / "methods.svg")
    drawn = (tmp_path / "methods.svg").read_text()
    assert drawn.count('id="axes_1"') == 1  # one panel for one network at one pair of widths
    assert 'id="axes_2"' not in drawn
