"""The embedded queue's file, damaged: what is still sent is as it was."""

import re
import shutil
import sqlite3
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import gevent

from tests.faults.ledger import hang, ok
from tests.faults.rows import Run, Service, in_flight, row
from tests.faults.rows.disk import SQLITE_ONLY, end
from tests.support.waiting import eventually

# Beside the WAL's own header, each of its frames has 24 bytes and a page.
WAL_HEADER, WAL_FRAME = 32, 24 + 4096


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
    """Refused with a sentence, or what is sent is as it was, and the rest set aside."""
    whole = _crashed(run, checkpoints=False)
    size = whole.stat().st_size
    complete = {content for _, content in _rows(whole)}
    results: Counter[str] = Counter()
    for kind in ("truncated", "bit"):
        for n in range(4 if run.quick else 30):
            copy = _copy(run, whole, f"{kind}-{n}", 0)
            place = run.random.randrange(1, size)
            if kind == "bit":
                flip(copy, place * 8 + run.random.randrange(8))
            else:
                with copy.open("r+b") as file:
                    file.truncate(place)
            what = _became(run, copy, complete)
            results[what] += 1
            refused_or_right = what in ("refused", "intact", "set aside")
            run.expect(refused_or_right, f"{kind} at {place} of {size}: {what}")
            run.injected()
    run.remark(", ".join(f"{count} files {what}" for what, count in results.items()))
    _serve_original(run)


Rows = list[tuple[int, bytes]]


def content_of(table: str, columns: str = "") -> str:
    """Selects id and payload, also of those whose payload lies beside the row."""
    number = f"CAST(substr(CAST({table}.payload AS TEXT), 13) AS INTEGER)"
    body = (
        f"SELECT bodies.payload FROM bodies WHERE body = {number}"
        f" AND CAST({table}.payload AS TEXT) = 'mspc:bodies/' || body"
    )
    return f"SELECT {columns}id, coalesce(({body}), payload) FROM {table}"


def _became(run: Run, file: Path, complete: set[bytes]) -> str:
    """What an mspc whose target is away makes of the file, each call attempted once."""
    service = run.service(
        wait=False,
        DATA_DIR=str(file.parent),
        REQUEUE_FAILED_AFTER_MILLISECONDS="600000",
        QUEUE_NUMBER_OF_CONSUMERS="20",
        BREAKER_FAILURES="0",  # else a target that is away gets a probe now and then
    )
    service.may_end = True
    try:
        opened = _opened(run, service, file)
        if opened is None:
            return "refused"
        calls = int(opened[1]) + int(opened[2])
        seen = "attempt 1 failed|is damaged, now a dead letter"
        with suppress(AssertionError):
            eventually(lambda: len(re.findall(seen, service.output)) >= calls, 60)
        end(run, service)  # in order: what was logged is stored
        with closing(sqlite3.connect(file)) as db:
            left = db.execute("SELECT count(*) FROM calls").fetchone()[0]
            sent = db.execute(content_of("waiting")).fetchall()
            dead = db.execute("SELECT reason FROM dead").fetchall()
    finally:
        service.kill()
        shutil.rmtree(file.parent)
    aside = sum("its checksum does not fit" in reason for (reason,) in dead)
    right = {str(call_id).encode() + payload for call_id, payload in sent} & complete
    if left or len(sent) != len(right):
        return f"{left} calls left, {len(sent) - len(right)} altered ones sent"
    if len(right) + aside != len(complete) or len(dead) != aside:
        return f"{len(complete) - len(right)} calls missing, {len(dead)} dead letters"
    return "set aside" if aside else "intact"


def _crashed(run: Run, *, checkpoints: bool) -> Path:
    """The file of an mspc that was killed with many calls in it, all untouched.

    Without `checkpoints` it has ended in order: then there is no WAL.
    """
    run.consumers = 1  # one call hangs; the others are only stored
    run.ledger.behave(hang)
    service = run.service(SHUTDOWN_TIMEOUT_SECONDS="1")
    # So much that the WAL, of up to 4,000 pages, was brought into the file meanwhile.
    size = 30_000 if checkpoints else 3_000
    run.load(rate=150, count=500 if run.quick else 1200, size=size).join(60)
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


def _opened(run: Run, service: Service, file: Path) -> re.Match[str] | None:
    """What it says when the file is open; None when it refuses, with a sentence."""
    for _ in range(400):
        if "is open: " in service.output or not service.running:
            break
        gevent.sleep(0.05)
    run.expect("Traceback" not in service.output, f"{file.parent.name}: a traceback")
    said = r"is open: (\d+) calls to make, (\d+) waiting"
    if opened := re.search(said, service.output):
        return opened
    code = service.wait()
    run.expect(code == 2, f"{file.parent.name}: exit code {code} instead of 2")
    sentence = re.search(r"DATA_DIR: .+", service.output)
    run.expect(sentence, f"{file.parent.name}: {service.output[-200:]}")
    return None


def _counted_rows(run: Run, service: Service, file: Path) -> Rows | None:
    opened = _opened(run, service, file)
    service.kill()  # before much was attempted; what was lies in `waiting`
    if opened is None:
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
            new = db.execute(content_of("calls", "seq, ")).fetchall()
            # A waiting call has another number, but the same content.
            failed = db.execute(content_of("waiting")).fetchall()
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
