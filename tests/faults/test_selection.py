"""A short run of the fault matrix: `python -m tests.faults` is the long one."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.harness import QUORUM, QUORUM4, SQLITE, Run
from tests.faults.ledger import ok, status
from tests.faults.nodes import RABBITMQ4, Nodes
from tests.faults.rows import Row
from tests.faults.run import run_row, select
from tests.faults.table import Result, write

SEED = 1


@pytest.fixture
def nodes(
    queue: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Nodes]:
    broker = request.getfixturevalue("rabbitmq") if queue != SQLITE else None
    nodes = Nodes(tmp_path, broker)
    yield nodes
    nodes.stop()


@pytest.mark.parametrize("queue", [SQLITE, QUORUM])
@pytest.mark.parametrize("number", [2, 4])
def test_nothing_is_lost(number: int, queue: str, nodes: Nodes) -> None:
    for row, kind in select([number], [queue]):
        result = run_row(row, kind, nodes, SEED, quick=True)
        assert result.problems == []
        assert result.accepted > 0


def test_every_row_can_be_told_from_the_others() -> None:
    rows = [row for row, _ in select([], [SQLITE, QUORUM])]
    assert len({(row.number, row.name) for row in rows}) == len({*rows})


def test_a_later_run_replaces_its_rows_in_the_table(tmp_path: Path) -> None:
    table = tmp_path / "docs" / "faults.md"
    lost = Result(2, "crash", "a | b", SQLITE, "failed", 1, lost=1, problems=["1 lost"])
    fine = Result(4, "end", "end", SQLITE, "passed", 1, accepted=7, recovered=0.25)
    none = Result(6, "kill", "kill", QUORUM, "not injected", 1, problems=["no node"])

    assert write(table, "first", [none, lost, fine], {"mspc": "1"}) == 3
    first = table.read_text()
    again = Result(2, "crash", "a", SQLITE, "passed", 2)
    assert write(table, "second", [again], {}) == 3
    second = table.read_text()

    assert "**failed**: 1 lost" in first
    assert "a \\| b" in first
    assert "**failed**" not in second
    assert "| 4 | end | sqlite | 0 | 7 | 0 | 0 | 0 | 0 (0) | 0.2 s |" in second
    assert "not injected: no node" in second
    assert "first  # seed 1\n    second  # seed 2" in second


def test_a_loss_and_a_crash_of_its_own_are_noticed(tmp_path: Path) -> None:
    def loses_calls(run: Run) -> None:
        run.ledger.behave(status(500))
        service = run.service()
        run.load(rate=100, count=10).join()
        os.kill(service.pid, signal.SIGKILL)
        service.wait()
        run.injected()
        shutil.rmtree(service.data_dir)
        run.ledger.behave(ok)
        service.restart()
        run.drain(timeout=1)

    row = Row(0, "sabotage", loses_calls, (SQLITE,), False, 0, 15, 60)
    result = run_row(row, SQLITE, Nodes(tmp_path), SEED, quick=True)

    assert result.lost == 10
    assert len(result.problems) == 2
    assert result.problems[0] == "mspc ended by itself, exit code -9"
    assert result.problems[1].startswith("10 lost: load0-1, ")


def test_what_cannot_be_injected_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(RABBITMQ4, raising=False)

    def needs_a_broker(run: Run) -> None:
        run.service()

    row = Row(0, "none", needs_a_broker, (QUORUM4,), False, 0, 15, 60)

    result = run_row(row, QUORUM4, Nodes(tmp_path), SEED, quick=True)

    assert result.outcome == "not injected"
    assert result.problems == ["no RabbitMQ 4"]
