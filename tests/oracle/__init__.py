"""Outside figures for the cost models, one reader a source: what each model predicts beside what was measured or compiled."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One prediction beside one outside figure.

    Attributes:
        device: name of a shipped device file, or of the board where none is shipped.
        kind: class of the cost model: npu, gpu, mcu or cpu.
        network: what was left out together when this row was predicted (leave-one-network-out), or the half of the rows that the
            fit did not see; "" where nothing was fitted.
        label: what the row is, for a person.
        source: where the outside figure comes from.
        quantity: "latency_s", "energy_j", "peak_activation_bytes", ...
        predicted, measured: in the quantity's unit.
        plan_of: rows with the same text here are one network in several precisions; "" where there is only one.
        seen: what is akin to this row and was seen by the fit all the same, as the end of a sentence ("the same network on
            another board"); "" where nothing is.
        single_layer: whether the row is a layer by itself and no network.
        baselines: predictions of simpler models by name ("MACs only", "fixed + MACs/rate"), fitted on the same rows.
    """

    device: str
    kind: str
    network: str
    label: str
    source: str
    quantity: str
    predicted: float
    measured: float
    baselines: tuple[tuple[str, float], ...] = ()
    plan_of: str = ""
    seen: str = ""
    single_layer: bool = False
