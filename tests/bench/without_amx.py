"""Runs a command whose process, and what it starts, may not use AMX: as on a CPU that has VNNI alone. Linux, x86-64.

    python tests/bench/without_amx.py python tests/bench/engine.py

A process must ask the kernel for the tile registers (``arch_prctl``); a seccomp filter refuses that, to every library alike.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import os
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from hwsearch.quant.engine.kernels.cpu import ARCH_PRCTL, REQUEST_PERMISSION

LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
"""BPF_LD | BPF_W | BPF_ABS, BPF_JMP | BPF_JEQ | BPF_K, BPF_RET | BPF_K."""
NUMBER, FIRST_ARGUMENT = 0, 16
"""Where ``struct seccomp_data`` has them."""
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EOPNOTSUPP
NO_NEW_PRIVILEGES, SECCOMP, FILTER = 38, 22, 2


class Program(ctypes.Structure):
    """``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def refuse() -> None:
    """Install the filter, for this process and what it becomes.

    Raises:
        OSError: the kernel does not take it.
    """
    steps = (
        (LOAD_WORD, 0, 0, NUMBER),
        (JUMP_IF_EQUAL, 0, 3, ARCH_PRCTL),  # another call: to the last step
        (LOAD_WORD, 0, 0, FIRST_ARGUMENT),
        (JUMP_IF_EQUAL, 0, 1, REQUEST_PERMISSION),
        (RETURN, 0, 0, REFUSE),
        (RETURN, 0, 0, ALLOW),
    )
    program = Program(len(steps), b"".join(struct.pack("HBBI", *step) for step in steps))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) or prctl(SECCOMP, FILTER, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "no seccomp filter")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("command", nargs=argparse.REMAINDER)
    command = parser.parse_args().command
    if not command:
        parser.error("which command?")
    refuse()
    os.execvp(command[0], command)
