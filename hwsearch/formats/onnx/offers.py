"""What there is for ONNX files, to be listed (see ``exporters`` and ``runtimes``); modules are imported when they are used."""

from __future__ import annotations

from hwsearch.formats.reading.readers import ReaderInfo
from hwsearch.formats.running.runtimes import RuntimeInfo
from hwsearch.formats.writing.capability import SYMMETRIC_INT8, Holds
from hwsearch.formats.writing.exporters import ExporterInfo

ONNX_CODES = "hwsearch.formats.onnx.codes:CODES"
ONNX_REAL = "hwsearch.formats.onnx.operators:WRITES"
COMMANDS = "hwsearch.formats.onnx.commands"

EXPORTERS = (
    ExporterInfo(
        "onnx",
        "ONNX Runtime: integer kernels, code for code; weights of 2 to 4 bits packed, narrow tensors by Clip",
        ".onnx",
        "hwsearch.formats.onnx.write",
        holds=Holds(weight_bits=(2, 4, 8), tables=True),
        table=ONNX_CODES,
        place=1,
        serves=("ONNX Runtime",),
        constants="fp32",
        commands=f"{COMMANDS}:onnxruntime",
    ),
    ExporterInfo(
        "openvino",
        "OpenVINO: the same file without 2-bit weights, which it does not read",
        ".openvino.onnx",
        "hwsearch.formats.onnx.write",
        holds=Holds(weight_bits=(4, 8)),
        table=ONNX_CODES,
        place=4,
        serves=("OpenVINO",),
        constants="fp32",
        commands=f"{COMMANDS}:openvino",
    ),
    ExporterInfo(
        "tensorrt",
        "TensorRT: ONNX with symmetric int8 quantizers, scales per output channel, biases in floating point",
        ".tensorrt.onnx",
        "hwsearch.formats.onnx.tensorrt",
        holds=SYMMETRIC_INT8,
        table=ONNX_REAL,
        place=5,
        serves=("TensorRT",),
        constants="fp32",
        commands=f"{COMMANDS}:tensorrt",
    ),
    ExporterInfo(
        "qonnx",
        "QONNX: Quant nodes of any width, for FINN, hls4ml and Brevitas",
        ".qonnx.onnx",
        "hwsearch.formats.onnx.qonnx",
        table=ONNX_REAL,
        place=6,
        commands=f"{COMMANDS}:qonnx",
    ),
    ExporterInfo(
        "float",
        "ONNX in single precision with the plan's weights, for the tools that read aimet, coreml or ncnn files beside it",
        ".float.onnx",
        "hwsearch.formats.onnx.float_network",
        table=ONNX_REAL,
        place=7,
        commands=f"{COMMANDS}:onnxruntime",
    ),
)

RUNTIMES = (
    RuntimeInfo("ort", "ONNX Runtime", "hwsearch.formats.onnx.ort", "onnxruntime", place=2),
    RuntimeInfo("openvino", "OpenVINO on the CPU", "hwsearch.formats.onnx.openvino", "openvino", "openvino", place=5),
)

READERS = (
    ReaderInfo(
        "onnx",
        "ONNX, operator sets 9 to 23, in any precision",
        (".onnx",),
        "hwsearch.formats.onnx.read",
        table="hwsearch.formats.onnx.read:OPERATORS",
    ),
)
