"""Each page and each action, without a browser."""

import html
import io
import json
import re
import time
from dataclasses import replace
from urllib.parse import quote

import pytest
from msgspec import structs

from mspc.calls.words import DEAD
from mspc.errors import JournalUnavailable, NotPossible
from mspc.journal.base import Filter, Group, Pace, Tally
from mspc.journal.events import Decided
from mspc.pages.forms import MOST_FORM_BYTES
from mspc.pages.login import READ, Logins
from mspc.settings.once import LINK_SECONDS, once
from mspc.steering.base import Limits, Plan, Standing
from tests.support.operators import (
    ANSWER,
    AT,
    ATTEMPTED,
    CALL_ID,
    DESTINATION,
    JOB_ID,
    SEEN,
    seen,
)
from tests.unit.pages.conftest import ADMIN_KEY, READ_KEY, Site, text

KEY = "https%3A%2F%2Fservice.test%3A443"
PAGES = (
    *("/", "/calls", f"/calls/{CALL_ID}", "/dead", "/destinations"),
    *(f"/destinations/{KEY}", "/bulk", "/decisions", "/send"),
)
ACTIONS = (
    *("/calls", f"/calls/{CALL_ID}/retry", f"/calls/{CALL_ID}/cancel"),
    *(f"/calls/{CALL_ID}/delete", f"/calls/{CALL_ID}/reveal", "/bulk"),
    *(f"/bulk/{JOB_ID}/stop", f"/destinations/{KEY}/pause", "/send"),
    *(f"/destinations/{KEY}/resume", f"/destinations/{KEY}/limits"),
)
HOSTILE = "<script>alert(1)</script>\u202e\x00\ud800"


@pytest.mark.parametrize("path", PAGES)
class TestEveryPage:
    def test_is_shown(self, site: Site, path: str) -> None:
        answer = site.get(path)
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"

    def test_has_a_head(self, site: Site, path: str) -> None:
        answer = site.head(path)
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["content-type"] == "text/html; charset=utf-8"

    def test_is_for_those_who_have_logged_in(self, site: Site, path: str) -> None:
        site.right = None
        answer = site.get(path)
        assert answer.status == 303
        assert "login" in answer.headers["location"]

    def test_may_be_looked_at_with_the_read_key(self, site: Site, path: str) -> None:
        site.right = READ
        answer = site.get(path)
        assert answer.status == 200
        shown = answer.body.decode()
        for form in shown.split("<form")[1:]:
            if path == "/send":
                continue
            assert 'method="post"' not in form or "logout" in form, form[:80]

    def test_says_why_there_is_nothing(self, site: Site, path: str) -> None:
        site.view.failure = JournalUnavailable("The journal is off.", off=True)
        answer = site.get(path)
        if path in ("/bulk", "/send"):
            assert answer.status == 200
            return
        assert answer.status == 501
        assert "The journal is off." in text(answer)

    def test_has_links_that_work_below_any_prefix(self, path: str) -> None:
        site = Site("/ops")
        for prefix in ("", "/ops"):
            answer = site.get(prefix + path)
            assert answer.status == 200
            assert 'href="/' not in answer.body.decode()
            assert 'action="/' not in answer.body.decode()


class HungUp(io.RawIOBase):
    """A body that breaks off, or has chunks that are none."""

    def read(self, size: int = -1) -> bytes:
        raise OSError("unexpected end of file while reading request")


class Endless(io.RawIOBase):
    def read(self, size: int = -1) -> bytes:
        return b"x" * size


class TestForms:
    @pytest.mark.parametrize("path", ["/login", "/calls", "/send"])
    def test_one_that_breaks_off(
        self, site: Site, path: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        answer = site.send(path, HungUp())
        assert answer.status == 400
        assert "ended early" in text(answer)
        assert not any(record.exc_info for record in caplog.records)

    def test_one_that_is_too_large(self, site: Site) -> None:
        answer = site.send("/send", Endless())
        assert answer.status == 413
        assert f"larger than {MOST_FORM_BYTES} bytes." in text(answer)


@pytest.mark.parametrize("path", ACTIONS)
class TestEveryAction:
    def test_is_not_for_the_read_key(self, site: Site, path: str) -> None:
        site.right = READ
        answer = site.post(path)
        assert answer.status == 403
        assert site.steering.done == []
        assert site.sent == []

    def test_nor_for_nobody(self, site: Site, path: str) -> None:
        site.right = None
        assert site.post(path).status == 303
        assert site.steering.done == []

    def test_nor_for_a_page_of_another_site(self, site: Site, path: str) -> None:
        for headers in (
            {"Sec-Fetch-Site": "cross-site"},
            {"Origin": "http://evil.test"},
        ):
            assert site.post(path, **headers).status == 403
        assert site.steering.done == []
        assert site.sent == []


class TestLoggingIn:
    def test_a_look_at_a_link_does_not_use_it_up(self, site: Site) -> None:
        """A preview in a chat sends HEAD."""
        site.right = None
        link = f"/login?once={once(ADMIN_KEY, int(site.now) + LINK_SECONDS)}"
        assert "set-cookie" not in site.head(link).headers
        assert "set-cookie" in site.get(link).headers

    @pytest.mark.parametrize(("key", "sees"), [(ADMIN_KEY, True), (READ_KEY, False)])
    def test_with_a_key(self, site: Site, key: str, sees: bool) -> None:
        site.right = None
        answer = site.post("/login", {"key": key, "next": "calls?state=dead"})
        assert (answer.status, answer.headers["location"]) == (
            303,
            "./calls?state=dead",
        )
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        page = site.get("/", Cookie=cookie.partition(";")[0])
        assert ("Send" in text(page)) is sees

    def test_leads_back_to_what_was_asked_for(self, site: Site) -> None:
        site.right = None
        to = site.get("/calls?state=dead&label=a").headers["location"]
        assert to == "./login?next=calls%3Fstate%3Ddead%26label%3Da"

    def test_with_a_wrong_key(self, site: Site) -> None:
        site.right = None
        answer = site.post("/login", {"key": "wrong"})
        assert answer.status == 403
        assert "set-cookie" not in answer.headers
        assert "neither ADMIN_KEY nor READ_KEY" in text(answer)

    @pytest.mark.parametrize(
        "elsewhere",
        ["//evil.test", "https://evil.test", "\\\\evil.test", "javascript:x"],
    )
    def test_leads_to_no_other_site(self, site: Site, elsewhere: str) -> None:
        answer = site.post("/login", {"key": ADMIN_KEY, "next": elsewhere})
        assert answer.headers["location"] == "./"

    def test_does_not_last(self, site: Site) -> None:
        cookie = site.cookie(site.logins.cookie("admin"))
        site.now += 12 * 3600 - 1
        assert site.get("/", Cookie=cookie).status == 200
        site.now += 1
        assert site.get("/", Cookie=cookie).status == 303

    @pytest.mark.parametrize(
        "cookie", ["", "admin", "admin.99999999999.00", "x.y.z", "admin.é.é", "." * 9]
    )
    def test_with_a_forged_cookie(self, site: Site, cookie: str) -> None:
        assert site.get("/", Cookie=site.cookie(cookie)).status == 303

    def test_with_a_link_once(self, site: Site) -> None:
        site.right = None
        link = f"/login?once={once(ADMIN_KEY, int(site.now) + LINK_SECONDS)}"
        answer = site.get(link)
        assert answer.status == 303
        cookie = answer.headers["set-cookie"].partition(";")[0]
        assert "Send" in text(site.get("/", Cookie=cookie))
        assert "used or too old" in text(site.get(link))

    @pytest.mark.parametrize(
        ("key", "seconds"), [(ADMIN_KEY, 0), (ADMIN_KEY, 3600), (READ_KEY, 30)]
    )
    def test_with_a_link_of_another_time_or_key(
        self, site: Site, key: str, seconds: int
    ) -> None:
        site.right = None
        answer = site.get(f"/login?once={once(key, int(site.now) + seconds)}")
        assert "used or too old" in text(answer)

    @pytest.mark.parametrize("word", ["", "x", "1.", ".", "9" * 20, "1e9.00", "%C3%A9"])
    def test_with_a_link_that_is_none(self, site: Site, word: str) -> None:
        site.right = None
        answer = site.get(f"/login?once={word}")
        assert answer.status == 200
        assert "set-cookie" not in answer.headers

    def test_out_again(self, site: Site) -> None:
        answer = site.post("/logout")
        assert answer.status == 303
        gone = site.cookie('""; expires=')
        assert answer.headers["set-cookie"].startswith(gone)

    def test_to_two_of_one_host(self, site: Site) -> None:
        """A browser sends the cookie of one port to the other."""
        others = Logins("another-key-of-a-good-length", "")
        assert others.cookie_name != site.logins.cookie_name
        cookies = (
            f"{others.cookie_name}={others.cookie('admin')}",
            site.cookie(site.logins.cookie("read")),
        )
        for both in ("; ".join(cookies), "; ".join(reversed(cookies))):
            assert site.get("/", Cookie=both).status == 200


class TestCalls:
    def test_are_listed(self, site: Site) -> None:
        shown = text(site.get("/calls"))
        assert "POST https://service.test/orders?token=***&amp;x=1" in shown
        assert "order-1" in shown

    def test_are_filtered_by_the_address(self, site: Site) -> None:
        site.get("/calls?state=dead&label=a&status=&error=")
        assert site.view.asked[-1] == Filter(frozenset({"dead"}), label="a")

    def test_a_date_is_kept_by_the_tabs_and_the_form(self, site: Site) -> None:
        after = "created_after=2030-01-31T08%3A00%3A00.250Z"
        shown = site.get(f"/calls?{after}").body.decode()
        assert f"?state=dead&amp;{after}" in shown
        assert 'name="created_after" value="2030-01-31T08:00:00.250Z"' in shown

    def test_go_on_where_the_page_has_ended(self, site: Site) -> None:
        site.view.known = [seen(number) for number in range(120)]
        shown = site.get("/calls?state=waiting").body.decode()
        more = shown.partition('rel="next"')[0].rpartition('href="')[2][:-2]
        second = site.get(f"/calls{more.replace('&amp;', '&')}")
        assert f"{seen(69).id[-12:]}" in text(second)
        assert f"{seen(70).id[-12:]}" not in text(second)

    def test_go_on_also_with_a_date_that_is_finer_than_those_shown(
        self, site: Site
    ) -> None:
        site.view.known = [seen(number) for number in range(120)]
        after = "created_after=2020-01-31T08:00:00.123456Z"
        shown = site.get(f"/calls?{after}").body.decode()
        more = shown.partition('rel="next"')[0].rpartition('href="')[2][:-2]
        assert site.get(f"/calls{more.replace('&amp;', '&')}").status == 200

    def test_a_wrong_filter_is_named(self, site: Site) -> None:
        answer = site.get("/calls?status=abc")
        assert answer.status == 400
        assert "status must be" in text(answer)

    def test_one_call(self, site: Site) -> None:
        shown = text(site.get(f"/calls/{CALL_ID}"))
        assert ANSWER in shown
        assert "s3cr3t" not in shown
        assert "Attempt 1 failed, and it waits for the next one." in shown
        assert "after 5 s" in shown

    def test_how_long_it_has_waited_for_an_attempt(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        second = structs.replace(ATTEMPTED, number=2, at=ATTEMPTED.at + 65.0123)
        monkeypatch.setattr(site.view, "attempts", lambda _: [ATTEMPTED, second])
        assert "waited 1.1 min" in text(site.get(f"/calls/{CALL_ID}"))

    def test_its_secrets_are_shown_when_somebody_asks(self, site: Site) -> None:
        shown = text(site.post(f"/calls/{CALL_ID}/reveal"))
        assert "s3cr3t-a" in shown
        assert site.steering.done == [("revealed", CALL_ID, "admin")]

    def test_nothing_was_shown_of_one_that_nobody_knows(self, site: Site) -> None:
        assert site.post("/calls/none/reveal").status == 404
        assert site.steering.done == []

    def test_an_answer_to_a_form_is_not_fetched_again(self, site: Site) -> None:
        """Its address takes forms only."""
        assert "data-still" in site.post(f"/calls/{CALL_ID}/reveal").body.decode()
        assert "data-still" not in site.get(f"/calls/{CALL_ID}").body.decode()

    def test_nobody_knows_it(self, site: Site) -> None:
        answer = site.get("/calls/none")
        assert answer.status == 404
        assert "none is not known" in text(answer)

    @pytest.mark.parametrize("verb", ["retry", "cancel"])
    def test_something_is_done_to_one(self, site: Site, verb: str) -> None:
        answer = site.post(f"/calls/{CALL_ID}/{verb}")
        assert answer.headers["location"] == f"../../calls/{CALL_ID}"
        assert site.steering.done == [(verb, CALL_ID, "admin", "")]

    def test_one_is_made_again_later(self, site: Site) -> None:
        site.post(f"/calls/{CALL_ID}/retry", {"minutes": "10"})
        assert site.steering.done == [("retry", CALL_ID, "admin", "", 600)]

    @pytest.mark.parametrize("minutes", ["0", "ten", "9" * 5000])
    def test_minutes_that_are_none(self, site: Site, minutes: str) -> None:
        answer = site.post(f"/calls/{CALL_ID}/retry", {"minutes": minutes})
        assert answer.status == 400
        assert "minutes must be a whole number" in text(answer)

    def test_what_is_in_flight_is_listed(self, site: Site) -> None:
        assert CALL_ID not in site.get("/calls?state=in_flight").body.decode()
        site.steering.attempted = {CALL_ID}
        shown = site.get("/calls?state=in_flight").body.decode()
        assert CALL_ID in shown
        assert "flying" not in shown

    def test_what_is_not_possible_is_said(self, site: Site) -> None:
        site.steering.refusal = NotPossible("in_flight", "It is attempted now.")
        answer = site.post(f"/calls/{CALL_ID}/cancel")
        assert answer.status == 409
        assert "It is attempted now." in text(answer)

    def test_what_is_done_to_many_is_planned_first(self, site: Site) -> None:
        answer = site.post("/calls", {"all": "retry", "query": "label=a"})
        assert "Retry 1 call?" in text(answer)
        (planned,) = site.steering.done
        assert planned[2] == Filter(frozenset({"dead", "waiting"}), label="a")

    def test_of_those_selected_some_are_what_it_is_for(self, site: Site) -> None:
        site.steering.unfit = {"a", "c"}
        ids = [("id", one) for one in "abc"]
        answer = site.post("/calls", [("action", "retry"), *ids])
        assert "Retry 1 call?" in text(answer)
        assert re.findall(rb'name="id" value="(.)"', answer.body) == [b"b"]
        site.steering.unfit = {"a", "b", "c"}
        answer = site.post("/calls", [("action", "cancel"), *ids])
        assert "none of these calls can be cancelled" in text(answer)

    def test_nothing_that_is_selected_is_not_all(self, site: Site) -> None:
        """Without JavaScript the buttons can be pressed."""
        for fields in ({"action": "delete"}, {"action": "cancel", "id": ""}):
            answer = site.post("/calls", {"query": "", **fields})
            assert answer.status == 400
            assert "No call is selected" in text(answer)
        assert site.steering.done == []

    @pytest.mark.parametrize(
        ("path", "fields", "told"),
        [
            ("/bulk", {"action": "retry", "reason": "x" * 501}, "500 characters"),
            ("/bulk", {"action": "retry", "id": "x" * 201}, "200 characters"),
            ("/calls", {"action": "retry", "id": "x" * 201}, "200 characters"),
            (f"/destinations/{KEY}/pause", {"reason": "x" * 501}, "500 characters"),
            (f"/destinations/{KEY}/resume", {"reason": "x" * 501}, "500 characters"),
            (f"/destinations/{KEY}/limits", {"reason": "x" * 501}, "500 characters"),
        ],
    )
    def test_what_is_written_down_is_no_longer_than_in_the_api(
        self, site: Site, path: str, fields: dict[str, str], told: str
    ) -> None:
        answer = site.post(path, {"query": "", **fields})
        assert answer.status == 400
        assert told in text(answer)
        assert site.steering.done == []

    def test_a_plan_that_has_not_looked_at_all_calls_says_so(self, site: Site) -> None:
        site.steering.planned = Plan(0, True, [])
        answer = site.post("/calls", {"all": "retry", "query": "label=a"})
        told = text(answer)
        assert "Retry 0 or more calls?" in told
        assert "None of the newest calls matches" in told
        assert b'name="limit" value="1000"' in answer.body

    def test_and_begun_then(self, site: Site) -> None:
        form = {"action": "delete", "query": "state=dead", "limit": "7", "reason": "x"}
        answer = site.post("/bulk", form)
        assert answer.headers["location"] == f"./bulk/{JOB_ID}"
        wanted = Filter(frozenset({"dead"}))
        assert site.steering.done == [("begin", "delete", wanted, "admin", 7, 50, "x")]
        assert "delete" in text(site.get(f"/bulk/{JOB_ID}"))

    def test_or_later(self, site: Site) -> None:
        form = {"action": "retry", "query": "state=dead", "minutes": "10"}
        site.post("/bulk", form)
        wanted = Filter(frozenset({"dead"}))
        assert site.steering.done == [
            ("begin", "retry", wanted, "admin", 1000, 50, 600, "")
        ]

    def test_or_to_those_selected(self, site: Site) -> None:
        form = [("action", "cancel"), ("id", "a"), ("id", "b"), ("query", "")]
        assert "Cancel 2 calls?" in text(site.post("/calls", form))
        site.post("/bulk", form)
        assert site.steering.done[-1][2] == ["a", "b"]

    def test_a_number_that_is_none(self, site: Site) -> None:
        answer = site.post("/bulk", {"action": "retry", "limit": "many"})
        assert answer.status == 400
        assert "limit must be a whole number" in text(answer)


def test_the_last_24_hours_are_shown_beside_the_last_one(site: Site) -> None:
    hour, day = text(site.get("/")), text(site.get("/?range=24h"))
    assert "60 in the last hour" in hour
    assert "60 min ago" in hour
    assert "144 in 24 hours" in day
    assert "24 h ago" in day


class TestDestinations:
    def test_are_listed_with_how_they_stand(self, site: Site) -> None:
        pace = Pace(60, 45, 1100, 1100)
        tally = Tally({"waiting": 1234}, 1.0, ATTEMPTED, pace)
        site.view.tallies = {DESTINATION: tally}
        limits = Limits(5, 1.0, 2)
        site.steering.states = {
            DESTINATION: Standing(DESTINATION, "paused", limits=limits)
        }
        for path in ("/", "/destinations", f"/destinations/{KEY}"):
            shown = text(site.get(path))
            assert "‖ paused" in shown
            assert "1,234" in shown
            assert ("12/min 75 %" in shown) == (path != "/")
        assert "5 per second, 2 at once" in shown
        assert "1,100 attempts 100 %" in shown

    @pytest.mark.parametrize(
        ("sort", "order"),
        [
            ("", "bca"),
            ("destination", "abc"),
            ("-destination", "cba"),
            ("-waiting", "bca"),
            ("dead", "bca"),
            ("-attempts", "cab"),
            ("oldest_due", "abc"),
            ("none", "bca"),
            ("-", "bca"),
        ],
    )
    def test_are_sorted_by_a_column(self, site: Site, sort: str, order: str) -> None:
        site.view.tallies = {
            "http://a:80": Tally({"dead": 9}, 1.0, None, Pace(2)),
            "http://b:80": Tally({"waiting": 3}, 2.0),
            "http://c:80": Tally({"waiting": 1, "dead": 1}, None, None, Pace(5)),
        }
        shown = site.get(f"/destinations?sort={sort}").body.decode()
        found = re.findall('data-key="http://(.):80"', shown)
        assert "".join(found) == order
        again = f'href="?sort={sort.removeprefix("-")}"'
        assert (again in shown) == (sort[:1] == "-" and len(sort) > 1)

    def test_one_is_gone_to_by_its_name(self, site: Site) -> None:
        answer = site.get(f"/destinations?destination={KEY}")
        assert answer.headers["location"] == f"./destinations/{KEY}"

    @pytest.mark.parametrize(
        "said", ["HTTPS://Service.test/orders?a=b#c", "https://me:secret@service.test"]
    )
    def test_one_is_gone_to_by_a_url(self, site: Site, said: str) -> None:
        answer = site.get(f"/destinations?destination={quote(said, safe='')}")
        place = quote("https://service.test:443", safe="")
        assert answer.headers["location"] == f"./destinations/{place}"

    @pytest.mark.parametrize("said", ["service.test", "https://", "x:y", "http://a:0"])
    def test_what_is_no_address_is_none(self, site: Site, said: str) -> None:
        name = quote(said, safe="")
        for path in (f"/destinations?destination={name}", f"/destinations/{name}"):
            answer = site.get(path)
            assert answer.status == 400
            assert "is no destination such as https://api.example.com" in text(answer)

    def test_lanes_that_share_one_are_shown(self, site: Site) -> None:
        site.steering.states["others, 3"] = Standing("others, 3", "held")
        site.view.tallies["others"] = Tally({"dead": 4711})
        assert "held" in text(site.get("/destinations/others%2C%203"))
        assert "4,711" in text(site.get("/destinations/others"))

    def test_one_is_shown_however_it_is_spelled(self, site: Site) -> None:
        spelled = "https://SERVICE.test"
        site.steering.states[spelled] = Standing(DESTINATION)
        site.view.tallies[DESTINATION] = Tally({"waiting": 4711})
        shown = text(site.get(f"/destinations/{quote(spelled, safe='')}"))
        assert "4,711" in shown

    def test_are_paused(self, site: Site) -> None:
        answer = site.post(f"/destinations/{KEY}/pause", {"reason": "tests"})
        assert answer.headers["location"] == f"../../destinations/{KEY}"
        assert site.steering.done == [("pause", DESTINATION, "admin", None, "tests")]

    def test_are_limited(self, site: Site) -> None:
        path = f"/destinations/{KEY}/limits"
        site.post(path, {"rate": "5", "period": "1"})
        site.post(path, {"none": "1"})
        assert [one[3] for one in site.steering.done] == [Limits(5, 1.0, None), None]

    @pytest.mark.parametrize("period", ["nan", "inf", "0", "x", "1e9"])
    def test_a_period_that_is_none(self, site: Site, period: str) -> None:
        path = f"/destinations/{KEY}/limits"
        assert site.post(path, {"rate": "5", "period": period}).status == 400


class TestDead:
    def test_by_cause(self, site: Site) -> None:
        site.view.found = [
            Group("permanent", 410, "bad_status", DESTINATION, 3, 1.0, 2.0, "x", ANSWER)
        ]
        shown = site.get("/dead")
        assert "permanent: 410" in text(shown)
        assert ANSWER in text(shown)
        assert "reason=permanent" in shown.body.decode()

    @pytest.mark.parametrize(
        ("status", "error", "wanted"),
        [
            (999, "bad_status", Filter(status="999")),
            (None, "timeout", Filter(error="timeout")),
            (None, "", Filter(status="none")),  # else it would be for all of them
        ],
    )
    def test_a_cause_is_for_its_own_calls(
        self, site: Site, status: int | None, error: str, wanted: Filter
    ) -> None:
        site.view.found = [
            Group("max_age", status, error, DESTINATION, 3, 1.0, 2.0, "x")
        ]
        shown = html.unescape(site.get("/dead").body.decode())
        (query,) = set(re.findall(r"calls\?(state=dead[^\"]+)", shown))
        site.get(f"/calls?{query}")
        assert site.view.asked[-1] == replace(
            wanted,
            states=frozenset({DEAD}),
            destination=DESTINATION,
            reason="max_age",
        )


class TestSending:
    def test_a_call(self, site: Site) -> None:
        form = {
            "url": "http://a.test",
            "method": "PUT",
            "headers": "A: b\n",
            "requeue": "1",
        }
        assert site.post("/send", form).headers["location"] == f"./calls/{CALL_ID}"
        assert site.sent == [
            b'{"url": "http://a.test", "method": "PUT", "headers": {"A": "b"}}'
        ]

    def test_what_is_wrong_is_said_and_nothing_lost(self, site: Site) -> None:
        answer = site.post("/send", {"url": "bad", "body": "text"})
        assert answer.status == 400
        assert "url must be something else." in text(answer)
        assert ">\ntext</textarea>" in answer.body.decode()

    def test_what_a_browser_makes_of_a_copy_is_what_was_copied(
        self, site: Site
    ) -> None:
        """It sends each line with CRLF, and takes a line end at the begin away."""
        headers = (("A", "b\u2028c"), ("D", "e"))
        body = b"\n{\n1}\n"
        call = structs.replace(SEEN, headers=headers, body=body, body_bytes=len(body))
        site.view.known = [structs.replace(call, method="TRACE")]
        shown = html.unescape(site.get(f"/send?copy={CALL_ID}").body.decode())
        areas = re.findall(r"<textarea[^>]*>\n?(.*?)</textarea>", shown, re.DOTALL)
        fields = dict(zip(("headers", "body"), areas, strict=True))
        form = {name: one.replace("\n", "\r\n") for name, one in fields.items()}
        assert "<option selected>TRACE" in shown
        site.post("/send", {"url": "http://a.test", "method": "TRACE", **form})
        sent = json.loads(site.sent[0])
        assert (tuple(sent["headers"].items()), sent["body"]) == (
            headers,
            body.decode(),
        )

    def test_a_copy_says_that_a_browser_changes_its_lines(self, site: Site) -> None:
        body = b"a\r\nb"
        site.view.known = [structs.replace(SEEN, body=body, body_bytes=len(body))]
        assert "end with CRLF" in text(site.get(f"/send?copy={CALL_ID}"))

    @pytest.mark.parametrize(("most", "again"), [(0, True), (5, True), (1, False)])
    def test_a_copy_of_a_call_that_is_made_once_is_made_once(
        self, site: Site, most: int, again: bool
    ) -> None:
        site.view.known = [structs.replace(SEEN, max_attempts=most)]
        page = site.get(f"/send?copy={CALL_ID}")
        assert ('name="requeue" value="1" checked' in page.body.decode()) is again
        assert "are not copied" in text(page)

    def test_a_header_without_a_colon(self, site: Site) -> None:
        answer = site.post("/send", {"url": "http://a.test", "headers": "nonsense"})
        assert answer.status == 400
        assert "has no colon" in text(answer)

    def test_a_copy_has_the_secrets_and_that_is_written_down(self, site: Site) -> None:
        shown = site.get(f"/send?copy={CALL_ID}").body.decode()
        assert "https://service.test/orders?token=s3cr3t-c&amp;x=1" in shown
        assert site.steering.done == [("revealed", CALL_ID, "admin")]

    def test_a_copy_of_nothing_shows_nothing(self, site: Site) -> None:
        assert "none is not known" in text(site.get("/send?copy=none"))
        assert site.steering.done == []

    def test_whoever_may_look_gets_no_copy(self, site: Site) -> None:
        site.right = READ
        answer = site.get(f"/send?copy={CALL_ID}")
        assert answer.status == 403
        assert b"s3cr3t" not in answer.body
        assert site.steering.done == []

    def test_whoever_may_look_may_not_guess_secrets(self, site: Site) -> None:
        path = "/calls?url_prefix=https%3A%2F%2Fservice.test%2Forders%3Ftoken%3Ds"
        assert site.get(path).status == 200
        site.right = READ
        assert site.get(path).status == 403


def test_hostile_content_is_text(site: Site) -> None:
    attempt = structs.replace(ATTEMPTED, answer=HOSTILE, text=HOSTILE)
    site.view.known = [
        structs.replace(
            SEEN,
            url=f"https://service.test/{HOSTILE}",
            labels=(HOSTILE,),
            headers=((HOSTILE, HOSTILE),),
            body=HOSTILE.encode(errors="replace"),
            body_bytes=100,
            last=attempt,
        )
    ]
    site.view.decided = [Decided("paused", 1.0, HOSTILE, (HOSTILE,), HOSTILE)]
    site.view.found = [
        Group(HOSTILE, None, HOSTILE, HOSTILE, 1, 1.0, 1.0, "x", HOSTILE)
    ]
    site.view.tallies = {HOSTILE: Tally({"waiting": 1}, 1.0, attempt)}
    for path in (*PAGES, f"/send?copy={CALL_ID}"):
        shown = site.get(path)
        assert shown.status == 200
        assert b"<script>alert" not in shown.body
        assert shown.body.decode()


def test_static_files_are_those_that_there_are(site: Site) -> None:
    site.right = None
    assert site.get("/static/mspc.css").headers["content-type"].startswith("text/css")
    assert site.get("/static/..%2frendering.py").status == 404
    assert site.get("/static/none").status == 404


def test_the_overview_says_how_many_have_died_in_the_last_hour(site: Site) -> None:
    """Whenever the first one of their cause did; or as many as are there still."""
    group = Group("rejected", 404, "", DESTINATION, 9, AT - 7200, AT, CALL_ID, "")
    site.view.found = [group]
    assert "240 in 1 h" in text(site.get("/"))
    now = time.time()
    site.view.found = [replace(group, count=300, first_at=now, last_at=now)]
    assert "300 in 1 h" in text(site.get("/"))


class TestDecisions:
    def test_of_some_kinds_alone(self, site: Site) -> None:
        paused = Decided("paused", AT, "ann", (DESTINATION,))
        retried = Decided("retried", AT, "bob", (CALL_ID, "b", "c"), details={})
        site.view.decided = [retried, paused]
        shown = text(site.get("/decisions"))
        assert "and 2 more" in shown
        assert "ann" in shown
        shown = text(site.get("/decisions?what=pauses"))
        assert "ann" in shown
        assert "bob" not in shown
        shown = text(site.get(f"/decisions?of={CALL_ID}"))
        assert "bob" in shown
        assert "ann" not in shown
        assert "Nobody has decided" in text(site.get("/decisions?what=limits"))

    def test_of_a_destination_however_it_is_spelt(self, site: Site) -> None:
        site.view.decided = [Decided("paused", AT, "ann", ("http://a.example:80",))]
        shown = text(site.get("/decisions?of=http%3A%2F%2FA.example"))
        assert "ann" in shown

    def test_more_than_are_shown(self, site: Site) -> None:
        site.view.decided = 201 * [Decided("paused", AT, "ann", (DESTINATION,))]
        assert "The newest 200." in text(site.get("/decisions"))


@pytest.mark.parametrize(
    ("spooled", "shown"), [(None, False), (0, False), (1234, True)]
)
def test_the_overview_says_how_many_calls_are_in_the_spool(
    site: Site, spooled: int | None, shown: bool
) -> None:
    site.spooled = spooled
    told = text(site.get("/"))
    assert ("In the spool" in told) == shown
    assert ("1,234" in told) == shown
