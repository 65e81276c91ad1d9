"""Events for the journal, with what does not matter to a test filled in."""

import sqlite3

from mspc.journal.events import Accepted, Attempted, Decided, Kind
from mspc.journal.file import SCHEMA

NOW = 1_800_000_000.0
DESTINATION = "http://a.example:80"


def call_id(number: int, at: float = NOW) -> str:
    """As calls/call.py makes them, with a number for what is chance there."""
    return f"{int(at * 1000):012x}7000{0x8 << 60 | number:016x}"


def accepted(
    number: int = 1, at: float = NOW, destination: str = DESTINATION
) -> Accepted:
    return Accepted(
        *(call_id(number, at), at, "POST", f"{destination}/{number}", destination),
        labels=("blue", "large"),
        headers=(("X-Key", "secret"),),
        body_bytes=4,
        body=b"body",
    )


def succeeded(call: Accepted, number: int = 1, after: float = 1.0) -> Attempted:
    """
    Args:
        call: which.
        number: of the attempt.
        after: seconds after it was accepted.
    """
    return Attempted(call, number, call.at + after, 0.25, 204)


def failed(call: Accepted, number: int = 1, after: float = 1.0) -> Attempted:
    """To be made again; the rest as for succeeded()."""
    return Attempted(
        *(call, number, call.at + after, 0.25, 503, "bad_status", "busy", "later"),
        *("retry", call.at + after + 60),
    )


def died(
    call: Accepted, number: int = 1, after: float = 1.0, status: int | None = 404
) -> Attempted:
    """The rest as for succeeded()."""
    return Attempted(
        *(call, number, call.at + after, 0.25, status, "bad_status", "no", "none"),
        *("dead", None, "permanent"),
    )


def decided(kind: Kind, *targets: str, after: float = 5.0) -> Decided:
    """
    Args:
        kind: what.
        targets: of it.
        after: seconds after NOW.
    """
    at = NOW + after
    number = sum(map(len, targets)) + len(kind)
    return Decided(kind, at, "admin", targets, "why", {}, call_id(number, at))


def in_memory() -> sqlite3.Connection:
    """A journal's file, but for the file."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    for statement in SCHEMA.split(";\n"):
        db.execute(statement)
    return db
