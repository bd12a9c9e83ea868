"""A plan on its own, without a run: its document, and its integers beside where that is to stand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hwmodels.numbers import Width
from hwsearch.documents.plan import Plan, Predicted, Provenance
from hwsearch.quant.network import storage
from hwsearch.quant.network.graph import QuantizedGraph


def lone_plan(
    folder: Path, q: QuantizedGraph, activation_bits: Mapping[str, Width], network: str = "fsrcnn", **arguments: int
) -> Plan:
    """The document of a plan of a quantized network that doubles pictures of one channel; its integers are written into
    ``folder``. ``arguments``: of the network."""
    digest = storage.save(q, folder / "plan-01.safetensors")
    return Plan(
        name="plan-01",
        network=network,
        scale=2,
        target="host",
        input_height=24,
        input_width=32,
        scope="all",
        weight_bits={name: layer.bits for name, layer in q.layers.items()},
        activation_bits=dict(activation_bits),
        predicted=Predicted(loss_db=0.1, latency_s=0.001, weight_bytes=100, peak_activation_bytes=1000, energy_j=None),
        integers="plan-01.safetensors",
        integers_sha256=digest,
        provenance=Provenance(
            created="2031-01-01",
            seed=0,
            network_arguments=dict(arguments),
            weights_sha256="",
            device_sha256="",
            calibration=[],
            versions={},
            origin="exact",
        ),
    )
