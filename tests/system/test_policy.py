"""What a call says of when, how often and how long it is made, property by property."""

import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from tests.support.process import MspcProcess
from tests.support.target import Hit, Target
from tests.system.conftest import RETRY_SECONDS, QueueUnderTest, StartOnQueue

LATE_SECONDS = 1.0
TOLERANCE_SECONDS = 0.05  # both clocks are read some time after the event


def gaps(hits: list[Hit]) -> list[float]:
    return [later.at - sooner.at for sooner, later in itertools.pairwise(hits)]


def close(found: float, wanted: float) -> bool:
    return wanted - TOLERANCE_SECONDS <= found <= wanted + LATE_SECONDS


@pytest.mark.parametrize("delay", [0, 1.2, "2s", "500ms"])
def test_delay(mspc: MspcProcess, target: Target, delay: object) -> None:
    seconds = {"2s": 2.0, "500ms": 0.5}.get(str(delay)) or float(str(delay))
    posted = time.monotonic()
    answer = mspc.post({"url": target.url("/later"), "delay": delay})
    assert answer.status == 202
    assert time.monotonic() - posted < LATE_SECONDS
    (hit,) = target.wait_for(1, "/later")
    assert close(hit.at - posted, seconds)
    assert hit.headers["mspc-attempt"] == "1"


@pytest.mark.parametrize("form", [datetime.isoformat, datetime.timestamp])
def test_not_before(
    mspc: MspcProcess, target: Target, form: Callable[[datetime], object]
) -> None:
    due = datetime.now(UTC) + timedelta(seconds=1.5)
    until = time.monotonic() + 1.5
    mspc.post({"url": target.url("/then"), "not_before": form(due)})
    mspc.post({"url": target.url("/over"), "not_before": 0})
    (over,) = target.wait_for(1, "/over")
    assert over.at < until
    (hit,) = target.wait_for(1, "/then")
    assert close(hit.at - until, 0)


def test_a_call_that_waits_for_its_first_attempt_survives_a_kill(
    start: StartOnQueue, target: Target
) -> None:
    mspc = start()
    posted = time.monotonic()
    for delay in (3, 5):
        mspc.post({"url": target.url(f"/{delay}"), "delay": delay})
    mspc.kill()
    mspc.restart()
    for delay in (3, 5):
        (hit,) = target.wait_for(1, f"/{delay}")
        assert close(hit.at - posted, delay)


def test_delay_that_nobody_has_read(start: StartOnQueue, target: Target) -> None:
    """With FAST_PUBLISH a call is looked at when it is to be made."""
    mspc = start(FAST_PUBLISH="1")
    posted = time.monotonic()
    answer = mspc.post({"url": target.url("/unread"), "delay": 2})
    assert answer.status == 200
    (hit,) = target.wait_for(1, "/unread")
    assert close(hit.at - posted, 2)
    assert hit.headers["mspc-attempt"] == "1"


def test_max_attempts(
    start: StartOnQueue, queue: QueueUnderTest, target: Target
) -> None:
    mspc = start()
    target.answer("/often", status=500)
    call = {"url": target.url("/often"), "max_attempts": 3}
    call_id = mspc.post(call).json["id"]
    mspc.wait_for_log(f"ERROR {call_id} GET .*/often -> 500 in .*: a dead letter$")
    assert len(target.hits_of("/often")) == 3
    told = queue.replay(mspc)
    assert told["reason"] == "max_attempts: 3 failed, the last with 500"
    assert told["attempts"] == 3
    assert told["last_error"] == "500"


def test_max_age(start: StartOnQueue, queue: QueueUnderTest, target: Target) -> None:
    mspc = start()
    target.answer("/old", status=503)
    call = {"url": target.url("/old"), "max_age": 2, "delay": 1}
    call_id = mspc.post(call).json["id"]
    mspc.wait_for_log(f"ERROR {call_id} GET .*/old -> 503 in .*: a dead letter$")
    hits = target.hits_of("/old")
    assert 2 <= len(hits) <= 1 + 2 / RETRY_SECONDS
    assert hits[-1].at - hits[0].at <= 2
    assert str(queue.replay(mspc)["reason"]).startswith("max_age: 2 s would be over")


def test_max_age_of_a_call_that_mspc_was_down_for(
    start: StartOnQueue, target: Target
) -> None:
    target.answer("/missed", status=500)
    mspc = start()
    call = {"url": target.url("/missed"), "delay": 1, "max_age": 1}
    call_id = mspc.post(call).json["id"]
    mspc.kill()
    time.sleep(2.2)
    mspc.restart()
    told = f"ERROR {call_id} GET .*/missed -> a dead letter: max_age: 1 s would be over"
    mspc.wait_for_log(told)
    assert target.hits_of("/missed") == []


def test_backoff(mspc: MspcProcess, target: Target) -> None:
    target.answer("/less", status=500, times=4)
    backoff = {"initial": "500ms", "factor": 2, "max": 1.5}
    mspc.post({"url": target.url("/less"), "backoff": backoff})
    hits = target.wait_for(5, "/less")
    pairs = zip(gaps(hits), (0.5, 1.0, 1.5, 1.5), strict=True)
    assert all(close(gap, delay) for gap, delay in pairs)


def test_backoff_of_a_list(mspc: MspcProcess, target: Target) -> None:
    target.answer("/steps", status=500, times=3)
    mspc.post({"url": target.url("/steps"), "backoff": ["300ms", 1.1]})
    hits = target.wait_for(4, "/steps")
    pairs = zip(gaps(hits), (0.3, 1.1, 1.1), strict=True)
    assert all(close(gap, delay) for gap, delay in pairs)


def test_timeout(mspc: MspcProcess, target: Target) -> None:
    target.answer("/slow", delay=30, times=1)
    call_id = mspc.post({"url": target.url("/slow"), "timeout": "700ms"}).json["id"]
    mspc.wait_for_log(f"WARNING {call_id} .* -> no answer within 0.7 s in .*failed")
    first, second = target.wait_for(2, "/slow")
    assert close(second.at - first.at, 0.7 + RETRY_SECONDS)


def test_permanent(mspc: MspcProcess, target: Target) -> None:
    for status in (404, 410):
        target.answer("/gone", status=status, times=1)
    call = {"url": target.url("/gone"), "permanent": ["410", "5xx"]}
    call_id = mspc.post(call).json["id"]
    mspc.wait_for_log(f"ERROR {call_id} GET .*/gone -> 410 in .*: a dead letter$")
    assert len(target.hits_of("/gone")) == 2


def test_labels(mspc: MspcProcess, target: Target) -> None:
    call = {"url": target.url("/named"), "labels": ["order-7", "shop/eu"]}
    call_id = mspc.post(call).json["id"]
    mspc.wait_for_log(rf"INFO {call_id} accepted .* \[order-7, shop/eu\]$")
    mspc.wait_for_log(rf"INFO {call_id} .*: done \[order-7, shop/eu\]$")


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after(mspc: MspcProcess, target: Target, status: int, form: str) -> None:
    value = "2"
    if form == "date":  # of whole seconds
        value = format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)
    path = f"/{status}/{form}"
    target.answer(path, status=status, headers={"Retry-After": value}, times=1)
    mspc.post({"url": target.url(path)})
    first, second = target.wait_for(2, path)
    assert close(second.at - first.at, 2) or form == "date"
    assert 1.5 <= second.at - first.at <= 4.5


@pytest.mark.parametrize("value", ["soon", "", "-5", "0", "1e9", "Mon, 99 Foo"])
def test_retry_after_that_nobody_understands(
    mspc: MspcProcess, target: Target, value: str
) -> None:
    target.answer("/odd", status=503, headers={"Retry-After": value}, times=1)
    mspc.post({"url": target.url("/odd")})
    first, second = target.wait_for(2, "/odd")
    assert close(second.at - first.at, RETRY_SECONDS)


def test_retry_after_never_shortens_a_delay(mspc: MspcProcess, target: Target) -> None:
    target.answer("/less", status=503, headers={"Retry-After": "1"}, times=1)
    mspc.post({"url": target.url("/less"), "backoff": [2]})
    first, second = target.wait_for(2, "/less")
    assert close(second.at - first.at, 2)


def test_settings_are_for_calls_that_say_nothing(
    start: StartOnQueue, target: Target
) -> None:
    mspc = start(
        REQUEUE_FAILED_AFTER_MILLISECONDS="300",
        REQUEUE_BACKOFF_FACTOR="3",
        REQUEUE_LONGEST_DELAY_SECONDS="1",
        REQUEUE_MAX_ATTEMPTS="4",
        PERMANENT_STATUSES="410, 3xx",
    )
    target.answer("/bad", status=500)
    target.answer("/gone", status=301)
    ids = [
        mspc.post({"url": target.url(path)}).json["id"] for path in ("/bad", "/gone")
    ]
    for call_id in ids:
        mspc.wait_for_log(f"ERROR {call_id} GET .* -> .* a dead letter$")
    hits = target.hits_of("/bad")
    pairs = zip(gaps(hits), (0.3, 0.9, 1.0), strict=True)
    assert all(close(gap, delay) for gap, delay in pairs)
    assert len(target.hits_of("/gone")) == 1
    own = mspc.post({"url": target.url("/bad"), "max_attempts": 5}).json["id"]
    mspc.wait_for_log(f"ERROR {own} GET .* -> .* a dead letter$")
    assert len(target.hits_of("/bad")) == 4 + 5


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Type": "application/x-www-form-urlencoded"}, "a=1&b=%C3%B6"),
        ({"content-type": "text/plain; charset=utf-8"}, "grüße\r\n\x00\n"),
    ],
)
def test_a_body_of_a_type_of_its_own(
    mspc: MspcProcess, target: Target, headers: dict[str, str], body: str
) -> None:
    call = {"url": target.url("/text"), "method": "POST", "headers": headers}
    mspc.post({**call, "body": body})
    (hit,) = target.wait_for(1, "/text")
    assert hit.body == body.encode()
    assert hit.headers["content-type"] == next(iter(headers.values()))


def test_a_body_of_any_bytes(mspc: MspcProcess, target: Target) -> None:
    content = "AAEC//79"
    call = {"url": target.url("/bytes"), "method": "PUT", "body_base64": content}
    mspc.post(call)
    (hit,) = target.wait_for(1, "/bytes")
    assert hit.body == b"\x00\x01\x02\xff\xfe\xfd"
    assert "content-type" not in hit.headers


WRONG = {
    "delay": "tomorrow",
    "not_before": "2030-01-01T08:00:00",
    "max_attempts": 0,
    "max_age": "0s",
    "backoff": {"factor": 0},
    "timeout": 601,
    "permanent": [200],
    "labels": ["no spaces"],
    "body_base64": "?",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_refused_with_a_sentence(
    mspc: MspcProcess, target: Target, name: str
) -> None:
    answer = mspc.post({"url": target.url("/wrong"), name: WRONG[name]})
    assert answer.status == 400
    assert answer.json["message"].startswith(
        (f"{name} must ", f'{name}["factor"] must ')
    )


def test_all_wrong_values_are_told_at_once(mspc: MspcProcess, target: Target) -> None:
    answer = mspc.post({"url": target.url("/wrong"), **WRONG})
    assert answer.status == 400
    assert all(name in answer.json["message"] for name in WRONG)
