"""The pages, in a real browser, on both queues."""

import http.client
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from selenium.webdriver.common.keys import Keys

from mspc.pages.calls import PAGE_CALLS
from tests.support.browser import DESKTOP, PHONE, Browser, browsing, missing
from tests.support.process import MspcProcess
from tests.support.proxies import PagesProxy
from tests.support.target import Target
from tests.support.waiting import eventually
from tests.system.conftest import QueueUnderTest, StartOnQueue

ADMIN_KEY, READ_KEY = "the-key-that-may-do-all", "the-key-that-may-look"
SETTINGS = {
    "ADMIN_KEY": ADMIN_KEY,
    "READ_KEY": READ_KEY,
    "REQUEUE_FAILED_AFTER_MILLISECONDS": "3600000",
    "BREAKER_FAILURES": "0",
}
PATHS = ("", "calls", "dead", "destinations", "bulk", "decisions", "send")
MANY = 60  # more than a page shows
HOSTILE = "<script>document.title = 'owned'</script><img src=x onerror=alert(1)>"
BACKWARDS = "\u202e\u2066gnp.exe"

StartNginx = Callable[[int], int]

sqlite_only = pytest.mark.parametrize("queue_kind", ["sqlite"], scope="module")


@pytest.fixture(scope="module")
def installed() -> None:
    """All that these tests need, or they are skipped; or fail, with CI set."""
    absent = missing()
    if absent is not None:
        reason = f"not installed: {absent}"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}, and with CI set that is a failure", pytrace=False)
        pytest.skip(reason)


@pytest.fixture(scope="module")
def browser(installed: None) -> Iterator[Browser]:
    with browsing() as browser:
        yield browser


@pytest.fixture(scope="module")
def service(
    shared_queue: QueueUnderTest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MspcProcess]:
    """One for the module: each test has a target, so a destination, of its own."""
    directory: Path = tmp_path_factory.mktemp("pages") / "mspc"
    process = MspcProcess(directory, {**shared_queue.settings, **SETTINGS})
    process.start()
    try:
        process.wait_ready()
        yield process
    finally:
        process.kill()


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[StartNginx]:
    """Puts nginx in front of an operators' door, as docs/pages.md says; its port."""
    started: list[PagesProxy] = []

    def start(admin_port: int) -> int:
        started.append(PagesProxy(tmp_path / "nginx", admin_port))
        started[-1].start()
        return started[-1].port

    yield start
    for each in started:
        each.stop()


class Visit:
    """A browser at the pages of an mspc; nobody has logged in yet.

    Attributes:
        root: the address of the overview.
    """

    def __init__(self, browser: Browser, mspc: MspcProcess, target: Target) -> None:
        self.browser = browser
        self.mspc = mspc
        self.target = target
        self.root = f"http://127.0.0.1:{mspc.admin_port}/"
        self.place = f"http://127.0.0.1:{target.port}"

    def open(self, path: str = "") -> None:
        self.browser.open(self.root + path)

    def log_in(self, key: str = ADMIN_KEY) -> None:
        self.open("login")
        self.browser.fill("key", key)
        self.browser.button("Log in").click()
        self.browser.wait_for("Overview")

    def call(self, path: str = "/", **more: object) -> str:
        """Sends one; its id."""
        url = self.target.url(path)
        answer = self.mspc.post({"url": url, "method": "POST", **more})
        assert answer.status == 202, answer.body
        return str(answer.json["id"])

    def dead(self, count: int = 1, path: str = "/dead") -> list[str]:
        """Has calls die that are answered with a reason; their ids."""
        self.target.answer(path, status=500, body=b"no room left", times=count)
        ids = [self.call(path, requeue=False) for _ in range(count)]
        self.target.wait_for(count, path)
        self.wait_for_state("dead", count)
        return ids

    def wait_for_state(self, state: str, count: int) -> None:
        """Until so many calls of this test are in that state."""
        path = f"/v1/{self.calls(state=state)}"

        def reached() -> bool:
            return len(self.ask(path)["calls"]) >= count

        eventually(reached)

    def ask(self, path: str) -> Any:
        """What the operators' door tells programs."""
        door = http.client.HTTPConnection("127.0.0.1", self.mspc.admin_port, timeout=30)
        try:
            door.request("GET", path, headers={"Authorization": f"Bearer {ADMIN_KEY}"})
            return json.loads(door.getresponse().read())
        finally:
            door.close()

    def wait_for_path(self, path: str) -> None:
        eventually(lambda: self.browser.path == path)

    def calls(self, **wanted: str) -> str:
        """The list of this test's calls."""
        return f"calls?{urlencode({'destination': self.place, **wanted})}"

    @property
    def lane(self) -> str:
        """The page of this test's destination."""
        return f"destinations/{quote(self.place, safe='')}"


@pytest.fixture
def visit(browser: Browser, service: MspcProcess, target: Target) -> Iterator[Visit]:
    """The console has nothing to complain about afterwards, nor has mspc."""
    printed = len(service.output)
    visit = Visit(browser, service, target)
    visit.open("login")
    browser.driver.delete_all_cookies()
    browser.size(DESKTOP)
    browser.scheme("light")
    browser.complaints()
    yield visit
    assert browser.complaints() == []
    assert "Traceback" not in service.output[printed:]


class TestLookingAround:
    @sqlite_only
    def test_every_page_reads_well(self, visit: Visit) -> None:
        browser = visit.browser
        visit.log_in()
        (dead,) = visit.dead()
        visit.target.answer("/waits", status=503)
        waiting = visit.call("/waits", labels=["a:1"], body='{"a": [1, 2]}')
        visit.target.wait_for(1, "/waits")
        paths = (*PATHS, f"calls/{dead}", f"calls/{waiting}", visit.lane)
        for path in paths:
            browser.size(DESKTOP)
            browser.scheme("light")
            visit.open(path)
            assert browser.findings() == [], path
            assert browser.too_wide() == 0, path
            browser.scheme("dark")
            browser.size(PHONE)
            assert browser.too_wide() == 0, path
            assert browser.findings("color-contrast", "target-size") == [], path
            assert browser.complaints() == [], path

    @sqlite_only
    def test_nothing_has_happened_yet(
        self, start: StartOnQueue, browser: Browser, target: Target
    ) -> None:
        visit = Visit(browser, start(**SETTINGS), target)
        visit.log_in()
        for path, told in {
            "": "Every service answers",
            "calls": "Send one",
            "dead": "No call has died",
            "destinations": "No service has calls",
            "bulk": "Choose calls",
            "decisions": "Nobody has changed anything yet",
        }.items():
            visit.open(path)
            assert told in browser.text

    @sqlite_only
    def test_the_dark_is_dark(self, visit: Visit) -> None:
        shades = []
        for scheme in ("light", "dark"):
            visit.browser.scheme(scheme)
            visit.open("login")
            colour = visit.browser.one("html").value_of_css_property("background-color")
            shades.append(int(colour.partition("(")[2].partition(",")[0]))
        assert shades[0] > 200
        assert shades[1] < 50

    @sqlite_only
    def test_times_are_local_and_utc_on_hover(self, visit: Visit) -> None:
        visit.log_in()
        call_id = visit.call()
        try:
            visit.browser.place("en-GB", "Asia/Tokyo")
            visit.open(f"calls/{call_id}")
            time = visit.browser.one("time")
            utc = str(time.get_attribute("title"))
            assert utc.endswith("Z")
            hour = (int(utc[11:13]) + 9) % 24
            assert f"{hour:02}{utc[13:19]}" in time.text
        finally:
            visit.browser.place("en-GB", "UTC")

    @sqlite_only
    def test_the_address_says_what_is_shown(self, visit: Visit) -> None:
        browser = visit.browser
        visit.log_in()
        call_id = visit.call(labels=["only:this"])
        visit.open("calls")
        browser.fill("label", "only:this")
        browser.button("Filter").click()
        browser.wait_for("Clear")
        address = browser.driver.current_url
        assert "label=only" in address
        browser.one("tbody a").click()
        browser.wait_for(call_id)
        browser.driver.back()
        browser.wait_for(call_id[-12:])
        assert browser.driver.current_url == address
        browser.driver.refresh()
        assert len(browser.all("tbody tr")) == 1
        browser.link("Clear").click()
        assert browser.one("[name=label]").get_attribute("value") == ""

    @sqlite_only
    def test_older_calls_are_on_the_next_page(self, visit: Visit) -> None:
        browser = visit.browser
        visit.log_in()
        for _ in range(MANY):
            visit.call(delay="1h")
        visit.open(visit.calls())
        first = {box.get_attribute("value") for box in browser.all("[name=id]")}
        browser.link("Older calls").send_keys(Keys.ENTER)
        browser.wait_for("Newest calls")
        second = {box.get_attribute("value") for box in browser.all("[name=id]")}
        assert (len(first), len(second)) == (50, MANY - 50)
        assert not first & second


class TestSteering:
    def test_from_a_failure_to_its_cause_and_back(self, visit: Visit) -> None:
        browser = visit.browser
        visit.log_in()
        (dead,) = visit.dead()
        visit.open()
        browser.link("Dead letters").click()
        browser.wait_for("no requeue: 500")
        assert "no room left" in browser.text
        row = next(one for one in browser.all("tbody tr") if visit.place in one.text)
        row.find_element("css selector", "a").click()
        browser.wait_for(dead[-12:])
        browser.one("tbody a").click()
        browser.wait_for("a dead letter: no requeue")
        browser.button("Retry now").click()
        browser.wait_for("succeeded")
        visit.target.wait_for(2, "/dead")

    def test_a_call_is_sent_copied_and_cancelled(self, visit: Visit) -> None:
        browser = visit.browser
        visit.log_in()
        visit.open("send")
        browser.fill("url", visit.target.url("/new"))
        browser.fill("headers", "X-Tenant: a\nAuthorization: Bearer s3cret")
        browser.fill("body", '{"price": 1.10}')
        browser.fill("delay", "1h")
        browser.button("Send").click()
        browser.wait_for('"price": 1.10')
        assert "s3cret" not in browser.text
        browser.button("Show secrets").click()
        browser.wait_for("Bearer s3cret")
        assert not browser.one("#live").is_displayed()  # its address takes forms only
        browser.link("Send a copy").click()
        browser.wait_for("Send a call")
        browser.fill("labels", "copy:1")
        browser.button("Send").click()
        browser.wait_for("copy:1")
        (hit,) = visit.target.wait_for(1, "/new")
        assert (hit.headers["x-tenant"], hit.body) == ("a", b'{"price": 1.10}')
        visit.open(visit.calls(state="waiting"))
        browser.one("tbody a").click()
        browser.button("Cancel").click()
        browser.wait_for("cancelled")
        browser.link("Decisions").click()
        browser.wait_for("cancelled")
        assert "revealed" in browser.text

    def test_a_destination_is_paused_limited_and_resumed(self, visit: Visit) -> None:
        browser = visit.browser
        visit.log_in()
        visit.open(visit.lane)
        browser.fill("reason", "they move house")
        browser.button("Pause").click()
        browser.wait_for("neither made nor aged, until resumed")
        visit.call("/paused")
        visit.open(visit.calls())
        assert "queued (paused)" in browser.text
        visit.open("")
        browser.wait_for(visit.place)
        assert "paused" in browser.text
        visit.open(visit.lane)
        browser.fill("rate", "7")
        browser.fill("parallelism", "2")
        browser.button("Set").click()
        browser.wait_for("7 per second, 2 at once")
        browser.button("Take back").click()
        browser.wait_for("none")
        browser.button("Resume").click()
        browser.wait_for("ok")
        visit.target.wait_for(1, "/paused")
        visit.open("decisions")
        assert "they move house" in browser.text

    def test_all_that_match_are_retried_beyond_the_page(self, visit: Visit) -> None:
        browser = visit.browser
        visit.log_in()
        visit.dead(MANY)
        visit.open(visit.calls(state="dead"))
        browser.button("Retry all…").click()
        browser.wait_for(f"Retry {MANY} calls?")
        browser.fill("reason", "there is room again")
        browser.button("Retry").click()
        browser.wait_for("there is room again")
        visit.target.wait_for(2 * MANY, "/dead")
        browser.wait_for("done")

    def test_those_selected_are_deleted(self, visit: Visit) -> None:
        browser = visit.browser
        visit.log_in()
        ids = visit.dead(3)
        visit.open(visit.calls(state="dead"))
        for call_id in ids[1:]:
            browser.tick("id", call_id)
        browser.wait_for("2 selected")
        browser.button("Delete dead").click()
        browser.wait_for("Delete 2 calls?")
        browser.button("Delete").click()
        browser.wait_for("done")
        visit.open(visit.calls(state="dead"))
        browser.wait_for(ids[0][-12:])
        assert len(browser.all("tbody tr")) == 1

    @sqlite_only
    def test_a_job_is_stopped(self, visit: Visit) -> None:
        browser = visit.browser
        visit.log_in()
        visit.dead(5)
        visit.open(visit.calls(state="dead"))
        browser.button("Retry all…").click()
        browser.wait_for("Retry 5 calls?")
        browser.fill("per_second", "1")
        browser.button("Retry").click()
        browser.wait_for("running")
        browser.press("Stop")  # of a page that refreshes itself
        browser.wait_for("stopped")
        assert len(visit.target.hits) < 10


class TestTheScript:
    def test_the_page_stays_fresh_and_keeps_what_is_selected(
        self, visit: Visit
    ) -> None:
        browser = visit.browser
        visit.log_in()
        first = visit.call(delay="1h")
        visit.open(visit.calls())
        browser.one("[name=id]").click()
        second = visit.call(delay="1h")
        browser.look_again()
        browser.wait_for(second[-12:])
        assert "1 selected" in browser.text
        assert browser.one(f"[value='{first}']").is_selected()
        assert not browser.one(f"[value='{second}']").is_selected()

    @sqlite_only
    def test_what_is_selected_is_not_pushed_off_the_page(self, visit: Visit) -> None:
        """The list waits; the numbers above it go on."""
        browser = visit.browser
        visit.log_in()
        selected = visit.call(delay="1h")
        visit.open(visit.calls())
        browser.one("[name=id]").click()
        for _ in range(PAGE_CALLS):
            newest = visit.call(delay="1h")
        browser.look_again()
        browser.wait_for("Selecting")
        assert browser.one(f"[value='{selected}']").is_selected()
        assert newest[-12:] not in browser.text
        browser.one(f"[value='{selected}']").click()
        browser.look_again()
        browser.wait_for(newest[-12:])
        browser.wait_for("Live")

    @sqlite_only
    def test_the_focus_stays_where_it_is(self, visit: Visit) -> None:
        """Also on what has no name of its own."""
        browser = visit.browser
        visit.log_in()
        visit.open("")
        run = browser.driver.execute_script
        run("document.querySelectorAll('a.tile')[3].focus()")
        waiting = "return document.querySelectorAll('.tile .big')[2].textContent"
        before = run(waiting)
        visit.call(delay="1h")
        browser.look_again()
        eventually(lambda: run(waiting) != before)
        assert run(
            "return document.activeElement === document.querySelectorAll('a.tile')[3]"
        )

    @sqlite_only
    def test_it_asks_only_while_somebody_looks_and_wants_it(self, visit: Visit) -> None:
        browser = visit.browser
        visit.log_in()
        visit.open("calls")
        browser.driver.execute_script(
            "window.asked = 0; const real = fetch;"
            " window.fetch = (...all) => { asked += 1; return real(...all); };"
        )
        assert self.asks(browser)
        browser.driver.execute_script("document.hasFocus = () => false")
        assert not self.asks(browser)
        browser.driver.execute_script("delete document.hasFocus")
        assert self.asks(browser)
        browser.driver.execute_script("getSelection().selectAllChildren(document.body)")
        assert self.asks(browser)  # what is marked begins elsewhere
        browser.driver.execute_script(
            "getSelection().selectAllChildren(document.querySelector('[data-live]'))"
        )
        assert not self.asks(browser)
        browser.driver.execute_script("getSelection().removeAllRanges()")
        browser.keys("p")
        browser.wait_for("Paused")
        assert not self.asks(browser)
        browser.driver.refresh()  # the choice is kept
        browser.wait_for("Paused")
        browser.keys("p")
        browser.wait_for("Live")

    def asks(self, browser: Browser) -> bool:
        """Whether the page asks for news when its user comes back to it."""
        before, after = browser.driver.execute_script(
            "const before = asked; dispatchEvent(new Event('focus'));"
            " return [before, asked]"
        )
        return bool(after > before)

    @sqlite_only
    def test_the_keyboard_goes_everywhere(self, visit: Visit) -> None:
        browser = visit.browser
        visit.log_in()
        ids = [visit.call(delay="1h") for _ in range(2)]
        for key, title in zip("cdsjeno", PATHS[1:], strict=False):
            browser.keys("g", key)
            visit.wait_for_path(f"/{title}")
        browser.keys("?")
        browser.wait_for("next and previous row")
        browser.keys(Keys.ESCAPE)
        visit.open(visit.calls())
        browser.keys("j", "j")
        browser.driver.switch_to.active_element.send_keys("x")
        assert browser.one(f"[value='{ids[0]}']").is_selected()
        browser.driver.switch_to.active_element.send_keys("k")
        browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
        visit.wait_for_path(f"/calls/{ids[1]}")
        visit.open("calls")
        browser.keys("/")
        assert browser.driver.switch_to.active_element.get_attribute("id") == "search"

    @sqlite_only
    def test_something_is_copied(self, visit: Visit) -> None:
        browser = visit.browser
        visit.log_in()
        call_id = visit.call(delay="1h")
        visit.open(f"calls/{call_id}")
        # As on a page without TLS, where there is no clipboard to ask.
        browser.driver.execute_script(
            "Object.defineProperty(window, 'isSecureContext', {value: false})"
        )
        browser.button("Copy").click()
        browser.wait_for("Copied")
        visit.open("calls")
        browser.one("#search").send_keys(Keys.CONTROL, "v")
        assert browser.one("#search").get_attribute("value") == call_id

    @sqlite_only
    def test_all_of_it_works_without(
        self, service: MspcProcess, target: Target
    ) -> None:
        with browsing(script=False) as browser:
            visit = Visit(browser, service, target)
            visit.log_in()
            visit.dead(2)
            visit.open("dead")
            assert "UTC" in browser.text
            # What needs a script is not there.
            assert not browser.one("#live").is_displayed()
            assert not browser.one("#keys").is_displayed()
            row = next(o for o in browser.all("tbody tr") if visit.place in o.text)
            row.find_element("css selector", "button").click()
            browser.wait_for("Retry 2 calls?")
            browser.button("Retry").click()
            target.wait_for(4, "/dead")


@sqlite_only
def test_they_are_found_below_a_prefix(
    start: StartOnQueue, browser: Browser, target: Target, nginx: StartNginx
) -> None:
    mspc = start(**SETTINGS, ADMIN_PREFIX="/mspc")
    visit = Visit(browser, mspc, target)
    visit.open("login")  # else the page of the last test may go there by itself, later
    browser.driver.delete_all_cookies()
    visit.root = f"http://localhost:{nginx(mspc.admin_port)}/mspc/"
    visit.open("calls?state=waiting")
    browser.fill("key", ADMIN_KEY)
    browser.button("Log in").click()
    browser.wait_for("No call is like that")
    assert browser.driver.current_url == f"{visit.root}calls?state=waiting"
    call_id = visit.call(delay="1h")
    browser.wait_for(call_id[-12:])
    browser.one("tbody a").click()
    browser.wait_for("asked for no sooner")
    browser.button("Cancel").click()
    browser.wait_for("cancelled")
    browser.link("Overview").click()
    browser.wait_for("Accepted")
    assert browser.driver.current_url == visit.root
    assert browser.complaints() == []


@sqlite_only
class TestStrangers:
    def test_a_key_is_asked_for(self, visit: Visit) -> None:
        browser = visit.browser
        visit.open("calls?state=dead")
        browser.wait_for("Log in")
        browser.fill("key", "a-key-that-is-none")
        browser.button("Log in").click()
        browser.wait_for("neither ADMIN_KEY nor READ_KEY")
        assert any("403" in one for one in browser.complaints())
        browser.fill("key", ADMIN_KEY)
        browser.button("Log in").click()
        browser.wait_for("Log out")
        assert browser.driver.current_url == f"{visit.root}calls?state=dead"
        browser.button("Log out").click()
        browser.wait_for("Log in")
        visit.open("")
        browser.wait_for("Log in")

    def test_an_altered_cookie_opens_nothing(self, visit: Visit) -> None:
        browser = visit.browser
        visit.log_in(READ_KEY)
        (cookie,) = browser.driver.get_cookies()
        assert cookie["httpOnly"]
        assert cookie["sameSite"] == "Strict"
        cookie["value"] = cookie["value"].replace("read", "admin")
        browser.driver.delete_all_cookies()
        browser.driver.add_cookie(cookie)
        visit.open("")
        browser.wait_for("Log in")

    def test_the_read_key_changes_nothing(self, visit: Visit) -> None:
        browser = visit.browser
        visit.log_in(READ_KEY)
        call_id = visit.call(delay="1h")
        visit.open(f"calls/{call_id}")
        assert "read only" in browser.text
        assert [one.text for one in browser.all("form button")] == [
            "Log out (read only)",
            "",
        ]
        browser.driver.execute_script(
            "const form = document.createElement('form');"
            " form.method = 'post'; form.action = arguments[0];"
            " document.body.append(form); form.submit();",
            f"{visit.root}calls/{call_id}/cancel",
        )
        browser.wait_for("READ_KEY may look only")
        assert any("403" in one for one in browser.complaints())
        visit.open(f"calls/{call_id}")
        assert "waiting" in browser.text

    def test_a_page_of_another_site_changes_nothing(self, visit: Visit) -> None:
        browser = visit.browser
        visit.log_in()
        call_id = visit.call(delay="1h")
        form = f"<form method=post action='{visit.root}calls/{call_id}/cancel'><button>"
        evil = f"{form}Win</button></form>".encode()
        html = {"Content-Type": "text/html"}
        visit.target.answer("/evil", body=evil, headers=html)
        browser.open(visit.target.url("/evil"))
        browser.button("Win").click()
        browser.wait_for("A page of another site has sent this")
        assert any("403" in one for one in browser.complaints())
        visit.open(f"calls/{call_id}")
        assert "waiting" in browser.text

    def test_what_strangers_sent_is_text(self, visit: Visit) -> None:
        browser = visit.browser
        visit.log_in()
        answer = f"{HOSTILE}{BACKWARDS}".encode() + b"\xff\xfe"
        visit.target.answer(status=500, body=answer)
        call_id = visit.call(
            f"/{HOSTILE.replace(' ', '%20')}",
            requeue=False,
            headers={"X-Hostile": HOSTILE, "Content-Type": "text/html"},
            body=HOSTILE + "x" * 1_000_000,
        )
        visit.wait_for_state("dead", 1)
        for path in ("", "calls", f"calls/{call_id}", "dead", f"send?copy={call_id}"):
            visit.open(path)
            assert browser.all("img[src=x]") == [], path
            assert browser.driver.title != "owned", path
            assert browser.too_wide() == 0, path
        visit.open(f"calls/{call_id}")
        assert HOSTILE in browser.text
        assert "the first 4,096 of 1,0" in browser.text

    def test_bytes_that_are_no_text(self, visit: Visit) -> None:
        visit.log_in()
        call_id = visit.call(body_base64="/wD+gA==")
        visit.open(f"calls/{call_id}")
        assert "ff 00 fe 80" in visit.browser.text
