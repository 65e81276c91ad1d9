"""FAST_PUBLISH=1: stored unread, looked at when the call is made."""

import pytest

from tests.support.target import Target
from tests.system.conftest import QueueUnderTest, StartOnQueue

GARBAGE = (
    b"garbage",
    b"\x00\xff\xfe",
    b"[]",
    b"{}",
    b'{"method": "POST"}',
    b'{"url": "nowhere"}',
    b"[" * 100_000,
    b" ",
)


def test_calls_are_stored_unread(
    start: StartOnQueue, queue: QueueUnderTest, target: Target
) -> None:
    mspc = start(FAST_PUBLISH="1")
    call = {"url": target.url("/fast"), "method": "POST", "body": "[1]"}
    for content in (*GARBAGE, b"", call):
        response = mspc.post(content)
        assert response.status == 200
        assert response.headers["content-type"] == "application/json; charset=UTF-8"
        assert response.json == {"error": False, "message": "OK"}

    # What cannot be sent does not stop what comes after it.
    (hit,) = target.wait_for(1, "/fast")
    assert (hit.method, hit.body) == ("POST", b"[1]")
    assert hit.headers["content-type"] == "application/json; charset=UTF-8"

    # Of the empty body there is nothing: neither a dead letter nor an accepted call.
    stored = len(GARBAGE) + 1
    mspc.wait_for_log(r"ERROR \w{32} is no call, now a dead letter", count=len(GARBAGE))
    mspc.wait_for_log(r"INFO \w{32} accepted unread, \d+ bytes$", count=stored)
    assert mspc.output.count(" accepted unread, ") == stored
    mspc.terminate()
    assert mspc.wait() == 0
    mspc.restart()
    assert queue.dead_letters(mspc) == len(GARBAGE)
    assert mspc.output.count("is no call") == len(GARBAGE)


@pytest.mark.parametrize("queue_kind", ["sqlite"])
def test_other_rules_hold(start: StartOnQueue) -> None:
    mspc = start(FAST_PUBLISH="1", AUTHORIZATION_KEY="key", MAX_REQUEST_BYTES="100")
    assert mspc.post(b"{}").status == 401
    assert mspc.post(b" " * 101, {"X-Authorization": "wrong"}).status == 401
    assert mspc.get("/").status == 405
