"""The pages, in a real browser, on both queues."""

from collections.abc import Iterator

import pytest

from tests.support.browser import DESKTOP, PHONE, Browser, browsing, missing
from tests.support.process import MspcProcess
from tests.support.target import Target
from tests.system.conftest import StartOnQueue

ADMIN_KEY, READ_KEY = "the-key-that-may-do-all", "the-key-that-may-look"
PATHS = ("", "calls", "dead", "destinations", "bulk", "decisions", "send")
HOSTILE = "<script>document.title = 'owned'</script>"
SETTINGS = {"ADMIN_KEY": ADMIN_KEY, "READ_KEY": READ_KEY}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    absent = missing()
    assert absent is None, f"missing: {absent}"
    with browsing() as browser:
        yield browser


@pytest.fixture
def mspc(start: StartOnQueue, browser: Browser) -> MspcProcess:
    """A service whose pages the browser has not seen."""
    mspc = start(SETTINGS)
    browser.open(url(mspc, "login"))
    browser.driver.delete_all_cookies()
    browser.size(DESKTOP)
    browser.scheme("light")
    browser.complaints()
    return mspc


def url(mspc: MspcProcess, path: str = "") -> str:
    return f"http://127.0.0.1:{mspc.admin_port}/{path}"


def log_in(browser: Browser, mspc: MspcProcess, key: str = ADMIN_KEY) -> None:
    browser.open(url(mspc, "login"))
    browser.fill("key", key)
    browser.button("Log in").click()
    browser.wait_for("Overview")


def some_calls(mspc: MspcProcess, target: Target) -> dict[str, str]:
    """One call in each state that stays; their ids by state."""
    target.answer("/dead", status=500, body=b"no room left", repeat=True)
    target.answer("/waits", status=503, repeat=True)
    wanted = {
        "succeeded": {"url": target.url("/good"), "labels": ["day:1"]},
        "dead": {"url": target.url("/dead"), "requeue": False},
        "waiting": {"url": target.url("/waits"), "backoff": [3600]},
    }
    ids = {}
    for state, call in wanted.items():
        ids[state] = mspc.post({"method": "POST", "body": "{}", **call}).json["id"]
    return ids


def test_every_page_reads_well(
    mspc: MspcProcess, browser: Browser, target: Target
) -> None:
    ids = some_calls(mspc, target)
    log_in(browser, mspc)
    for path in (*PATHS, *(f"calls/{one}" for one in ids.values())):
        for size in (DESKTOP, PHONE):
            for scheme in ("light", "dark"):
                browser.size(size)
                browser.scheme(scheme)
                browser.open(url(mspc, path))
                where = f"/{path} at {size[0]} px, {scheme}"
                assert not browser.findings(), where
                assert not browser.too_wide(), where
    assert browser.complaints() == []


def test_from_a_failure_to_its_cause_and_back(
    mspc: MspcProcess, browser: Browser, target: Target
) -> None:
    ids = some_calls(mspc, target)
    log_in(browser, mspc)
    browser.link("Dead letters").click()
    browser.wait_for("no requeue: 500")
    assert "no room left" in browser.text
    browser.link("no requeue: 500").click()
    browser.wait_for(ids["dead"][-12:])
    browser.one("tbody a").click()
    browser.wait_for("a dead letter: no requeue")
    target.answer("/dead", status=200, repeat=True)
    browser.button("Retry now").click()
    browser.wait_for("succeeded")
    assert browser.complaints() == []
