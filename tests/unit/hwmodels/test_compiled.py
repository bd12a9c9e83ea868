"""Compiled code: never of older sources, never beside them, and no hindrance where nothing can be written."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hwmodels import compiled

CALL = """
from hwmodels.caller import call
from pathlib import Path
from hwmodels import caller
from hwmodels.compiled import directory
print(call(1), sum(call.stats.cache_hits.values()), directory(Path(caller.__file__)))
"""


def _start(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A new process that calls a compiled caller of a compiled callee, which lie in a copy of hwmodels below ``folder``."""

    env = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", **environment}
    return subprocess.run([sys.executable, "-c", CALL], cwd=folder, env=env, capture_output=True, text=True, check=True)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    shutil.copytree(Path(compiled.__file__).parent, folder / "hwmodels", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "hwmodels/callee.py").write_text(
        "from hwmodels.compiled import compiled\n@compiled(inline='always')\ndef f(x):\n    return x + 1\n"
    )
    (folder / "hwmodels/caller.py").write_text(
        "from hwmodels.callee import f\nfrom hwmodels.compiled import compiled\n@compiled\ndef call(x):\n    return f(x)\n"
    )
    return folder


def test_an_edited_callee_is_compiled_anew(copy: Path, tmp_path: Path) -> None:
    home = str(tmp_path / "cache")
    first, again = (_start(copy, XDG_CACHE_HOME=home).stdout.split() for _ in range(2))
    callee = copy / "hwmodels/callee.py"
    callee.write_text(callee.read_text().replace("x + 1", "x + 5"))
    edited = _start(copy, XDG_CACHE_HOME=home).stdout.split()
    assert [first[:2], again[:2], edited[:2]] == [["2", "0"], ["2", "1"], ["6", "0"]]
    assert first[2] == again[2] != edited[2]
    assert Path(edited[2]).is_relative_to(home)
    assert not [file for file in copy.rglob("*") if file.suffix in (".nbi", ".nbc") or file.name == "__pycache__"]


def test_without_a_place_to_write_it_compiles_and_says_so_once(copy: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"  # a folder cannot be made below a file, whoever asks
    file.touch()
    done = _start(copy, XDG_CACHE_HOME=str(file / "cache"), HOME=str(file / "home"))
    assert done.stdout.split() == ["2", "0", "None"]
    assert done.stderr.count("compiled code is not kept") == 1
    assert len(done.stderr.splitlines()) == 1


def test_only_folders_long_unused_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "KEPT", 8)
    now_s = 1e9
    for days in range(20):
        folder = tmp_path / f"d{days:02}"
        folder.mkdir()
        (folder / "code.nbc").touch()
        os.utime(folder, (now_s - days * 86400, now_s - days * 86400))
    compiled.remove_stale(tmp_path, now_s)
    # the 8 last used stay, the rest is older than a week
    assert sorted(folder.name for folder in tmp_path.iterdir()) == [f"d{days:02}" for days in range(8)]


def test_a_digest_is_of_what_a_file_reaches_by_imports(tmp_path: Path) -> None:
    """However the import is written; and of nothing else, so that an edit elsewhere compiles nothing again."""
    root = tmp_path / "hwmodels"
    (root / "room").mkdir(parents=True)
    sources = {
        "kernel.py": "from hwmodels import near\ndef f():\n    from hwmodels.room import (\n        deep,  # why\n    )\n",
        "near.py": "import hwmodels.room.last\n",
        "room/__init__.py": "",
        "room/deep.py": "",
        "room/last.py": "",
        "elsewhere.py": "from hwmodels import kernel\n",
    }
    for name, text in sources.items():
        (root / name).write_text(text)
    found = compiled.reached(root / "kernel.py", {"hwmodels": root})
    assert {file.relative_to(root).as_posix() for file in found} == set(sources) - {"elsewhere.py"}


def test_nothing_else_compiles() -> None:
    """No file but that of the decorator names one of numba's compilers, however it is imported."""
    compilers = {"njit", "jit", "vectorize", "guvectorize", "cfunc", "stencil", "generated_jit", "jit_module"}
    found = []
    for root in compiled.package_roots().values():
        for file in root.rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                attribute = isinstance(node, ast.Attribute) and node.attr in compilers and ast.unparse(node.value) == "numba"
                imported = (
                    isinstance(node, ast.ImportFrom)
                    and (node.module or "").split(".")[0] == "numba"
                    and bool(compilers & {name.name for name in node.names})
                )
                renamed = isinstance(node, ast.Import) and any(name.name == "numba" and name.asname for name in node.names)
                if attribute or imported or renamed:
                    found.append(file.relative_to(root.parent).as_posix())
    assert found == ["hwmodels/compiled.py"]
