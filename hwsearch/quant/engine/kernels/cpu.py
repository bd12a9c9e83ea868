"""What the CPU that numba compiles for can do: a matter of its features, asked once, when the kernels are written.

``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` change it for a process, as numba documents.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from functools import lru_cache

from numba.core import config


def features() -> frozenset[str]:
    """LLVM's names of the CPU's features; empty where numba does not compile, or does not tell what for.

    That is no public knowledge of numba's. Where it cannot be found out nothing is assumed: code for another CPU would end the
    process.
    """
    try:
        from numba.core.registry import cpu_target

        _, _, text = cpu_target.target_context.codegen().magic_tuple()
        names = {name.removeprefix("+") for name in text.split(",") if name.startswith("+")}
        return frozenset() if config.DISABLE_JIT else frozenset(names)  # type: ignore[attr-defined]  # numba makes its settings at run time
    except (ImportError, AttributeError, TypeError, ValueError):
        return frozenset()


_WIDE = {"avx512f", "avx512bw", "avx512vl", "avx512vnni"} <= features()
LANES = 16 if _WIDE else 8
"""32-bit integers of a vector: 512 bits only where their products are added in the same instruction (AVX-512 VNNI)."""


def multiplies_pairs() -> bool:
    """Whether vectors of 16-bit integers are multiplied and added in pairs (AVX2)."""
    return "avx2" in features()


def multiplies_quads() -> bool:
    """Whether vectors of bytes are multiplied and added four at a time, without saturation (AVX-VNNI, AVX-512 VNNI)."""
    return multiplies_pairs() and ("avxvnni" in features() or _WIDE)


REQUEST_PERMISSION, TILE_DATA = 0x1023, 18
"""ARCH_REQ_XCOMP_PERM and XFEATURE_XTILEDATA of Linux's ``arch_prctl``."""
ARCH_PRCTL = 158


@lru_cache(maxsize=1)
def multiplies_tiles() -> bool:
    """Whether matrices of bytes are multiplied (AMX), and the operating system, which must be asked, lets this process do so."""
    if not (_WIDE and {"amx-tile", "amx-int8"} <= features()):
        return False
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    try:
        return int(ctypes.CDLL(None).syscall(*map(ctypes.c_long, (ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA)))) == 0
    except (OSError, AttributeError):
        return False
