"""The journal's stream: deleted, or refused."""

import time

import gevent

from mspc.queues.amqp.stream import TRY_AGAIN_SECONDS
from tests.faults.ledger import fail_first
from tests.faults.rows import BROKERS, Run, Service, in_flight, row
from tests.faults.rows.broker import undone
from tests.faults.rows.crashes import waited
from tests.faults.rows.journal import KNOWN_SECONDS, going_on, knows, stats


@row(64, "the journal's stream deleted", queues=BROKERS, bound=in_flight)
def stream_deleted(run: Run) -> None:
    """Calls go on as before; the stream is made again, and all are told of again."""
    run.ledger.behave(fail_first(1, every=10))
    service = run.service()
    load = run.load(rate=60)
    comes_back(run, service, "at the start")
    for _ in range(2 if run.quick else 10):
        gevent.sleep(run.random.uniform(1, 2))
        with going_on(run, load, "while the stream is deleted"):
            run.injected()
            with run.broker.connect() as connection, connection.channel() as channel:
                channel.queue.delete(f"{run.queue_name}.journal")
            gevent.sleep(3)
        comes_back(run, service, "after the deletion")
        knows(run, service, run.post().id, "after the deletion")
    run.drain()


@row(64, "no rights on the journal's stream", queues=BROKERS, bound=in_flight)
def no_rights_on_the_stream(run: Run) -> None:
    """Calls go on as before; each instance answers for its own, until it may again."""
    run.ledger.behave(fail_first(1, every=10))
    give = ("set_permissions", "-p", "/", "guest", ".*", ".*", ".*")
    others = f"^(?!{run.queue_name}\\.journal$).*$"
    with undone(run, give):
        run.node.ctl("set_permissions", "-p", "/", "guest", *[others] * 3)
        run.injected()
        service = run.service()
        load = run.load(rate=60)
        service.wait_for_log("RabbitMQ keeps no stream", 30)
        with going_on(run, load, "without rights on the stream"):
            gevent.sleep(3 if run.quick else 20)
        scope = stats(service)["scope"]
        run.expect(scope == "instance", f"without rights the scope is {scope}")
        knows(run, service, run.post().id, "without rights")
    comes_back(run, service, "with rights again", TRY_AGAIN_SECONDS + 15)
    knows(run, service, run.post().id, "with rights again")
    run.drain()


def comes_back(
    run: Run, service: Service, when: str, seconds: float = KNOWN_SECONDS
) -> None:
    start = time.monotonic()
    back = waited(lambda: stats(service)["scope"] == "all", seconds)
    run.expect(back, f"{when} the scope is {stats(service)['scope']}")
    run.remark(f"{when} all after {time.monotonic() - start:.1f} s")
