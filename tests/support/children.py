"""Processes that the tests start, and the ports they listen on."""

import ctypes
import fcntl
import functools
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

# Below 32768, where Linux begins to give out ports for outgoing connections: one of
# those cannot take a port away while its server is being restarted.
_PORTS = range(12_000, 32_000)
_given: set[int] = set()

_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def free_port() -> int:
    """A loopback port that nobody listens on, a different one on every call.

    No other run gets it, however long nobody listens on it.
    """
    for port in random.sample(_PORTS, 1_000):
        if port not in _given and _reserve(port) and _can_bind(port):
            _given.add(port)
            return port
    raise AssertionError("no free port among a thousand")


def _reserve(port: int) -> bool:
    """Whether no other run has it; it is this one's until its process ends."""
    try:
        fcntl.lockf(_reservations(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


@functools.cache
def _reservations() -> int:
    """A file of which each byte stands for a port: a lock costs no descriptor."""
    path = Path(tempfile.gettempdir()) / f"mspc-test-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def die_with_parent() -> None:
    """For `preexec_fn`: a test run that is killed leaves no process behind."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def end(child: "subprocess.Popen[bytes]", timeout: float) -> int:
    """Asks `child` to end, kills it after `timeout` seconds; its exit code."""
    if child.poll() is None:
        child.terminate()
    try:
        return child.wait(timeout)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait(10)
