"""GET /health/live and /health/ready: for balancers, and for people in a hurry."""

from collections.abc import Callable
from dataclasses import dataclass

import falcon

from mspc.api.answers import answer
from mspc.api.codes import NOT_READY


@dataclass(frozen=True, slots=True)
class Condition:
    """How the service is.

    Attributes:
        problem: why it is not ready; None when it is.
        remark: what else one should know.
        in_flight: attempts that run now.
        spans_dropped: how many are lost, since the start; None where nobody collects
            them.
    """

    problem: Callable[[], str | None]
    remark: Callable[[], str | None]
    in_flight: Callable[[], int]
    spans_dropped: Callable[[], int | None]


class HealthResource:
    """GET /health/...: 200, or 503 with the reason."""

    def __init__(
        self,
        good: str,
        problem: Callable[[], str | None] = lambda: None,
        remark: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._good = good
        self._problem = problem
        self._remark = remark

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        problem = self._problem()
        if problem:
            answer(resp, falcon.HTTP_503, problem, error=True, code=NOT_READY)
        else:
            remark = self._remark()
            text = f"{self._good}. {remark}" if remark else self._good
            answer(resp, falcon.HTTP_200, text)

    on_head = on_get

    def on_options(self, req: falcon.Request, resp: falcon.Response) -> None:
        raise falcon.HTTPMethodNotAllowed(["GET", "HEAD"])
