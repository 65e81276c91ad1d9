"""What mspc holds in memory is counted in bytes: large calls, a service that hangs."""

import json
from collections.abc import Iterator

import pytest
from gevent.pool import Pool

from tests.conftest import StartMspc
from tests.support.target import Target
from tests.support.waiting import eventually

# If all were held, that would be twice MOST_BYTES.
CALLS = 400
SMALL_CALLS = 3_000
MEGABYTE = 1_000_000
POSTED_AT_ONCE = 4
# Of a call that is being accepted: what came, its text, and the body's own bytes.
COPIES = 3
# With calls of 1 MB this makes 200 MB in all.
MOST_BYTES = 200 * MEGABYTE - POSTED_AT_ONCE * COPIES * MEGABYTE


@pytest.fixture
def hanging() -> Iterator[Target]:
    """Answers nobody."""
    target = Target()
    target.fault = "hang"
    target.start()
    yield target
    target.stop()


@pytest.mark.parametrize(
    ("calls", "size", "settings"),
    [
        (CALLS, MEGABYTE, {}),
        (CALLS, MEGABYTE, {"QUEUE_NUMBER_OF_CONSUMERS": "1000"}),
        (SMALL_CALLS, 100_000, {"QUEUE_NUMBER_OF_CONSUMERS": "1000"}),
        (40, 15 * MEGABYTE, {"MAX_REQUEST_BYTES": str(16 * MEGABYTE)}),
    ],
    ids=["1 MB", "1 MB, many consumers", "100 kB, many consumers", "15 MB"],
)
def test_large_calls_to_a_service_that_hangs(
    mspc_process: StartMspc,
    target: Target,
    hanging: Target,
    calls: int,
    size: int,
    settings: dict[str, str],
) -> None:
    """Also after a restart; and small calls to others are made meanwhile."""
    mspc = mspc_process(settings)
    call = {"url": hanging.url("/large"), "method": "POST", "body": f'"{"x" * size}"'}
    content = json.dumps(call).encode()
    Pool(POSTED_AT_ONCE).map(lambda _: mspc.post(content), range(calls))
    eventually(lambda: hanging.connections > 0)
    most = MOST_BYTES + POSTED_AT_ONCE * COPIES * size
    assert mspc.peak_memory < most
    assert mspc.post({"url": target.url("/small")}).status == 202
    target.wait_for(1, "/small")
    mspc.kill()
    connections = hanging.connections
    mspc.restart()
    eventually(lambda: hanging.connections > connections)
    assert mspc.post({"url": target.url("/small")}).status == 202
    target.wait_for(2, "/small")
    assert mspc.peak_memory < most
