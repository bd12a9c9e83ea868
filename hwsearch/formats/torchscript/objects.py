"""What the pickles of a TorchScript archive build: objects of the file's own classes, and tensors.

Torch builds them in C++, without Python, and believes what they say: that a tensor's bytes are as many as it claims, that an
attribute is of the class that the source names. Here they are read by stand-ins first, and both are checked.
"""

from __future__ import annotations

import ast
import io
import math
import pickle
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

ITEM_BYTES: Mapping[str, int] = {
    "FloatStorage": 4, "DoubleStorage": 8, "HalfStorage": 2, "BFloat16Storage": 2, "LongStorage": 8, "IntStorage": 4,
    "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1, "BoolStorage": 1,
}  # fmt: skip

MOST_NUMBERS = 2**24
"""A tensor that says one number many times may say as many."""


@dataclass
class _Object:
    """An instance of a class of the sources."""

    kind: str
    state: Any = field(default_factory=dict)

    def __setstate__(self, state: Any) -> None:
        self.state = state


@dataclass(frozen=True)
class _Storage:
    numel: int


class _Refused(Exception):
    """What is wrong with a pickle, as a clause."""


def fault(files: Mapping[str, bytes], trees: Mapping[str, ast.Module]) -> str | None:
    """What is wrong with the pickles of an archive; None where nothing is.

    Args:
        files: members of the archive without its first folder, "data.pkl", "data/0", ...
        trees: sources by their members, "code/__torch__/net.py", parsed.
    """
    classes = _annotations(trees)
    for name in ("data.pkl", "constants.pkl"):
        if name not in files:
            continue
        try:
            built = _Reader(files, name.removesuffix(".pkl")).load()
            for item in _objects(built):
                _check(item, classes)
        except _Refused as wrong:
            return f"{wrong}, in {name}"
        except Exception as error:  # whatever a damaged pickle raises
            return f"a damaged pickle ({type(error).__name__}), in {name}"
    return None


class _Reader(pickle.Unpickler):
    """Knows the few names that TorchScript writes, and gives stand-ins for them: nothing of the file is called."""

    def __init__(self, files: Mapping[str, bytes], folder: str) -> None:
        super().__init__(io.BytesIO(files[f"{folder}.pkl"]))
        self._files, self._folder = files, folder

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.".startswith("__torch__."):
            return type(name, (_Object,), {"__new__": lambda cls: _new(cls, f"{module}.{name}"), "__init__": lambda self: None})
        if module == "torch.jit._pickle" and name.startswith(("build_", "restore_type_tag")):
            return lambda items, *_: items
        known: Mapping[tuple[str, str], Any] = {
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("collections", "OrderedDict"): OrderedDict,
            ("torch", "device"): lambda *_: None,
        }
        if (module, name) in known:
            return known[module, name]
        if module == "torch" and name in ITEM_BYTES:
            return name
        raise _Refused(f"an object of {module}.{name}")

    def persistent_load(self, pid: Any) -> _Storage:
        _, kind, key, _, numel = pid
        record = self._files.get(f"{self._folder}/{key}")
        if kind not in ITEM_BYTES or record is None or int(numel) < 0 or int(numel) * ITEM_BYTES[kind] != len(record):
            raise _Refused(f"a tensor that claims {numel} numbers of {kind} in {0 if record is None else len(record)} bytes")
        return _Storage(int(numel))


def _new(cls: type[_Object], kind: str) -> _Object:
    made = object.__new__(cls)
    made.kind, made.state = kind, {}
    return made


def _tensor(storage: Any, offset: Any, sizes: Any, strides: Any, *_: Any) -> None:
    """A view of a storage that lies inside of it."""
    if not isinstance(storage, _Storage) or len(sizes) != len(strides) or min((0, offset, *sizes, *strides)) < 0:
        raise _Refused("a tensor of no storage, or of negative sizes")
    if math.prod(sizes) > max(storage.numel, MOST_NUMBERS):
        raise _Refused(f"a tensor that claims {math.prod(sizes)} numbers of {storage.numel}")
    last = offset + sum((side - 1) * stride for side, stride in zip(sizes, strides, strict=True))
    if all(sizes) and last >= storage.numel:
        raise _Refused("a tensor that reaches beyond its storage")


def _objects(value: Any) -> Iterator[_Object]:
    """All objects that a value holds, each once."""
    seen, stack = set[int](), [value]
    while stack:
        item = stack.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, _Object):
            yield item
            stack.append(item.state)
        elif isinstance(item, Mapping):
            stack.extend((*item.keys(), *item.values()))
        elif isinstance(item, list | tuple):
            stack.extend(item)


def _check(item: _Object, classes: Mapping[str, Mapping[str, str]]) -> None:
    """Attributes that are objects are of the class that the source names."""
    if item.kind not in classes or not isinstance(item.state, Mapping):
        raise _Refused(f"an object of {item.kind}, which no source defines")
    for name, value in item.state.items():
        wanted = classes[item.kind].get(str(name))
        if isinstance(value, _Object) and wanted != value.kind:
            raise _Refused(f"{item.kind}.{name} of {value.kind}, where the source says {wanted}")
        if not isinstance(value, _Object) and wanted is not None and wanted in classes:
            raise _Refused(f"{item.kind}.{name}, which is no {wanted}")
        if isinstance(value, Mapping | list | tuple) and any(True for _ in _objects(value)):
            raise _Refused(f"objects inside of {item.kind}.{name}")


def _annotations(trees: Mapping[str, ast.Module]) -> dict[str, dict[str, str]]:
    """Class, by its whole name -> attribute -> what the source says that it is."""
    found: dict[str, dict[str, str]] = {}
    for file, tree in trees.items():
        place = file.removeprefix("code/").removesuffix(".py").replace("/", ".")
        for made in (node for node in tree.body if isinstance(node, ast.ClassDef)):
            own = found.setdefault(f"{place}.{made.name}", {})
            for line in made.body:
                match line:
                    case ast.AnnAssign(target=ast.Name(id=name), annotation=said):
                        own[name] = ast.unparse(said)
                    case ast.Assign(
                        targets=[ast.Subscript(value=ast.Name(id="__annotations__"), slice=ast.Constant(value=name))]
                    ):
                        own[str(name)] = ast.unparse(line.value)
    return found
