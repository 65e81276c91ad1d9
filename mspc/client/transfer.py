"""`mspc export` and `mspc import`: the calls that there are, a line of JSON each."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import BinaryIO, NamedTuple

from mspc.calls.words import DEAD, QUEUED, WAITING
from mspc.client.failures import Failure, SaidNo, WrongUse
from mspc.client.grammar import Words
from mspc.client.session import Session

CALLS_IN_A_BATCH = 500
# Half of what mspc takes in one request unless told otherwise (MAX_REQUEST_BYTES).
BYTES_IN_A_BATCH = 512 * 1024
_ENDED = b'{"error":'
_EMPTY = b"}}\n"  # without a payload, which is a text and the last member


class Line(NamedTuple):
    """A call of an export.

    Attributes:
        number: of the line, from 1.
        call: as its client sent it.
    """

    number: int
    call: bytes


def add(words: Words) -> None:
    told = "print the open calls and dead letters that the journal knows"
    giving = words.verb("export", _export, told)
    giving.add_argument(
        "--state",
        action="append",
        default=[],
        choices=(QUEUED, WAITING, DEAD),
        help="may be given several times",
    )
    taking = words.verb("import", _import, "hand over the open calls of an export")
    taking.add_argument("file", metavar="FILE", help="- for standard input")
    told = "the dead letters too: they are made again"
    taking.add_argument("--dead", action="store_true", help=told)


def _export(session: Session) -> int:
    query = {"state": session.options.state}
    session.output.lines(_checked(session, session.mspc.lines("/v1/export", query)))
    return 0


def _checked(session: Session, lines: Iterator[bytes]) -> Iterator[bytes]:
    """The lines of an export; the one that says that it is not all is raised."""
    empty = 0
    for line in lines:
        if line.startswith(_ENDED):
            raise SaidNo(f"The export is not complete: {json.loads(line)['message']}")
        empty += line.endswith(_EMPTY)
        yield line
    if empty:
        session.say(
            f"{empty} of these calls are without what was sent, for which RabbitMQ"
            " cannot be asked: mspc import leaves them out."
        )


def _import(session: Session) -> int:
    with _opened(session) as file:
        return Import(session).run(_read(file, session.options.file))


def _read(file: BinaryIO, name: str) -> Iterator[bytes]:
    """Its lines; a disk that fails says which file it was, and not the output."""
    try:
        yield from file
    except OSError as exc:
        called = "Standard input" if name == "-" else name
        raise Failure(f"{called} cannot be read: {exc.strerror or exc}.") from exc


def _opened(session: Session) -> AbstractContextManager[BinaryIO]:
    name = session.options.file
    if name == "-":
        return nullcontext(session.stdin.buffer)
    try:
        return open(name, "rb")
    except OSError as exc:
        raise WrongUse(f"{name} cannot be read: {exc.strerror}.") from exc


class Import:
    """Hands over the calls of an export, in their order, and goes on after a no."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._accepted = 0
        self._failed = 0
        self._left_out = 0
        self._behind = 0  # the last line that mspc has answered for

    def run(self, file: Iterable[bytes]) -> int:
        """Returns the exit code."""
        try:
            for batch in batches(self._lines(file)):
                self._hand_over(batch)
                self._session.progress(f"{self._accepted} accepted")
        except (Failure, KeyboardInterrupt):
            self._session.progress("")
            self._session.say(f"What stands up to line {self._behind} was handed over.")
            raise
        self._session.progress("")
        self._session.output.item(
            {
                "accepted": self._accepted,
                "failed": self._failed,
                "left_out": self._left_out,
            }
        )
        return 1 if self._failed else 0

    def _lines(self, file: Iterable[bytes]) -> Iterator[Line]:
        """Those that are to be handed over; the others are counted."""
        for number, text in enumerate(file, 1):
            if text.startswith(_ENDED):
                self._refuse(number, "The export ended early: it is not complete.")
                continue
            try:
                state, call = _state_and_payload(text)
            except (ValueError, RecursionError):
                self._refuse(number, "It is no call of an export.")
                continue
            if state == DEAD and not self._session.options.dead:
                self._left_out += 1
            elif call is None:
                self._refuse(number, "The export does not have what was sent.")
            else:
                yield Line(number, call)

    def _hand_over(self, batch: list[Line]) -> None:
        if len(batch) == 1:
            self._alone(batch[0])
            return
        body = b'{"calls": [%s]}' % b",".join(line.call for line in batch)
        try:
            answer = self._session.mspc.send("/v1/calls:batch", body)
        except SaidNo:  # MAX_REQUEST_BYTES is small here
            for line in batch:
                self._alone(line)
            return
        for line, item in zip(batch, answer["calls"], strict=True):
            if "id" in item:
                self._accepted += 1
            else:
                self._refuse(line.number, item["message"])
        self._behind = batch[-1].number

    def _alone(self, line: Line) -> None:
        try:
            self._session.mspc.send("/v1/calls", line.call)
        except SaidNo as exc:
            self._refuse(line.number, str(exc))
        else:
            self._accepted += 1
        self._behind = line.number

    def _refuse(self, number: int, why: str) -> None:
        self._failed += 1
        self._session.say(f"Line {number}: {why}")


def _state_and_payload(text: bytes) -> tuple[str, bytes | None]:
    """What a line says: how the call stood, and what its client sent.

    The payload is None where RabbitMQ could not look it up.

    Raises:
        ValueError: it is no line of an export, whatever is in it.
        RecursionError: the same, of one that is nested very deeply.
    """
    line = json.loads(text)
    call = line.get("call") if isinstance(line, dict) else None
    state = call.get("state") if isinstance(call, dict) else None
    if not isinstance(state, str):
        raise ValueError("no state of a call")
    return state, _payload(line)


def _payload(line: Mapping[str, object]) -> bytes | None:
    """As the client sent it; None where RabbitMQ could not look it up.

    Raises:
        ValueError: it is no JSON.
        RecursionError: it is nested very deeply.
    """
    if "payload_base64" in line:  # it is not UTF-8, so it is no JSON
        raise ValueError("not UTF-8")
    if "payload" not in line:
        return None
    text = line["payload"]
    if not isinstance(text, str):
        raise ValueError("no text")
    # A mark that mspc takes at the beginning is none between commas.
    text = text.removeprefix("\ufeff")
    # Else it could be two calls. Python makes no number of more than 4,300 digits.
    json.loads(text, parse_int=str)
    return text.encode()


def batches(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """As many lines together as one request may have; a long one is alone."""
    batch: list[Line] = []
    size = 0
    for line in lines:
        full = size + len(line.call) > BYTES_IN_A_BATCH
        if batch and (full or len(batch) == CALLS_IN_A_BATCH):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line.call) + 1
    if batch:
        yield batch
