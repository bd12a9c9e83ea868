"""The archive of a TorchScript program, looked through before torch loads it.

Such a file holds the source of its modules, in a language that torch compiles and interprets. That language has no Python in it,
but operators that open, read and write files, and classes of loaded libraries. A file of unknown origin must reach none of them.
So every source is parsed first, and whatever is called in it must be an operator on tensors that is listed, arithmetic of sizes,
or a function of the file's own. Anything else is refused and named, and nothing is loaded.
"""

from __future__ import annotations

import ast
import io
import re
import zipfile
from collections.abc import Mapping, Set
from functools import cache
from pathlib import Path

import torch

from hwmodels.errors import FileError
from hwsearch.formats.reading.members import members
from hwsearch.formats.torchscript import objects
from hwsearch.formats.torchscript.fast_paths import FAST_PATHS, NESTED
from hwsearch.formats.torchscript.offers import is_source
from searchspaces.tracing import composition, walker  # noqa: F401  the walker fills the table
from searchspaces.tracing.aten import HANDLERS

BUILT_IN = (
    *("int", "float", "bool", "len", "range", "min", "max", "list", "annotate", "unchecked_cast", "uninitialized", "isinstance"),
    *("str", "enumerate", "zip", "abs", "tuple", "getattr"),
)
"""Functions of the language itself."""
METHODS = ("cpu", "keys", "values", "items", "get", "update", "lower", "upper", "join", "split", "index", "count", "sort")
"""Of lists, dictionaries and words."""
PRIMITIVES = (
    "NumToTensor",
    "data",
    "device",
    "dtype",
    "min",
    "max",
    "rangelist",
    "layout",
    "RaiseException",
    "type",
    "requires_grad",
)
"""Of ``prim``: what has no effect."""
ARITHMETIC = (
    *("add", "sub", "mul", "div", "floordiv", "remainder", "neg", "pow", "eq", "ne", "lt", "le", "gt", "ge", "floor", "ceil"),
    *("__is__", "__isnot__", "__not__", "__and__", "__or__", "__contains__", "__getitem__", "__range_length", "__derive_index"),
    *("append", "len", "list", "format", "warn", "Int", "Float", "Bool", "ScalarImplicit", "IntImplicit", "FloatImplicit"),
    *("select", "device", "extend", "copy", "_set_item", "percentFormat", "cpu", "insert", "pop", "reverse", "mathremainder"),
    *("sqrt", "log", "round", "fabs", "size", "dim"),
)
"""Of sizes, lists and conditions. (``warn`` prints.)"""
PICKLES = ("data.pkl", "constants.pkl")
PARTS = (*PICKLES, "version", ".data/version", "byteorder")
"""Members of an archive beside sources and tensors. Pickles of TorchScript are read by a parser without Python, for tensors and
classes of the sources."""
ROOTS = ("torch", "ops", "__torch__")
_TEMPORARY = re.compile(r"_\d+")
"""What torch calls the variables that hold functions."""
_TENSOR = re.compile(r"(data|constants)/\d+")
LISTED = (
    *("zeros", "ones", "full", "empty", "arange", "linspace", "eye", "tensor", "scalar_tensor", "rand", "randn", "meshgrid"),
    *("movedim", "moveaxis", "swapaxes", "swapdims", "embedding", "one_hot", "hstack", "vstack", "dstack", "outer", "tensordot"),
    *("take_along_dim", "diagonal", "rot90", "flipud", "fliplr", "tile", "repeat_interleave", "unflatten", "square", "chunk"),
    *("split", "tensor_split", "unsafe_chunk", "unsafe_split", "unbind", "item", "numel", "is_floating_point", "dropout"),
    *("feature_dropout", "alpha_dropout", "any", "all", "mT", "mH", "adjoint", *FAST_PATHS, *NESTED),
    "_convolution_mode",  # padding="same", in a traced program
)
"""Operators that are traced, or give constants, by other ways."""
TRUSTING = (
    *("unsafe", "backward", "sparse", "fbgemm", "quant", "qparams", "ctc_loss", "histogram", "native", "unpack", "gradient"),
    *("embedding_bag", "bag", "nested", "cudnn", "miopen", "mkldnn", "resize", "strided", "lu_", "ormqr", "stft"),
)
"""Parts of the names of operators that check what they are given too little, or that no picture network needs."""
UNTRACED = (
    *(
        "topk",
        "sort",
        "argsort",
        "argmax",
        "argmin",
        "cumsum",
        "cumprod",
        "prod",
        "gather",
        "scatter",
        "scatter_add",
        "index_add",
    ),
    *("atan2", "nonzero", "masked_select", "cdist", "tan", "hypot", "fmod", "bucketize", "searchsorted", "max_unpool2d", "gru"),
    *("lstm", "_weight_norm", "as_tensor", "rand_like", "randn_like", "conv3d", "avg_pool3d", "max_pool3d", "numpy_T", "T"),
    *("fft_rfft2", "fft_irfft2", "fft_fft2", "fft_ifft2", "fft_rfft", "fft_irfft", "fft_fft", "fft_ifft", "view_as_real"),
    *("real", "imag", "unique_consecutive"),
)
"""Operators that a program may have though no network with them is traced: by what they are refused then is the truer reason."""


def safe(path: Path) -> io.BytesIO:
    """The archive at ``path``, made anew of what was understood: sources as they were parsed, and tensors.

    Torch then reads nothing that was not looked at: neither a second member of one name, nor what its own parser might take a
    text for.

    Raises:
        FileError: it is none, is damaged, or calls what could reach out of it.
    """
    files = members(path, "no TorchScript program", "Save it again by torch.jit.save.")
    sources = {name: content for name, content in files.items() if is_source(f"/{name}")}
    if not sources:
        raise FileError(f"{path}: no TorchScript program", "Save it by torch.jit.save.")
    kept = {name: content for name, content in files.items() if name in PARTS or _TENSOR.fullmatch(name)}
    trees = {name: _parsed(path, name.removeprefix("code/"), text) for name, text in sources.items()}
    own = frozenset(node.name for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    for name, tree in trees.items():
        place = name.removeprefix("code/")
        try:
            what, text = _harmful(tree, own), ast.unparse(tree)
        except (ValueError, RecursionError, MemoryError):
            raise _damaged(path, place) from None
        if what is not None:
            raise _refused(path, f"{what}, in {place}")
        kept[name] = f"{text}\n".encode()
    if (what := objects.fault(kept, trees)) is not None:
        raise _refused(path, what)
    return _written(kept)


def _written(files: Mapping[str, bytes]) -> io.BytesIO:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(f"archive/{name}", content)
    buffer.seek(0)
    return buffer


def _refused(path: Path, what: str) -> FileError:
    hint = "Save the network by torch.export.save (.pt2) or torch.onnx.export (.onnx)."
    return FileError(f"{path}: refused, because loading it could reach out of the network: it holds {what}", hint)


def _parsed(path: Path, name: str, text: bytes) -> ast.Module:
    try:
        return ast.parse(text.decode())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _damaged(path, name) from None


def _damaged(path: Path, name: str) -> FileError:
    return FileError(f"{path}: {name} in it is damaged, or too deep", "Save it again by torch.jit.save.")


def _harmful(tree: ast.Module, methods: Set[str]) -> str | None:
    """What in a source is not known to be harmless. ``methods``: names of all functions of the file.

    ``torch`` and ``ops`` stand in front of a call and nowhere else, so that no variable is one of their functions; no name of the
    language is given another meaning.
    """
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    roots, called = {id(_root(call.func)) for call in calls}, {id(call.func) for call in calls}
    functions, known = _own_functions(tree), called | _own_fields(tree)
    for call in calls:
        if (what := _harmful_call(call.func, functions, methods)) is not None:
            return f"a call of {what}"
    for node in ast.walk(tree):
        match node:
            case ast.Import() | ast.ImportFrom() | ast.Global() | ast.Nonlocal() | ast.Lambda() | ast.With() | ast.NamedExpr():
                return type(node).__name__
            case ast.Name(id="torch" | "ops" as name) if id(node) not in roots or not isinstance(node.ctx, ast.Load):
                return f"{name} as a value"
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()) if name in (*BUILT_IN, *ROOTS):
                return f"another meaning of {name}"
            case ast.arg(arg=name) | ast.ClassDef(name=name) if name in (*BUILT_IN, *ROOTS):
                return f"another meaning of {name}"
            case ast.FunctionDef(name=name) if name in ("getattr", *ROOTS):
                return f"another meaning of {name}"
            case ast.Attribute(attr=name) if id(node) not in known and _is_operator(name) and not _is_known(name):
                return f"{name}, which is not called"
            case ast.Call(func=ast.Name(id="getattr"), args=[_, ast.Constant(value=str(name)), *_]) if _is_operator(
                name
            ) and not _is_known(name):
                return f"{name} by its name"
            case ast.Attribute(attr="classes"):
                return "a class of a loaded library"
    return None


def _own_functions(tree: ast.Module) -> set[str]:
    """Variables that stand for functions of the file's own."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and (_dotted(node.value) or [""])[0] == "__torch__":
            found.update(target.id for target in node.targets if isinstance(target, ast.Name) and _TEMPORARY.fullmatch(target.id))
    return found


def _own_fields(tree: ast.Module) -> set[int]:
    """``id`` of every attribute of ``self`` that the module itself declares: such a name is what the module holds, even if an
    operator has the same."""
    found: set[int] = set()
    for owner in ast.walk(tree):
        if not isinstance(owner, ast.ClassDef):
            continue
        declared = {
            line.target.id for line in owner.body if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
        }
        for method in owner.body:
            if isinstance(method, ast.FunctionDef) and _takes_its_module(method):
                inside = list(ast.walk(method))
                found.update(
                    id(node)
                    for node in inside
                    if isinstance(node, ast.Attribute)
                    and isinstance(node.value, ast.Name)
                    and node.value.id == "self"
                    and node.attr in declared
                )
    return found


def _takes_its_module(method: ast.FunctionDef) -> bool:
    """Whether ``self`` is the module all through a method, and not a tensor, which has operators for attributes."""
    first = method.args.args[0] if method.args.args else None
    if first is None or first.arg != "self" or first.annotation is None:
        return False
    others = (node for node in ast.walk(method) if node is not first)
    again = any(
        (isinstance(node, ast.Name) and node.id == "self" and not isinstance(node.ctx, ast.Load))
        or (isinstance(node, ast.arg) and node.arg == "self")
        for node in others
    )
    return not again and (_dotted(first.annotation) or [""])[0] == "__torch__"


def _harmful_call(func: ast.expr, functions: Set[str], methods: Set[str]) -> str | None:
    """What is called, where it is not known to be harmless."""
    if isinstance(func, ast.Name):
        return None if func.id in BUILT_IN or func.id in functions else func.id
    if not isinstance(func, ast.Attribute):
        return "what has no name"
    name, words = func.attr, _dotted(func)
    if words is None or words[0] not in ("torch", "ops"):  # a method: of a module of the file, a list, or a tensor
        fine = _is_known(name) if _is_operator(name) else name in methods or name in METHODS
        return None if fine or name in ARITHMETIC or (words or [""])[0] == "__torch__" else name
    if words[:2] == ["ops", "prim"]:
        return None if words[2:] and (words[2] in PRIMITIVES or words[2].startswith("is_")) else ".".join(words)
    known = len(words) == 2 if words[0] == "torch" else words[1] == "aten" and len(words) == 3
    fine = name in ARITHMETIC or name.startswith("is_") or _is_known(name)
    return None if known and fine else ".".join(words)


def _root(func: ast.expr) -> ast.expr:
    """What the names of a dotted expression begin with."""
    while isinstance(func, ast.Attribute):
        func = func.value
    return func


def _dotted(func: ast.expr) -> list[str] | None:
    words: list[str] = []
    while isinstance(func, ast.Attribute):
        words.insert(0, func.attr)
        func = func.value
    return [func.id, *words] if isinstance(func, ast.Name) else None


def _is_known(name: str) -> bool:
    """Whether an operator is listed. All ways to resize are: PyTorch's function has a branch for each."""
    return name in _known_operators() or (name.startswith(("upsample_", "_upsample_")) and "backward" not in name)


def _is_operator(name: str) -> bool:
    return getattr(torch.ops.aten, name, None) is not None


@cache
def _known_operators() -> frozenset[str]:
    """Operators on tensors that the tracer reads or takes apart, and a few beside them, in place or not. All others are refused:
    some know files, and some trust what they are given so far that it can end the process."""
    read = {name.partition(".")[0] for name in HANDLERS}
    composed = {name for name in composition.names() if not name.startswith("_") and not any(part in name for part in TRUSTING)}
    known = read | composed | {*LISTED, *UNTRACED}
    return frozenset(known | {f"{name}_" for name in known})
