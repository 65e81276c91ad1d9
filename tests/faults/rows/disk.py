"""The embedded queue's disk: full, failing, damaged, taken, read-only."""

import re
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import gevent

from tests.faults.ledger import fail_first, hang, ok, slow
from tests.faults.rows import QUORUM, SQLITE, Run, Service, in_flight, row

SMALL_DISK_MIB = 16
RESERVE_BYTES = SMALL_DISK_MIB * 1024 * 1024 // 20
STOP_SECONDS = 40.0
ENDS_WITHIN_SECONDS = 40.0
SQLITE_ONLY = (SQLITE,)
# Beside the WAL's own header, each of its frames has 24 bytes and a page.
WAL_HEADER, WAL_FRAME = 32, 24 + 4096


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


@row(27, "torn WAL", queues=SQLITE_ONLY, bound=in_flight)
def torn_wal(run: Run) -> None:
    """The WAL of a crash ends anywhere, or is damaged anywhere: what opens is a prefix.

    The calls are only stored, in order, none is settled: the rows of each copy must be
    the first so many, at least those of the database file alone; a longer WAL holds no
    fewer; the whole WAL holds all that were accepted.
    """
    whole = _crashed(run, checkpoints=True)
    size = wal_of(whole).stat().st_size
    complete = _rows(whole)
    least = _rows(_copy(run, whole, "none", 0))
    run.expect(0 < len(least) < len(complete), "the WAL and the file must both count")
    cuts = sorted(run.random.randrange(size) for _ in range(5 if run.quick else 40))
    frame = WAL_HEADER + WAL_FRAME * (size // WAL_FRAME // 2)
    cuts = sorted([*cuts, 1, WAL_HEADER, frame - 1, frame, frame + 1])
    before = len(least)
    for cut in cuts:
        copy = _copy(run, whole, f"cut-{cut}", cut)
        rows = _opened_rows(run, copy)
        if rows is None:
            run.expect(False, f"a WAL of {cut} bytes is refused")
            continue
        run.expect(rows == complete[: len(rows)], f"{cut} bytes: not a prefix")
        run.expect(len(rows) >= before, f"{cut} bytes: fewer than with a shorter WAL")
        before = max(before, len(rows))
        run.injected()
    for _ in range(3 if run.quick else 20):
        bit = run.random.randrange(size * 8)
        copy = _copy(run, whole, f"bit-{bit}", size)
        flip(wal_of(copy), bit)
        rows = _opened_rows(run, copy)
        good = rows is None or rows == complete[: len(rows)]
        run.expect(good, f"bit {bit} of the WAL: not a prefix")
        run.injected()
    run.remark(f"{len(least)} to {len(complete)} calls, WAL of {size} bytes")
    _serve_original(run)


@row(27, "truncated or damaged database", queues=SQLITE_ONLY, bound=in_flight)
def damaged_database(run: Run) -> None:
    """Refused with a sentence, or every row that is there is as it was."""
    whole = _crashed(run, checkpoints=False)
    size = whole.stat().st_size
    complete = dict(_rows(whole))
    served: list[str] = []
    results = {"refused": 0, "intact": 0, "rows missing": 0, "rows altered": 0}
    for kind in ("truncated", "bit"):
        for n in range(4 if run.quick else 30):
            copy = _copy(run, whole, f"{kind}-{n}", 0)
            place = run.random.randrange(1, size)
            if kind == "bit":
                flip(copy, place * 8 + run.random.randrange(8))
            else:
                with copy.open("r+b") as file:
                    file.truncate(place)
            rows = _opened_rows(run, copy)
            what, count = _compared(complete, rows)
            results[what] += 1
            if what not in ("refused", "intact"):
                served.append(f"{kind} at {place} of {size}: {count} {what}")
            run.injected()
    run.expect(not served, f"{len(served)} damaged files served: {served[:3]}")
    run.remark(", ".join(f"{count} {what}" for what, count in results.items() if count))
    _serve_original(run)


Rows = list[tuple[int, bytes]]


def _compared(complete: dict[int, bytes], rows: Rows | None) -> tuple[str, int]:
    """What became of the rows, and of how many."""
    if rows is None:
        return "refused", len(complete)
    altered = sum(complete.get(seq) != content for seq, content in rows)
    if altered:
        return "rows altered", altered
    missing = len(complete) - len(rows)
    return ("rows missing", missing) if missing else ("intact", len(rows))


def _crashed(run: Run, *, checkpoints: bool) -> Path:
    """The file of an mspc that was killed with many calls in it, all untouched.

    Without `checkpoints` it has ended in order: then there is no WAL.
    """
    run.consumers = 1  # one call hangs; the others are only stored
    run.ledger.behave(hang)
    service = run.service(SHUTDOWN_TIMEOUT_SECONDS="1")
    run.load(rate=150, count=500 if run.quick else 1200, size=3000).join(60)
    file = service.data_dir / "queue.db"
    with run.fault(settles_within=5):
        if checkpoints:
            service.kill()
        else:
            end(run, service)
        run.ledger.refuse()
        copies = run.directory / "whole"
        shutil.copytree(file.parent, copies)
    accepted = run.log.ids("ok")
    content = b"".join(payload for _, payload in _rows(copies / file.name))
    lost = [one for one in accepted if f'/call/{one}"'.encode() not in content]
    run.expect(not lost, f"{len(lost)} accepted calls are not in the file")
    run.expect(wal_of(copies / file.name).exists() == checkpoints, "the WAL surprises")
    return copies / file.name


def _serve_original(run: Run) -> None:
    """What was damaged were copies: the file itself still gives every call."""
    run.ledger.listen()
    run.ledger.behave(ok)
    with run.recovering(run.services[0]):
        run.services[0].restart()
    run.drain()


def _copy(run: Run, whole: Path, name: str, wal: int) -> Path:
    """A copy of the file with the first `wal` bytes of its WAL."""
    directory = run.directory / name
    directory.mkdir(exist_ok=True)
    copy = directory / whole.name
    shutil.copyfile(whole, copy)
    if wal and wal_of(whole).exists():
        wal_of(copy).write_bytes(wal_of(whole).read_bytes()[:wal])
    return copy


def wal_of(file: Path) -> Path:
    return file.with_name(f"{file.name}-wal")


def flip(file: Path, bit: int) -> None:
    with file.open("r+b") as opened:
        opened.seek(bit // 8)
        byte = opened.read(1)[0]
        opened.seek(bit // 8)
        opened.write(bytes([byte ^ 1 << bit % 8]))


def _opened_rows(run: Run, file: Path) -> Rows | None:
    """What an mspc finds in it, whose target is away; None when it refuses."""
    later = "600000"  # milliseconds: one attempt of each at most
    service = run.service(
        wait=False, DATA_DIR=str(file.parent), REQUEUE_FAILED_AFTER_MILLISECONDS=later
    )
    service.may_end = True
    try:
        return _counted_rows(run, service, file)
    finally:
        service.kill()
        shutil.rmtree(file.parent)


def _counted_rows(run: Run, service: Service, file: Path) -> Rows | None:
    for _ in range(400):
        if "is open: " in service.output or not service.running:
            break
        gevent.sleep(0.05)
    service.kill()  # before much was attempted; what was lies in `waiting`
    opened = re.search(r"is open: (\d+) calls to make, (\d+) waiting", service.output)
    run.expect("Traceback" not in service.output, f"{file.parent.name}: a traceback")
    if opened is None:
        code = service.wait()
        run.expect(code == 2, f"{file.parent.name}: exit code {code} instead of 2")
        sentence = re.search(r"DATA_DIR: .+", service.output)
        run.expect(sentence, f"{file.parent.name}: {service.output[-200:]}")
        return None
    try:
        rows = _rows(file)
    except sqlite3.Error as exc:
        run.expect(False, f"{file.parent.name}: opened, but cannot be read: {exc}")
        return []
    run.expect(len(rows) == int(opened[1]) + int(opened[2]), "another count than said")
    return rows


def _rows(file: Path) -> Rows:
    """Number and content of each call, in order; in a copy of its own."""
    seen = file.parent / "seen"
    seen.mkdir()
    try:
        for one in (file, wal_of(file)):
            if one.exists():
                shutil.copyfile(one, seen / one.name)
        with closing(sqlite3.connect(seen / file.name)) as db:
            new = db.execute("SELECT seq, id, payload FROM calls").fetchall()
            # A waiting call has another number, but the same content.
            failed = db.execute("SELECT id, payload FROM waiting").fetchall()
    finally:
        shutil.rmtree(seen)
    rows = [(seq, str(call_id).encode() + payload) for seq, call_id, payload in new]
    # One consumer takes them in order: those that wait are the first ones.
    first = min((seq for seq, _ in rows), default=len(failed) + 1) - len(failed)
    waiting = [
        (first + place, str(call_id).encode() + payload)
        for place, (call_id, payload) in enumerate(failed)
    ]
    return sorted(waiting + rows)


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
