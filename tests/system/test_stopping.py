"""SIGTERM: no new calls, what is in flight is finished, exit code 0."""

import signal
import time

import pytest

from tests.support.target import Target
from tests.support.waiting import eventually
from tests.system.conftest import StartOnQueue
from tests.system.raw_http import answer, connected


def test_an_attempt_in_flight_is_finished(start: StartOnQueue, target: Target) -> None:
    mspc = start()
    target.answer("/in-flight", delay=0.5)
    call_id = mspc.post({"url": target.url("/in-flight")}).json["id"]
    target.wait_for(1, "/in-flight")
    mspc.terminate()
    assert mspc.wait() == 0
    mspc.wait_for_log(f"INFO {call_id} .* -> 200 in .*: done$")
    mspc.wait_for_log("mspc has stopped$")

    # What was left over would be made before a call that comes later.
    mspc.restart()
    mspc.post({"url": target.url("/sentinel")})
    target.wait_for(1, "/sentinel")
    assert len(target.hits_of("/in-flight")) == 1


def test_a_failure_while_stopping_is_kept(start: StartOnQueue, target: Target) -> None:
    mspc = start()
    target.answer("/fails", status=500, delay=0.5, times=1)
    call_id = mspc.post({"url": target.url("/fails")}).json["id"]
    target.wait_for(1, "/fails")
    mspc.terminate()
    assert mspc.wait() == 0
    mspc.wait_for_log(f"WARNING {call_id} .* -> 500 in .*attempt 1 failed")

    mspc.restart()
    mspc.wait_for_log(f"INFO {call_id} .* -> 200 in .*: done$")
    assert len(target.hits_of("/fails")) == 2


def test_an_attempt_that_takes_too_long_is_made_again(
    start: StartOnQueue, target: Target
) -> None:
    mspc = start(SHUTDOWN_TIMEOUT_SECONDS="1")
    target.answer("/too-long", delay=60, times=1)
    call_id = mspc.post({"url": target.url("/too-long")}).json["id"]
    target.wait_for(1, "/too-long")
    mspc.terminate()
    assert mspc.wait(10) == 0
    mspc.wait_for_log("1 attempts were cut short")

    mspc.restart()
    mspc.wait_for_log(f"INFO {call_id} .* -> 200 in .*: done$")


def test_a_second_sigterm_leaves_at_once(start: StartOnQueue, target: Target) -> None:
    """From half a second after the first one on."""
    mspc = start()
    target.answer("/hangs", delay=60, times=1)
    call_id = mspc.post({"url": target.url("/hangs")}).json["id"]
    target.wait_for(1, "/hangs")
    mspc.terminate()
    mspc.wait_for_log("mspc is stopping$")
    mspc.wait_for_log("1 attempts are in flight: they have [0-9]+ s to end")

    def impatient() -> bool:
        if mspc.running:
            mspc.terminate()
        return not mspc.running

    eventually(impatient)
    assert mspc.wait(5) == 1
    mspc.wait_for_log("asked a second time")

    mspc.restart()
    mspc.wait_for_log(f"INFO {call_id} .* -> 200 in .*: done$")


@pytest.mark.parametrize("queue_kind", ["sqlite"], scope="module")
def test_a_signal_after_the_end_changes_nothing(start: StartOnQueue) -> None:
    mspc = start()
    mspc.terminate()
    mspc.wait_for_log("mspc has stopped$")
    while mspc.running:
        mspc.terminate()
    assert mspc.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("queue_kind", ["sqlite"], scope="module")
def test_idle_clients_do_not_delay_the_end(
    start: StartOnQueue, target: Target, number: int
) -> None:
    mspc = start()
    with connected(mspc) as silent, connected(mspc) as kept:
        kept.sendall(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n")
        assert answer(kept)[0] == 200
        mspc.signal(number)
        started = time.monotonic()
        assert mspc.wait() == 0
        assert time.monotonic() - started < 5  # of SHUTDOWN_TIMEOUT_SECONDS=30
        assert silent.recv(1) == b""
        assert kept.recv(1) == b""


@pytest.mark.parametrize("queue_kind", ["sqlite"], scope="module")
def test_a_request_that_has_begun_is_answered(
    start: StartOnQueue, target: Target
) -> None:
    mspc = start()
    call = b'{"url": "%b"}' % target.url("/begun").encode()
    with connected(mspc) as client:
        client.sendall(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n"
            b"Expect: 100-continue\r\n\r\n" % len(call)
        )
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        mspc.terminate()
        mspc.wait_for_log("mspc is stopping$")
        client.sendall(call)
        status, headers, content = answer(client)
    assert (status, headers["connection"]) == (202, "close")
    assert mspc.wait() == 0

    mspc.restart()
    (hit,) = target.wait_for(1, "/begun")
    assert hit.headers["idempotency-key"] == content["id"]


@pytest.mark.parametrize("queue_kind", ["sqlite"], scope="module")
def test_a_slow_client_has_no_attempt_begun_that_is_cut_short(
    start: StartOnQueue, target: Target
) -> None:
    mspc = start(SHUTDOWN_TIMEOUT_SECONDS="8")
    target.answer("/later", delay=4)
    mspc.post({"url": target.url("/later"), "delay": "6s"})
    with connected(mspc) as client:
        client.sendall(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        mspc.terminate()
        mspc.wait_for_log("Connections not finished in time: 1$")
        assert mspc.wait() == 0
    assert "cut short" not in mspc.output
    assert not target.hits_of("/later")

    mspc.restart()
    target.wait_for(1, "/later")
