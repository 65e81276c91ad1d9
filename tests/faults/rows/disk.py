"""The embedded queue's disk: full, failing, taken, read-only."""

import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gevent

from tests.faults.ledger import fail_first, ok, slow
from tests.faults.rows import QUORUM, SQLITE, Run, Service, in_flight, row

SMALL_DISK_MIB = 16
RESERVE_BYTES = SMALL_DISK_MIB * 1024 * 1024 // 20
STOP_SECONDS = 40.0
ENDS_WITHIN_SECONDS = 40.0
SQLITE_ONLY = (SQLITE,)


@contextmanager
def small_disk(run: Run, name: str, *options: str) -> Iterator[Path]:
    """A disk of its own; when it goes, every service has ended."""
    directory = run.directory / name
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o"]
    mount += [",".join((f"size={SMALL_DISK_MIB}m", *options)), "tmpfs"]
    if (
        shutil.which("mount") is None
        or subprocess.run(
            [*mount, str(directory)], capture_output=True, check=False
        ).returncode
    ):
        run.cannot("only root may mount a small disk")
    try:
        yield directory
        for service in run.services:
            end(run, service)
    finally:
        for service in run.services:
            service.kill()
        subprocess.run(["umount", str(directory)], check=True)


def end(run: Run, service: Service) -> None:
    """Ends it in order, if it runs."""
    if service.running:
        service.terminate()
        code = service.wait(STOP_SECONDS)
        run.expect(code == 0, f"exit code {code} after SIGTERM")


def refused(run: Run, service: Service, sentence: str) -> None:
    """Expects that it ends by itself: exit code 2, and says `sentence`."""
    service.may_end = True
    code = service.wait(STOP_SECONDS)
    said = re.search(sentence, service.output)
    run.expect(code == 2, f"exit code {code} instead of 2: {service.output[-300:]}")
    run.expect(said, f"it does not say {sentence!r}: {service.output[-300:]}")
    run.injected()


def fill(file: Path, disk: Path, leave: int) -> None:
    """Writes into `file` until `leave` bytes of `disk` are free."""
    with file.open("ab", buffering=0) as filler:
        for piece in (65_536, 4096):
            while shutil.disk_usage(disk).free - leave >= piece:
                try:
                    filler.write(b"x" * piece)
                except OSError:
                    break


@row(25, "disk full", queues=SQLITE_ONLY)
def full_disk(run: Run) -> None:
    with small_disk(run, "small") as disk:
        run.ledger.behave(fail_first(1, every=10))
        service = run.service(DATA_DIR=str(disk / "data"))
        filler = disk / "filler"
        for left in (RESERVE_BYTES // 2, 0) * (1 if run.quick else 5):
            _fill_and_free(run, service, filler, left)
        run.drain()


def _fill_and_free(run: Run, service: Service, filler: Path, left: int) -> None:
    """Calls are refused; those taken before are made and, with a reserve, settled."""
    run.ledger.behave(slow(0.3))
    run.load(rate=60, count=120).join()
    pending = run.log.ids("ok") - run.ledger.delivered
    with run.recovering(), run.fault(settles_within=5):
        fill(filler, filler.parent, left)
        told = [run.post().status for _ in range(5)]
        run.expect(set(told) == {503}, f"a full disk was told as {told}")
        health = service.get("/health/ready").status
        run.expect(health == 503, f"/health/ready is {health}")
        missing = run.ledger.wait_delivered(pending, 15)
        if left:
            run.expect(not missing, f"{len(missing)} calls are not made any more")
        run.expect(service.running, "mspc has ended")
        run.ledger.behave(ok)
        gevent.sleep(1)
        filler.unlink()
    run.remark(f"{left >> 10} KiB left, {len(pending)} calls in the queue")


@row(26, "write and fsync errors", queues=SQLITE_ONLY, bound=in_flight)
def write_errors(run: Run) -> None:
    if shutil.which("strace") is None:
        run.cannot("no strace")
    run.ledger.behave(fail_first(1, every=10))
    service = run.service()
    run.load(rate=100)
    for calls in ("fdatasync,fsync", "pwrite64"):
        for n in range(1, 3 if run.quick else 9):
            which = n if n <= 4 else run.random.randrange(5, 600)
            with run.recovering(), run.fault(settles_within=5):
                _fail_at(run, service, calls, which)
    run.drain()


def _fail_at(run: Run, service: Service, calls: str, n: int) -> None:
    """The n-th of these system calls fails; mspc ends and is started again."""
    service.may_end = True
    trace = run.directory / "trace"
    command = ["strace", "-f", "-o", str(trace), "-e", f"trace={calls}"]
    command += ["-e", f"inject={calls}:error=EIO:when={n}", "-p", str(service.pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        try:
            code = service.wait(ENDS_WITHIN_SECONDS)
        except AssertionError:
            code = None
    finally:
        tracer.send_signal(signal.SIGINT)
        _, said = tracer.communicate(timeout=10)
    hits = trace.read_text().count("(INJECTED)") if trace.exists() else 0
    if not hits and code is None:
        run.cannot(f"strace injects nothing: {said.decode(errors='replace')[:200]}")
    run.expect(code == 1, f"{calls} {n}: exit code {code}, {hits} errors injected")
    run.expect("failed: " in service.output, "it does not say what failed")
    if code is not None:
        service.start()
        service.wait_ready()
    service.may_end = False


@row(28, "second mspc on the same file", queues=SQLITE_ONLY)
def second_on_the_file(run: Run) -> None:
    run.ledger.behave(fail_first(1, every=10))
    first = run.service()
    run.load(rate=100, services=[first])
    for _ in range(2 if run.quick else 5):
        gevent.sleep(0.5)
        second = run.service(wait=False, DATA_DIR=str(first.data_dir))
        refused(run, second, r"DATA_DIR: .* is in use by another mspc")
        with run.recovering(first):
            pass
    run.drain()
    run.expect(first.running, "the first one has ended")
    unknown = len(run.log.ids("unknown", "fail"))
    run.expect(not unknown, f"{unknown} calls were not accepted by the first one")


@row(29, "read-only data directory", queues=(SQLITE, QUORUM))
def read_only_data(run: Run) -> None:
    """A sentence and exit code 2; nothing of an existing file is touched."""
    with small_disk(run, "disk") as disk:
        first = run.service(SPOOL="1", DATA_DIR=str(disk / "data"))
        with run.recovering():
            pass
        run.drain()
        end(run, first)
        remount(disk, "ro")
        for directory in (disk / "data", disk / "missing" / "data", disk):
            service = run.service(wait=False, SPOOL="1", DATA_DIR=str(directory))
            refused(run, service, r"DATA_DIR: .*Read-only file system")
        file = run.directory / "file"
        file.touch()
        service = run.service(wait=False, SPOOL="1", DATA_DIR=str(file))
        refused(run, service, r"DATA_DIR: ")
        remount(disk, "rw")
        with run.recovering(first):
            first.restart()
        run.drain()


def remount(disk: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(disk)], check=True)


@row(29, "log directory read-only, full, gone", queues=(SQLITE, QUORUM))
def no_log(run: Run) -> None:
    """The calls go on; the log does, too, when it can."""
    run.ledger.behave(fail_first(1, every=10))
    with small_disk(run, "disk") as disk:
        logs = disk / "logs" / "mspc.log"
        remount(disk, "ro")
        service = run.service(FILE_LOG_ENABLED="1", LOG_FILE=str(logs))
        run.injected()
        run.load(rate=50)
        gevent.sleep(1)
        remount(disk, "rw")
        logs.parent.mkdir(exist_ok=True)
        with run.recovering():
            pass
        run.expect(_grows(logs), "the log is not written again after read-only")
        with run.recovering(), run.fault():
            fill(disk / "filler", disk, 0)
            gevent.sleep(2)
            (disk / "filler").unlink()
        run.expect(_grows(logs), "the log is not written again after a full disk")
        with run.recovering(), run.fault():
            shutil.rmtree(logs.parent)
            gevent.sleep(1)
        gone = "LOG_FILE: " in service.output
        run.expect(gone, "nothing says that the log file cannot be written")
        run.drain()
        refusals = len(run.log.ids("unknown", "fail"))
        run.expect(not refusals, f"{refusals} calls were not accepted")


def _grows(file: Path) -> bool:
    before = file.stat().st_size if file.exists() else 0
    gevent.sleep(1)
    return file.exists() and file.stat().st_size > before
