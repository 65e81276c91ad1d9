"""A disk that hangs: a file system in user space whose server answers nothing.

Run as a program it mounts one over a directory and says so. From then on whoever
touches the directory waits, as with a network file system whose server is away.
"""

import ctypes
import os
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self

from tests.support.children import die_with_parent

_IN_HEADER = struct.Struct("=IIQQIIII")
_OUT_HEADER = struct.Struct("=IiQ")
_INIT = 26
_MNT_DETACH = 2


class SilentDisk:
    """Mounted over `directory` from start() to stop(); only root can."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._server: subprocess.Popen[bytes] | None = None

    @staticmethod
    def possible() -> bool:
        return os.geteuid() == 0 and os.access("/dev/fuse", os.R_OK | os.W_OK)

    def __enter__(self) -> Self:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.silent_disk", str(self._directory)],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            preexec_fn=die_with_parent,
        )
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == b"mounted\n", "it was not mounted"
        return self

    def __exit__(self, *exc: object) -> None:
        """Whoever waits is told that it is away; then it is away."""
        assert self._server is not None
        self._server.kill()
        self._server.communicate(timeout=10)
        libc = ctypes.CDLL(None, use_errno=True)
        libc.umount2(os.fsencode(self._directory), _MNT_DETACH)


def _serve(directory: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0"
    mounted = libc.mount(
        b"silent", os.fsencode(directory), b"fuse", 0, options.encode()
    )
    if mounted != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    request = os.read(device, 1 << 20)
    _, opcode, unique, *_ = _IN_HEADER.unpack_from(request)
    assert opcode == _INIT
    major, minor = struct.unpack_from("=II", request, _IN_HEADER.size)
    # Protocol 7.x: version, read-ahead, flags, background, congestion, largest write.
    answer = struct.pack("=IIIIHHI40x", major, min(minor, 31), 0, 0, 0, 0, 4096)
    os.write(
        device, _OUT_HEADER.pack(_OUT_HEADER.size + len(answer), 0, unique) + answer
    )
    print("mounted", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    _serve(sys.argv[1])
