"""What methods make, finished at few bits, is what runtimes compute from its files, code for code; what no file carries is
refused by all of them. Of methods whose numbers are of one kind (ranges, ends that were trained) one is taken."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import c_program
import numpy as np
import pytest
import torch

from hwmodels.errors import FileError
from hwsearch.contracts import tiny_calibration, tiny_pairs
from hwsearch.formats.c import write
from hwsearch.formats.onnx import ort
from hwsearch.formats.running.runtime import compare, judge
from hwsearch.formats.tflite import litert, tflm
from hwsearch.formats.writing.capability import Holds
from hwsearch.formats.writing.promote import promote
from hwsearch.quant import methods
from hwsearch.quant.engine import integer
from hwsearch.quant.network.graph import QuantizedGraph

OPEN = {
    "onnx": ort.open_plan,
    "LiteRT": litert.open_plan,
    "reference": lambda quantized: litert.open_plan(quantized, reference=True),
    "Micro": tflm.open_plan,
}
KINDS = (
    "minmax",
    "gptq",
    "hadamard",
    "output_noise",
    "ptq4sr",
    "dual_region",
    "dual_region_code",
    "pams",
    "quantsr_plus",
    "qartsr",
    "quantvsr",
)
ALONE = [name for name in methods.names() if not methods.load(name).INFO.exported]
WITHOUT_TABLES = Holds()


@cache
def finished(name: str) -> QuantizedGraph:
    """A plan of 4 bits everywhere in the numbers that the method ends with."""
    calibration = tiny_calibration((2, 4, 8), (4, 8), name)
    return calibration.finished(calibration.space.uniform(4, 4), effort=0.01)


@pytest.mark.parametrize("name", KINDS)
def test_files_compute_what_the_method_made(name: str, tmp_path: Path) -> None:
    made, x = finished(name), tiny_pairs()[0].low
    plain = promote(made, WITHOUT_TABLES).qgraph
    assert plain.formats == made.formats or any(fmt.levels for fmt in made.formats.values())
    for runtime, open_plan in OPEN.items():
        opened = open_plan(made if runtime == "onnx" else plain)
        fmt = opened.executed.formats[made.graph.output.name]
        judge(opened.tolerance, *compare(opened.run(x), integer.run(opened.executed, x), fmt))
        assert opened.tolerance.differing == 0
    part = x[..., :12, :16]
    codes = integer.run_codes(replace(plain, rule=write.RULE), part)[made.graph.output.name][0].numpy()
    program = c_program.build(plain, tmp_path, part.shape[2:], flags=())
    source = plain.formats[made.graph.input.name].encode(part)[0].numpy()
    assert np.array_equal(c_program.run(program, plain, source, codes.shape), codes)


@pytest.mark.parametrize("name", ALONE)
def test_what_no_file_carries_is_refused(name: str, tmp_path: Path) -> None:
    quantized, x = finished(name), tiny_pairs()[0].low
    assert bool(torch.isfinite(integer.run(quantized, x)).all())  # the engine has it in integers
    for open_plan in OPEN.values():
        with pytest.raises(FileError, match="which no file format carries"):
            open_plan(quantized).run(x)
    with pytest.raises(FileError, match="which no file format carries"):
        write.export(quantized, tmp_path / "net", size=(12, 16), name="net")
