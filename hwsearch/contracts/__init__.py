"""Contract suites for those who add a device, a network, an operator, a task, a proxy, a method, a rule of allocation, an
exporter or a reader: one call each.

A broken contract is an AssertionError that says what is wrong.

They run on a network of a few hundred weights and on synthetic pictures, in seconds, and need no test framework.
"""

from hwsearch.contracts.operator import check_operator
from hwsearch.contracts.parts import (
    check_allocator,
    check_device,
    check_exporter,
    check_method,
    check_network,
    check_proxy,
    check_task,
    tiny_calibration,
    tiny_graph,
    tiny_pairs,
)
from hwsearch.contracts.reader import check_reader

__all__ = [
    "check_allocator",
    "check_device",
    "check_exporter",
    "check_method",
    "check_network",
    "check_operator",
    "check_proxy",
    "check_reader",
    "check_task",
    "tiny_calibration",
    "tiny_graph",
    "tiny_pairs",
]
