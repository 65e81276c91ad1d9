"""The values that travel: what is stored, what is sent, what came of it.

Each call makes some of them, so they are made at the speed of C: a frozen dataclass
takes ten times as long. Texts and numbers have no cycles for the collector to look for.
"""

import os
import time
from collections.abc import Iterator

from msgspec import Struct, field
from msgspec.structs import replace

from mspc.calls.policy import USUAL, Policy
from mspc.calls.words import BAD_STATUS

LAST_ERROR_CHARACTERS = 500
# Of an answer, for people: what a service gives as its reason stands at its beginning.
LONGEST_ANSWER_BYTES = 1024
DEFAULT_PORTS = {"http": 80, "https": 443}

# What a service answers that is too busy, and what is answered in its place.
NO_SIGN_OF_LIFE = frozenset({429, 502, 503, 504})

Origin = tuple[str, str, int]  # scheme, host, port

# Of ids to come, what is left to chance; drawn together, since asking the kernel for
# each took longer than all the rest of an id.
_chances: list[str] = []
_DRAWN_TOGETHER = 100
_CHANCE_DIGITS = 19
_VARIANTS = {f"{digit:x}": "89ab"[digit % 4] for digit in range(16)}


def new_call_id() -> str:
    """32 hex digits in the order of time (RFC 9562's UUIDv7, without hyphens).

    What is sorted by it is written at one end: at 900,000 rows an index on random ids
    cut SQLite's inserts to a tenth.
    """
    if not _chances:
        _chances.extend(_drawn())
    return f"{time.time_ns() // 1_000_000:012x}{_chances.pop()}"


def _drawn() -> Iterator[str]:
    """The rest of so many ids: the version, the variant, and 74 bits."""
    digits = os.urandom(_DRAWN_TOGETHER * _CHANCE_DIGITS // 2).hex()
    for begin in range(0, len(digits), _CHANCE_DIGITS):
        chance = digits[begin : begin + _CHANCE_DIGITS]
        yield f"7{chance[:3]}{_VARIANTS[chance[3]]}{chance[4:]}"


def first_call_id(at: float) -> str:
    """The lowest of the ids that new_call_id() makes at that moment, Unix seconds."""
    return f"{int(at * 1000) << 80:032x}"


class Call(Struct, frozen=True, gc=False, eq=False):
    """A call as the queues store it.

    Attributes:
        payload: the request exactly as the client sent it (JSON text, or anything at
            all when FAST_PUBLISH let it pass unread).
        id: as new_call_id() has it, or what another producer chose; the same on every
            attempt.
        accepted_at: when it was accepted, Unix seconds.
        attempts: how many attempts have failed so far.
        last_error: what the last of them gave.
        lane: whom it goes to, as Request.lane has it; empty when nobody has read it. A
            queue may keep it or not.
        waited: whether its queue has let it wait; if not, its first attempt may have
            been asked for later.
        revived_at: when it was made a call again, a dead letter before, Unix seconds;
            0 for never. A queue that looks calls up need not know.
    """

    payload: bytes
    id: str = field(default_factory=new_call_id)
    accepted_at: float = field(default_factory=time.time)
    attempts: int = 0
    last_error: str = ""
    lane: str = ""
    waited: bool = False
    revived_at: float = 0.0

    def __eq__(self, other: object) -> bool:
        """The same call, as far as every queue keeps it."""
        if not isinstance(other, Call):
            return NotImplemented
        return _stored(self) == _stored(other)

    def __ne__(self, other: object) -> bool:  # Struct has one, which goes by identity
        return not self == other

    def __hash__(self) -> int:
        return hash(_stored(self))

    def next_attempt(self, error: str) -> "Call":
        """The same call after one more failed attempt.

        Half a surrogate pair, which no store takes, is replaced in `error`.
        """
        error = error[:LAST_ERROR_CHARACTERS].encode(errors="replace").decode()
        return replace(self, attempts=self.attempts + 1, last_error=error)


def _stored(call: Call) -> tuple[bytes, str, float, int, str]:
    return call.payload, call.id, call.accepted_at, call.attempts, call.last_error


class Request(Struct, frozen=True, gc=False):
    """What a payload asks for, checked and ready to be sent.

    Attributes:
        scheme: `http` or `https`.
        host: an ASCII host name (IDNA-encoded) or an IP address without brackets.
        port: 1 to 65535, the scheme's own when the URL names none.
        target: path and query, ASCII, as they go into the request line; empty when the
            URL has neither.
        method: upper case.
        headers: name and value pairs in the client's order, hop-by-hop headers dropped.
        body: as it is sent.
        requeue: whether a failed attempt is followed by another one.
        policy: what the call says of when and how often it is made.
    """

    scheme: str
    host: str
    port: int
    target: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    requeue: bool = True
    policy: Policy = USUAL

    @property
    def url(self) -> str:
        """The URL for people to read: no user info, no default port."""
        return f"{self.scheme}://{self.place}{self.target}"

    @property
    def place(self) -> str:
        """Host and port, as in a URL: without the scheme's own port."""
        if self.port == DEFAULT_PORTS[self.scheme]:
            return self._bracketed
        return self.authority

    @property
    def authority(self) -> str:
        """Host and port, always."""
        return f"{self._bracketed}:{self.port}"

    @property
    def origin(self) -> Origin:
        return self.scheme, self.host, self.port

    @property
    def lane(self) -> str:
        """What it has in common with the calls to the same service."""
        return f"{self.scheme}://{self.authority}"

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


class Outcome(Struct, frozen=True, gc=False):
    """What one attempt gave: an answer's status, or why there was none.

    Attributes:
        status: the HTTP status of the answer, None without an answer.
        error: why there is no answer, or a remark on it; empty when all is said.
        seconds: how long the attempt took.
        permanent: no later attempt can do better (the call itself cannot be sent).
        retry_after: seconds for which the service has asked to be left alone.
        word: why it failed, one of calls/words.py; of a success, nothing of interest.
        answer: the beginning of the answer's body when the attempt failed and it is
            text; what of it had come when the attempt ended.
    """

    status: int | None = None
    error: str = ""
    seconds: float = 0.0
    permanent: bool = False
    retry_after: float = 0.0
    word: str = BAD_STATUS
    answer: str = ""

    @property
    def succeeded(self) -> bool:
        """2xx, by the answer's status line alone."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def reachable(self) -> bool | None:
        """Whether the service gave a sign of life; None: it says nothing of it."""
        if self.permanent:
            return None
        return self.status is not None and self.status not in NO_SIGN_OF_LIFE

    def __str__(self) -> str:
        if self.status is None:
            return self.error
        return f"{self.status} ({self.error})" if self.error else str(self.status)
