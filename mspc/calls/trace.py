"""The trace that a call belongs to: W3C's `traceparent` and `tracestate`.

https://www.w3.org/TR/trace-context/: what does not have its form is ignored where it
came with a request, since whoever sent the call may not even know of it.
"""

import json
import re
from typing import NamedTuple

from voluptuous import Invalid

from mspc.calls.sentences import kind, shown

MOST_MEMBERS = 32  # of a tracestate: 3.3.1.1
# Of so many members, each of a key and a value of 256 characters (3.3.1.3), and what
# parts them; to look at a megabyte of it would stop everybody for a third of a second.
LONGEST_STATE = MOST_MEMBERS * (256 + len("=") + 256 + len(", "))

# Version, trace, parent, flags. Versions to come may append to that: 3.2.4 and 4.3.
_PARENT = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?P<trace>(?!0{32})[0-9a-f]{32})"
    r"-(?P<span>(?!0{16})[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
    r"(?P<more>-[!-~]{0,200})?"
)
_MEMBER = re.compile(
    r"([a-z0-9][a-z0-9_*/@-]{0,255})=[ -+\--<>-~]{0,255}[!-+\--<>-~]"  # 3.3.1.3
)


class Trace(NamedTuple):
    """What a traceparent belongs to, as it came.

    Attributes:
        parent: the traceparent.
        state: the tracestate; empty for none.
    """

    parent: str
    state: str = ""


def read_trace(parent: str, state: str) -> Trace | None:
    """The trace of a request, told by its two headers; None when it names none.

    A tracestate that is wrong is dropped, and takes nothing with it.
    """
    if not _is_parent(parent):
        return None
    return Trace(parent, state if _is_state(state) else "")


def read_traceparent(value: object) -> str:
    """The property of a call.

    Raises:
        Invalid: it has not the form.
    """
    if type(value) is str and _is_parent(value):
        return value
    raise Invalid(f"must be a W3C traceparent, not {_found(value)}.")


def read_tracestate(value: object) -> str:
    """The property of a call.

    Raises:
        Invalid: it has not the form.
    """
    if type(value) is str and _is_state(value):
        return value
    raise Invalid(f"must be a W3C tracestate, not {_found(value)}.")


def kept_in(payload: bytes, trace: Trace) -> bytes:
    """A payload that says which trace it belongs to, else byte for byte as it was.

    Args:
        payload: a JSON object with a member, but with none that says that already.
        trace: what it is to say.
    """
    start = payload.index(b"{") + 1
    said = f'"traceparent":"{trace.parent}",'
    if trace.state:
        said += f'"tracestate":{json.dumps(trace.state)},'
    return payload[:start] + said.encode() + payload[start:]


def _is_parent(text: str) -> bool:
    found = _PARENT.fullmatch(text)
    return found is not None and (found["more"] is None or found["version"] != "00")


def _is_state(text: str) -> bool:
    """Whether it is a list of members, each key once; empty ones are allowed."""
    if len(text) > LONGEST_STATE:
        return False
    keys = []
    for member in filter(None, (part.strip(" \t") for part in text.split(","))):
        found = _MEMBER.fullmatch(member)
        if found is None:
            return False
        keys.append(found[1])
    return 0 < len(keys) == len(set(keys)) <= MOST_MEMBERS


def _found(value: object) -> str:
    return shown(value) if type(value) is str else kind(value)
