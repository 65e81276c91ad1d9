"""What the embedded queue tells of its file: how long commits take, what failed."""

from collections.abc import Callable
from pathlib import Path

import gevent
import pytest
from gevent.pool import Pool

from mspc.calls.call import Call
from mspc.errors import QueueUnavailable
from mspc.queues.sqlite import loading
from mspc.queues.sqlite import queue as sqlite_queue
from mspc.queues.sqlite.commits import Store
from mspc.queues.sqlite.queue import SqliteQueue
from mspc.settings.config import SqliteConfig
from tests.support.opened import Opened
from tests.support.store_watch import Told
from tests.support.waiting import eventually


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def opened(tmp_path: Path, told: Told) -> Opened:
    return Opened(SqliteQueue(SqliteConfig(tmp_path / "queue.db"), watch=told))


def test_calls_that_share_a_commit_are_one(opened: Opened, told: Told) -> None:
    Pool(100).map(opened.queue.put, [Call(b"call") for _ in range(100)])
    opened.close()
    assert 1 <= len(told.times["commit"]) < 20
    assert all(0 < seconds < 30 for seconds in told.times["commit"])
    assert told.times.keys() == {"commit"}
    assert not told.failures


def test_reading_is_none(tmp_path: Path, told: Told) -> None:
    store = Store(tmp_path / "some.db", told)
    store.open(lambda _: None)
    before = len(told.times.get("commit", []))
    store.run(lambda db: db.execute("SELECT count(*) FROM calls").fetchone())
    assert len(told.times.get("commit", [])) == before
    store.run(lambda db: db.execute("DELETE FROM calls"))  # of nothing
    assert len(told.times.get("commit", [])) == before
    store.close()


def test_a_call_that_is_not_stored(opened: Opened, told: Told) -> None:
    opened.close()
    for delay in (0.0, 1.0):
        with pytest.raises(QueueUnavailable):
            opened.queue.put(Call(b"call"), delay)
    assert told.failures == {"put": 2}


@pytest.mark.parametrize(
    ("settle", "operation"),
    [
        (lambda one: one.ack(), "ack"),
        (lambda one: one.retry(one.call, 1.0), "retry"),
        (lambda one: one.bury(one.call, "reason"), "bury"),
    ],
    ids=["ack", "retry", "bury"],
)
def test_a_call_that_is_not_settled(
    opened: Opened, told: Told, settle: Callable[..., None], operation: str
) -> None:
    opened.queue.put(Call(b"call"))
    delivery = opened.take()
    opened.close()
    with pytest.raises(QueueUnavailable):
        settle(delivery)
    assert told.failures == {operation: 1}


def test_a_disk_that_has_no_room_for_long_is_told_of_once_a_call(
    opened: Opened,
    told: Told,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sqlite_queue, "SETTLE_AGAIN_SECONDS", 0.01)
    opened.queue.put(Call(b"call"))
    delivery = opened.take()
    store = opened.queue._store  # type: ignore[attr-defined]
    full = "BEGIN SELECT RAISE(ABORT, 'no room'); END"
    trigger = f"CREATE TEMP TRIGGER full BEFORE DELETE ON calls {full}"
    store.run(lambda db: db.execute(trigger))
    settling = gevent.spawn(delivery.ack)
    eventually(lambda: told.failures.get("ack", 0) > 3)
    store.run(lambda db: db.execute("DROP TRIGGER full"))
    settling.get(timeout=15)
    opened.close()
    assert caplog.text.count("A call could not be settled, trying again") == 1


def test_a_file_that_cannot_be_read_for_long_is_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "AGAIN_SECONDS", 0.01)
    failures, look = [QueueUnavailable("disk I/O")] * 4, loading.Loading._look

    def fail(self: loading.Loading) -> bool:
        if failures:
            raise failures.pop()
        return look(self)

    monkeypatch.setattr(loading.Loading, "_look", fail)
    opened = Opened(SqliteQueue(SqliteConfig(tmp_path / "queue.db")))
    eventually(lambda: not failures)
    opened.close()
    assert caplog.text.count("No calls can be read: disk I/O") == 1
