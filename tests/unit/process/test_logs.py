"""The log: one line each, and never in the way."""

import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mspc.process import logs
from mspc.settings.config import LogConfig

log = logging.getLogger("mspc.test")

SWITCHES = (
    *("raiseExceptions", "_srcfile"),
    *("logThreads", "logProcesses", "logMultiprocessing"),
)
LIBRARIES = ("amqpstorm", "pamqp", "urllib3")


@pytest.fixture(autouse=True)
def _logging_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(logs, "LOOK_AGAIN_SECONDS", 0.0)
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    switches = {name: getattr(logging, name) for name in SWITCHES}
    levels = {name: logging.getLogger(name).level for name in LIBRARIES}
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers = handlers
    root.setLevel(level)
    for name, switch in switches.items():
        setattr(logging, name, switch)
    for name, one in levels.items():
        logging.getLogger(name).setLevel(one)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "mspc.log"


Captured = pytest.CaptureFixture[str]


class TestLine:
    def test_utc_level_and_text(
        self, capsys: Captured, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TZ", "Asia/Kolkata")
        time.tzset()
        logs.set_up(LogConfig())
        record = log.makeRecord(log.name, logging.INFO, "", 0, "%s", ("text",), None)
        record.created, record.msecs = 1_482_938_098.042, 42.0
        log.handle(record)
        monkeypatch.undo()
        time.tzset()
        assert capsys.readouterr().out == "2016-12-28T15:14:58.042Z INFO text\n"

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("a\nb", r"a\x0ab"),
            ("a\r\nb", r"a\x0d\x0ab"),
            ("\x1b[2J", r"\x1b[2J"),
            ("tab\there", r"tab\x09here"),
            ("\x00\x7f\x85\x9b", r"\x00\x7f\x85\x9b"),
            ("žluť 🐎", "žluť 🐎"),
        ],
    )
    def test_control_characters_are_escaped(
        self, capsys: Captured, text: str, shown: str
    ) -> None:
        logs.set_up(LogConfig())
        log.info("%s", text)
        assert capsys.readouterr().out.endswith(f" INFO {shown}\n")

    @pytest.mark.parametrize("code", [*range(32), *range(127, 160), 0x2028, 0x2029])
    def test_a_text_is_one_line(self, capsys: Captured, code: int) -> None:
        logs.set_up(LogConfig())
        log.info("%s", f"first{chr(code)}second")
        assert len(capsys.readouterr().out.splitlines()) == 1

    def test_half_a_surrogate_pair_loses_no_line(
        self, capsys: Captured, path: Path
    ) -> None:
        logs.set_up(LogConfig(file=path))
        log.info("%s", "half \ud83d pair")
        assert "half " in path.read_text()
        assert "half " in capsys.readouterr().out

    def test_a_traceback_is_there(self, capsys: Captured) -> None:
        logs.set_up(LogConfig())
        try:
            raise RuntimeError("a bug")
        except RuntimeError:
            log.exception("It failed")
        out = capsys.readouterr().out
        assert re.search(r" ERROR It failed\nTraceback (.|\n)*RuntimeError: a bug", out)


class TestSetUp:
    def test_below_the_level_nothing_is_written(self, capsys: Captured) -> None:
        logs.set_up(LogConfig(level="warning"))
        log.info("quiet")
        log.warning("loud")
        assert capsys.readouterr().out.endswith("WARNING loud\n")

    def test_standard_output_and_the_file_say_the_same(
        self, capsys: Captured, path: Path
    ) -> None:
        logs.set_up(LogConfig(file=path))
        log.info("žluť")
        out = capsys.readouterr().out
        assert out.endswith("INFO žluť\n")
        assert path.read_text(encoding="utf-8") == out

    def test_an_existing_file_is_continued(self, path: Path) -> None:
        path.parent.mkdir()
        path.write_text("earlier\n")
        logs.set_up(LogConfig(file=path))
        log.info("later")
        assert re.fullmatch("earlier\n.* INFO later\n", path.read_text())

    def test_set_up_twice_writes_once(self, capsys: Captured) -> None:
        logs.set_up(LogConfig())
        logs.set_up(LogConfig())
        log.info("once")
        assert capsys.readouterr().out.count("once") == 1

    @pytest.mark.parametrize("name", LIBRARIES)
    def test_libraries_are_not_heard(self, capsys: Captured, name: str) -> None:
        logs.set_up(LogConfig(level="debug"))
        logging.getLogger(f"{name}.connection").warning("lost")
        assert capsys.readouterr().out == ""


class TestRotation:
    def test_a_file_that_was_renamed_is_followed_by_a_new_one(self, path: Path) -> None:
        logs.set_up(LogConfig(file=path))
        log.info("before")
        old = path.rename(path.with_suffix(".1"))
        log.info("after")
        assert old.read_text().endswith("before\n")
        assert re.fullmatch(".* INFO after\n", path.read_text())

    def test_a_file_that_was_removed_is_made_again(
        self, capsys: Captured, path: Path
    ) -> None:
        logs.set_up(LogConfig(file=path))
        log.info("before")
        path.unlink()
        log.info("after")
        assert re.fullmatch(".* INFO after\n", path.read_text())
        assert capsys.readouterr().err == ""


class TestFailingFile:
    """It never raises, says so once, and works again when it can."""

    def block_by_a_directory(self, path: Path) -> Callable[[], None]:
        path.mkdir(parents=True)
        return path.rmdir

    def block_by_a_file_in_the_way(self, path: Path) -> Callable[[], None]:
        path.parent.write_text("not a directory")

        def unblock() -> None:
            path.parent.unlink()
            path.parent.mkdir()

        return unblock

    @pytest.fixture(params=["directory", "file in the way"])
    def unblock(self, request: pytest.FixtureRequest, path: Path) -> Callable[[], None]:
        if request.param == "directory":
            return self.block_by_a_directory(path)
        return self.block_by_a_file_in_the_way(path)

    def test_standard_output_goes_on(
        self, unblock: Callable[[], None], path: Path, capsys: Captured
    ) -> None:
        logs.set_up(LogConfig(file=path))
        log.info("one")
        log.info("two")
        assert len(capsys.readouterr().out.splitlines()) == 2

    def test_it_says_so_once(
        self, unblock: Callable[[], None], path: Path, capsys: Captured
    ) -> None:
        logs.set_up(LogConfig(file=path))
        capsys.readouterr()  # a missing directory is told at once
        for _ in range(3):
            log.info("unheard")
        (told,) = capsys.readouterr().err.splitlines()
        assert told.startswith(f"LOG_FILE: {path} cannot be written: ")

    def test_it_works_again(
        self, unblock: Callable[[], None], path: Path, capsys: Captured
    ) -> None:
        logs.set_up(LogConfig(file=path))
        log.info("unheard")
        unblock()
        log.info("heard")
        assert re.fullmatch(".* INFO heard\n", path.read_text())

    def test_a_directory_that_cannot_be_made_is_told_at_start(
        self, path: Path, capsys: Captured
    ) -> None:
        self.block_by_a_file_in_the_way(path)
        logs.set_up(LogConfig(file=path))
        assert capsys.readouterr().err == f"LOG_FILE: {path.parent}: File exists\n"

    def test_a_directory_removed_while_running(
        self, path: Path, capsys: Captured
    ) -> None:
        logs.set_up(LogConfig(file=path))
        log.info("before")
        path.unlink()
        path.parent.rmdir()
        for _ in range(3):
            log.info("unheard")
        assert len(capsys.readouterr().err.splitlines()) == 1
        path.parent.mkdir()
        log.info("after")
        assert re.fullmatch(".* INFO after\n", path.read_text())

    def test_every_new_failure_is_told_again(
        self, path: Path, capsys: Captured
    ) -> None:
        logs.set_up(LogConfig(file=path))
        for _ in range(2):
            path.unlink(missing_ok=True)
            path.parent.rmdir()
            log.info("unheard")
            path.parent.mkdir()
            log.info("heard")
        assert len(capsys.readouterr().err.splitlines()) == 2

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
    def test_a_full_disk_is_told_once(self, capsys: Captured) -> None:
        logs.set_up(LogConfig(file=Path("/dev/full")))
        for _ in range(3):
            log.info("unheard")
        captured = capsys.readouterr()
        assert len(captured.out.splitlines()) == 3
        (told,) = captured.err.splitlines()
        assert told.endswith("[Errno 28] No space left on device")
