"""The log's file: how it rotates, who may read it, what it does with odd places."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from gevent.monkey import get_original

from mspc.process.logfile import LOOK_AGAIN_SECONDS, LogFile
from tests.support.clock import Clock

close = get_original("os", "close")  # at once


@pytest.fixture
def clock() -> Clock:
    return Clock(100.0)


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "mspc.log"


@pytest.fixture
def file(path: Path, told: list[str], clock: Clock) -> Iterator[LogFile]:
    file = LogFile(str(path), 10, 2, told.append, clock)
    yield file
    file.close()


def content(path: Path) -> dict[str, str]:
    return {one.name: one.read_text() for one in sorted(path.parent.iterdir())}


def test_it_rotates_by_itself(path: Path, file: LogFile) -> None:
    for number in range(8):
        file.write(b"line%d\n" % number)
    assert content(path) == {
        "mspc.log": "line7\n",
        "mspc.log.1": "line6\n",
        "mspc.log.2": "line5\n",
    }


def test_what_was_there_at_the_start_counts(path: Path, file: LogFile) -> None:
    path.parent.mkdir()
    path.write_text("earlier\n")
    file.write(b"later\n")
    assert content(path) == {"mspc.log": "later\n", "mspc.log.1": "earlier\n"}


def test_a_line_longer_than_the_file_is_whole(path: Path, file: LogFile) -> None:
    file.write(b"a line of twenty chars\n")
    assert content(path) == {"mspc.log": "a line of twenty chars\n"}


def test_zero_bytes_never_rotate(path: Path, told: list[str]) -> None:
    file = LogFile(str(path), 0, 2, told.append)
    for _ in range(100):
        file.write(b"0123456789")
    file.close()
    assert content(path) == {"mspc.log": "0123456789" * 100}


def test_none_is_kept(path: Path, told: list[str]) -> None:
    file = LogFile(str(path), 10, 0, told.append)
    for number in range(3):
        file.write(b"line%d\n" % number)
    file.close()
    assert content(path) == {"mspc.log": "line2\n"}


def test_moved_from_outside_is_followed_by_a_new_one(
    path: Path, file: LogFile, clock: Clock
) -> None:
    file.write(b"one\n")
    path.rename(path.with_name("moved"))
    file.write(b"two\n")
    clock.now += LOOK_AGAIN_SECONDS
    file.write(b"three\n")
    assert content(path) == {"mspc.log": "three\n", "moved": "one\ntwo\n"}


def test_cut_from_outside_counts_anew(path: Path, file: LogFile, clock: Clock) -> None:
    """As logrotate's copytruncate does it."""
    file.write(b"123456789\n")
    os.truncate(path, 0)
    clock.now += LOOK_AGAIN_SECONDS
    file.write(b"next\n")
    assert content(path) == {"mspc.log": "next\n"}


def test_a_link_stays_where_it_is(path: Path, file: LogFile, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.log"
    path.parent.mkdir()
    path.symlink_to(elsewhere)
    for number in range(2):
        file.write(b"line%d\n" % number)
    assert path.is_symlink()
    assert elsewhere.read_text() == "line1\n"
    assert elsewhere.with_name("elsewhere.log.1").read_text() == "line0\n"


def test_a_rotation_that_fails_is_told_once_and_tried_again(
    path: Path, file: LogFile, told: list[str], clock: Clock
) -> None:
    (path.parent / "mspc.log.1").mkdir(parents=True)
    (path.parent / "mspc.log.2").mkdir()
    (path.parent / "mspc.log.2" / "full").touch()
    for number in range(3):
        file.write(b"line%d\n" % number)
        clock.now += LOOK_AGAIN_SECONDS
    assert path.read_text() == "line0\nline1\nline2\n"
    (one,) = told
    assert one.startswith(f"LOG_FILE: {path} cannot be rotated: ")
    (path.parent / "mspc.log.1").rmdir()
    file.write(b"line3\n")
    assert path.read_text() == "line3\n"


def test_a_directory_that_cannot_be_made_yet(path: Path, file: LogFile) -> None:
    path.parent.write_text("a disk that is not there yet")
    with pytest.raises(OSError, match="exists"):
        file.write(b"1\n")
    path.parent.unlink()
    file.write(b"2\n")
    assert content(path) == {"mspc.log": "2\n"}


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_not_everybody_may_read_it(path: Path, file: LogFile, umask: int) -> None:
    """It has full URLs; neither the file, nor what it becomes, nor the next."""
    before = os.umask(umask)
    try:
        for number in range(3):
            file.write(b"line%d\n" % number)
    finally:
        os.umask(before)
    for one in path.parent.iterdir():
        assert stat.S_IMODE(one.stat().st_mode) == 0o640 & ~umask
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750 & ~umask


def test_the_mode_that_somebody_gave_it_stays(path: Path, file: LogFile) -> None:
    path.parent.mkdir()
    path.touch()
    path.chmod(0o604)
    file.write(b"line\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


class TestFifo:
    @pytest.fixture
    def path(self, path: Path) -> Path:
        path.parent.mkdir()
        os.mkfifo(path)
        return path

    def test_without_a_reader_it_fails_at_once(self, path: Path, file: LogFile) -> None:
        for _ in range(2):
            with pytest.raises(OSError, match="No such device or address"):
                file.write(b"lost\n")

    def test_it_is_written_when_somebody_reads_and_never_rotated(
        self, path: Path, file: LogFile
    ) -> None:
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            for number in range(4):
                file.write(b"line%d\n" % number)
            assert os.read(reader, 100) == b"line0\nline1\nline2\nline3\n"
        finally:
            close(reader)
        with pytest.raises(BrokenPipeError):
            file.write(b"lost\n")
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            file.write(b"heard\n")
            assert os.read(reader, 100) == b"heard\n"
        finally:
            close(reader)
        assert path.is_fifo()
