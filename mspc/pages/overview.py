"""The first page: is it well, what is stuck, why."""

import time
from collections.abc import Sequence

import falcon

from mspc.journal.base import Group
from mspc.pages.charts import bars
from mspc.pages.desk import Page
from mspc.pages.looking import ShownDestination, busiest, causes

MOST_SHOWN = 8
MOST_LOOKED_AT = 100
HOUR = 3600
MINUTE = 60


class Overview(Page):
    """GET /."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        desk, now = self.desk, time.time()
        summary = desk.view.summary()
        tally, rates = summary.tally, summary.minutes
        day = req.get_param("range") == "24h"
        shown = summary.hours if day else rates
        failed = [
            made - good
            for made, good in zip(shown.attempts, shown.succeeded, strict=True)
        ]
        unit = "h" if day else "min"
        places = busiest(desk.view, desk.steering, MOST_LOOKED_AT)
        made, groups = sum(rates.attempts), desk.view.groups()
        self.show(
            req,
            resp,
            "overview.html",
            "Overview",
            problem=desk.problem(),
            remark=desk.remark(),
            tally=tally,
            in_flight=desk.in_flight(),
            spooled=desk.spooled(),
            behind=_behind(tally.oldest_due, now),
            # The groups know of the time before a start, too.
            dead_lately=max(sum(rates.died), _dead_since(groups, now - HOUR)),
            accepted_chart=bars(
                "Calls accepted", [("in", "accepted", shown.accepted)], unit
            ),
            attempts_chart=bars(
                "Attempts",
                [("ok", "answered 2xx", shown.succeeded), ("fail", "failed", failed)],
                unit,
            ),
            day=day,
            accepted_now=f"{_lately(rates.accepted):g}",
            accepted_sum=sum(shown.accepted),
            attempts_sum=sum(shown.attempts),
            attempts_now=f"{_lately(rates.attempts):g}",
            share=round(100 * sum(rates.succeeded) / made) if made else None,
            troubled=_troubled(places, now)[:MOST_SHOWN],
            groups=causes(groups[:MOST_SHOWN]),
        )


def _dead_since(groups: Sequence[Group], since: float) -> int:
    """How many calls died lately, at least, as far as their groups tell."""
    return sum(
        group.count if group.first_at >= since else 1
        for group in groups
        if group.last_at >= since
    )


def _behind(oldest_due: float | None, now: float) -> float | None:
    """Seconds by which the oldest call is late; None when that is nothing to tell."""
    late = 0.0 if oldest_due is None else now - oldest_due
    return late if late > 1 else None


def _lately(minutes: tuple[int, ...]) -> float:
    """A second's share of the last whole minute."""
    return round(minutes[-2] / MINUTE, 1) if len(minutes) > 1 else 0.0


def _troubled(places: list[ShownDestination], now: float) -> list[ShownDestination]:
    """Those that are not well, or far behind; the worst first."""
    bad = [
        place
        for place in places
        if place.state != "ok" or (place.oldest_due or now) < now - MINUTE
    ]
    return sorted(bad, key=lambda one: (-one.waiting - one.queued, one.destination))
