"""What there is beside a network, to be listed (see ``exporters``); modules are imported when they are used."""

from __future__ import annotations

from hwsearch.formats.writing.capability import SYMMETRIC_INT8, Holds
from hwsearch.formats.writing.exporters import ExporterInfo

AIMET = Holds(weight_bits=(4, 8), tensor_bits=(8, 16))

ONNX_REAL = "hwsearch.formats.onnx.operators:WRITES"
TABLE = "hwsearch.formats.sidecar.table:ROWS"
COMMANDS = "hwsearch.formats.sidecar.commands"

EXPORTERS = (
    ExporterInfo(
        "aimet",
        "AIMET and QNN: encodings 2.0.0 for the tensors of the float file",
        ".encodings",
        "hwsearch.formats.sidecar.aimet",
        {"version": "2.0.0"},
        AIMET,
        table=ONNX_REAL,
        place=8,
        serves=("QNN",),
        commands=f"{COMMANDS}:qairt",
    ),
    ExporterInfo(
        "aimet-1.0",
        "AIMET and QNN: the same as encodings 1.0.0, for older versions",
        ".v1.encodings",
        "hwsearch.formats.sidecar.aimet",
        {"version": "1.0.0"},
        AIMET,
        table=ONNX_REAL,
        place=9,
        commands=f"{COMMANDS}:qairt",
    ),
    ExporterInfo(
        "coreml",
        "Core ML: configuration for coremltools, weights of 4 and 8 bits per layer",
        ".coreml.yaml",
        "hwsearch.formats.sidecar.coreml",
        holds=Holds(weight_bits=(4, 8), stretched=True),
        table=ONNX_REAL,
        place=10,
        serves=("Core ML",),
        commands=f"{COMMANDS}:coreml",
    ),
    ExporterInfo(
        "ncnn",
        "ncnn: int8 calibration table for the layers of the float file",
        ".ncnn.table",
        "hwsearch.formats.sidecar.ncnn",
        holds=SYMMETRIC_INT8,
        table=ONNX_REAL,
        place=11,
        serves=("ncnn",),
        commands=f"{COMMANDS}:ncnn",
    ),
    ExporterInfo(
        "json",
        "Table of layers and tensors: widths, scales, zero points",
        ".table.json",
        "hwsearch.formats.sidecar.table",
        table=TABLE,
        place=12,
    ),
    ExporterInfo(
        "csv",
        "The same table as one line a layer, for a spreadsheet",
        ".csv",
        "hwsearch.formats.sidecar.table_csv",
        table=TABLE,
        place=13,
    ),
)
