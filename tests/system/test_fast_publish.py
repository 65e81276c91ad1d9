"""FAST_PUBLISH=1: stored unread, looked at when the call is made."""

import json
import re
from typing import Any

import pytest

from tests.support.process import MspcProcess
from tests.support.target import Hit, Target
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
        told = dict(response.json)
        if content:
            assert re.fullmatch(r"[0-9a-f]{32}", told.pop("id"))
        assert told == {"error": False, "message": "OK"}

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


# The url is put in; what is sent instead of what parse() would have taken.
SENDABLE: dict[str, tuple[dict[str, Any], bytes]] = {
    "neither JSON nor XML": ({"body": "not json nor xml"}, b"not json nor xml"),
    "JSON itself": ({"body": {"n": 1}}, b'{"n": 1}'),
    "another property": ({"body": "[1]", "callback": "x"}, b"[1]"),
    "requeue as a text": ({"body": "[2]", "requeue": "true"}, b"[2]"),
    "a header with an end": ({"body": "[3]", "headers": {"X": "1\n"}}, b"[3]"),
}


def assert_sent(hits: list[Hit], mspc: MspcProcess) -> None:
    found = sorted((hit.method, hit.body) for hit in hits)
    assert found == sorted(("POST", body) for _, body in SENDABLE.values())
    assert "a dead letter" not in mspc.output


def test_what_can_be_sent_is_sent(start: StartOnQueue, target: Target) -> None:
    mspc = start(FAST_PUBLISH="1")
    for name, (properties, _) in SENDABLE.items():
        url = target.url("/odd")
        response = mspc.post({"url": url, "method": "POST", **properties})
        assert response.status == 200, name
        mspc.wait_for_log(rf"{response.json['id']} POST \S+ -> 200 in \d+ ms: done")
    assert_sent(target.wait_for(len(SENDABLE), "/odd"), mspc)


@pytest.mark.parametrize("queue_kind", ["rabbitmq"])
def test_what_another_producer_can_mean_is_sent(
    start: StartOnQueue, queue: QueueUnderTest, target: Target
) -> None:
    mspc = start()
    assert queue.broker is not None
    with queue.broker.connect() as connection, connection.channel() as channel:
        channel.confirm_deliveries()  # a channel that closes may take others with it
        for properties, _ in SENDABLE.values():
            call = {"url": target.url("/odd"), "method": "POST", **properties}
            channel.basic.publish(json.dumps(call), queue.name)
    assert_sent(target.wait_for(len(SENDABLE), "/odd"), mspc)


@pytest.mark.parametrize("queue_kind", ["sqlite"])
def test_other_rules_hold(start: StartOnQueue) -> None:
    mspc = start(FAST_PUBLISH="1", AUTHORIZATION_KEY="key", MAX_REQUEST_BYTES="100")
    assert mspc.post(b"{}").status == 401
    assert mspc.post(b" " * 101, {"X-Authorization": "wrong"}).status == 401
    assert mspc.get("/").status == 405
