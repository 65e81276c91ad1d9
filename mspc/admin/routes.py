"""What a route is: one row has all that is asked, answered, and needed for it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct

from mspc.admin.keys import Right
from mspc.admin.queries import Nothing

# Besides those of its own, what any route may answer.
ALWAYS = (400, 401, 403, 414, 431)
# The body is too large or no object; there is no room for it, or it cannot be stored.
OF_A_BODY = (413, 422, 503)
# The journal is off, or its file is away.
JOURNAL = (501, 503)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, read and checked.

    Attributes:
        path: the parameters of the path, decoded.
        query: as Route.query has it.
        body: as Route.body has it.
        payload: the body as it came, where Route.payload says so.
        who: the name of the key that came with it.
        take: has a payload stored by what it is given, and returns the call's id.
    """

    path: Mapping[str, str]
    query: Any
    body: Any
    payload: bytes
    who: str
    take: Callable[[Callable[[bytes], str]], str]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer.

    Attributes:
        body: a shape; or a text, or lines, one piece after the other.
        status: of HTTP.
    """

    body: Struct | str | Iterator[bytes]
    status: int = 200


@dataclass(frozen=True, slots=True)
class Route:
    """What can be done at a path with a method.

    Attributes:
        method: upper case; GET means HEAD too.
        path: with names in braces.
        summary: a sentence, for OpenAPI.
        answer: the shape of what is answered; a media type when it is no JSON.
        handle: does it.
        right: which key it needs.
        query: its parameters.
        body: its JSON body; None when it takes none.
        payload: the JSON Schema of a body that is not read here; empty: none.
        status: of success.
        also: what else may stand for it, with the same answer.
        errors: statuses that it may answer besides ALWAYS and, when it takes a body,
            OF_A_BODY.
    """

    method: str
    path: str
    summary: str
    answer: type[Struct] | str
    handle: Callable[[Asked], Reply]
    right: Right = "admin"
    query: type[Struct] = Nothing
    body: type[Struct] | None = None
    payload: Mapping[str, object] = field(default_factory=dict)
    status: int = 200
    also: tuple[int, ...] = ()
    errors: tuple[int, ...] = ()
