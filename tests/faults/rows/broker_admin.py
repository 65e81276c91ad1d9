"""What an administrator does to RabbitMQ while mspc works: queues, limits, rights."""

import re
import signal
import time
from collections.abc import Callable, Iterable

import gevent
from pamqp import commands

from mspc.queues.amqp.link import PATIENCE_SECONDS
from tests.faults.ledger import Answer, fail_first, ok, slow
from tests.faults.rows import BROKERS, CLASSIC, Run, Service, in_flight, row
from tests.faults.rows.broker import (
    FAST_ANSWER_SECONDS,
    NOTICED_SECONDS,
    expect_refused,
    said,
    undone,
)

LONGEST_START_SECONDS = 30.0
# Consuming again: mspc waits 0.2 s, and a second more until a new quorum queue is
# written down; twice that when the publishing link breaks, too. On a busy machine a
# session takes another second to begin.
DECLARED_SECONDS = 4.0
# A session of mspc that carried nothing and ends before 5 s does not reset its backoff.
PROVEN_SECONDS = 5.5
# Until calls are refused: RabbitMQ says that the queue was deleted, mspc waits 0.2 s.
REFUSED_SECONDS = 3.0
# How long an accepted call may lie in a queue when the target answers at once.
LYING_SECONDS = 3.0
VHOST = "faults"

OTHER_ARGUMENTS = {CLASSIC: "quorum"}


@row(16, "queues deleted", queues=BROKERS, bound=in_flight, everywhere=True)
def queues_deleted(run: Run) -> None:
    """Idle, under load, while consuming. Only what lay in them may be lost."""
    run.service()
    name = run.queue_name
    waiting = f"{name}.retry.0"
    slowest = 0.0
    for _ in range(1 if run.quick else 5):
        for queue in (name, waiting, f"{name}.dead"):
            slowest = max(slowest, deleted(run, queue))
    load = run.load(rate=100)
    run.ledger.behave(fail_first(1, every=10))
    for _ in range(2 if run.quick else 10):
        for queues in ([name], [waiting], [name, waiting]):
            gevent.sleep(PROVEN_SECONDS + run.random.random())
            slowest = max(slowest, deleted(run, *queues))
    load.stop()
    load.join()
    # What is left from the stalls, or the slow target would keep it in the queue.
    run.ledger.wait_delivered(run.log.ids("ok") - run.forgiven, 30)
    run.ledger.behave(slow(1.5))
    for _ in range(1 if run.quick else 5):
        gevent.sleep(PROVEN_SECONDS)
        gevent.joinall([gevent.spawn(run.post) for _ in range(2 * run.consumers)], 20)
        deleted(run, name)  # how long this takes is up to the slow target
    run.ledger.behave(ok)
    run.drain()
    run.expect(slowest <= DECLARED_SECONDS, f"{slowest:.1f} s until it consumed again")
    run.remark(f"consuming again within {slowest:.1f} s")


def deleted(run: Run, *queues: str) -> float:
    """Deletes them; seconds until mspc consumes again.

    What was accepted within LYING_SECONDS before the end of the deletion and had not
    been delivered then is forgiven.
    """
    with run.recovering(), run.fault(settles_within=LYING_SECONDS):
        begin = time.monotonic()
        with run.broker.connect() as connection, connection.channel() as channel:
            for queue in queues:
                channel.queue.delete(queue)
        end = time.monotonic()
        undelivered = run.log.sent.keys() - run.ledger.delivered
    # Those that were being posted are in the log by now: a probe came after them.
    gevent.sleep(0.5)
    run.forgiven |= {
        sent.id
        for sent in list(run.log.sent.values())
        if begin - LYING_SECONDS <= sent.at <= end
        and (sent.id in undelivered or sent.at + sent.seconds >= end)
    }
    return run.recoveries[-1]


@row(
    17,
    "queue exists with other arguments",
    queues=BROKERS[:2],
    bound=in_flight,
    everywhere=True,
)
def other_arguments(run: Run) -> None:
    """At the start: exit code 2 and a sentence. Later: 503 until it is mended."""
    name = run.queue_name
    replace(run, name)
    early = run.service(wait=False)
    early.may_end = True
    code = early.wait(LONGEST_START_SECONDS)
    run.injected()
    run.expect(code == 2, f"exit code {code} when the queue has other arguments")
    sentence = re.search(r"QUEUE_TYPE: the queue .*", early.output)
    run.expect(sentence, f"no sentence in {early.output!r}")
    remove(run, name)

    run.ledger.behave(fail_first(1, every=10))
    service = run.service()
    load = run.load(rate=50, services=[service])
    for queue in (name, f"{name}.retry.3"):
        gevent.sleep(2)
        load.stop()
        load.join()
        gevent.sleep(LYING_SECONDS)  # nothing lies in the queue when it is deleted
        with run.recovering(service), run.fault(settles_within=10):
            service.signal(signal.SIGSTOP)  # or it would declare the queue again first
            replace(run, queue)
            begin = time.monotonic()
            service.signal(signal.SIGCONT)
            load = run.load(rate=50, services=[service])
            gevent.sleep(REFUSED_SECONDS)
            start = time.monotonic()
            # What went into the wrong queue before mspc knew is deleted with it.
            run.forgiven |= {sent.id for sent in said(run, begin, start)}
            gevent.sleep(3 if run.quick else 20)
            told = said(run, start, time.monotonic())
            load.stop()
            load.join()
            run.expect(service.running, "mspc has ended")
            statuses = sorted({sent.status for sent in told})
            run.remark(f"{queue.removeprefix(name) or 'main'}: answered {statuses}")
            expect_refused(run, told)
            remove(run, queue)
        load = run.load(rate=50, services=[service])
    run.drain()


def replace(run: Run, queue: str) -> None:
    """Deletes it and declares it with other arguments, in one go."""
    kind = OTHER_ARGUMENTS.get(run.queue, "classic")
    with run.broker.connect() as connection, connection.channel() as channel:
        frames = [
            commands.Queue.Delete(queue=queue, nowait=True),
            commands.Queue.Declare(
                queue=queue,
                durable=True,
                nowait=True,
                arguments={"x-queue-type": kind},
            ),
        ]
        connection.write_frames(channel.channel_id, frames)
        channel.queue.declare(queue, passive=True)


def remove(run: Run, queue: str) -> None:
    with run.broker.connect() as connection, connection.channel() as channel:
        channel.queue.delete(queue)


@row(
    19,
    "deliveries time out (consumer_timeout)",
    queues=BROKERS,
    bound=in_flight,
    everywhere=True,
)
def consumer_timeout(run: Run) -> None:
    """RabbitMQ closes the channel of who keeps a delivery longer than 5 s."""
    node = run.node
    before = {
        name: node.ctl("eval", f"application:get_env(rabbit,{name}).").strip()
        for name in ("consumer_timeout", "channel_tick_interval")
    }
    values = {
        name: found.group(1)
        for name, text in before.items()
        if (found := re.search(r"(\d+)", text))
    }
    assert len(values) == len(before), before
    with undone(run, ("eval", set_env(values.items()))):
        node.ctl(
            "eval",
            set_env([("consumer_timeout", "5000"), ("channel_tick_interval", "1000")]),
        )
        # Connections from now on know it.
        _time_out(run, run.service())


def _time_out(run: Run, service: Service) -> None:
    hanging = fail_first(1, every=150)

    def behave(call_id: str, attempt: int) -> Answer:
        late = hanging(call_id, attempt).status == 500
        return Answer(delay=9.0 if late else 0.0)

    run.ledger.behave(behave)
    run.load(rate=50)
    with run.recovering():
        with run.fault(settles_within=10):
            gevent.sleep(25 if run.quick else 90)
        run.ledger.behave(ok)
    times = len(re.findall(r"\) is away: .*timed out", service.output))
    run.injections += max(times - 1, 0)
    run.expect(times, "no delivery has timed out")
    run.drain()
    run.remark(f"{times} timeouts")
    run.expect(service.running, "mspc has ended")


def set_env(values: Iterable[tuple[str, str]]) -> str:
    calls = [f"application:set_env(rabbit,{name},{value})" for name, value in values]
    return f"{', '.join(calls)}."


@row(22, "connections closed by an administrator", queues=BROKERS, bound=in_flight)
def connections_closed(run: Run) -> None:
    node = run.node
    run.ledger.behave(fail_first(1, every=10))
    service = run.service()
    run.load(rate=100)
    for _ in range(2 if run.quick else 10):
        gevent.sleep(run.random.uniform(0.5, 2))
        with run.recovering(), run.fault(settles_within=5):
            node.ctl("close_all_connections", "--vhost", "/", "a fault test")
    run.drain()
    run.expect(service.running, "mspc has ended")


@row(22, "permissions taken and given back", queues=BROKERS, bound=in_flight)
def permissions(run: Run) -> None:
    """All of them with the connections closed; then single ones."""
    user = ("guest", ".*", ".*", ".*")
    give = ("set_permissions", "-p", "/", *user)
    close = ("close_all_connections", "--vhost", "/", "a fault test")
    run.ledger.behave(fail_first(1, every=10))
    run.service()
    run.load(rate=50)
    kinds: list[tuple[str, tuple[str, ...], bool]] = [
        ("all", ("clear_permissions", "-p", "/", "guest"), True),
        ("write", ("set_permissions", "-p", "/", "guest", ".*", "", ".*"), True),
        ("read", ("set_permissions", "-p", "/", "guest", ".*", ".*", ""), False),
        ("configure", ("set_permissions", "-p", "/", "guest", "", ".*", ".*"), True),
    ]
    for name, take, refused in kinds[:3] if run.quick else kinds:
        gevent.sleep(2)
        _without(run, name, (take, close), give, refused)
    run.drain()


def _without(
    run: Run,
    name: str,
    take: Iterable[tuple[str, ...]],
    give: tuple[str, ...],
    refused: bool,
) -> None:
    service = run.services[0]
    with run.recovering():
        lines = len(service.output.splitlines())
        with run.fault(settles_within=10), undone(run, give):
            for command in take:
                run.node.ctl(*command)
            gevent.sleep(NOTICED_SECONDS)
            start = time.monotonic()
            gevent.sleep(8 if run.quick else 20)
            told = said(run, start, time.monotonic())
            run.expect(service.running, f"mspc has ended without {name} permission")
    printed = service.output.splitlines()[lines:]
    own = sum(" RabbitMQ (" in line[:50] for line in printed)
    statuses = sorted({sent.status for sent in told})
    run.remark(f"{name}: answered {statuses}, {own} lines about the links")
    if refused:
        # A link that can be made and is lost at the first call is waited for each time.
        expect_refused(run, told, within=PATIENCE_SECONDS + FAST_ANSWER_SECONDS)
    run.expect(own <= 40, f"{own} lines about the links without {name} permission")


@row(22, "virtual host deleted and made again", queues=BROKERS, bound=in_flight)
def vhost_deleted(run: Run) -> None:
    """The calls in it are gone, as documented; mspc goes on when it is back."""
    node = run.node

    def make() -> None:
        node.ctl("add_vhost", VHOST)
        node.ctl("set_permissions", "-p", VHOST, "guest", ".*", ".*", ".*")

    make()
    try:
        service = run.service(RABBITMQ_DEFAULT_VHOST=VHOST)
        _vhost_deleted(run, service, make)
        service.terminate()
        service.wait()
    finally:
        node.ctl("delete_vhost", VHOST)


def _vhost_deleted(run: Run, service: Service, make: Callable[[], None]) -> None:
    load = run.load(rate=50)
    gevent.sleep(3)
    with run.recovering(), run.fault(settles_within=10):
        begin = time.monotonic()
        run.node.ctl("delete_vhost", VHOST)
        gone = time.monotonic()
        undelivered = run.log.sent.keys() - run.ledger.delivered
        gevent.sleep(NOTICED_SECONDS)
        start = time.monotonic()
        gevent.sleep(5 if run.quick else 30)
        told = said(run, start, time.monotonic())
        make()
    load.stop()
    load.join()
    run.forgiven |= {
        sent.id
        for sent in run.log.sent.values()
        if begin - LYING_SECONDS <= sent.at <= gone
        and (sent.id in undelivered or sent.at + sent.seconds >= begin)
    }
    expect_refused(run, told)
    run.drain()
    run.expect(service.running, "mspc has ended")
