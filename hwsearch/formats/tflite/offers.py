"""What there is for TFLite files, to be listed (see ``exporters`` and ``runtimes``); modules are imported when they are used."""

from __future__ import annotations

from hwsearch.formats.reading.readers import ReaderInfo
from hwsearch.formats.running.runtimes import RuntimeInfo
from hwsearch.formats.writing.capability import Holds
from hwsearch.formats.writing.exporters import ExporterInfo

OPERATORS = "hwsearch.formats.tflite.operators"
COMMANDS = "hwsearch.formats.tflite.commands"

EXPORTERS = (
    ExporterInfo(
        "tflite",
        "LiteRT with XNNPACK: int8 and 16x8 kernels, narrow activations at no cost",
        ".tflite",
        "hwsearch.formats.tflite.write",
        {"flavour": "litert"},
        Holds(weight_bits=(8,), half=False),
        sized=True,
        table=f"{OPERATORS}:LITERT_WRITES",
        place=2,
        serves=("LiteRT", "TFLite", "TensorFlow Lite, VX", "Arm NN", "SyNAP", "STEdgeAI", "X-CUBE-AI"),
        written="hwsearch.formats.tflite.written:written",
        commands=f"{COMMANDS}:litert",
    ),
    ExporterInfo(
        "tflite-ethos",
        "Vela for Ethos-U: as tflite, with pixel shuffles that stay on the array",
        ".ethos.tflite",
        "hwsearch.formats.tflite.write",
        {"flavour": "ethos"},
        # Vela packs weights by their values, without loss, and reads no int4.
        Holds(weight_bits=(8,), half=False),
        sized=True,
        table=f"{OPERATORS}:ETHOS_WRITES",
        place=2,
        serves=("Vela",),
        written="hwsearch.formats.tflite.written:for_array",
        commands=f"{COMMANDS}:litert",
    ),
    ExporterInfo(
        "tflite-micro",
        "TensorFlow Lite Micro, CMSIS-NN: int8 and 16x8 kernels, packed 4-bit weights",
        ".micro.tflite",
        "hwsearch.formats.tflite.write",
        {"flavour": "micro"},
        Holds(weight_bits=(4, 8), half=False),
        sized=True,
        table=f"{OPERATORS}:MICRO_WRITES",
        place=3,
        serves=("TensorFlow Lite Micro", "ESP-NN"),
        commands=f"{COMMANDS}:micro",
    ),
)

RUNTIMES = (
    RuntimeInfo("litert", "LiteRT with XNNPACK", "hwsearch.formats.tflite.litert", "ai_edge_litert", "tflite", place=3),
    RuntimeInfo("tflm", "TensorFlow Lite Micro", "hwsearch.formats.tflite.tflm", "tflite_micro", "tflite", place=4),
)

READERS = (
    ReaderInfo(
        "tflite",
        "TensorFlow Lite, in any precision",
        (".tflite",),
        "hwsearch.formats.tflite.read",
        table="hwsearch.formats.tflite.read:OPERATORS",
    ),
)
