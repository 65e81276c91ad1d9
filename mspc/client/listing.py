"""Calls, page by page, until there are as many as were asked for."""

from collections.abc import Iterator, Mapping
from typing import Any

from mspc.client.failures import WrongUse
from mspc.client.session import Session
from mspc.client.table import Column, Item, member

MOST_ON_A_PAGE = 1000


def _result(call: Item) -> object:
    """The last attempt's, in a word."""
    last = call.get("last_attempt") or {}
    return last.get("status") or last.get("error")


def _due(call: Item) -> object:
    return call.get("next_attempt_at") or call.get("finished_at")


COLUMNS: tuple[Column, ...] = (
    ("id", member("id")),
    ("state", member("state")),
    ("method", member("method")),
    ("url", member("url")),
    ("attempts", member("attempts")),
    ("result", _result),
    ("created", member("created_at")),
    ("next or end", _due),
    ("held or reason", lambda call: call.get("held") or call.get("reason")),
    ("labels", member("labels")),
)


def list_calls(session: Session, wanted: Mapping[str, object]) -> int:
    """Prints the calls that match, at most as many as the option `limit` says.

    Raises:
        WrongUse: that is less than 1.
    """
    if session.options.limit < 1:
        raise WrongUse("--limit must be 1 or more.")
    session.output.items(_pages(session, wanted), COLUMNS)
    return 0


def _pages(session: Session, wanted: Mapping[str, object]) -> Iterator[dict[str, Any]]:
    left = session.options.limit
    cursor = None
    while left > 0:
        query = {**wanted, "limit": min(left, MOST_ON_A_PAGE), "cursor": cursor}
        page = session.mspc.get("/v1/calls", query)
        yield from page["calls"]
        left -= len(page["calls"])
        cursor = page.get("next_cursor")
        if not cursor:
            return
    session.say("There are more: --limit says how many are shown.")
