"""The pages that somebody looks at, by name, and how each is asked for."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from urllib.parse import quote

from benchmarks.browser import Browser
from benchmarks.door import Door
from benchmarks.processes import Failed
from benchmarks.service import Place
from benchmarks.stock import destination
from mspc.calls.words import STATES

OVERVIEW, DESTINATIONS = "overview", "destinations"
# How those are called when all destinations are so.
DOWN = ", all of them down"
_OLDER = re.compile(r'href="\?([^"]+)" rel="next"')
_JOB = re.compile(r'href="[./]*bulk/([0-9a-f]{32})"')

# What a list of calls is narrowed down to; {0} and {1} are destinations, the second one
# that of the first calls that came.
_FILTERS = {
    "destination": "destination={0}",
    "destination, dead": "destination={0}&state=dead",
    "URL": "url_prefix={1}%2Fnotification%2F0",
    "method": "method=DELETE",
    "label": "label=invoices",
    "label nobody has": "label=nobody",
    "reason": "state=dead&reason=no_requeue",
    "error": "state=dead&error=connection_refused",
    "error nobody has": "error=tls",
    "status": "status=404",
    "statuses": "status=5xx",
    "attempts": "attempts_min=2",
    "dates": "created_before={2}",
}
# What is planned for every call that matches.
_PLANS = {
    "retry all dead": ("retry", "state=dead"),
    "delete one cause": ("delete", "state=dead&status=404"),
    "cancel all": ("cancel", ""),
    "cancel by a label nobody has": ("cancel", "label=nobody"),
}

_CALLS = ("queued", "waiting", "dead", "succeeded")


@dataclass(frozen=True, slots=True)
class Look:
    """A page as it is asked for.

    Attributes:
        form: what is posted; None for GET.
    """

    name: str
    path: str
    form: dict[str, str] | None = None

    def __call__(self, browser: Browser) -> float:
        """How long it took, milliseconds.

        Raises:
            Failed: it is not there.
        """
        if self.form is None:
            shown = browser.get(self.path)
        else:
            shown = browser.post(self.path, self.form)
        if not shown.text:
            raise Failed(f"{self.path} leads to {shown.to}")
        return shown.took


@dataclass(frozen=True, slots=True)
class Found:
    """What is there to look at.

    Attributes:
        ids: of a call, by its state.
        job: its id.
        older: the query of the second page of all calls.
        destinations: how many there are.
        now: a date, as queries have it.
    """

    ids: dict[str, str]
    job: str
    older: str
    destinations: int
    now: str


def find(browser: Browser, place: Place, destinations: int) -> Found:
    """
    Args:
        browser: that has logged in.
        place: of mspc.
        destinations: how many there are.

    Raises:
        Failed: something is missing.
    """
    with Door(place.admin_port, place.data) as door:
        ids = {state: _newest(door, state) for state in _CALLS}
    return Found(
        ids,
        _found(_JOB, browser, "/bulk"),
        _found(_OLDER, browser, "/calls"),
        destinations,
        quote(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())),
    )


def looks(found: Found) -> Iterator[Look]:
    """Every page."""
    yield Look(OVERVIEW, "/")
    yield Look("dead letters", "/dead")
    yield Look(DESTINATIONS, "/destinations")
    key = quote(destination(found.destinations // 2), safe="")
    yield Look("a destination", f"/destinations/{key}")
    yield Look("jobs", "/bulk")
    yield Look("a job", f"/bulk/{found.job}")
    yield Look("decisions", "/decisions")
    yield Look("send", "/send")
    yield Look("log in", "/login")
    yield from _lists(found)
    for state in _CALLS:
        yield Look(f"a call {state}", f"/calls/{found.ids[state]}")
    dead = found.ids["dead"]
    yield Look("its secrets", f"/calls/{dead}/reveal", {})
    yield Look("a copy of it", f"/send?copy={dead}")


def _lists(found: Found) -> Iterator[Look]:
    yield Look("calls", "/calls")
    yield Look("older calls", f"/calls?{found.older}")
    for state in STATES:
        yield Look(f"calls {state.replace('_', ' ')}", f"/calls?state={state}")
    numbers = (found.destinations // 2, 0)
    places = [quote(destination(number), safe="") for number in numbers]
    for name, query in _FILTERS.items():
        yield Look(f"calls by {name}", f"/calls?{query.format(*places, found.now)}")
    for name, (action, query) in _PLANS.items():
        yield Look(f"plan: {name}", "/calls", {"all": action, "query": query})


NOTHING = Found(dict.fromkeys(_CALLS, ""), "", "", 1, "")
NAMES = (
    *(look.name for look in looks(NOTHING)),
    *(name + DOWN for name in (OVERVIEW, DESTINATIONS)),
)


def _newest(door: Door, state: str) -> str:
    page, _ = door.get(f"/v1/calls?limit=1&state={state}")
    return str(page["calls"][0]["id"])


def _found(pattern: re.Pattern[str], browser: Browser, path: str) -> str:
    found = pattern.search(browser.get(path).text)
    if found is None:
        raise Failed(f"{path} has no {pattern.pattern}")
    return unescape(found[1])
