"""deploy/haproxy.cfg and deploy/nginx.conf: no request is lost over a restart."""

import http.client
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.process import MspcProcess
from tests.support.proxies import Haproxy, Nginx, Proxy
from tests.support.refusing import ANSWER, RefusingInstance
from tests.support.steady_load import SteadyLoad
from tests.support.target import Target
from tests.support.waiting import eventually
from tests.system.conftest import StartOnQueue

StartProxy = Callable[[int, int], Proxy]
StartRefusing = Callable[[int | None], RefusingInstance]

sqlite_only = pytest.mark.parametrize("queue_kind", ["sqlite"], scope="module")


@pytest.fixture(params=[Haproxy, Nginx])
def proxy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StartProxy]:
    """Starts a proxy in front of the instances on two ports; it ends with the test."""
    started: list[Proxy] = []

    def start(*instances: int) -> Proxy:
        proxy: Proxy = request.param(tmp_path / "proxy", instances)
        started.append(proxy)
        proxy.start()
        return proxy

    yield start
    for each in started:
        each.stop()


@pytest.fixture
def refusing() -> Iterator[StartRefusing]:
    started: list[RefusingInstance] = []

    def start(status: int | None) -> RefusingInstance:
        started.append(RefusingInstance(status))
        return started[-1]

    yield start
    for each in started:
        each.stop()


def post(port: int, call: object) -> tuple[int, str | None, bytes]:
    """Status, Retry-After and content of the answer."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        client.request("POST", "/", json.dumps(call).encode())
        answer = client.getresponse()
        return answer.status, answer.getheader("Retry-After"), answer.read()
    finally:
        client.close()


def restart(mspc: MspcProcess) -> None:
    mspc.terminate()
    assert mspc.wait() == 0
    mspc.restart()


@pytest.mark.parametrize("kind", [Haproxy, Nginx])
def test_the_program_takes_the_configuration(kind: type[Proxy], tmp_path: Path) -> None:
    said = kind(tmp_path / "proxy", (1, 2)).check().lower()
    assert "warn" not in said
    assert "alert" not in said


def test_a_rolling_restart_loses_no_request(
    start: StartOnQueue, proxy: StartProxy, target: Target
) -> None:
    first, second = start(), start()
    front = proxy(first.http_port, second.http_port)
    load = SteadyLoad(front.port, lambda number: target.url(f"/{number}"))
    load.start()
    try:
        for mspc in (first, second):
            load.wait_for(50)
            restart(mspc)
        load.wait_for(50)
    finally:
        load.stop()

    assert set(load.answers.values()) == {202}, f"{load.answers}\n{front.output}"
    accepted = {f"/{number}" for number in load.answers}
    eventually(lambda: accepted == {hit.path for hit in target.hits})


@sqlite_only
@pytest.mark.parametrize("status", [None, 503], ids=["hangs-up", "503"])
@pytest.mark.parametrize("size", [100, 900_000])
def test_what_an_instance_did_not_take_goes_to_the_other(
    mspc: MspcProcess,
    refusing: StartRefusing,
    proxy: StartProxy,
    target: Target,
    status: int | None,
    size: int,
) -> None:
    bad = refusing(status)
    front = proxy(bad.port, mspc.http_port)
    call = {"url": target.url(), "method": "POST", "body": json.dumps("x" * size)}
    statuses = [post(front.port, call)[0] for _ in range(4)]

    assert statuses == [202] * 4, front.output
    assert bad.calls > 0
    assert len(target.wait_for(4)) == 4


def test_a_refusal_of_all_instances_is_passed_on(
    refusing: StartRefusing, proxy: StartProxy
) -> None:
    front = proxy(refusing(503).port, refusing(503).port)
    assert post(front.port, {}) == (503, "1", ANSWER)


@sqlite_only
def test_a_call_larger_than_mspc_allows_is_refused_by_mspc(
    start: StartOnQueue, proxy: StartProxy
) -> None:
    mspc = start(MAX_REQUEST_BYTES="1000")
    front = proxy(mspc.http_port, mspc.http_port)
    status, _, content = post(front.port, "x" * 2_000)
    assert (status, b"MAX_REQUEST_BYTES" in content) == (413, True)
