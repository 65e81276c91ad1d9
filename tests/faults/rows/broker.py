"""RabbitMQ itself: killed, stopped, frozen, out of memory, out of disk."""

import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import gevent

from mspc.calls.accepted import REMEMBERED_BYTES
from tests.faults.checker import Sent
from tests.faults.ledger import fail_first, slow
from tests.faults.rows import BROKERS, QUORUM4, Run, Service, in_flight, row
from tests.support.waiting import eventually

# mspc gives a confirm 10 s and looks four times a second.
LONGEST_ANSWER_SECONDS = 12.0
FAST_ANSWER_SECONDS = 1.0
# Until mspc has noticed, and calls no longer wait for a link that may soon come back;
# until it has connected again.
NOTICED_SECONDS = 4.0
CONNECTED_AGAIN_SECONDS = 10.0
GROWTH_BYTES = 8 * 2**20
# Calls that were accepted are remembered until they are delivered, which none is now,
# and events wait for the journal's stream, 0.7 KiB of each call; the rest are the page
# caches of two files: the spool's, and the journal's, with 1 KiB of each call.
SPOOLING_BYTES = REMEMBERED_BYTES + 4 * 2**20 + 12 * 2**20
# What the journals tell each other has a link of its own, and is no call.
CALLS_LINK = re.compile(r"RabbitMQ \((?:publish|consume)\): connected to")
ALARM = re.compile(r"RabbitMQ \((\w+)\): RabbitMQ takes no messages")
SPOOL_EMPTY = "The spool is empty again"
SPOOLING = re.compile(rb"Spooling is on, (\d+) calls are in the spool")


@row(
    6, "broker killed, started again", queues=BROKERS, bound=in_flight, everywhere=True
)
def broker_killed(run: Run) -> None:
    run.ledger.behave(fail_first(1, every=10))
    node = run.node
    run.service()
    run.load(rate=100)
    for _ in range(2 if run.quick else 6):
        gevent.sleep(run.random.uniform(0.5, 2.0))
        with run.recovering(), run.fault(settles_within=CONNECTED_AGAIN_SECONDS):
            node.kill()
            gevent.sleep(run.random.uniform(0.0, 2.0))
            node.start()
    run.drain()


@row(
    6,
    "broker killed for a while, with the spool",
    queues=BROKERS,
    bound=in_flight,
    everywhere=True,
)
def broker_killed_with_spool(run: Run) -> None:
    """No client hears of it, and nothing gathers but in the file."""
    run.ledger.behave(fail_first(1, every=10))
    node = run.node
    service = run.service(SPOOL="1")
    run.load(rate=100)
    gevent.sleep(3)
    lines = len(service.output.splitlines())
    empty = service.output.count(SPOOL_EMPTY)
    with run.recovering(), run.fault(settles_within=CONNECTED_AGAIN_SECONDS):
        node.kill()
        gevent.sleep(NOTICED_SECONDS)
        memory = service.rss()
        calls = spooled(run, service, 8.0 if run.quick else 60.0)
        expect_flat(run, service, memory, SPOOLING_BYTES)
        node.start()
        back = time.monotonic()
    service.wait_for_log(SPOOL_EMPTY, 60, count=empty + 1)
    run.remark(
        f"{calls} calls spooled, {time.monotonic() - back:.1f} s until it was empty"
    )
    run.drain()
    told = sorted({sent.status for sent in run.log.sent.values()})
    run.expect(told == [202], f"clients were answered {told}")
    health = service.get("/health/ready")
    run.expect(health.status == 200, f"/health/ready is {health.status} afterwards")
    expect_few_lines(run, service.output.splitlines()[lines:])


def spooled(run: Run, service: Service, seconds: float) -> int:
    """Watches what /health/ready says meanwhile; the most calls in the spool."""
    said = []
    calls = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        health = service.get("/health/ready")
        found = SPOOLING.search(health.body)
        # Not ready: calls are taken, but none can be made. So says docs/operations.md.
        if health.status != 503 or found is None:
            said.append(f"{health.status} {health.body[:200]!r}")
        calls = max(calls, int(found[1]) if found else 0)
        gevent.sleep(0.5)
    run.expect(not said, f"/health/ready, {len(said)} times: {said[:1]}")
    run.expect(calls, "no call was spooled")
    return calls


@row(7, "broker stopped for a while", queues=BROKERS, bound=in_flight, everywhere=True)
def broker_stopped(run: Run) -> None:
    seconds = 8.0 if run.quick else 60.0
    run.ledger.behave(fail_first(1, every=10))
    node = run.node
    service = run.service()
    run.load(rate=100)
    gevent.sleep(3)
    lines = len(service.output.splitlines())
    with run.recovering(), run.fault(settles_within=CONNECTED_AGAIN_SECONDS):
        try:
            node.ctl("stop_app")
            gevent.sleep(NOTICED_SECONDS)
            memory = service.rss()
            away = time.monotonic()
            gevent.sleep(seconds)
            told = said(run, away, time.monotonic())
            expect_flat(run, service, memory)
        finally:
            node.ctl("start_app")
    expect_refused(run, told)
    run.drain()
    expect_few_lines(run, service.output.splitlines()[lines:])


@row(8, "broker frozen (SIGSTOP)", queues=BROKERS, bound=in_flight, everywhere=True)
def broker_frozen(run: Run) -> None:
    seconds = 25.0 if run.quick else 60.0
    run.ledger.behave(fail_first(1, every=10))
    node = run.node
    service = run.service()
    run.load(rate=50)
    gevent.sleep(2)
    memory = service.rss()
    frozen = time.monotonic()
    with run.recovering(), run.fault(settles_within=CONNECTED_AGAIN_SECONDS):
        try:
            node.signal(signal.SIGSTOP)
            gevent.sleep(seconds)
            told = said(run, frozen + LONGEST_ANSWER_SECONDS, time.monotonic())
            expect_flat(run, service, memory)
        finally:
            node.signal(signal.SIGCONT)
    run.drain()
    expect_refused(run, told, within=LONGEST_ANSWER_SECONDS)
    longest = max(sent.seconds for sent in run.log.sent.values())
    run.remark(f"longest answer {longest:.1f} s")
    run.expect(longest <= LONGEST_ANSWER_SECONDS, f"an answer took {longest:.1f} s")


@row(13, "memory alarm", queues=BROKERS, bound=in_flight, everywhere=True)
def memory_alarm(run: Run) -> None:
    usual = "0.6" if run.queue == QUORUM4 else "0.4"
    command = "set_vm_memory_high_watermark"
    _alarm(run, (command, "0"), (command, usual))


@row(14, "disk alarm", queues=BROKERS, bound=in_flight)
def disk_alarm(run: Run) -> None:
    command = "set_disk_free_limit"
    _alarm(run, (command, "100000GB"), (command, "50MB"))


def _alarm(run: Run, on: tuple[str, ...], off: tuple[str, ...]) -> None:
    """Nothing is taken, but what is there is delivered and acknowledged."""
    seconds = 8.0 if run.quick else 40.0
    backlog = 800 if run.quick else 4000
    node = run.node
    run.ledger.behave(slow(60.0))  # until there is a backlog
    service = run.service()
    pid = service.pid
    run.load(rate=400, count=backlog).join()
    # A quorum queue says every 5 s how much is in it.
    eventually(lambda: waiting(run) > backlog / 4, 15)
    stored = waiting(run)
    run.ledger.behave(slow(0.2))
    service.kill()  # the attempts in flight, which would take a minute
    run.injected()
    service.restart()
    pid = service.pid
    run.load(rate=50)
    # Calls are taken before the other link is there; what counts is what comes later.
    service.wait_for_log(r"\(consume\): connected", 30)
    links = links_made(service)
    with (
        run.recovering(),
        run.fault(settles_within=CONNECTED_AGAIN_SECONDS),
        undone(run, off),
    ):
        node.ctl(*on)
        gevent.sleep(NOTICED_SECONDS)
        memory, delivered = service.rss(), len(run.ledger.delivered)
        begin = time.monotonic()
        gevent.sleep(seconds)
        told = said(run, begin, time.monotonic())
        delivered = len(run.ledger.delivered) - delivered
        left = waiting(run)
        expect_flat(run, service, memory)
    expect_refused(run, told)
    run.expect(delivered > seconds * 10, f"only {delivered} deliveries meanwhile")
    run.expect(left < stored - delivered / 2, f"{left} of {stored} calls not settled")
    run.remark(f"{delivered} deliveries in {seconds:g} s of alarm")
    run.drain(120)
    again = links_made(service) - links
    run.expect(not again and service.pid == pid, f"connected {again} times more")
    warned = Counter(ALARM.findall(service.output))
    run.expect(
        warned["publish"] == 1 and max(warned.values()) == 1,
        f"the alarm was not logged once by each link: {dict(warned)}",
    )
    run.expect("): takes messages again" in service.output, "its end was not logged")


def links_made(service: Service) -> int:
    """How often a link for calls was connected."""
    return len(CALLS_LINK.findall(service.output))


@contextmanager
def undone(run: Run, *commands: tuple[str, ...]) -> Iterator[None]:
    """Whatever happens in the block, rabbitmqctl does `commands` after it."""
    try:
        yield
    finally:
        for command in commands:
            run.node.ctl(*command)


def said(run: Run, start: float, end: float) -> list[Sent]:
    """What clients were told about the calls that they sent meanwhile."""
    return [sent for sent in list(run.log.sent.values()) if start <= sent.at <= end]


def expect_refused(
    run: Run, told: list[Sent], within: float = FAST_ANSWER_SECONDS
) -> None:
    """Each call was answered 503, and soon."""
    run.expect(told, "no call was answered meanwhile")
    others = {sent.status for sent in told} - {503}
    run.expect(not others, f"answered {sorted(others)} without a broker")
    slowest = max((sent.seconds for sent in told), default=0.0)
    run.expect(slowest <= within, f"a refusal took {slowest:.1f} s")


def expect_flat(
    run: Run, service: Service, before: int, most: int = GROWTH_BYTES
) -> None:
    """Its memory has not grown by `most` bytes since it was `before` bytes."""
    growth = service.rss() - before
    run.remark(f"memory {growth / 2**20:+.1f} MiB")
    run.expect(growth < most, f"memory grew by {growth / 2**20:.1f} MiB")


def expect_few_lines(run: Run, lines: list[str]) -> None:
    """One line for each change of a link's state, not for each try."""
    counts = []
    for purpose in ("publish", "consume"):
        own = [line for line in lines if f" RabbitMQ ({purpose})" in line[:60]]
        texts = [line.partition(" RabbitMQ (")[2] for line in own]
        # Closed by RabbitMQ, refused, perhaps reset meanwhile, connected.
        run.expect(len(own) <= 5, f"{len(own)} lines about one link: {texts[:6]}")
        run.expect(len(set(texts)) == len(texts), f"repeated: {texts[:6]}")
        counts.append(len(own))
    refused = sum("A call was refused" in line for line in lines)
    run.remark(f"{sum(counts)} lines about the links, {refused} about refused calls")


def waiting(run: Run) -> int:
    """Messages in the main queue and set aside, unacknowledged ones among them."""
    printed = run.node.ctl("list_queues", "name", "messages")
    name = re.escape(run.queue_name)
    found = re.findall(rf"^{name}(?:\.aside\.\d+)?\s+(\d+)$", printed, re.MULTILINE)
    assert found, f"no {run.queue_name} in {printed!r}"
    return sum(map(int, found))
