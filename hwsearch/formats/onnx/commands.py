"""What runs an ONNX file of each exporter on its device, as people type it."""

from __future__ import annotations

import shlex

from hwsearch.formats.writing.exporters import Handed

ONCE = (
    "import sys, numpy, onnxruntime; net = onnxruntime.InferenceSession(sys.argv[1]); "
    "x = numpy.zeros([int(n) for n in sys.argv[2].split(',')], numpy.float32); "
    "print(net.run(None, {net.get_inputs()[0].name: x})[0].shape)"
)
"""One run by ONNX Runtime on a black picture: FILE, and the shape of its input."""


def _shape(handed: Handed, between: str = ",") -> str:
    return between.join(map(str, (1, handed.channels, *handed.size)))


def onnxruntime(handed: Handed) -> list[str]:
    return [f"python -c {shlex.quote(ONCE)} {handed.name} {_shape(handed)}"]


def openvino(handed: Handed) -> list[str]:
    return [f"benchmark_app -m {handed.name} -d CPU -shape '[{_shape(handed)}]'"]


def tensorrt(handed: Handed) -> list[str]:
    """The engine is built on the board itself: it fits no other. Where there are no quantizers, half precision is allowed."""
    shapes = shlex.quote(f"--shapes={handed.input}:{_shape(handed, 'x')}")
    engine = handed.beside(".engine")
    core = " --useDLACore=0 --allowGPUFallback" if handed.device_is("TensorRT (DLA)") else ""
    return [
        f"trtexec --onnx={handed.name} {shapes} --int8 --fp16{core} --saveEngine={engine}",
        f"trtexec --loadEngine={engine} {shapes}{core.removesuffix(' --allowGPUFallback')}",
    ]


def qonnx(handed: Handed) -> list[str]:
    clean = handed.beside(".clean.onnx")
    return [f"qonnx-cleanup {handed.name} --out-file={clean}", f"# {clean} is what FINN and hls4ml read"]
