"""Instances on one RabbitMQ: what one is told, all know and obey."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from urllib.parse import quote

import pytest

from tests.support.process import MspcProcess
from tests.support.rabbitmq import Broker, unique_name
from tests.support.target import Target
from tests.support.waiting import eventually

Start = Callable[[], MspcProcess]
Pair = tuple[MspcProcess, MspcProcess]


@pytest.fixture(scope="module")
def start(
    rabbitmq: Broker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Start]:
    """Starts instances on the queue of all of these tests; each has its own target."""
    name = unique_name("several")
    started: list[MspcProcess] = []

    def start() -> MspcProcess:
        directory = tmp_path_factory.mktemp("instance") / "mspc"
        process = MspcProcess(directory, rabbitmq.settings(name))
        started.append(process)
        process.start()
        return process

    yield start
    for process in started:
        process.kill()
    rabbitmq.delete_queues(name)
    assert not [one.output for one in started if "Traceback" in one.output]


@pytest.fixture(scope="module")
def pair(start: Start) -> Pair:
    one, other = start(), start()
    for mspc in (one, other):
        mspc.wait_ready()
    return one, other


def state_of(mspc: MspcProcess, call_id: str) -> str:
    answer = mspc.admin("GET", f"/v1/calls/{call_id}")
    return str(answer.json["state"]) if answer.status == 200 else "unknown"


def is_in(mspc: MspcProcess, call_id: str, state: str) -> bool:
    return state_of(mspc, call_id) == state


def destination_of(target: Target) -> str:
    return f"http://127.0.0.1:{target.port}"


def standing_of(mspc: MspcProcess, target: Target) -> str:
    path = f"/v1/destinations/{quote(destination_of(target), safe='')}"
    answer = mspc.admin("GET", path)  # 404 when there is nothing to tell of it
    return str(answer.json["state"]) if answer.status == 200 else "ok"


def steer(mspc: MspcProcess, target: Target, verb: str) -> int:
    path = f"/v1/destinations/{quote(destination_of(target), safe='')}/{verb}"
    return mspc.admin("POST", path, {"reason": "tests"}).status


def restart(*instances: MspcProcess) -> None:
    """All of them end before one starts."""
    for mspc in instances:
        mspc.terminate()
    for mspc in instances:
        assert mspc.wait() == 0
    for mspc in instances:
        mspc.start()
    for mspc in instances:
        mspc.wait_ready()


def made_by(mspc: MspcProcess) -> int:
    return mspc.output.count(": done")


def test_a_call_is_told_by_both(pair: Pair, target: Target) -> None:
    one, other = pair
    before = {mspc: made_by(mspc) for mspc in pair}
    ids: set[str] = set()
    made: dict[MspcProcess, int] = {}
    # Until each has made one that the other knows too.
    while not all(made.get(mspc) for mspc in (one, other)):
        call_id = one.post({"url": target.url("/x")}).json["id"]
        ids.add(call_id)
        target.wait_for(len(ids))
        begun = time.monotonic()
        for mspc in (one, other):
            eventually(partial(is_in, mspc, call_id, "succeeded"), timeout=5)
        print(f"told by both after {time.monotonic() - begun:.2f} s")
        made = {mspc: made_by(mspc) - before[mspc] for mspc in pair}
        assert len(ids) < 50, f"one of them made none: {made}"
    for mspc in (one, other):
        assert mspc.admin("GET", "/v1/stats").json["scope"] == "all"


def test_limits_and_a_pause_hold_on_both_also_after_both_restart(
    pair: Pair, target: Target, second_target: Target
) -> None:
    one, other = pair
    path = f"/v1/destinations/{quote(destination_of(second_target), safe='')}"
    limits = {"rate": 5, "period": "1s", "parallelism": 2}

    def limited(mspc: MspcProcess) -> bool:
        answer = mspc.admin("GET", path)
        return answer.status == 200 and answer.json["limits"] == limits

    assert one.admin("PUT", f"{path}/limits", limits).status == 200
    assert steer(one, target, "pause") == 200
    eventually(partial(limited, other))
    eventually(lambda: standing_of(other, target) == "paused")
    restart(one, other)
    assert limited(one)
    assert limited(other)
    assert standing_of(one, target) == standing_of(other, target) == "paused"
    call_id = other.post({"url": target.url("/x")}).json["id"]
    eventually(lambda: state_of(one, call_id) == "queued")
    assert not target.hits
    assert steer(other, target, "resume") == 200
    target.wait_for(1)
    eventually(lambda: standing_of(one, target) == "ok")
    eventually(lambda: state_of(one, call_id) == "succeeded")
    assert other.admin("DELETE", f"{path}/limits").status == 200
    eventually(lambda: not limited(one))


def test_what_one_cancels_is_made_by_none(pair: Pair, target: Target) -> None:
    one, other = pair
    assert steer(one, target, "pause") == 200
    eventually(lambda: standing_of(other, target) == "paused")
    gone, left = (one.post({"url": target.url(p)}).json["id"] for p in ("/gone", "/x"))
    eventually(lambda: state_of(other, gone) == "queued")
    assert other.admin("DELETE", f"/v1/calls/{gone}").status == 200
    eventually(lambda: state_of(one, gone) == "cancelled")
    # Whoever has forgotten it by then reads it again.
    restart(one)
    assert steer(one, target, "resume") == 200
    target.wait_for(1, "/x")
    eventually(lambda: state_of(other, left) == "succeeded")
    assert not target.hits_of("/gone")


def test_both_list_what_was_decided(pair: Pair, target: Target) -> None:
    one, other = pair
    steer(one, target, "pause")
    steer(other, target, "resume")
    path = f"/v1/decisions?target={quote(destination_of(target), safe='')}"

    def agrees(mspc: MspcProcess) -> bool:
        told = mspc.admin("GET", path).json["decisions"]
        return [decision["kind"] for decision in told] == ["resumed", "paused"]

    for mspc in pair:
        eventually(partial(agrees, mspc))


def test_a_new_instance_knows_what_was_before(
    pair: Pair, start: Start, target: Target
) -> None:
    one, _ = pair
    call_id = one.post({"url": target.url("/x")}).json["id"]
    target.wait_for(1)
    eventually(lambda: is_in(one, call_id, "succeeded"))
    new = start()
    new.wait_ready()
    eventually(lambda: state_of(new, call_id) == "succeeded")
    new.terminate()
    assert new.wait() == 0
