"""mspc stopped for a while, and several mspc on the same queues."""

import re
import signal

import gevent

from tests.faults.ledger import fail_first
from tests.faults.rows import ALL, BROKERS, SQLITE, Run, Service, in_flight, row


@row(5, "SIGSTOP mspc, then SIGCONT", queues=ALL, bound=in_flight)
def stopped(run: Run) -> None:
    seconds = 12.0 if run.quick else 90.0
    run.ledger.behave(fail_first(1, every=10))
    service = run.service()
    load = run.load(rate=50)
    gevent.sleep(2)
    # Five seconds: RabbitMQ has closed the connections, but what was read before
    # that is attempted still, and comes again on the next connection.
    with run.fault(settles_within=5.0):
        service.signal(signal.SIGSTOP)
        gevent.sleep(seconds)
    with run.recovering():
        service.signal(signal.SIGCONT)
    gevent.sleep(2)
    load.stop()
    if run.queue != SQLITE:
        dropped = len(re.findall(r"is away: .*; connecting again", service.output))
        run.remark(f"stopped for {seconds:g} s, {dropped} connections dropped")
        run.expect(run.quick or dropped, "RabbitMQ has not dropped it")
    run.drain()


@row(38, "several instances, one killed at random", queues=BROKERS, bound=in_flight)
def one_of_several(run: Run) -> None:
    run.ledger.behave(fail_first(1, every=10))
    services = [run.service(), run.service()]
    rounds = 2 if run.quick else 15
    kills(run, services, rounds)
    services.append(run.service())
    kills(run, services, rounds)
    run.remark(f"{rounds} kills among two instances, {rounds} among three")
    run.drain()


def kills(run: Run, services: list[Service], rounds: int) -> None:
    load = run.load(rate=100, services=services)
    for _ in range(rounds):
        gevent.sleep(run.random.uniform(0.5, 1.5))
        victim = run.random.choice(services)
        with run.fault():
            victim.kill()
        with run.recovering(*(other for other in services if other is not victim)):
            pass
        gevent.sleep(run.random.uniform(0.0, 1.0))
        victim.restart()
    load.stop()
