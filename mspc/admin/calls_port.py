"""What the OpenAPI document of the calls' port is made of; api/app.py answers there."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NoReturn

from msgspec import Struct

from mspc.admin.calls import MANY, ONE, PAYLOAD
from mspc.admin.routes import JOURNAL, Asked, Reply, Route
from mspc.admin.shapes import Batch, Done
from mspc.api.shown import ShownCall

Described = Callable[..., Route]


def calls_routes() -> Iterator[Route]:
    """Every route of the calls' port: `read` for those that need no key."""
    told = "Takes a call; with FAST_PUBLISH the answer is 200, and it is not read."
    for path in ("/", "/v1/calls"):
        yield _route(
            "POST",
            path,
            told,
            Done,
            payload=PAYLOAD,
            status=202,
            also=(200,),
        )
    yield _route(
        "POST",
        "/v1/calls:batch",
        "Takes up to 500 calls.",
        Batch,
        payload=MANY,
        status=202,
    )
    told = "One call with its attempts, without what was answered."
    yield _route("GET", ONE, told, ShownCall, errors=(404, *JOURNAL))
    told = "Cancels it; also when it was cancelled before."
    yield _route("DELETE", ONE, told, Done, errors=(404, 409, *JOURNAL))
    told = "Whether the process lives."
    yield _route("GET", "/health/live", told, Done, right="read")
    told = "Whether calls can be stored and made; 503 says why not."
    yield _route("GET", "/health/ready", told, Done, right="read", errors=(503,))


def _elsewhere(asked: Asked) -> NoReturn:
    raise NotImplementedError("The calls' port answers this itself.")


def _route(
    method: str, path: str, summary: str, answer: type[Struct], **more: object
) -> Route:
    handle: Callable[[Asked], Reply] = _elsewhere
    make: Described = partial(Route, method, path, summary, answer, handle)
    return make(**more)
