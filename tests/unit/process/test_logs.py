"""The log: one line each, and never in the way."""

import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mspc.process import lines, logfile, logs
from mspc.process.json_lines import JsonLine
from mspc.process.lines import Named, Record
from mspc.settings.config import LogConfig

log = logging.getLogger("mspc.test")

SWITCHES = (
    *("raiseExceptions", "_srcfile"),
    *("logThreads", "logProcesses", "logMultiprocessing"),
)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
LIBRARIES = ("amqpstorm", "pamqp", "urllib3")


@pytest.fixture(autouse=True)
def _logging_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(logfile, "LOOK_AGAIN_SECONDS", 0.0)
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    switches = {name: getattr(logging, name) for name in SWITCHES}
    levels = {name: logging.getLogger(name).level for name in LIBRARIES}
    yield
    logs.close()
    root.handlers = handlers
    root.setLevel(level)
    for name, switch in switches.items():
        setattr(logging, name, switch)
    for name, one in levels.items():
        logging.getLogger(name).setLevel(one)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "mspc.log"


@dataclass(frozen=True, slots=True)
class Captured:
    """What stands on the descriptors when all of it is written."""

    descriptors: pytest.CaptureFixture[str]

    def read(self) -> tuple[str, str]:
        logs.flush()
        captured = self.descriptors.readouterr()
        return captured.out, captured.err

    @property
    def out(self) -> str:
        return self.read()[0]

    @property
    def err(self) -> str:
        return self.read()[1]


@pytest.fixture
def captured(capfd: pytest.CaptureFixture[str]) -> Captured:
    return Captured(capfd)


def say(text: str) -> None:
    """A line, and what comes of it, before anything else happens."""
    log.info("%s", text)
    logs.flush()


class TestLine:
    def test_utc_level_and_text(
        self, captured: Captured, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TZ", "Asia/Kolkata")
        time.tzset()
        logs.set_up(LogConfig())
        record = log.makeRecord(log.name, logging.INFO, "", 0, "%s", ("text",), None)
        record.created, record.msecs = 1_482_938_098.042, 42.0
        log.handle(record)
        monkeypatch.undo()
        time.tzset()
        assert captured.out == "2016-12-28T15:14:58.042Z INFO text\n"

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
        self, captured: Captured, text: str, shown: str
    ) -> None:
        logs.set_up(LogConfig())
        log.info("%s", text)
        assert captured.out.endswith(f" INFO {shown}\n")

    @pytest.mark.parametrize("code", [*range(32), *range(127, 160), 0x2028, 0x2029])
    def test_a_text_is_one_line(self, captured: Captured, code: int) -> None:
        logs.set_up(LogConfig())
        log.info("%s", f"first{chr(code)}second")
        assert len(captured.out.splitlines()) == 1

    def test_half_a_surrogate_pair_loses_no_line(
        self, captured: Captured, path: Path
    ) -> None:
        logs.set_up(LogConfig(file=path))
        say("half \ud83d pair")
        assert "half " in path.read_text()
        assert "half " in captured.out

    def test_what_is_printed_is_left_as_it_is(self, captured: Captured) -> None:
        """Whatever Python calls printable, and what it does not."""
        logs.set_up(LogConfig())
        log.info("a b\xa0\u3000\u200b\U0001f600 %s", "Grüße")
        assert captured.out.endswith("INFO a b\xa0\u3000\u200b\U0001f600 Grüße\n")

    def test_a_mapping_gives_the_names(self, captured: Captured) -> None:
        logs.set_up(LogConfig())
        log.info("%(first)s and %(second)d", {"first": "one", "second": 2})
        assert captured.out.endswith("INFO one and 2\n")

    def test_a_wrong_message_loses_no_other(self, captured: Captured) -> None:
        logs.set_up(LogConfig())
        log.info("%d", "no number")
        log.info("%s", {})
        assert captured.out.endswith("INFO {}\n")

    def test_a_traceback_is_there(self, captured: Captured) -> None:
        logs.set_up(LogConfig())
        try:
            raise RuntimeError("a bug")
        except RuntimeError:
            log.exception("It failed")
        out = captured.out
        assert re.search(r" ERROR It failed\nTraceback (.|\n)*RuntimeError: a bug", out)


class TestJson:
    @pytest.fixture(autouse=True)
    def _json(self) -> None:
        logs.set_up(LogConfig(format="json"))

    def said(self, captured: Captured) -> dict[str, object]:
        (line,) = captured.out.splitlines()
        found: dict[str, object] = json.loads(line)
        assert TIME.fullmatch(str(found.pop("time")))
        return found

    def test_a_line_about_no_call(self, captured: Captured) -> None:
        log.info("%d of %s", 2, "three")
        assert self.said(captured) == {"level": "INFO", "message": "2 of three"}

    def test_what_is_in_a_line_apart(self, captured: Captured) -> None:
        named = Named("made", "%s in %d ms%s", "id", "milliseconds", "labels")
        log.warning(named, "a1", 12.3456, " [one, two]")
        assert self.said(captured) == {
            "level": "WARNING",
            "message": "a1 in 12 ms [one, two]",
            "event": "made",
            "id": "a1",
            "milliseconds": 12.346,
            "labels": ["one", "two"],
        }

    @pytest.mark.parametrize(
        "text", ["a\nb", "\u2028", "half \ud83d pair", '"\\', "žluť"]
    )
    def test_whatever_is_said_is_one_line(self, captured: Captured, text: str) -> None:
        log.info("%s", text)
        assert self.said(captured)["message"] == text

    def test_a_traceback(self, captured: Captured) -> None:
        try:
            raise RuntimeError("a bug")
        except RuntimeError:
            log.exception("It failed")
        assert "RuntimeError: a bug" in str(self.said(captured)["exc_info"])

    def test_what_the_log_says_of_itself(self) -> None:
        told = json.loads(lines.warning("lines left out", JsonLine))
        assert (told["level"], told["message"]) == ("WARNING", "lines left out")


class TestSetUp:
    def test_below_the_level_nothing_is_written(self, captured: Captured) -> None:
        logs.set_up(LogConfig(level="warning"))
        log.info("quiet")
        log.warning("loud")
        assert captured.out.endswith("WARNING loud\n")

    def test_standard_output_and_the_file_say_the_same(
        self, captured: Captured, path: Path
    ) -> None:
        logs.set_up(LogConfig(file=path))
        say("žluť")
        out = captured.out
        assert out.endswith("INFO žluť\n")
        assert path.read_text(encoding="utf-8") == out

    def test_an_existing_file_is_continued(self, path: Path) -> None:
        path.parent.mkdir()
        path.write_text("earlier\n")
        logs.set_up(LogConfig(file=path))
        say("later")
        assert re.fullmatch("earlier\n.* INFO later\n", path.read_text())

    def test_set_up_twice_writes_once(self, captured: Captured) -> None:
        logs.set_up(LogConfig())
        logs.set_up(LogConfig())
        say("once")
        assert captured.out.count("once") == 1

    @pytest.mark.parametrize("name", LIBRARIES)
    def test_libraries_are_not_heard(self, captured: Captured, name: str) -> None:
        logs.set_up(LogConfig(level="debug"))
        logging.getLogger(f"{name}.connection").warning("lost")
        assert captured.out == ""


class TestRotation:
    def test_a_file_that_was_renamed_is_followed_by_a_new_one(self, path: Path) -> None:
        logs.set_up(LogConfig(file=path))
        say("before")
        old = path.rename(path.with_suffix(".1"))
        say("after")
        assert old.read_text().endswith("before\n")
        assert re.fullmatch(".* INFO after\n", path.read_text())

    def test_a_file_that_was_removed_is_made_again(
        self, captured: Captured, path: Path
    ) -> None:
        logs.set_up(LogConfig(file=path))
        say("before")
        path.unlink()
        say("after")
        assert re.fullmatch(".* INFO after\n", path.read_text())
        assert captured.err == ""


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
        self, unblock: Callable[[], None], path: Path, captured: Captured
    ) -> None:
        logs.set_up(LogConfig(file=path))
        say("one")
        say("two")
        assert len(captured.out.splitlines()) == 2

    def test_it_says_so_once(
        self, unblock: Callable[[], None], path: Path, captured: Captured
    ) -> None:
        logs.set_up(LogConfig(file=path))
        for _ in range(3):
            say("unheard")
        (told,) = captured.err.splitlines()
        assert told.startswith(f"LOG_FILE: {path} cannot be written: ")

    def test_it_works_again(
        self, unblock: Callable[[], None], path: Path, captured: Captured
    ) -> None:
        logs.set_up(LogConfig(file=path))
        say("unheard")
        unblock()
        say("heard")
        left_out = ".* WARNING 1 lines left out here: writing failed\n"
        assert re.fullmatch(f"{left_out}.* INFO heard\n", path.read_text())

    def test_a_directory_that_cannot_be_made_is_told_at_start(
        self, path: Path, captured: Captured
    ) -> None:
        self.block_by_a_file_in_the_way(path)
        logs.set_up(LogConfig(file=path))
        say("unheard")
        told = f"LOG_FILE: {path} cannot be written: [Errno 17] File exists"
        assert captured.err == f"{told}: '{path.parent}'\n"

    def test_a_directory_removed_while_running(
        self, path: Path, captured: Captured
    ) -> None:
        logs.set_up(LogConfig(file=path))
        say("before")
        path.unlink()
        path.parent.rmdir()
        for _ in range(3):
            say("unheard")
        assert len(captured.err.splitlines()) == 1
        path.parent.mkdir()
        say("after")
        left_out = ".* WARNING 3 lines left out here: writing failed\n"
        assert re.fullmatch(f"{left_out}.* INFO after\n", path.read_text())

    def test_every_new_failure_is_told_again(
        self, path: Path, captured: Captured
    ) -> None:
        logs.set_up(LogConfig(file=path))
        say("heard")
        for _ in range(2):
            path.unlink(missing_ok=True)
            path.parent.rmdir()
            say("unheard")
            path.parent.mkdir()
            say("heard")
        assert len(captured.err.splitlines()) == 2

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
    def test_a_full_disk_is_told_once(self, captured: Captured) -> None:
        logs.set_up(LogConfig(file=Path("/dev/full")))
        for _ in range(3):
            say("unheard")
        out, err = captured.read()
        assert len(out.splitlines()) == 3
        (told,) = err.splitlines()
        assert told.endswith("[Errno 28] No space left on device")


def test_a_record_has_whatever_one_of_logging_has() -> None:
    """Other handlers, a library's for example, look for all of it."""
    arguments = ("mspc.test", logging.INFO, "path", 1, "%s", ("a",), None)
    ours, usual = Record(*arguments), logging.LogRecord(*arguments)
    assert not {name for name in vars(usual) if not hasattr(ours, name)}
    for name in ("name", "levelno", "levelname", "msg", "args", "exc_info", "exc_text"):
        assert getattr(ours, name) == getattr(usual, name)
    assert abs(ours.created - usual.created) < 10


def test_the_log_that_is_closed_leaves_no_record_behind(captured: Captured) -> None:
    logs.close()
    assert logging.getLogRecordFactory() is logging.LogRecord


def test_standard_error_is_written_by_a_thread_too(captured: Captured) -> None:
    """What Python or a library prints there must not stop anything."""
    print("a bug", file=logs.StandardError())
    logs.say("a sentence")
    assert captured.read() == ("", "a bug\na sentence\n")


def test_closing_writes_what_is_left(captured: Captured, path: Path) -> None:
    logs.set_up(LogConfig(file=path))
    log.info("last")
    logs.close()
    log.info("after the end")
    assert path.read_text().endswith(" INFO last\n")
    assert captured.out == path.read_text()
