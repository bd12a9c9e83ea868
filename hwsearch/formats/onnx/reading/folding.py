"""What the file computes from constants alone, shapes among them: by ONNX's reference, one node at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import NodeProto, TensorProto, helper
from onnx.reference import ReferenceEvaluator

from hwsearch.formats.onnx.reading.constants import Constant, computed, quantized_by
from hwsearch.formats.onnx.write import session
from searchspaces.ops.reading import NotRead

MOST_ELEMENTS = 1 << 27
"""Numbers that one folded constant may have."""
WINDOWED = ("AveragePool", "MaxPool", "Conv", "ConvTranspose", "Resize", "GridSample")
"""Operators that the reference computes pixel by pixel in Python: constants of these are ONNX Runtime's work."""
KEEPS_CODES = ("Identity", "Cast", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten")
"""Operators behind which quantized weights are still the same integers."""


class Folder:
    """Evaluates nodes of one file, and remembers what it has evaluated: many walks of a file fold the same weights."""

    def __init__(self, opsets: Sequence[tuple[str, int]]) -> None:
        self._opsets = [helper.make_opsetid(domain, version) for domain, version in opsets]
        self._evaluators: dict[int, ReferenceEvaluator] = {}
        self._known: dict[tuple[int, tuple[int, ...]], tuple[tuple[Constant | None, ...], list[Constant]]] = {}

    def fold(self, node: NodeProto, inputs: tuple[Constant | None, ...]) -> list[Constant]:
        """The values of a node whose inputs are all constants.

        Raises:
            NotRead: the reference has no such operator, or it fails.
        """
        key = (id(node), tuple(map(id, inputs)))
        if key not in self._known:
            self._known[key] = (inputs, self._folded(node, inputs))  # the inputs are kept, so that their ids stay theirs
        return self._known[key][1]

    def _folded(self, node: NodeProto, inputs: tuple[Constant | None, ...]) -> list[Constant]:
        first = inputs[0] if inputs else None
        if first is not None:
            axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
            made = quantized_by(node.op_type, first, list(inputs[1:]), axis)
            if made is not None:
                return [made]
        if node.op_type in ("Cast", "CastLike") and first is not None and first.integers is not None:
            return [first]
        arrays = [None if value is None else value.real for value in inputs]
        found = self._run(node, arrays)
        if first is not None and node.op_type in KEEPS_CODES:
            integers = None if first.integers is None else self._run(node, [first.integers, *arrays[1:]])[0]
            if node.op_type != "Cast" or first.real.dtype.kind == found[0].dtype.kind:
                return [Constant(first.name, found[0], first.stored, integers, first.container, first.bits)]
        if first is not None and node.op_type == "Cast" and first.real.dtype.kind in "iu" and found[0].dtype.kind in "iu":
            return [Constant(first.name, found[0], first.stored, None, first.container)]  # packed integers, unpacked
        return [computed(name, array) for name, array in zip(node.output, found, strict=False)]

    def _run(self, node: NodeProto, arrays: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        names = [name for name in node.input if name]
        given = {name: array for name, array in zip(node.input, arrays, strict=True) if array is not None}
        self._refuse_large(node, arrays)
        if node.op_type in WINDOWED:
            return self._by_runtime(node, given)
        if id(node) not in self._evaluators:
            ends = [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in dict.fromkeys(names)]
            outs = [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in node.output if name]
            model = helper.make_model(helper.make_graph([node], "one", ends, outs), opset_imports=self._opsets)
            try:
                self._evaluators[id(node)] = ReferenceEvaluator(model)
            except Exception as error:  # what the reference raises for operators that it lacks has no common base
                raise NotRead(f"{node.op_type} of constants: {_first(error)}") from None
        try:
            with np.errstate(all="ignore"):
                found = self._evaluators[id(node)].run(None, given)
        except Exception as error:  # whatever numpy raises for numbers that do not fit
            raise NotRead(f"{node.op_type} of constants: {_first(error)}") from None
        return [np.asarray(array) for array in found]

    def _by_runtime(self, node: NodeProto, given: dict[str, np.ndarray]) -> list[np.ndarray]:
        ends = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in given.items()
        ]
        outs = [helper.make_tensor_value_info(node.output[0], ends[0].type.tensor_type.elem_type, None)]
        model = helper.make_model(helper.make_graph([node], "one", ends, outs), opset_imports=self._opsets, ir_version=8)
        try:
            return list(session(model.SerializeToString(), threads=1).run([node.output[0]], given))
        except Exception as error:  # whatever ONNX Runtime raises for numbers that do not fit
            raise NotRead(f"{node.op_type} of constants: {_first(error)}") from None

    @staticmethod
    def _refuse_large(node: NodeProto, arrays: Sequence[np.ndarray | None]) -> None:
        """A few bytes of a file can ask for more memory than there is."""
        sizes = arrays[1] if node.op_type in ("Expand", "Tile") and len(arrays) > 1 else arrays[0] if arrays else None
        if node.op_type in ("ConstantOfShape", "Expand", "Tile") and sizes is not None and sizes.dtype.kind in "iu":
            count = float(np.prod(np.abs(sizes.astype(np.float64))))
            count *= arrays[0].size if node.op_type == "Tile" and arrays[0] is not None else 1
            if count > MOST_ELEMENTS:
                raise NotRead(f"{node.op_type} of {count:.0f} numbers")
        if node.op_type == "Range" and all(array is not None for array in arrays):
            start, stop, step = (float(array.reshape(-1)[0]) for array in arrays if array is not None)
            if not step or (stop - start) / step > MOST_ELEMENTS:
                raise NotRead("a range without end")


def _first(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
