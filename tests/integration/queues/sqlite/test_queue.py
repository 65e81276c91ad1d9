"""The embedded queue's file when things go wrong."""

import os
import resource
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import cast

import gevent
import pytest
from gevent.pool import Pool

from mspc.calls.call import Call
from mspc.errors import ConfigError, QueueUnavailable
from mspc.lanes.lanes import MOST_READY
from mspc.process.bulk import inserting
from mspc.queues.sqlite.commits import Store
from mspc.queues.sqlite.queue import SqliteQueue
from mspc.settings.config import SqliteConfig
from tests.conftest import StartMspc
from tests.support.opened import Opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "queue.db"


@pytest.fixture
def opened(path: Path) -> Iterator[Opened]:
    opened = Opened(SqliteQueue(SqliteConfig(path)))
    yield opened
    opened.close()


def refusal_of(path: Path) -> str:
    queue = SqliteQueue(SqliteConfig(path))
    with pytest.raises(ConfigError) as refused:
        queue.start(lambda _: None)
    queue.close()
    return str(refused.value)


def test_only_the_owner_can_read_it(opened: Opened, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_second_process_is_refused(opened: Opened, path: Path) -> None:
    program = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], timeout=0);"
        " db.execute('SELECT * FROM calls')"
    )
    other = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True
    )
    assert "database is locked" in other.stderr
    assert "in use by another mspc" in refusal_of(path)
    opened.queue.put(Call(b"still works"))
    assert opened.take().call.payload == b"still works"


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda path: path.write_bytes(b"no database at all, " * 500), "is damaged"),
        (lambda path: _overwrite_pages(path), "is damaged"),
        (lambda path: _run(path, "PRAGMA application_id=7"), "is not a queue of mspc"),
        (lambda path: _run(path, "PRAGMA user_version=99"), "has layout 99"),
    ],
    ids=["no database", "overwritten", "another program's", "newer"],
)
def test_a_file_that_cannot_be_trusted_is_refused_and_left_alone(
    path: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    opened = Opened(SqliteQueue(SqliteConfig(path)))
    for number in range(200):
        opened.queue.put(Call(str(number).encode() * 100))
    opened.close()
    spoil(path)
    before = path.read_bytes()
    refusal = refusal_of(path)
    assert sentence in refusal
    assert str(path) in refusal
    assert path.read_bytes() == before


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    refusal = refusal_of(tmp_path / "data" / "queue.db")
    assert refusal.startswith("DATA_DIR: ")
    assert "cannot be written" in refusal


def test_what_gathers_shares_a_transaction(path: Path) -> None:
    store = Store(path)
    store.open(lambda _: None)
    statements: list[str] = []
    store.run(lambda db: db.set_trace_callback(statements.append))
    Pool(100).map(lambda _: store.run(lambda db: db.execute("SELECT 1")), range(100))
    store.close()
    assert statements.count("SELECT 1") == 100
    assert statements.count("BEGIN IMMEDIATE") < 10


def test_a_bulk_is_one_statement_for_all_who_wait(path: Path) -> None:
    store = Store(path)
    store.open(lambda _: None)
    table = "bulk (seq INTEGER PRIMARY KEY AUTOINCREMENT, value)"
    store.run(lambda db: db.execute(f"CREATE TABLE {table}"))
    insert = inserting("INSERT INTO bulk (value)", 1)
    statements: list[str] = []
    store.run(lambda db: db.set_trace_callback(statements.append))
    numbers = Pool(100).map(lambda n: store.run_for(insert, (n,)), range(100))
    rows = store.run(lambda db: db.execute("SELECT value, seq FROM bulk").fetchall())
    store.close()
    assert dict(rows) == dict(enumerate(numbers))
    assert sum(one.startswith("INSERT") for one in statements) < 20


def test_each_call_is_lent_once_however_it_gets_there(opened: Opened) -> None:
    """From the file, where more have gathered than are lent at once, or as it came."""
    early = [Call(b"early") for _ in range(3 * MOST_READY)]
    for call in early:
        opened.queue.put(call)
    late = [Call(b"late") for _ in range(1000)]
    putting = gevent.spawn(Pool(20).map, opened.queue.put, late)
    lent = [opened.take() for _ in range(len(early) + len(late))]
    putting.join()
    last = Call(b"last")
    opened.queue.put(last)
    assert opened.take().call == last
    assert sorted(one.call.id for one in lent) == sorted(c.id for c in early + late)


def test_a_new_call_is_lent_without_being_read(opened: Opened, path: Path) -> None:
    opened.queue.put(Call(b"first"))
    opened.take()
    statements: list[str] = []
    store = cast("SqliteQueue", opened.queue)._store
    store.run(lambda db: db.set_trace_callback(statements.append))
    for _ in range(10):
        opened.queue.put(Call(b"another"))
        assert opened.take().call.payload == b"another"
    store.run(lambda db: db.set_trace_callback(None))
    assert [one for one in statements if one.startswith("SELECT")] == []


def test_a_call_is_lent_though_whoever_put_it_was_ended(opened: Opened) -> None:
    opened.queue.put(Call(b"first"))
    opened.take()
    putting = gevent.spawn(opened.queue.put, Call(b"second"))
    gevent.idle()  # it waits for its commit
    putting.kill()
    assert opened.take().call.payload == b"second"


def test_new_calls_do_not_keep_those_that_are_due_from_their_turn(path: Path) -> None:
    queue = SqliteQueue(SqliteConfig(path))
    queue.start(lambda _: None)
    deliveries = queue.deliveries()
    queue.put(Call(b"waits"))
    first = next(deliveries)
    first.retry(first.call.next_attempt("no"), 0.05)
    queue.put(Call(b"new"))
    with gevent.Timeout(10):
        payload = b""
        while payload != b"waits":
            queue.put(Call(b"new"))  # there is always one that could be lent at once
            payload = next(deliveries).call.payload
    queue.close()


def test_a_failed_job_takes_nobody_down(path: Path) -> None:
    store = Store(path)
    store.open(lambda _: None)
    with pytest.raises(QueueUnavailable, match="no such table"):
        store.run(lambda db: db.execute("SELECT * FROM nowhere"))
    assert store.run(lambda db: db.execute("SELECT 7").fetchone()) == (7,)
    store.close()


def test_a_full_disk_refuses_calls_and_settles_the_rest(small_disk: Path) -> None:
    opened = Opened(SqliteQueue(SqliteConfig(small_disk / "queue.db")))
    for number in range(20):
        opened.queue.put(Call(str(number).encode() * 1000))
    filler = small_disk / "filler"
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    filler.write_bytes(bytes(free - 2 * 1024 * 1024))
    with pytest.raises(QueueUnavailable, match="nearly full"):
        opened.queue.put(Call(b"one more"))
    assert "nearly full" in str(opened.queue.problem())
    for _ in range(10):
        opened.take().ack()
    for _ in range(10):
        delivery = opened.take()
        delivery.retry(delivery.call.next_attempt("no"), 0.1)
    for _ in range(10):
        opened.take().ack()
    filler.unlink()
    assert opened.queue.problem() is None
    opened.queue.put(Call(b"again"))
    assert opened.take().call.payload == b"again"
    opened.close()


def test_a_step_back_of_the_clock_holds_nothing_back(path: Path) -> None:
    opened = Opened(SqliteQueue(SqliteConfig(path)))
    opened.queue.put(Call(b"later"))
    delivery = opened.take()
    delivery.retry(delivery.call.next_attempt("no"), 0.5)
    opened.close()
    _run(path, "UPDATE waiting SET due = due + 3600000")  # as if it was 1 h later then
    opened = Opened(SqliteQueue(SqliteConfig(path)))
    assert opened.take(timeout=5).call.payload == b"later"
    opened.close()


@pytest.mark.parametrize(
    "damage",
    [
        "payload = CAST('altered' AS BLOB)",
        "id = 'altered'",
        "id = CAST(x'ff00' AS TEXT)",
        "attempts = 3",
        "accepted_at = 5.0",
        "last_error = 'altered'",
        "crc = crc + 1",
    ],
)
@pytest.mark.parametrize("table", ["calls", "waiting"])
def test_a_damaged_row_is_lent_as_one_and_set_aside(
    path: Path, table: str, damage: str
) -> None:
    opened = Opened(SqliteQueue(SqliteConfig(path)))
    for payload in (b"first", b"second", b"third"):
        opened.queue.put(Call(payload, id=payload.decode()))
        if table == "waiting":
            delivery = opened.take()
            delivery.retry(delivery.call.next_attempt("no"), 0.001)
    opened.close()
    _run(path, f"UPDATE {table} SET {damage} WHERE id = 'second'")
    opened = Opened(SqliteQueue(SqliteConfig(path)))
    lent = [opened.take() for _ in range(3)]
    (damaged,) = [delivery for delivery in lent if delivery.damage]
    damaged.bury(damaged.call, damaged.damage)
    intact = [delivery for delivery in lent if not delivery.damage]
    assert {delivery.call.payload for delivery in intact} == {b"first", b"third"}
    for delivery in intact:
        delivery.ack()
    opened.close()
    assert _run(path, f"SELECT * FROM {table}") == []
    ((reason,),) = _run(path, "SELECT reason FROM dead")
    assert reason == "damaged in the file: its checksum does not fit"


def test_a_file_of_the_first_layout_is_brought_up_to_date(path: Path) -> None:
    opened = Opened(SqliteQueue(SqliteConfig(path)))
    for payload in (b"failed", b"new"):
        opened.queue.put(Call(payload))
        if payload == b"failed":
            delivery = opened.take()
            delivery.retry(delivery.call.next_attempt("no"), 0.001)
    opened.close()
    for table in ("calls", "waiting", "dead"):
        _run(path, f"ALTER TABLE {table} DROP COLUMN crc")
        _run(path, f"ALTER TABLE {table} DROP COLUMN lane")
    _run(path, "DROP TABLE bodies")
    _run(path, "PRAGMA user_version=1")
    for _ in range(2):  # the second time it is up to date
        opened = Opened(SqliteQueue(SqliteConfig(path)))
        lent = {opened.take().call.payload for _ in range(2)}
        assert lent == {b"failed", b"new"}
        opened.close()
    assert _run(path, "PRAGMA user_version") == [(5,)]


def test_a_write_error_ends_the_process_and_loses_nothing(
    mspc_process: StartMspc,
) -> None:
    """After a failed write or fsync nobody knows what is on the disk: start anew."""
    process = mspc_process()
    body = {"url": "http://127.0.0.1:1/", "body": '"' + "x" * 50_000 + '"'}
    accepted = [process.post(body).json["id"] for _ in range(3)]
    # Like a disk that fails: no file of this process may grow past its first bytes.
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (100_000, 100_000))
    with suppress(OSError):  # the retries may meet the error first
        assert process.post(body).status == 503
    assert process.wait() == 1
    assert "mspc stops:" in process.output
    process.restart()
    for call_id in accepted:
        process.wait_for_log(rf"{call_id} GET .* -> ")


def _overwrite_pages(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(8192))


def _run(path: Path, statement: str) -> list[tuple[object, ...]]:
    db = sqlite3.connect(path, isolation_level=None)
    rows = db.execute(statement).fetchall()
    db.close()
    return rows
