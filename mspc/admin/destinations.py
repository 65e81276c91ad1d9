"""The routes of destinations: how they stand; pause, resume, limits."""

import time
from collections.abc import Callable, Iterator

from mspc.admin.queries import (
    LimitsBody,
    PauseBody,
    ReasonBody,
    ReasonQuery,
)
from mspc.admin.reading import lane_named
from mspc.admin.routes import JOURNAL, Asked, Reply, Route
from mspc.admin.shapes import (
    DestinationList,
    Done,
    ShownDestination,
    shown_destination,
)
from mspc.admin.spans import LONGEST_PERIOD_SECONDS
from mspc.api.errors import Missing
from mspc.api.shown import Showing, rfc3339
from mspc.calls.destination import read_destination
from mspc.calls.sentences import shown
from mspc.errors import InvalidProperties, NotPossible
from mspc.journal.base import Tally, View
from mspc.process.greenlets import giving_way
from mspc.steering.base import Steering

_NOBODY = Tally()
_AT_ONCE = 100  # ten thousand take most of a second


class DestinationRoutes:
    """Handles the routes below /v1/destinations."""

    def __init__(
        self,
        view: View,
        steering: Steering,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._view = view
        self._steering = steering
        self._clock = clock

    def routes(self) -> Iterator[Route]:
        every = "/v1/destinations"
        one = f"{every}/{{key}}"
        yield Route(
            "GET",
            every,
            "Whom calls go to, and how that goes.",
            DestinationList,
            self.list,
            "read",
            errors=JOURNAL,
        )
        yield Route(
            "GET",
            one,
            "One of them; its name is percent-encoded.",
            ShownDestination,
            self.get,
            "read",
            errors=(404, *JOURNAL),
        )
        yield Route(
            "POST",
            f"{one}/pause",
            "Its calls are neither made nor aged.",
            Done,
            self.pause,
            body=PauseBody,
            errors=(404, *JOURNAL),
        )
        yield Route(
            "POST",
            f"{one}/resume",
            "They are made again.",
            Done,
            self.resume,
            body=ReasonBody,
            errors=(404, *JOURNAL),
        )
        yield Route(
            "PUT",
            f"{one}/limits",
            "How fast it gets its calls, until taken back.",
            Done,
            self.limit,
            body=LimitsBody,
            errors=(404, *JOURNAL),
        )
        yield Route(
            "DELETE",
            f"{one}/limits",
            "It gets them as fast as it answers.",
            Done,
            self.unlimit,
            "admin",
            ReasonQuery,
            errors=(404, *JOURNAL),
        )

    def list(self, asked: Asked) -> Reply:
        tallies = self._view.destinations()
        names = sorted(tallies.keys() | self._steering.glance().keys())
        told = [
            self._shown(name, tallies.get(name, _NOBODY))
            for name in giving_way(names, _AT_ONCE)
        ]
        return Reply(DestinationList(told))

    def get(self, asked: Asked) -> Reply:
        name = lane_named("key", asked.path["key"])
        tally = self._view.destinations(0, [name]).get(name)
        if tally is None and name not in self._steering.glance():
            raise Missing(
                "no_such_destination",
                f"No call goes to {shown(name)}, and nothing was said of it.",
            )
        return Reply(self._shown(name, tally or _NOBODY))

    def pause(self, asked: Asked) -> Reply:
        body: PauseBody = asked.body
        until = None if body.until is None else body.until.timestamp()
        if until is not None and until <= self._clock():
            raise InvalidProperties(["until must be in the future."])
        name = _name(asked)
        self._steering.pause(name, asked.who, until, body.reason or "")
        end = "" if until is None else f" until {rfc3339(until)}"
        return Reply(Done(f"Paused{end}", destination=name))

    def resume(self, asked: Asked) -> Reply:
        body: ReasonBody = asked.body
        name = _name(asked)
        self._steering.resume(name, asked.who, body.reason or "")
        return Reply(Done("Resumed", destination=name))

    def limit(self, asked: Asked) -> Reply:
        body: LimitsBody = asked.body
        limits = body.limits()
        if limits.rate is None and limits.parallelism is None:
            raise InvalidProperties(["rate is missing, and so is parallelism."])
        if limits.period > LONGEST_PERIOD_SECONDS:
            raise InvalidProperties(["period must not be longer than a day."])
        name = _name(asked)
        self._steering.limit(name, asked.who, limits, body.reason or "")
        return Reply(Done("Limited", destination=name))

    def unlimit(self, asked: Asked) -> Reply:
        query: ReasonQuery = asked.query
        name = _name(asked)
        self._steering.limit(name, asked.who, None, query.reason or "")
        return Reply(Done("Without limits", destination=name))

    def _shown(self, name: str, tally: Tally) -> ShownDestination:
        showing = Showing(self._steering, answers=True, clock=self._clock)
        last = None if tally.last is None else showing.attempt(tally.last)
        return shown_destination(self._steering.standing(name), tally, last)


def _name(asked: Asked) -> str:
    """The destination in the path, as the lanes spell it.

    Raises:
        InvalidProperties: it is none.
    """
    try:
        return read_destination(asked.path["key"])
    except NotPossible as exc:
        raise InvalidProperties([f"key must be a service: {exc}"]) from exc
