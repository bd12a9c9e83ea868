"""What a comparison says of the network that it is made on."""

from __future__ import annotations

from typing import Any

from hwsearch.documents.versions import versions
from hwsearch.problem.request import Request
from searchspaces.ir import branches
from searchspaces.networks.registry import LoadedNetwork


def compared_on(request: Request, network: LoadedNetwork) -> dict[str, Any]:
    """The fields of ``documents.comparisons.Comparison``."""
    return {
        "network": network.name,
        "scale": network.scale,
        "weights_sha256": network.weights_sha256,
        "dropped": list(network.dropped),
        "branches": branches.read(request.branches),
        "seed": request.seed,
        "versions": versions(),
    }
