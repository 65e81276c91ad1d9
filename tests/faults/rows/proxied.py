"""mspc behind the proxies of deploy/: refusals, idle connections, rolling restarts."""

import http.client
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import gevent
from gevent.pool import Pool

from tests.faults.ledger import fail_first
from tests.faults.load import Client
from tests.faults.rows import BROKERS, QUORUM, SQLITE, Run, Service, row
from tests.support.proxies import Haproxy, Nginx, Proxy

# As mspc closed idle connections once, as nginx keeps those of clients, and as many
# balancers of clouds do.
IDLE_SECONDS = (29.0, 31.0, 59.0, 61.0)
CONNECTIONS = 50


@contextmanager
def before(
    run: Run, kind: type[Proxy], program: str, *services: Service
) -> Iterator[Proxy]:
    """A proxy, started, in front of two services, or of one twice."""
    if shutil.which(program, path="/usr/local/sbin:/usr/sbin:/usr/bin:/sbin") is None:
        run.cannot(f"no {program}")
    first, last = services[0], services[-1]
    proxy = kind(run.directory / program, (first.http_port, last.http_port))
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()


@row(54, "early refusals through nginx", queues=(SQLITE,))
def early_refusals(run: Run) -> None:
    """A 413 and a 401 arrive as what they are, not as a 502 of nginx."""
    each = 10 if run.quick else 50
    service = run.service(AUTHORIZATION_KEY="secret")
    with before(run, Nginx, "nginx", service) as front:
        for size in (1_500_000, 16_000_000):
            told: Counter[int] = Counter()
            pool = Pool(4)
            for _ in range(each):
                pool.spawn(_told, front.port, size, told)
            pool.join()
            run.injected(each)
            run.expect(set(told) <= {401, 413}, f"{size} bytes were told as {told}")
            run.remark(f"{size:,} bytes: {dict(told)}")


def _told(port: int, size: int, told: Counter[int]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", "/", b"x" * size)
        told[connection.getresponse().status] += 1
    except OSError:
        told[0] += 1
    finally:
        connection.close()


@row(55, "idle connections through haproxy", queues=(SQLITE, QUORUM))
def idle_connections(run: Run) -> None:
    """Whoever closes an idle connection: no request is lost in one."""
    run.ledger.behave(fail_first(1, every=10))
    service = run.service()
    with before(run, Haproxy, "haproxy", service) as front:
        pauses = IDLE_SECONDS[:2] if run.quick else IDLE_SECONDS
        clients = Pool(CONNECTIONS)
        for number in range(CONNECTIONS):
            clients.spawn(_post_after_pauses, run, front.port, number, pauses)
        clients.join()
        run.injected(CONNECTIONS * len(pauses))
        run.drain()
        refused = len(run.log.ids("unknown", "fail"))
        run.expect(not refused, f"{refused} calls were not accepted: {front.output}")


def _post_after_pauses(
    run: Run, port: int, number: int, pauses: tuple[float, ...]
) -> None:
    client = Client([port], run.base, run.log)
    for turn, pause in enumerate((0.0, *pauses)):
        # Spread around the moment at which the other side may close it.
        gevent.sleep(pause and pause + 2.0 * number / CONNECTIONS - 1.0)
        client.post(f"idle-{number}-{turn}")
    client.close()


@row(56, "rolling restart behind nginx", queues=(SQLITE, *BROKERS))
def rolling_restart(run: Run) -> None:
    """Instances are restarted one after another, under load: no client notices."""
    run.ledger.behave(fail_first(1, every=10))
    services = [run.service(), run.service()]
    with before(run, Nginx, "nginx", *services) as front:
        client = Client([front.port], run.base, run.log)
        load = run.load(rate=100, through=client)
        for number in range(4 if run.quick else 20):
            service = services[number % 2]
            gevent.sleep(run.random.uniform(0.2, 1.0))
            with run.fault():
                service.terminate()
                code = service.wait()
                run.expect(code == 0, f"exit code {code} after SIGTERM")
                service.restart()
        load.stop()
        run.drain()
        refused = len(run.log.ids("unknown", "fail"))
        run.expect(not refused, f"{refused} calls were not accepted")
