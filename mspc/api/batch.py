"""POST /v1/calls:batch: up to 500 calls, stored together, answered one by one."""

from collections.abc import Callable

import falcon
from gevent.pool import Pool

from mspc.api.answers import answer
from mspc.api.problems import problem_of
from mspc.api.reading import read_body
from mspc.calls.batch import MOST_CALLS, split
from mspc.errors import BadRequest, QueueError


class BatchResource:
    """POST /v1/calls:batch: stores calls, then answers."""

    protected = True

    def __init__(self, take: Callable[[bytes], str], max_bytes: int) -> None:
        """`take` stores one call and returns its id, as Acceptance.take does."""
        self._take = take
        self._max_bytes = max_bytes

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        calls = split(read_body(req, self._max_bytes))
        # Side by side: a queue commits together what comes together.
        taken = Pool(MOST_CALLS).map(self._item, calls)
        stored = sum("id" in item for item in taken)
        if stored == len(taken):
            answer(resp, falcon.HTTP_202, "Accepted", calls=taken)
            return
        told = f"{stored} of {len(taken)} calls were accepted."
        answer(resp, falcon.HTTP_202, told, error=True, calls=taken)

    def on_options(self, req: falcon.Request, resp: falcon.Response) -> None:
        raise falcon.HTTPMethodNotAllowed(["POST"])

    def _item(self, payload: bytes) -> dict[str, object]:
        try:
            return {"id": self._take(payload)}
        except (BadRequest, QueueError) as exc:
            problem = problem_of(exc)
            return {"message": problem.message, "errors": [], **problem.more}
