"""The journal's disk: nearly full, or it hangs."""

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gevent

from mspc.journal.room import LEAST_MARGIN_BYTES
from tests.faults.ledger import fail_first, ok, status
from tests.faults.rows import QUORUM, SQLITE, Run, Service, in_flight, row
from tests.faults.rows.broker import said
from tests.faults.rows.crashes import waited
from tests.faults.rows.disk import RESERVE_BYTES, fill, small_disk
from tests.faults.rows.journal import Door, going_on, knows, stats

DROPPED = "The journal cannot be written, events are dropped"
WRITTEN = "The journal is written again"
HANG_SECONDS = 30
WRITES = "pwrite64,fdatasync,fsync"
SLOWER_SECONDS = 0.02


@row(63, "nearly full disk: the journal gives way first", queues=(SQLITE,))
def journal_gives_way(run: Run) -> None:
    """It stops before the queue's reserve is touched, and goes on with room again."""
    with small_disk(run, "small") as disk:
        run.ledger.behave(fail_first(1, every=10))
        service = run.service(DATA_DIR=str(disk / "data"))
        service.data_dir = disk / "data"
        filler = disk / "filler"
        for _ in range(1 if run.quick else 5):
            _beside_a_full_disk(run, service, filler)
        _until_refused(run, service)
        run.drain()


def _beside_a_full_disk(run: Run, service: Service, filler: Path) -> None:
    """What is free is enough for calls, and not for the journal."""
    lines = len(service.output.splitlines())
    with run.recovering(), run.fault(settles_within=5):
        fill(filler, filler.parent, RESERVE_BYTES + LEAST_MARGIN_BYTES // 2)
        before = stats(service)["events_dropped"]
        begin = time.monotonic()
        run.load(rate=60, count=180).join()
        sent = said(run, begin, time.monotonic())
        told = {one.status for one in sent}
        run.expect(told == {202}, f"beside a journal without room: {sorted(told)}")
        missing = run.ledger.wait_delivered({one.id for one in sent}, 15)
        run.expect(not missing, f"{len(missing)} calls are not made")
        dropped = stats(service)["events_dropped"] - before
        run.expect(dropped > 0, "no event was dropped")
        run.remark(f"{dropped} events dropped")
        filler.unlink()
    back = waited(lambda: WRITTEN in _since(service, lines), 15)
    run.expect(back, "the journal is not written again")
    run.expect(DROPPED in _since(service, lines), "the log does not say that it stops")
    knows(run, service, run.post().id, "with room again")


def _until_refused(run: Run, service: Service) -> None:
    """Calls fill the disk: the journal stops first, and its size stays as it is."""
    lines = len(service.output.splitlines())
    run.ledger.behave(status(503))
    with run.recovering(), run.fault(settles_within=5):
        stopped = 0
        for _ in range(400):
            one = run.post(size=50_000)
            # Who asks has the journal write: a fast machine fills its margin in a turn.
            stats(service)
            if not stopped and DROPPED in _since(service, lines):
                stopped = _size(service)
            if one.status == 503:
                break
        run.expect(one.status == 503, "the disk is not full")
        run.expect(stopped, "calls were refused before the journal stopped")
        grown = _size(service) - stopped
        run.expect(grown <= 0, f"the journal took {grown} bytes when it had stopped")
        run.remark(f"the journal stopped at {stopped >> 10} KiB, calls later")
        run.ledger.behave(ok)
        run.drain()


def _since(service: Service, lines: int) -> str:
    return "\n".join(service.output.splitlines()[lines:])


def _size(service: Service) -> int:
    return sum(file.stat().st_size for file in service.data_dir.glob("journal.db*"))


@row(65, "the journal's disk hangs", queues=(QUORUM,), bound=in_flight)
def hung_journal(run: Run) -> None:
    """Its writes take 30 s: accepting and making go on, what is too much is dropped."""
    if shutil.which("strace") is None:
        run.cannot("no strace")
    service = run.service(JOURNAL_BODY_BYTES="65536")
    run.load(rate=5, count=10).join()  # the threads that there are have begun
    seconds = 10 if run.quick else 40
    before = _measured(run, seconds)
    with run.recovering(), run.fault(), hanging(run, service):
        beside = _measured(run, seconds)
        with Door(service) as door:
            answer, _ = door.get("/v1/stats")
        run.expect(answer == 503, f"beside a disk that hangs /v1/stats is {answer}")
        health = service.get("/health/ready")
        run.expect(health.status == 200, f"/health/ready is {health.status}")
    waited(lambda: "events_dropped" in stats(service), 30)
    dropped = stats(service).get("events_dropped", 0)
    run.expect(dropped > 0, "no event was dropped")
    run.remark(f"{dropped} events dropped")
    knows(run, service, run.post().id, "afterwards")
    # Others may be busy on this machine: as long as without it, before or afterwards.
    after = _measured(run, seconds)
    told = ", ".join(f"{one * 1000:.0f} ms" for one in (before, beside, after))
    run.remark(f"p99 of accepting before, meanwhile and afterwards: {told}")
    most = 2 * max(before, after) + SLOWER_SECONDS
    run.expect(beside <= most, f"accepting took longer beside it: {told}")
    run.drain()


def _measured(run: Run, seconds: float) -> float:
    """Seconds until the answer, the 99th percentile; all calls are made meanwhile."""
    begin = time.monotonic()
    load = run.load(rate=60, seconds=seconds, size=50_000)
    with going_on(run, load, "beside the journal"):
        load.join()
        gevent.sleep(0.5)
    took = sorted(one.seconds for one in said(run, begin, time.monotonic()))
    return took[len(took) * 99 // 100]


@contextmanager
def hanging(run: Run, service: Service) -> Iterator[None]:
    """Each write to the journal's files takes long; the main thread is not traced."""
    threads = [one.name for one in Path(f"/proc/{service.pid}/task").iterdir()]
    command = ["strace", "-o", str(run.directory / "trace")]
    for name in ("journal.db", "journal.db-wal"):
        command += ["-P", str(service.data_dir / name)]
    command += ["-e", f"inject={WRITES}:delay_enter={HANG_SECONDS * 1_000_000}"]
    for thread in threads:
        if int(thread) != service.pid:
            command += ["-p", thread]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        gevent.sleep(1)  # it is attached
        if tracer.poll() is not None:
            run.cannot("strace does not attach")
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=HANG_SECONDS + 10)
