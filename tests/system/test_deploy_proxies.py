"""deploy/haproxy.cfg and deploy/nginx.conf: no request is lost over a restart."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.proxies import Haproxy, Nginx, Proxy
from tests.support.steady_load import SteadyLoad
from tests.support.target import Target
from tests.support.waiting import eventually
from tests.system.conftest import StartOnQueue

StartProxy = Callable[[tuple[int, int]], Proxy]


@pytest.fixture(params=[Haproxy, Nginx])
def proxy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StartProxy]:
    """Makes a proxy for two ports; it is stopped in the end."""
    made: list[Proxy] = []

    def make(instances: tuple[int, int]) -> Proxy:
        made.append(request.param(tmp_path / "proxy", instances))
        return made[-1]

    yield make
    for each in made:
        each.stop()


def test_the_program_takes_the_configuration(proxy: StartProxy) -> None:
    said = proxy((1, 2)).check().lower()
    assert "warn" not in said
    assert "alert" not in said


def test_a_rolling_restart_loses_no_request(
    start: StartOnQueue, proxy: StartProxy, target: Target
) -> None:
    instances = start(), start()
    front = proxy((instances[0].http_port, instances[1].http_port))
    front.start()
    load = SteadyLoad(front.port, lambda number: target.url(f"/{number}"))
    load.start()
    try:
        for mspc in instances:
            load.wait_for(50)
            mspc.terminate()
            assert mspc.wait() == 0
            mspc.restart()
        load.wait_for(50)
    finally:
        load.stop()

    assert set(load.answers.values()) == {202}, front.output
    accepted = {f"/{number}" for number in load.answers}
    eventually(lambda: accepted == {hit.path for hit in target.hits})
