"""`mspc import`: batches, and what is not taken."""

import errno
import io
import json
from pathlib import Path
from typing import Any

import pytest

from mspc.client.failures import Failure, NotReachable, SaidNo, WrongUse
from mspc.client.transfer import Line, batches
from tests.unit.client.fakes import Desk

PAYLOAD = '{"url": "http://a/",  "delay": 1e1}'
NO_TEXTS: tuple[object, ...] = (None, 7, 0.5, True, [], ["a"], {}, {"a": 1})


def line(state: str = "queued", payload: str | None = PAYLOAD) -> dict[str, Any]:
    more = {} if payload is None else {"payload": payload}
    return {"call": {"id": "c", "state": state}, **more}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "export.jsonl"


def written(file: Path, *lines: Any) -> str:
    texts = (one if isinstance(one, str) else json.dumps(one) for one in lines)
    file.write_text("".join(f"{text}\n" for text in texts))
    return str(file)


def taking(*answers: Any) -> Desk:
    at = Desk()
    at.mspc.answer("POST", "/v1/calls:batch", *answers)
    at.mspc.answer("POST", "/v1/calls", {"id": "n"})
    return at


def counted(at: Desk) -> list[int]:
    return [int(row[1]) for row in at.rows]


def test_calls_go_together_as_they_were_sent(file: Path) -> None:
    at = taking({"calls": [{"id": "n"}, {"id": "m"}]})
    assert at.run("import", written(file, line(), line("waiting"))) == 0
    (body,) = at.mspc.bodies("/v1/calls:batch")
    assert body.decode() == f'{{"calls": [{PAYLOAD},{PAYLOAD}]}}'
    assert counted(at) == [2, 0, 0]


def test_one_alone_is_no_batch(file: Path) -> None:
    at = taking()
    assert at.run("import", written(file, line())) == 0
    assert at.mspc.bodies("/v1/calls") == [PAYLOAD.encode()]


def test_what_python_does_not_read_is_a_call(file: Path) -> None:
    at = taking({"calls": [{"id": "n"}, {"id": "m"}]})
    number = '{"url": "http://a/", "headers": {"N": %s}}' % ("9" * 5000)
    marked = line(payload=f"\ufeff{PAYLOAD}")
    assert at.run("import", written(file, marked, line(payload=number))) == 0
    (body,) = at.mspc.bodies("/v1/calls:batch")
    assert body.decode() == f'{{"calls": [{PAYLOAD},{number}]}}'


def test_it_goes_on_after_a_no(file: Path) -> None:
    at = taking({"calls": [{"id": "n"}, {"message": "url is missing."}]})
    assert at.run("import", written(file, line(), line())) == 1
    assert counted(at) == [1, 1, 0]
    assert at.err.getvalue() == "Line 2: url is missing.\n"


def test_dead_letters_stay_unless_they_are_wanted(file: Path) -> None:
    name = written(file, line("dead"), line())
    at = taking()
    assert at.run("import", name) == 0
    assert counted(at) == [1, 0, 1]
    both = taking({"calls": [{"id": "n"}, {"id": "m"}]})
    assert both.run("import", name, "--dead") == 0
    assert counted(both) == [2, 0, 0]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("no JSON", "It is no call of an export."),
        ("[]", "It is no call of an export."),
        ({"url": "http://a/"}, "It is no call of an export."),
        (line(payload="1,2"), "It is no call of an export."),
        (line(payload="[" * 100_000), "It is no call of an export."),
        ({**line(payload=None), "payload_base64": "/w=="}, "It is no call"),
        *(({**line(), "payload": one}, "It is no call") for one in NO_TEXTS),
        *(({**line(), "call": {"state": one}}, "It is no call") for one in NO_TEXTS),
        *(({**line(), "call": one}, "It is no call") for one in (*NO_TEXTS, "text")),
        *((json.dumps(one), "It is no call") for one in (*NO_TEXTS, "text")),
        (line(payload=None), "The export does not have what was sent."),
        ('{"error":true,"message":"x"}', "The export ended early"),
    ],
)
def test_a_line_that_is_none(file: Path, wrong: Any, told: str) -> None:
    at = taking()
    assert at.run("import", written(file, wrong, line())) == 1
    assert f"Line 1: {told}" in at.err.getvalue()
    assert counted(at) == [1, 1, 0]


def test_a_batch_that_is_too_large_goes_one_by_one(file: Path) -> None:
    at = taking(SaidNo("The body is larger than 1000 bytes."))
    assert at.run("import", written(file, line(), line())) == 0
    assert len(at.mspc.bodies("/v1/calls")) == 2
    at.mspc.answer("POST", "/v1/calls", SaidNo("No."), {"id": "n"})
    assert at.run("import", str(file)) == 1
    assert at.err.getvalue() == "Line 1: No.\n"


def test_where_it_ended(file: Path) -> None:
    at = taking({"calls": [{"id": "n"}] * 500}, NotReachable("Away."))
    with pytest.raises(NotReachable):
        at.run("import", written(file, *[line()] * 600))
    assert at.err.getvalue() == "What stands up to line 500 was handed over.\n"


def test_where_it_ended_within_a_batch(file: Path) -> None:
    at = taking(SaidNo("The body is larger than 1000 bytes."))
    at.mspc.answer("POST", "/v1/calls", {"id": "n"}, NotReachable("Away."))
    with pytest.raises(NotReachable):
        at.run("import", written(file, line(), line()))
    assert at.err.getvalue() == "What stands up to line 1 was handed over.\n"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="cannot be read: No such file"):
        Desk().run("import", f"{tmp_path}/none")


def test_a_file_that_cannot_be_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(io.BytesIO):
        def __next__(self) -> bytes:
            if found := self.readline():
                return found
            raise OSError(errno.EIO, "Input/output error")

    text = f"{json.dumps(line())}\n".encode() * 501
    at = taking({"calls": [{"id": "n"}] * 500})
    monkeypatch.setattr("builtins.open", lambda name, mode: Failing(text))
    with pytest.raises(Failure, match=r"^calls\.jsonl cannot be read: Input/output"):
        at.run("import", "calls.jsonl")
    assert at.err.getvalue() == "What stands up to line 500 was handed over.\n"


def test_batches_are_bounded() -> None:
    many = [Line(number, b"x") for number in range(1, 1002)]
    assert list(map(len, batches(many))) == [500, 500, 1]
    large = [Line(number, b"x" * 200_000) for number in range(1, 6)]
    assert list(map(len, batches(large))) == [2, 2, 1]
    assert list(batches([])) == []


def test_an_export_that_is_not_complete() -> None:
    at = Desk()
    whole = [b'{"call":{}}\n', b'{"error":true,"message":"Too bad."}\n']
    at.mspc.lines = lambda path, query: iter(whole)  # type: ignore[attr-defined]
    with pytest.raises(SaidNo, match=r"The export is not complete: Too bad\."):
        at.run("export")
    assert at.out.getvalue() == '{"call":{}}\n'


def test_an_export_of_calls_that_rabbitmq_cannot_look_up() -> None:
    at = Desk()
    lines = [json.dumps(line(payload=None)), json.dumps(line())]
    lines.append(json.dumps(line(payload=json.dumps({"url": "http://a/", "body": {}}))))
    packed = [one.replace(": ", ":").encode() + b"\n" for one in lines]
    at.mspc.lines = lambda path, query: iter(packed)  # type: ignore[attr-defined]
    assert at.run("export") == 0
    assert len(at.out.getvalue().splitlines()) == 3
    assert "1 of these calls are without what was sent" in at.err.getvalue()
