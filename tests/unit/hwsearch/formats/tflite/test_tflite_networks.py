"""Built-in networks, small and with random weights, as TFLite files: the codes of the engine under each runtime's rule."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from random_networks import quantize

from hwmodels.errors import FileError
from hwsearch.formats.running.runtime import Tolerance
from hwsearch.formats.tflite import litert, tflm
from hwsearch.quant.engine import integer
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.networks import registry
from searchspaces.networks.registry import NETWORKS
from searchspaces.tracing.trace import trace

SMALL = {
    "lapsrn": {"depth": 2, "width": 8},
    "pan": {"nf": 8, "unf": 6, "n_blocks": 2},
    "rcan": {"n_groups": 1, "n_blocks": 2, "n_feats": 8, "reduction": 4},
    "resnet18": {"width": 4, "classes": 10},
    "rfdn": {"nf": 12, "n_blocks": 2},
    "rrdb": {"n_blocks": 1, "width": 8, "growth": 4},
}
OPEN = {"litert": litert.open_plan, "reference": lambda q: litert.open_plan(q, reference=True), "micro": tflm.open_plan}
SIZE = (32, 36)


@cache
def quantized(name: str) -> QuantizedGraph:
    torch.manual_seed(7)
    known = NETWORKS[name]
    module = registry.build(name, known.scales[0], **SMALL[name])
    return quantize(trace(module.eval(), known.channels or 3, name), 8, 8, size=SIZE)


@pytest.mark.parametrize("runtime", OPEN)
@pytest.mark.parametrize("name", SMALL)
def test_every_code_is_equal(name: str, runtime: str) -> None:
    q = quantized(name)
    if (name, runtime) == ("rfdn", "micro"):
        with pytest.raises(FileError, match="no fused leaky_relu"):
            OPEN[runtime](q).run(torch.zeros(1, 3, *SIZE))
        return
    plan = OPEN[runtime](q)
    x = torch.rand(1, q.graph.channels, *SIZE, generator=torch.Generator().manual_seed(1))
    ours = integer.run(plan.executed, x)
    assert plan.tolerance == Tolerance()
    assert len(ours.unique()) > 8
    assert torch.equal(ours, plan.run(x))
