"""A log that nobody takes, or a disk that hangs, is nobody else's problem."""

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import pytest
from gevent.monkey import get_original

from tests.support.process import MspcProcess
from tests.support.silent_disk import SilentDisk
from tests.support.target import Target
from tests.support.waiting import eventually

# Of the buffer's 4 MiB, a call with a URL like this takes two lines of 8 kB.
LONG = "/" + "x" * 7900
CALLS = 320
SHUTDOWN_SECONDS = 4

close = get_original("os", "close")  # at once


class Start(Protocol):
    def __call__(
        self,
        *,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.STDOUT,
        prefix: tuple[str, ...] = (),
        wait: bool = True,
        **settings: str,
    ) -> MspcProcess: ...


@pytest.fixture
def start(tmp_path: Path, target: Target) -> Iterator[Start]:
    started: list[MspcProcess] = []

    def start(
        *,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.STDOUT,
        prefix: tuple[str, ...] = (),
        wait: bool = True,
        **settings: str,
    ) -> MspcProcess:
        settings = {"SHUTDOWN_TIMEOUT_SECONDS": str(SHUTDOWN_SECONDS), **settings}
        directory = tmp_path / f"mspc-{len(started)}"
        mspc = MspcProcess(
            directory, settings, prefix=prefix, stdout=stdout, stderr=stderr
        )
        started.append(mspc)
        mspc.start()
        if wait:
            mspc.wait_ready()
        return mspc

    yield start
    for mspc in started:
        mspc.kill()
        assert "Traceback" not in mspc.output


def make_calls(mspc: MspcProcess, target: Target, path: str = LONG) -> None:
    """More than the pipe and the buffer hold; each is accepted and made."""
    call = json.dumps({"url": target.url(path)})
    with contextlib.closing(mspc.connect()) as client:
        for _ in range(CALLS):
            client.request("POST", "/", call)
            answer = client.getresponse()
            answer.read()
            assert answer.status == 202
    target.wait_for(CALLS, path)
    assert mspc.get("/health/live").status == 200
    assert mspc.get("/health/ready").status == 200


def ends_in_order(mspc: MspcProcess) -> None:
    mspc.terminate()
    assert mspc.wait(SHUTDOWN_SECONDS) == 0


@contextmanager
def full_pipe() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe that takes no byte more."""
    reader, writer = os.pipe()
    try:
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while os.write(writer, b"x" * 4096):
                pass
        os.set_blocking(writer, True)
        yield reader, writer
    finally:
        close(reader)
        close(writer)


@contextmanager
def unread_pipe() -> Iterator[int]:
    with full_pipe() as (_, writer):
        yield writer


@contextmanager
def stopped_terminal() -> Iterator[int]:
    """As after Ctrl-S."""
    master, slave = pty.openpty()
    try:
        termios.tcflow(slave, termios.TCOOFF)
        yield slave
    finally:
        close(master)
        close(slave)


@contextmanager
def pipe_without_reader() -> Iterator[int]:
    reader, writer = os.pipe()
    close(reader)
    try:
        yield writer
    finally:
        close(writer)


@contextmanager
def full_disk() -> Iterator[int]:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        yield descriptor
    finally:
        close(descriptor)


@contextmanager
def shared_pipe_that_does_not_block() -> Iterator[int]:
    with full_pipe() as (_, writer):
        os.set_blocking(writer, False)
        yield writer


OUTPUTS: dict[str, Callable[[], AbstractContextManager[int]]] = {
    "a pipe that nobody reads": unread_pipe,
    "a terminal that was stopped": stopped_terminal,
    "a pipe whose reader has gone": pipe_without_reader,
    "a full disk": full_disk,
    "a full pipe that does not block": shared_pipe_that_does_not_block,
}


@pytest.mark.parametrize(
    ("kind", "with_error"),
    [
        *((kind, False) for kind in OUTPUTS),
        ("a pipe that nobody reads", True),
        ("a terminal that was stopped", True),
    ],
)
def test_standard_output_that_takes_nothing(
    start: Start, target: Target, kind: str, with_error: bool
) -> None:
    """Calls are made, health is told, the file has everything, SIGTERM is heeded."""
    with OUTPUTS[kind]() as descriptor, open(os.devnull, "w") as nothing:
        error = descriptor if with_error else nothing.fileno()
        mspc = start(stdout=descriptor, stderr=error)
        make_calls(mspc, target)
        mspc.signal(signal.SIGUSR1)
        ends_in_order(mspc)
    text = mspc.log_file.read_text()
    assert text.count(" accepted POST ") + text.count(" accepted GET ") == CALLS
    assert len(re.findall(" WARNING standard output (takes no|cannot be)", text)) == 1
    assert text.endswith(" INFO mspc has stopped\n")


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_standard_descriptor_that_is_closed(
    start: Start, target: Target, number: int
) -> None:
    """Nothing else must get its number: the log would be written into it."""
    sign = "<" if number == 0 else ">"
    close = ("sh", "-c", f'exec "$@" {number}{sign}&-', "sh")
    mspc = start(prefix=close)
    mspc.post({"url": target.url("/closed")})
    target.wait_for(1, "/closed")
    for descriptor in range(3):
        link = os.readlink(f"/proc/{mspc.pid}/fd/{descriptor}")
        assert link == "/dev/null" or link.startswith("pipe:")
    ends_in_order(mspc)


def test_lines_that_had_no_room_are_counted(start: Start, target: Target) -> None:
    with full_pipe() as (reader, writer):
        mspc = start(stdout=writer, stderr=writer)
        make_calls(mspc, target)
        with open(reader, "rb", closefd=False) as output:
            seen = [mspc.log_file.read_text().count("\n")]  # lines, of all of them
            text = ""
            while " mspc is stopping" not in text:
                text += output.read1(65_536).decode().lstrip("x")
                if mspc.running and len(text) > 3_000_000 and seen:
                    seen.clear()
                    mspc.terminate()
            assert mspc.wait() == 0
    left_out = re.findall(
        r" WARNING (\d+) lines left out here: there was no room", text
    )
    got = len(re.findall(r"^20\S+Z ", text, re.MULTILINE))
    assert got > 10
    assert left_out
    everything = mspc.log_file.read_text()
    upto = everything.index(" mspc is stopping")
    accepted = everything[:upto].count(" accepted ") + everything[:upto].count(": done")
    told = text.count(" accepted ") + text.count(": done")
    assert told + sum(map(int, left_out)) == accepted


def test_a_log_file_that_is_a_fifo(
    start: Start, target: Target, tmp_path: Path
) -> None:
    """Without a reader it is told; with one that reads nothing the rest goes on."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    mspc = start(LOG_FILE=str(fifo))
    mspc.wait_for_log(f"^LOG_FILE: {fifo} cannot be written: .*No such device")
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        make_calls(mspc, target)
        mspc.wait_for_log(f"^LOG_FILE: {fifo} takes no more")
        mspc.wait_for_log(" GET .*: done$", count=CALLS)
        ends_in_order(mspc)
        mspc.wait_for_log("mspc has stopped$")
    finally:
        close(reader)


needs_fuse = pytest.mark.skipif(
    not SilentDisk.possible(), reason="only root may mount a disk that hangs"
)


@needs_fuse
@pytest.mark.parametrize("at_start", [True, False], ids=["at start", "later"])
def test_a_log_file_on_a_disk_that_hangs(
    start: Start, target: Target, tmp_path: Path, at_start: bool
) -> None:
    directory = tmp_path / "disk"
    directory.mkdir()
    with contextlib.ExitStack() as stack:
        if at_start:
            stack.enter_context(SilentDisk(directory))
        mspc = start(LOG_FILE=str(directory / "mspc.log"))
        if not at_start:
            eventually((directory / "mspc.log").exists)
            stack.enter_context(SilentDisk(directory))
            make_calls(mspc, target, f"{LONG}1")  # until the file is looked at
        make_calls(mspc, target)
        mspc.wait_for_log(" takes no more: lines are left out there")
        ends_in_order(mspc)
        mspc.wait_for_log("mspc has stopped$")


@needs_fuse
@pytest.mark.parametrize("name", ["QUEUE", "SPOOL"])
def test_health_does_not_wait_for_a_disk_that_hangs(start: Start, name: str) -> None:
    """Alive at once; ready as far as anybody knows, then no more; SIGTERM ends it."""
    at_once = "0"
    if name == "QUEUE":
        mspc = start(SHUTDOWN_TIMEOUT_SECONDS=at_once)
    else:
        mspc = start(
            wait=False,
            QUEUE_SCHEME="amqp",
            QUEUE_HOST="127.0.0.1:1",
            SPOOL="1",
            SHUTDOWN_TIMEOUT_SECONDS=at_once,
        )
    eventually(lambda: _status(mspc, "/health/live") == 200)
    with SilentDisk(mspc.data_dir):
        for _ in range(3):
            assert mspc.request("GET", "/health/ready", timeout=2).status in (200, 503)
            assert mspc.request("GET", "/health/live", timeout=2).status == 200
        eventually(
            lambda: "has not answered for" in mspc.get("/health/ready").json["message"]
        )
        mspc.terminate()
        assert mspc.wait(20) == 1
    mspc.wait_for_log(" CRITICAL mspc leaves at once, not at its end 10 s after it was")


def _status(mspc: MspcProcess, path: str) -> int:
    try:
        return mspc.get(path).status
    except OSError:
        return 0


def test_a_crash_loses_no_more_than_the_lines_of_the_last_moment(
    start: Start, target: Target
) -> None:
    mspc = start()
    connection = mspc.connect()
    answered: list[tuple[float, str]] = []
    until = time.monotonic() + 2
    while time.monotonic() < until:
        connection.request("POST", "/", json.dumps({"url": target.url("/c")}))
        call_id = json.loads(connection.getresponse().read())["id"]
        answered.append((time.monotonic(), call_id))
    mspc.kill()
    text = mspc.log_file.read_text()
    last = answered[-1][0]
    missing = [last - at for at, call_id in answered if f"{call_id} acc" not in text]
    print(f"{len(answered)} calls, missing: {[f'{s * 1000:.0f} ms' for s in missing]}")
    assert len(answered) > 20
    assert all(seconds < 1 for seconds in missing)  # 0.02 on a quiet machine
