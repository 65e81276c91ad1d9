"""Whoever refreshes a page gets one that was made for somebody else, if it is fresh."""

import pytest

from mspc.journal.base import Tally
from mspc.pages.copies import KEPT_SECONDS, MOST_KEPT
from mspc.pages.login import READ
from tests.support.wsgi import Answer
from tests.unit.pages.conftest import READ_KEY, Site

NOW = "The broker is away."


def refreshed(site: Site, path: str = "/") -> Answer:
    return site.get(path, **{"X-Refresh": "1"})


def test_one_is_made_for_all_who_ask_at_the_same_time(site: Site) -> None:
    first = refreshed(site)
    site.problem = NOW
    again = refreshed(site)
    assert (again.status, again.body) == (200, first.body)
    assert again.headers == first.headers
    assert "content-security-policy" in again.headers


def test_it_is_kept_for_a_moment(site: Site) -> None:
    refreshed(site)
    site.problem = NOW
    site.now += KEPT_SECONDS
    assert NOW.encode() in refreshed(site).body


@pytest.mark.parametrize("before", [True, False])
def test_whoever_comes_himself_gets_one_of_that_moment(
    site: Site, before: bool
) -> None:
    if before:
        refreshed(site)
    else:
        site.get("/")
    site.problem = NOW
    asked = site.get("/") if before else refreshed(site)
    assert NOW.encode() in asked.body


def test_whoever_has_changed_something_sees_it(site: Site) -> None:
    refreshed(site)
    site.problem = NOW
    site.post("/destinations/http%3A%2F%2Fapi.test%3A80/pause")
    assert NOW.encode() in refreshed(site).body


def test_one_that_was_begun_before_a_change_is_not_given_out_after_it(
    site: Site,
) -> None:
    tally = site.view.tally

    def changed_meanwhile() -> Tally:
        site.view.tally = tally  # type: ignore[method-assign]
        site.post("/destinations/http%3A%2F%2Fapi.test%3A80/pause")
        return tally()

    site.view.tally = changed_meanwhile  # type: ignore[method-assign]
    refreshed(site)
    site.problem = NOW
    assert NOW.encode() in refreshed(site).body


def test_each_right_and_each_question_has_its_own(site: Site) -> None:
    refreshed(site)
    site.problem = NOW
    assert NOW.encode() in refreshed(site, "/?range=24h").body
    site.right = READ
    assert NOW.encode() in refreshed(site).body
    site.right = None
    assert refreshed(site).status == 303


def test_what_is_no_page_is_not_kept(site: Site) -> None:
    """The API, whose answers depend on the key that is sent with a request."""
    key = {"Authorization": f"Bearer {READ_KEY}", "X-Refresh": "1"}
    site.right = None
    assert site.get("/v1/stats", **key).json["problem"] is None
    site.problem = NOW
    assert site.get("/v1/stats", **key).json["problem"] == NOW
    assert site.get("/v1/stats", **{"X-Refresh": "1"}).status == 401


def test_neither_is_trouble(site: Site) -> None:
    site.steering.begun.clear()
    assert refreshed(site, "/bulk/1").status == 404
    site.steering.begin("retry", ["1"], "admin")
    job = next(iter(site.steering.begun))
    site.steering.begun["1"] = site.steering.begun[job]
    assert refreshed(site, "/bulk/1").status == 200


def test_many_are_not_kept(site: Site) -> None:
    refreshed(site)
    for number in range(MOST_KEPT):
        refreshed(site, f"/calls?limit={number + 1}")
    site.problem = NOW
    assert NOW.encode() in refreshed(site).body
