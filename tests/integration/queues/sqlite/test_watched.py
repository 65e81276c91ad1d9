"""What the embedded queue tells of its file: how long commits take, what failed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from gevent.pool import Pool

from mspc.calls.call import Call
from mspc.errors import QueueUnavailable
from mspc.queues.sqlite.commits import Store
from mspc.queues.sqlite.queue import SqliteQueue
from mspc.settings.config import SqliteConfig
from tests.support.opened import Opened
from tests.support.store_watch import Told


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
