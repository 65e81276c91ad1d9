"""Runs a command under the system call rules of a systemd unit, without systemd.

`sandbox.py UNIT COMMAND ARGUMENT...` becomes the command, with the rules that systemd
makes of SystemCallFilter=, RestrictAddressFamilies= and MemoryDenyWriteExecute=.
"""

import ctypes
import errno
import mmap
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

# <seccomp.h>
_ALLOW = 0x7FFF0000
_REFUSE = 0x00050000 | errno.EPERM
_EQUAL, _MASKED_EQUAL = 4, 7
_UNKNOWN_CALL = -1

_LAST_FAMILY = 45  # AF_MCTP, the last one of Linux 6.1


class _Condition(ctypes.Structure):
    """The argument `number` of a call compared with `a`, or masked by it with `b`."""

    _fields_ = (
        ("number", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


def values(unit: str, name: str) -> list[str]:
    """What each line `name=` of the unit says."""
    return re.findall(rf"^{name}=(.*)$", unit, re.MULTILINE)


def system_calls(unit: str) -> set[str]:
    """The calls that are left by the lines SystemCallFilter=, the first a list."""
    left: set[str] = set()
    for line in values(unit, "SystemCallFilter"):
        calls = _expanded(line.removeprefix("~").split())
        left = left - calls if line.startswith("~") else left | calls
    return left | _expanded(["@default"])  # systemd adds it to a list


def _expanded(names: list[str]) -> set[str]:
    calls: set[str] = set()
    for name in names:
        if not name.startswith("@"):
            calls.add(name)
            continue
        listed = subprocess.run(
            ["systemd-analyze", "syscall-filter", name],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        inside = (line.strip() for line in listed[1:])
        calls |= _expanded([line for line in inside if line and line[0] != "#"])
    return calls


class _Filter:
    def __init__(self, default: int) -> None:
        self._library = ctypes.CDLL("libseccomp.so.2")
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._library.seccomp_init(default))

    def add(self, action: int, call: str, *conditions: _Condition) -> None:
        number = self._library.seccomp_syscall_resolve_name(call.encode())
        if number == _UNKNOWN_CALL:  # of another architecture, or a newer kernel
            return
        array = (_Condition * len(conditions))(*conditions)
        added = self._library.seccomp_rule_add_array(
            self._context, action, number, len(conditions), array
        )
        assert added == 0, f"no rule for {call}: {os.strerror(-added)}"

    def load(self) -> None:
        """From here on, for this process and what it becomes."""
        loaded = self._library.seccomp_load(self._context)
        assert loaded == 0, os.strerror(-loaded)


def enter(unit: str) -> None:
    """Puts the rules on this process."""
    listed = _Filter(_REFUSE)
    for call in sorted(system_calls(unit)):
        listed.add(_ALLOW, call)
    rest = _Filter(_ALLOW)
    (families,) = values(unit, "RestrictAddressFamilies")
    allowed = {int(getattr(socket, name)) for name in families.split()}
    for family in set(range(_LAST_FAMILY + 1)) - allowed:
        rest.add(_REFUSE, "socket", _Condition(0, _EQUAL, family, 0))
    if values(unit, "MemoryDenyWriteExecute") == ["yes"]:
        code, both = mmap.PROT_EXEC, mmap.PROT_WRITE | mmap.PROT_EXEC
        rest.add(_REFUSE, "mmap", _Condition(2, _MASKED_EQUAL, both, both))
        for call in ("mprotect", "pkey_mprotect"):
            rest.add(_REFUSE, call, _Condition(2, _MASKED_EQUAL, code, code))
    rest.load()  # before the list, which need not allow to load another one
    listed.load()


if __name__ == "__main__":
    enter(Path(sys.argv[1]).read_text())
    os.execvp(sys.argv[2], sys.argv[2:])
