"""What takes a TFLite file to its device, as people type it."""

from __future__ import annotations

import shlex

from hwmodels.device.device import Device
from hwmodels.device.sections.npu import Npu
from hwsearch.formats.writing.exporters import Handed

ONCE = (
    "import sys; from ai_edge_litert.interpreter import Interpreter; net = Interpreter(sys.argv[1]); "
    "net.allocate_tensors(); net.invoke(); print(net.get_output_details()[0]['shape'])"
)
"""One run by LiteRT on this computer: FILE."""


def litert(handed: Handed) -> list[str]:
    """The compiler of the device, where it has one; else one run here and the benchmark on a phone."""
    file = handed.name
    if handed.device is not None and (core := accelerator(handed.device)) is not None:
        # Vela writes STEM_vela.tflite.
        compiled = handed.beside("_vela.tflite", stem=handed.file.stem)
        folder = shlex.quote(str(handed.file.parent))
        return [
            f"vela {file} --accelerator-config {core} --output-dir {folder}",
            "# where your memories are others than Vela's example, tell it: --config, --system-config, --memory-mode",
            f"xxd -i {compiled} > {handed.beside('.cc')}",
        ]
    if handed.device_is("LiteRT with the Edge TPU compiler"):
        return [f"edgetpu_compiler {file}", "# run the file ..._edgetpu.tflite that it writes with the Edge TPU delegate"]
    if handed.device_is("TensorFlow Lite, VX delegate"):
        return [f"benchmark_model --graph={file} --external_delegate_path=/usr/lib/libvx_delegate.so"]
    if handed.device_is("SyNAP"):
        return [f"synap convert --model {file} --target VS680 --out-dir {handed.beside('.synap')}"]
    if handed.device_is("STEdgeAI", "X-CUBE-AI"):
        assert handed.device is not None
        series = handed.device.name.removesuffix("-cubeai").removesuffix("-neural-art")[:7]
        core = " --st-neural-art" if handed.device_is("STEdgeAI") else ""
        return [f"stedgeai generate --model {file} --target {series}{core} --output {handed.beside('.stedgeai')}"]
    there = shlex.quote(f"/data/local/tmp/{handed.file.name}")
    return [
        f"python -c {shlex.quote(ONCE)} {file}",
        f"adb push {file} {there} && adb shell /data/local/tmp/benchmark_model --graph={there} --num_threads=1",
    ]


def micro(handed: Handed) -> list[str]:
    """The compiler of the accelerator, where there is one; then the file as an array for the program of the microcontroller."""
    if handed.device_is("TensorFlow Lite Micro, eIQ Neutron"):
        compiled = handed.beside("_neutron.tflite", stem=handed.file.stem)
        return [
            f"neutron-converter --input {handed.name} --output {compiled} --target mcxn94x",
            f"xxd -i {compiled} > {handed.beside('.cc')}",
        ]
    return [f"xxd -i {handed.name} > {handed.beside('.cc')}"]


def accelerator(device: Device) -> str | None:
    """What Vela calls the Ethos-U of a device, such as "ethos-u55-128"; None where it has none."""
    section = device.section
    if not isinstance(section, Npu) or section.array is None:
        return None
    family = next((name for name in ("ethos-u55", "ethos-u65", "ethos-u85") if name in device.name), None)
    return None if family is None else f"{family}-{section.array.macs * section.array.cores}"
