"""What reads the files that stand beside a network in single precision, as people type it."""

from __future__ import annotations

import shlex

from hwsearch.formats.writing.exporters import Handed


def _float(handed: Handed) -> tuple[str, str]:
    """The network in single precision, and the command that writes it."""
    network = handed.beside(".float.onnx")
    return network, f"hwsearch export {shlex.quote(str(handed.plan))} --to float --out {network}"


def qairt(handed: Handed) -> list[str]:
    """Qualcomm's tools: every tensor has its encoding here, so nothing is calibrated again."""
    network, exported = _float(handed)
    dlc, context = handed.beside(".dlc"), handed.beside("-htp.bin")
    folder, binary = shlex.quote(str(handed.file.parent)), shlex.quote(f"{handed.stem}-htp")
    shape = ",".join(map(str, (1, handed.channels, *handed.size)))
    return [
        exported,
        f"qairt-converter --input_network {network} --source_model_input_shape {shlex.quote(handed.input)} {shape} "
        f"--quantization_overrides {handed.name} --output_path {dlc}",
        f"qnn-context-binary-generator --model libQnnModelDlc.so --backend libQnnHtp.so --dlc_path {dlc} "
        f"--output_dir {folder} --binary_file {binary}",
        f"qnn-net-run --backend libQnnHtp.so --retrieve_context {context} --input_list inputs.txt",
    ]


COREML = (
    "import sys, coremltools as ct, coremltools.optimize.coreml as cto; "
    "cto.linear_quantize_weights(ct.models.MLModel(sys.argv[1]), cto.OptimizationConfig.from_yaml(sys.argv[2])).save(sys.argv[3])"
)
"""The converted network with its weights quantized as the configuration says: MODEL, CONFIGURATION, MODEL."""


def coreml(handed: Handed) -> list[str]:
    model = handed.beside(".mlpackage")
    return [
        f"# convert the PyTorch module with coremltools to {model}",
        f"python -c {shlex.quote(COREML)} {model} {handed.name} {handed.beside('.quantized.mlpackage')}",
    ]


def ncnn(handed: Handed) -> list[str]:
    network, exported = _float(handed)
    whole, narrow = ((handed.beside(f"{kind}.param"), handed.beside(f"{kind}.bin")) for kind in ("", "-int8"))
    return [
        exported,
        f"onnx2ncnn {network} {' '.join(whole)}",
        f"ncnn2int8 {' '.join(whole)} {' '.join(narrow)} {handed.name}",
    ]
