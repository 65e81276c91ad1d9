"""The tests' own tools: what they record can be relied on."""

import http.client
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.children import free_port
from tests.support.target import Target

PROJECT = Path(__file__).parents[2]


def call(
    target: Target, method: str = "GET", path: str = "/", body: bytes | None = None
) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=5)
    try:
        connection.request(method, path, body, {"X-Case": "Kept"})
        return connection.getresponse().status
    finally:
        connection.close()


def test_target_records_what_came_over_the_wire(target: Target) -> None:
    assert call(target, "PATCH", "/a?b=%20", b"\x00\xff") == 200

    (hit,) = target.wait_for(1, "/a")
    assert (hit.method, hit.path, hit.body) == ("PATCH", "/a?b=%20", b"\x00\xff")
    assert hit.headers["x-case"] == "Kept"
    assert ("X-Case", "Kept") in hit.header_lines


def test_target_keeps_a_connection_and_joins_chunks(target: Target) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=5)
    for _ in range(2):
        connection.request("POST", "/", iter([b"one", b"two"]), encode_chunked=True)
        connection.getresponse().read()
    connection.close()

    assert [hit.body for hit in target.hits] == [b"onetwo"] * 2
    assert target.connections == 1


def test_target_answers_by_its_script(target: Target) -> None:
    target.answer("/flaky", status=500, times=2)
    target.answer("/flaky", status=204)
    target.answer(status=404)

    assert [call(target, path="/flaky") for _ in range(4)] == [500, 500, 204, 204]
    assert call(target, path="/other") == 404


def test_target_refuses_connections_between_stop_and_start(target: Target) -> None:
    target.stop()
    with pytest.raises(ConnectionRefusedError):
        call(target)

    target.start()
    assert call(target) == 200


def test_target_resets_and_talks_garbage(target: Target) -> None:
    target.fault = "reset"
    with pytest.raises(ConnectionResetError):
        call(target)
    target.fault = "garbage"
    with pytest.raises(http.client.BadStatusLine):
        call(target)


def test_target_says_what_came_instead(target: Target) -> None:
    call(target, path="/here")

    with pytest.raises(AssertionError, match=r"0 of 1 requests to /there(.|\n)*/here"):
        target.wait_for(1, "/there", timeout=0.01)


def test_another_run_does_not_get_a_port_that_nobody_listens_on_just_now() -> None:
    port = free_port()
    script = """
import sys
from tests.support import children

children._PORTS = [int(sys.argv[1])] * 1000
children.free_port()
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(port)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "no free port among a thousand" in done.stderr
