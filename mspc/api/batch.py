"""POST /v1/calls:batch: up to 500 calls, stored together, answered one by one."""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import falcon
from gevent.pool import Pool

from mspc.api.accepting import with_trace
from mspc.api.answers import answer
from mspc.api.problems import problem_of
from mspc.api.reading import read_body
from mspc.calls.batch import MOST_CALLS, split
from mspc.errors import BadRequest, QueueError

log = logging.getLogger(__name__)


class BatchResource:
    """POST /v1/calls:batch: stores calls, then answers."""

    protected = True

    def __init__(self, take: Callable[..., str], max_bytes: int) -> None:
        """`take` stores one call and returns its id, as Acceptance.take does."""
        self._take = take
        self._max_bytes = max_bytes

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        payload = read_body(req, self._max_bytes)
        taken = take_all(with_trace(self._take, req), payload)
        all_stored = taken.stored == len(taken.items)
        answer(resp, falcon.HTTP_202, taken.message, not all_stored, calls=taken.items)

    def on_options(self, req: falcon.Request, resp: falcon.Response) -> None:
        raise falcon.HTTPMethodNotAllowed(["POST"])


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of the calls of a batch, in their order.

    Attributes:
        items: `id`, or `code`, `message` and `errors` of each.
    """

    items: list[dict[str, Any]]

    @property
    def stored(self) -> int:
        """How many were."""
        return sum("id" in item for item in self.items)

    @property
    def message(self) -> str:
        if self.stored == len(self.items):
            return "Accepted"
        return f"{self.stored} of {len(self.items)} calls were accepted."


def take_all(take: Callable[[bytes], str], payload: bytes) -> Taken:
    """Stores the calls of a batch side by side: a queue commits these together.

    Args:
        take: stores one call and returns its id, as Acceptance.take does.
        payload: `{"calls": [...]}`.

    Raises:
        BadRequest: it is no batch; then nothing was stored.
    """
    refused: Counter[str] = Counter()

    def item(call: bytes) -> dict[str, Any]:
        try:
            return {"id": take(call)}
        except (BadRequest, QueueError) as exc:
            if isinstance(exc, QueueError):
                refused[str(exc)] += 1
            problem = problem_of(exc)
            return {"message": problem.message, "errors": [], **problem.more}

    taken = Taken(Pool(MOST_CALLS).map(item, split(payload)))
    for reason, calls in refused.items():  # as a rule all of them have the same one
        told = "%d of %d calls of a batch were refused, they could not be stored: %s"
        log.warning(told, calls, len(taken.items), reason)
    return taken
