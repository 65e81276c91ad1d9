"""What comes before anything else, so that no moment of the start is without it.

As process 1 of a container nobody else ends us: a signal without a handler is lost, and
the other imports take a third of a second on a small machine. So this imports next to
nothing.
"""

import os
import select
import signal
import sys
from types import FrameType

STOP = frozenset((signal.SIGTERM, signal.SIGINT, signal.SIGQUIT))
# What the kernel or Python ignores, what nobody can catch, what stops and continues a
# program, and the program's own faults.
_LEFT_ALONE = frozenset(
    (
        signal.SIGCHLD,
        signal.SIGURG,
        signal.SIGWINCH,
        signal.SIGPIPE,
        signal.SIGXFSZ,
        signal.SIGKILL,
        signal.SIGSTOP,
        signal.SIGTSTP,
        signal.SIGTTIN,
        signal.SIGTTOU,
        signal.SIGCONT,
        signal.SIGSEGV,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGILL,
        signal.SIGABRT,
        signal.SIGTRAP,
        signal.SIGSYS,
    )
)
# By default each of these would end us without a word.
MEANINGLESS = signal.valid_signals() - _LEFT_ALONE - STOP - {signal.SIGHUP}

STOPPED_EARLY = b"mspc was told to stop before it had started\n"
_poll = select.poll  # gevent's own waits in a hub


def prepare() -> None:
    """Makes the standard descriptors and the signals safe."""
    _open_standard_descriptors()
    for number in STOP:
        signal.signal(number, _leave)
    for number in (signal.SIGHUP, *MEANINGLESS):
        signal.signal(number, _go_on)
    # Blocked by whoever started us, so that none was lost until now: see Dockerfile.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())


def prepare_command() -> None:
    """The same for a command, which ends without a word while it still imports."""
    _open_standard_descriptors()
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _open_standard_descriptors() -> None:
    # A closed one would be given to the next file or socket, and the log written there.
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free: this one
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def _leave(number: int, frame: FrameType | None) -> None:
    """Nothing was begun yet that would have to be ended in order."""
    error = _poll()
    error.register(2, select.POLLOUT)
    if error.poll(0):  # it may be a pipe that nobody reads
        os.write(2, STOPPED_EARLY)
    os._exit(0)


def _go_on(number: int, frame: FrameType | None) -> None:
    pass
