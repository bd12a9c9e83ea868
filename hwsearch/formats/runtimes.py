"""Who can run a plan's integers: our engine, and the runtimes that ship plans; one file each.

A runtime is a module with ``open_plan(qgraph) -> Runtime``. To add one, write the file and name it in ``RUNTIMES``; the commands
`validate` and `upscale` then know it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from hwmodels.errors import UsageError, closest

if TYPE_CHECKING:
    from hwsearch.formats.runtime import Runtime
    from hwsearch.quant.graph import QuantizedGraph


@dataclass(frozen=True)
class RuntimeInfo:
    """One runtime. ``module`` is imported when it is first used; ``package`` must be importable, ``extra`` installs it;
    ``arguments`` are passed to its ``open_plan``."""

    name: str
    summary: str
    module: str
    package: str = "hwsearch"
    extra: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def open_plan(self, qgraph: QuantizedGraph) -> Runtime:
        """Make a quantized network ready to run there.

        Raises:
            UsageError: the runtime is not installed.
            FileError: it cannot execute this network.
        """
        if find_spec(self.package) is None:
            raise UsageError(f"{self.name} is not installed", f'Install it with: pip install "hwsearch[{self.extra}]"')
        runtime: Runtime = import_module(self.module).open_plan(qgraph, **self.arguments)
        return runtime


RUNTIMES: dict[str, RuntimeInfo] = {
    info.name: info
    for info in (
        RuntimeInfo("engine", "ours", "hwsearch.formats.engine"),
        RuntimeInfo("ort", "ONNX Runtime", "hwsearch.formats.onnx.ort", "onnxruntime"),
        RuntimeInfo("litert", "LiteRT with XNNPACK", "hwsearch.formats.tflite.litert", "ai_edge_litert", "tflite"),
        RuntimeInfo("tflm", "TensorFlow Lite Micro", "hwsearch.formats.tflite.tflm", "tflite_micro", "tflite"),
        RuntimeInfo("openvino", "OpenVINO on the CPU", "hwsearch.formats.onnx.openvino", "openvino", "openvino"),
        RuntimeInfo("qemu", "C on an emulated Cortex-M4", "hwsearch.formats.c.qemu"),
        RuntimeInfo("qemu-m7", "Cortex-M7", "hwsearch.formats.c.qemu", arguments={"core": "cortex-m7"}),
        RuntimeInfo("qemu-m55", "Cortex-M55 with Helium", "hwsearch.formats.c.qemu", arguments={"core": "cortex-m55"}),
    )
}


def runtime(name: str) -> RuntimeInfo:
    """The runtime called ``name``.

    Raises:
        UsageError: there is none; the message has the closest names.
    """
    if name not in RUNTIMES:
        raise UsageError(f"--runtime {name!r} is not known", closest(name, RUNTIMES))
    return RUNTIMES[name]
