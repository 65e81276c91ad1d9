"""Files that are not opened are looked at, and left as they are."""

from pathlib import Path

import pytest

from mspc.calls.call import Call
from mspc.queues.left import tell_of_what_is_left
from mspc.queues.sqlite.queue import SqliteQueue
from mspc.settings.config import AmqpConfig, QueueConfig, SqliteConfig
from tests.support.opened import Opened
from tests.support.waiting import eventually

BROKER = AmqpConfig((("127.0.0.1", 1),))


def look(config: QueueConfig, folder: Path, log: pytest.LogCaptureFixture) -> str:
    """What is said of a file with calls, which is looked at last."""
    tell_of_what_is_left(config, folder)
    eventually(lambda: "nobody makes" in log.text)
    return log.text


def filled(path: Path, calls: int = 1) -> None:
    opened = Opened(SqliteQueue(SqliteConfig(path)))
    for _ in range(calls):
        opened.queue.put(Call(b"call"))
    opened.close()


def test_nothing_is_made_and_nothing_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "queue.db").touch()  # killed as it was made
    filled(tmp_path / "spool.db")
    told = look(BROKER, tmp_path, caplog)
    assert "spool.db has 1 calls" in told
    assert "queue.db" not in told
    assert {one.name for one in tmp_path.iterdir()} == {"queue.db", "spool.db"}
    assert (tmp_path / "queue.db").stat().st_size == 0


def test_what_is_in_use_is_made_by_somebody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    opened = Opened(SqliteQueue(SqliteConfig(tmp_path / "queue.db")))
    opened.queue.put(Call(b"call"))
    told = look(BROKER, tmp_path, caplog)
    assert "is not known" in told
    assert "is in use by another mspc" in told
    assert opened.take().call.payload == b"call"
    opened.close()


def test_what_is_no_queue_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "spool.db").write_bytes(b"no database" * 1000)
    told = look(SqliteConfig(tmp_path / "queue.db"), tmp_path, caplog)
    assert "spool.db is damaged" in told
    assert (tmp_path / "spool.db").read_bytes() == b"no database" * 1000


def test_a_spool_that_is_on_is_in_use(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    filled(tmp_path / "spool.db")
    filled(tmp_path / "queue.db", 2)
    config = AmqpConfig((("127.0.0.1", 1),), spool=tmp_path / "spool.db")
    told = look(config, tmp_path, caplog)
    assert "queue.db has 2 calls" in told
    assert "spool.db" not in told
