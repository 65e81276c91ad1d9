"""Long payloads lie beside the rows: what is written, and what may be done by hand."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from mspc.calls.call import Call
from mspc.lanes.lanes import Lanes
from mspc.queues.sqlite.queue import SqliteQueue
from mspc.queues.sqlite.statements import LARGEST_INLINE, reference
from mspc.settings.config import SqliteConfig
from tests.support.opened import Opened
from tests.support.waiting import eventually
from tests.system.conftest import SQLITE_REPLAY

SIZES = (LARGEST_INLINE, LARGEST_INLINE + 1, 5_000, 100_000, 1_000_000)
PAGE_BYTES = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


def open_at(path: Path) -> Opened:
    return Opened(SqliteQueue(SqliteConfig(path)))


def written(action: Callable[[], None]) -> int:
    """Bytes that this process has written meanwhile, whatever the file."""

    def so_far() -> int:
        fields = dict(
            line.split(": ") for line in Path("/proc/self/io").read_text().splitlines()
        )
        return int(fields["wchar"])

    before = so_far()
    action()
    return so_far() - before


@pytest.mark.parametrize("size", SIZES)
def test_a_failed_attempt_writes_as_much_as_for_a_small_call(
    path: Path, size: int
) -> None:
    """The first, later ones with an error of another length, the last, a success."""
    opened = open_at(path)
    amounts = {}
    for fate in ("bury", "ack"):
        opened.queue.put(Call(b"x" * size))
        for number in range(4):
            delivery = opened.take()
            failed = delivery.call.next_attempt("no" * number**3)
            amount = written(lambda: delivery.retry(failed, 0.001))  # noqa: B023
            amounts[fate, number] = amount
        delivery = opened.take()
        end = delivery.ack if fate == "ack" else partial(delivery.bury, failed, "no")
        amounts[fate, 4] = written(end)
    opened.close()
    # Log lines and the tidying's look are in it, too; and the indexes of ids, a page or
    # two each.
    assert max(amounts.values()) < 10 * PAGE_BYTES, amounts


@pytest.mark.parametrize("layout", [1, 2, 3])
def test_a_file_of_an_older_layout_is_brought_up_to_date(
    path: Path, layout: int
) -> None:
    """Nothing is rewritten at once; a long payload leaves its row when it fails."""
    payloads = {b"small": b"small", b"long": b"l" * 5_000, b"huge": b"h" * 300_000}
    _make_old(path, layout, payloads)
    size = path.stat().st_size
    for _ in range(2):  # the second time it is up to date
        opened = open_at(path)
        opened.close()
        assert path.stat().st_size < size + 10 * PAGE_BYTES
        assert rows(path, "PRAGMA user_version") == [(5,)]
        assert rows(path, "PRAGMA quick_check") == [("ok",)]
    opened = open_at(path)
    amounts = []
    for attempt in (1, 2, 3):
        for _ in range(2 * len(payloads)):
            delivery = opened.take()
            table, name = delivery.call.id.encode().split(b"-")
            assert delivery.call.payload == payloads[name]
            assert delivery.call.attempts == attempt - 1 + (table == b"waiting")
            failed = delivery.call.next_attempt("n" * attempt)
            amounts.append(written(lambda: delivery.retry(failed, 0.3)))  # noqa: B023
    assert max(amounts[2 * len(payloads) :]) < 6 * PAGE_BYTES
    for _ in range(2 * len(payloads)):
        opened.take().ack()
    opened.close()
    assert rows(path, "SELECT count(*) FROM bodies") == [(0,)]


def test_calls_of_an_older_layout_find_their_lanes(path: Path) -> None:
    """Whatever their size: one that is large is read for it, and not kept."""
    payloads = {b"small": b"http://small", b"huge": b"http://huge" + b" " * 300_000}
    _make_old(path, 3, payloads)
    lanes = Lanes(size=100)
    for name in payloads:
        lanes.pause(f"http://{name.decode()}")
    queue = SqliteQueue(
        SqliteConfig(path), lanes, lambda call: call.payload.decode().strip()
    )
    opened = Opened(queue)
    opened.expect_nothing()
    for name, payload in payloads.items():
        lanes.resume(f"http://{name.decode()}")
        for _ in ("calls", "waiting"):
            delivery = opened.take()
            assert delivery.call.payload == payload
            delivery.ack()
    opened.expect_nothing()
    opened.close()


def test_an_upgrade_that_is_cut_short_is_made_again(path: Path) -> None:
    """All of it is one transaction: before its commit the file is what it was."""
    _make_old(path, 2, {b"huge": b"h" * 300_000})
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        db.execute("CREATE TABLE bodies (body INTEGER PRIMARY KEY AUTOINCREMENT)")
        db.execute("PRAGMA user_version=3")
        # ... and here the process dies.
    assert rows(path, "PRAGMA user_version") == [(2,)]
    opened = open_at(path)
    assert opened.take().call.payload == b"h" * 300_000
    opened.close()


@pytest.mark.parametrize(
    "payload",
    [
        reference(1),
        reference(2),
        reference(999),
        reference(1) + b" or so",
        b"mspc:bodies/",
        b"mspc:bodies/" + b"9" * 40,
        b"mspc:bodies/x" * 5_000,
    ],
)
def test_a_payload_that_looks_like_a_reference_is_none(
    path: Path, payload: bytes
) -> None:
    opened = open_at(path)
    others = [b"first" * 1_000, b"second" * 2_000]
    for content in (*others, payload):
        opened.queue.put(Call(content))
    for _ in range(2):
        taken = [opened.take() for _ in range(3)]
        assert sorted(one.call.payload for one in taken) == sorted([*others, payload])
        for one in taken:
            one.retry(one.call.next_attempt("no"), 0.001)
    opened.close()
    opened = open_at(path)
    for _ in range(3):
        delivery = opened.take()
        assert delivery.call.payload in (*others, payload)
        delivery.ack()
    opened.close()


def test_what_operators_do_by_hand_works_for_long_payloads_too(path: Path) -> None:
    opened = open_at(path)
    calls = [Call(b"%d" % size * size) for size in (1, 4_000, 20_000, 400_000)]
    for call in calls:
        opened.queue.put(call)
        delivery = opened.take()
        delivery.bury(delivery.call, "no")
    opened.close()
    with closing(sqlite3.connect(path)) as db:
        db.executescript(SQLITE_REPLAY)
    opened = open_at(path)
    again = [opened.take() for _ in calls]
    assert {a.call.id: a.call.payload for a in again} == {
        call.id: call.payload for call in calls
    }
    for delivery in again:
        delivery.bury(delivery.call, "again")
    opened.close()
    rows(path, "DELETE FROM dead")
    opened = open_at(path)
    opened.queue.put(Call(b"s" * 4_000))  # one that is not to be thrown away
    bodies = "SELECT count(*) FROM bodies"
    store = opened.queue._store  # type: ignore[attr-defined]
    eventually(lambda: store.run(lambda db: db.execute(bodies).fetchone()) == (1,))
    assert opened.take().call.payload == b"s" * 4_000
    opened.close()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE bodies SET payload = CAST('altered' AS BLOB) WHERE body = 2",
        "DELETE FROM bodies WHERE body = 2",
        "UPDATE calls SET payload = CAST('mspc:bodies/3' AS BLOB) WHERE id = 'second'",
        "UPDATE calls SET payload = CAST('mspc:bodies/9' AS BLOB) WHERE id = 'second'",
        "UPDATE calls SET payload = CAST('altered' AS BLOB) WHERE id = 'second'",
    ],
)
@pytest.mark.parametrize("size", [4_000, 200_000])
def test_a_call_whose_body_is_damaged_is_set_aside(
    path: Path, damage: str, size: int
) -> None:
    opened = open_at(path)
    for name in ("first", "second", "third"):
        opened.queue.put(Call(name[0].encode() * size, id=name))
    opened.close()
    rows(path, damage)
    for damaged in (1, 0):
        opened = open_at(path)
        lent = [opened.take() for _ in range(2 + damaged)]
        for one in lent:
            if one.damage:
                one.bury(one.call, one.damage)
        intact = [one.call for one in lent if not one.damage]
        assert {call.id: call.payload for call in intact} == {
            "first": b"f" * size,
            "third": b"t" * size,
        }
        opened.expect_nothing()
        opened.close()
    ((reason, call_id),) = rows(path, "SELECT reason, id FROM dead")
    assert reason == "damaged in the file: its checksum does not fit"
    assert call_id == "second"


def _make_old(path: Path, layout: int, payloads: dict[bytes, bytes]) -> None:
    """A file as an older version wrote it: each payload in `calls` and `waiting`."""
    opened = open_at(path)
    opened.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        if layout < 3:
            db.execute("DROP TABLE bodies")
        for name, payload in payloads.items():
            call = ("calls-" + name.decode(), 5.0, 0, "", payload)
            fields = "id, accepted_at, attempts, last_error, payload"
            db.execute(f"INSERT INTO calls ({fields}) VALUES (?, ?, ?, ?, ?)", call)
            call = ("waiting-" + name.decode(), 5.0, 1, "no", payload)
            db.execute(
                f"INSERT INTO waiting (due, delay, {fields})"
                " VALUES (1, 1, ?, ?, ?, ?, ?)",
                call,
            )
        for table in ("calls", "waiting", "dead"):
            db.execute(f"ALTER TABLE {table} DROP COLUMN lane")
            if layout == 1:
                db.execute(f"ALTER TABLE {table} DROP COLUMN crc")
        db.execute(f"PRAGMA user_version={layout}")


def rows(path: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        return db.execute(statement).fetchall()
