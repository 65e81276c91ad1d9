"""A file that has failed: nothing more goes into it."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest
from gevent.event import AsyncResult

from mspc.errors import MspcError, QueueFailed, QueueUnavailable
from mspc.process.patience import Patience
from mspc.queues.sqlite import jobs
from mspc.queues.sqlite.commits import Store
from tests.support.waiting import eventually

TABLE = "CREATE TABLE rows (value)"
INSERT = "INSERT INTO rows VALUES (1)"


class Stage:
    """A store whose thread is held up until a test lets it go on, and then fails."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failure: AsyncResult[MspcError] = AsyncResult()
        self.store = Store(path)
        self.store.open(self.failure.set)
        self.store.run(lambda db: db.execute(TABLE))
        self.begun = self.go_on = False

    def hang(self, db: sqlite3.Connection) -> None:
        self.begun = True
        while not self.go_on:  # in the store's thread, which waits for nothing else
            time.sleep(0.001)

    def fail(self, db: sqlite3.Connection) -> None:
        self.hang(db)
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    def rows(self) -> int:
        db = sqlite3.connect(self.path)
        (count,) = db.execute("SELECT count(*) FROM rows").fetchone()
        db.close()
        return int(count)


@pytest.mark.parametrize("run", [Store.run, Store.run_alone])
def test_what_has_gathered_meanwhile_is_refused(
    tmp_path: Path, run: Callable[..., object]
) -> None:
    stage = Stage(tmp_path / "some.db")
    failing = gevent.spawn(stage.store.run, stage.fail)
    eventually(lambda: stage.begun)
    later = gevent.spawn(run, stage.store, lambda db: db.execute(INSERT))
    gevent.sleep(0)  # it waits for the thread now
    stage.go_on = True
    for one in (failing, later):
        with pytest.raises(QueueFailed, match="disk I/O error"):
            one.get(timeout=10)
    assert isinstance(stage.failure.get(timeout=10), QueueFailed)
    stage.store.close()
    assert stage.rows() == 0


def test_who_puts_a_call_does_not_wait_for_ever_for_a_disk_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And who comes next not at all, until something is committed again."""
    monkeypatch.setattr(jobs, "PATIENCE_SECONDS", 0.05)
    stage = Stage(tmp_path / "some.db")

    def put(statements: Callable[[sqlite3.Connection], object]) -> None:
        stage.store.run(statements, grows=1)

    hanging = gevent.spawn(put, stage.hang)
    eventually(lambda: stage.begun)
    settling = gevent.spawn(stage.store.run, lambda db: db.execute(INSERT))
    with pytest.raises(QueueUnavailable, match="nobody knows what was stored"):
        hanging.get(timeout=10)
    stage.store._jobs._stuck = False  # as if it came a moment earlier
    with pytest.raises(QueueUnavailable, match="the call is not stored"):
        put(lambda db: db.execute(INSERT))
    with pytest.raises(QueueUnavailable, match="takes nothing at the moment"):
        put(lambda db: db.execute(INSERT))
    assert not settling.ready()
    stage.go_on = True
    settling.get(timeout=10)
    monkeypatch.undo()  # a disk that works may take a while, too
    stage.store._jobs._patience = Patience(jobs.PATIENCE_SECONDS)
    put(lambda db: db.execute(INSERT))
    stage.store.close()
    assert stage.rows() == 2
