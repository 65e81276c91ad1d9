"""The buffer: never in the way, bounded, and honest about what it left out."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from gevent.monkey import get_original

from mspc.process import writer as module
from mspc.process.writer import Writer

allocate_lock = get_original("_thread", "allocate_lock")


class Sink:
    """Takes what it gets; blocks, or fails, when told to."""

    def __init__(self) -> None:
        self.text = ""
        self.writes = 0
        self.failure: OSError | None = None
        self.entered = allocate_lock()
        self.entered.acquire()
        self.closed = allocate_lock()
        self.closed.acquire()
        self._door = allocate_lock()

    def write(self, data: bytes) -> None:
        if self.entered.locked():
            self.entered.release()
        with self._door:
            if self.failure is not None:
                raise self.failure
            self.text += data.decode()
            self.writes += 1

    def close(self) -> None:
        self.closed.release()

    @contextmanager
    def blocked(self) -> Iterator[None]:
        with self._door:
            yield


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def writer(sink: Sink, told: list[str]) -> Iterator[Writer]:
    writer = Writer("the sink", sink, told.append, room=100)
    yield writer
    writer.close()


def test_lines_are_written_in_order(sink: Sink, writer: Writer) -> None:
    for number in range(20):
        writer.put(f"{number}\n")
    assert writer.flush()
    assert sink.text == "".join(f"{number}\n" for number in range(20))


def test_a_sink_that_blocks_holds_up_nobody(
    sink: Sink, writer: Writer, told: list[str]
) -> None:
    with sink.blocked():
        writer.put("first\n")
        assert sink.entered.acquire(timeout=10)
        for _ in range(1000):
            writer.put(f"{'x' * 9}\n")
        assert not writer.flush()  # returns all the same
        assert told == ["the sink takes no more: lines are left out there"]
    assert writer.flush()
    writer.put("last\n")
    assert writer.flush()
    lines = sink.text.splitlines()
    kept = lines.count("x" * 9)
    assert kept == 10
    assert lines[0] == "first"
    assert re.search(rf" WARNING {1000 - kept} lines left out here", lines[-2])
    assert lines[-1] == "last"


def test_the_end_tells_what_was_left_out(sink: Sink, writer: Writer) -> None:
    with sink.blocked():
        for _ in range(30):
            writer.put(f"{'x' * 9}\n")
    assert writer.flush()
    assert " lines left out here" in sink.text.splitlines()[-1]


def test_what_is_left_out_is_one_gap(sink: Sink, writer: Writer) -> None:
    """Full, it takes nothing until half of it was written."""
    with sink.blocked():
        writer.put("0\n")
        assert sink.entered.acquire(timeout=10)
        writer.put("x" * 98)
        writer.put("long\n")
        writer.put("\n")  # for which there would be room
        assert writer._left_out == 2


def test_a_sink_that_fails_is_told_once_and_counts(
    sink: Sink, writer: Writer, told: list[str]
) -> None:
    sink.failure = OSError(28, "No space left on device")
    for _ in range(3):
        writer.put("lost\n")
        assert writer.flush()
    sink.failure = None
    writer.put("kept\n")
    assert writer.flush()
    assert told == ["the sink cannot be written: [Errno 28] No space left on device"]
    first, second = sink.text.splitlines()
    assert first.endswith(" WARNING 3 lines left out here: writing failed")
    assert second == "kept"


def test_many_lines_share_a_write(sink: Sink, told: list[str]) -> None:
    writer = Writer("the sink", sink, told.append)
    with sink.blocked():
        for number in range(1000):
            writer.put(f"{number}\n")
    assert writer.flush()
    writer.close()
    assert sink.writes <= 3


def test_a_line_larger_than_a_batch_is_whole(sink: Sink, told: list[str]) -> None:
    writer = Writer("the sink", sink, told.append)
    line = "x" * (2 * module.BATCH) + "\n"
    writer.put(line)
    writer.put("next\n")
    assert writer.flush()
    writer.close()
    assert sink.text == f"{line}next\n"


def test_closing_writes_the_rest_and_closes_the_sink(
    sink: Sink, writer: Writer
) -> None:
    writer.put("last\n")
    writer.close()
    assert sink.closed.acquire(timeout=10)
    assert sink.text == "last\n"


def test_without_a_line_there_is_no_thread(writer: Writer) -> None:
    assert writer.flush()
    assert not writer._started
