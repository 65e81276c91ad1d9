"""The routes of what there is on the whole: numbers, and what was decided."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mspc.admin.queries import DecisionsQuery
from mspc.admin.routes import JOURNAL, Asked, Reply, Route
from mspc.admin.shapes import (
    Counted,
    DecisionList,
    Lately,
    Numbers,
    Stats,
    shown_decision,
)
from mspc.api.shown import rfc3339_or_none
from mspc.calls.words import IN_FLIGHT, STATES
from mspc.journal.base import Rates, View


@dataclass(frozen=True, slots=True)
class Health:
    """How this instance is.

    Attributes:
        engine: `sqlite`, or `amqp`.
        problem: why it is not ready; None when it is.
        remark: what somebody who looks should know although it is.
        spool: how many calls wait in the spool for RabbitMQ; None without one.
        in_flight: how many attempts run now.
    """

    engine: str
    problem: Callable[[], str | None]
    remark: Callable[[], str | None]
    spool: Callable[[], int | None]
    in_flight: Callable[[], int]


class StatsRoutes:
    """Handles /v1/stats and /v1/decisions."""

    def __init__(
        self,
        view: View,
        health: Health,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._view = view
        self._health = health
        self._clock = clock

    def routes(self) -> Iterator[Route]:
        yield Route(
            "GET",
            "/v1/stats",
            "Calls by state, and how it goes.",
            Stats,
            self.stats,
            "read",
            errors=JOURNAL,
        )
        yield Route(
            "GET",
            "/v1/decisions",
            "What somebody decided, and who; newest first.",
            DecisionList,
            self.decisions,
            "read",
            DecisionsQuery,
            errors=JOURNAL,
        )

    def stats(self, asked: Asked) -> Reply:
        summary, health = self._view.summary(), self._health
        tally, rates = summary.tally, summary.minutes
        states = {state: tally.states.get(state, 0) for state in STATES}
        states[IN_FLIGHT] = health.in_flight()
        problem = health.problem()
        age = None
        if tally.oldest_due is not None:
            age = max(0.0, round(self._clock() - tally.oldest_due, 3))
        return Reply(
            Stats(
                ready=problem is None,
                problem=problem,
                remark=health.remark(),
                engine=health.engine,
                spool=health.spool(),
                scope=self._view.scope,
                states=states,
                oldest_due_at=rfc3339_or_none(tally.oldest_due),
                oldest_due_age_seconds=age,
                rates=Lately(_counted(rates, 1), _counted(rates, 60)),
                minutes=_numbers(rates),
                hours=_numbers(summary.hours),
                events_dropped=self._view.dropped,
            )
        )

    def decisions(self, asked: Asked) -> Reply:
        query: DecisionsQuery = asked.query
        found = self._view.decisions(query.about(), tuple(query.kind), query.limit)
        return Reply(DecisionList([shown_decision(one) for one in found]))


def _numbers(rates: Rates) -> Numbers:
    return Numbers(rates.accepted, rates.attempts, rates.succeeded, rates.died)


def _counted(rates: Rates, minutes: int) -> Counted:
    return Counted(
        sum(rates.accepted[-minutes:]),
        sum(rates.attempts[-minutes:]),
        sum(rates.succeeded[-minutes:]),
        sum(rates.died[-minutes:]),
    )
