"""Names that do not resolve, hang, or lead to an address that must not be called."""

from collections.abc import Iterator
from contextlib import contextmanager

import gevent

from tests.faults.dns import Kind, StubDns
from tests.faults.rows import QUORUM, SQLITE, Run, Service, row
from tests.faults.rows.targets import (
    DEADLINE_SECONDS,
    LATE_SECONDS,
    PROMPT_SECONDS,
    expect_prompt,
    logged,
    post_all,
    slowest_healthy,
)
from tests.support.backlog import full_backlog
from tests.support.children import free_port
from tests.support.waiting import eventually

BROKEN = ("nxdomain", "servfail", "silent")
_DEATH = "a dead letter"


@contextmanager
def own_dns(
    run: Run, silence: float = 1.0, otherwise: Kind = "nxdomain"
) -> Iterator[tuple[StubDns, tuple[str, ...]]]:
    """A DNS server for services that are started with the prefix given."""
    dns = StubDns(otherwise)
    dns.start()
    try:
        yield dns, dns.command(run.directory, silence)
    finally:
        dns.stop()


@row(35, "names that do not resolve, or to a denied address", queues=(SQLITE, QUORUM))
def names(run: Run) -> None:
    # A resolver gives up after half of it. Attempts begin every four seconds and end
    # after three: a lookup that ends just when an attempt does has its request sent in
    # the last moment, and its answer missed.
    with own_dns(run, silence=10 if run.quick else 26) as (dns, prefix):
        _names(run, dns, prefix)


def _names(run: Run, dns: StubDns, prefix: tuple[str, ...]) -> None:
    run.consumers = 100
    service = run.service(
        prefix=prefix, FORWARD_TIMEOUT_SECONDS=f"{DEADLINE_SECONDS:g}"
    )
    port = run.ledger.port
    literals = run.load(rate=30)

    def url(kind: str, call_id: str) -> str:
        return f"http://{call_id.rpartition('.')[2]}.{kind}.test:{port}/call/{call_id}"

    sent = post_all(run, BROKEN, 3 if run.quick else 12, url)
    run.injected(len(sent))
    resolving(run, 20 if run.quick else 60)
    denied(run, service, prefix)
    eventually(lambda: all(logged(service, f"{kind}.") for kind in BROKEN), 60)
    unasked = [kind for kind in BROKEN if not dns.asked[f"1.{kind}.test"]]
    run.expect(not unasked, f"the DNS server was not asked for {unasked}")
    dns.healed = True
    literals.stop()
    run.drain(timeout=90)
    for line in logged(service):
        run.expect(line.seconds < DEADLINE_SECONDS + LATE_SECONDS, f"slow: {line}")
    named = slowest_healthy(run, "named-")
    run.expect(named < PROMPT_SECONDS, f"names that resolve waited for {named:.1f} s")
    run.remark(f"99 % of the healthy names: within {named:.2f} s")
    expect_prompt(run)


def resolving(run: Run, count: int, start: int = 0) -> None:
    """Posts calls to names that resolve, beside the others."""
    for n in range(start, start + count):
        call_id = f"named-{n}"
        address = f"http://{n}.good.test:{run.ledger.port}/call/{call_id}"
        client = run.client()
        client.post(call_id, properties={"url": address})
        client.close()
        gevent.sleep(0.2)


def denied(run: Run, service: Service, prefix: tuple[str, ...]) -> None:
    """What resolves to a denied address is dead, and never dialled."""
    port = run.ledger.port
    place = f"http://a.denied.test:{port}/call/denied.name"
    dead = run.client(service)
    run.forgiven |= {"denied.name", "denied.literal", "rebinding.2"}
    dead.post("denied.name", properties={"url": place})
    for n in (1, 2):  # its second lookup gives another address
        place = f"http://a.rebinding.test:{free_port() if n == 2 else port}"
        dead.post(f"rebinding.{n}", properties={"url": f"{place}/call/rebinding.{n}"})
        eventually(lambda n=n: logged(service, f"rebinding.{n}"), 20)  # type: ignore[misc]
    dead.close()
    literal = "http://[::ffff:169.254.169.254]/call/denied.literal"
    early = run.client(service).post("early", properties={"url": literal})
    run.expect(early.status == 400, f"{literal} was answered with {early.status}")
    # Unread, it is accepted: the queue is where it is found out.
    unread = run.service(prefix=prefix, FAST_PUBLISH="1")
    run.client(unread).post("denied.literal", properties={"url": literal})
    eventually(lambda: "is no call, now a dead letter" in everything(run), 20)
    eventually(
        lambda: logged(service, "denied.name") or "denied.name" in everything(run), 20
    )
    for call_id in ("denied.name", "rebinding.2"):
        lines = [line for each in run.services for line in logged(each, call_id)]
        right = [line.then for line in lines] == [_DEATH]
        run.expect(right, f"{call_id} is no dead letter: {lines}")
    run.injected(3)


@row(57, "silent name server beside healthy names", queues=(SQLITE, QUORUM))
def silent_names(run: Run) -> None:
    """As many silent names as would take every thread; healthy ones do not wait."""
    count = 60 if run.quick else 150
    run.consumers = 300  # so that it is names alone that may be waited for
    with own_dns(run, silence=10 if run.quick else 30) as (dns, prefix):
        service = run.service(prefix=prefix)

        def url(kind: str, call_id: str) -> str:
            place = f"{call_id.replace('.', '-')}.{kind}.test:{run.ledger.port}"
            return f"http://{place}/call/{call_id}"

        resolving(run, 3)  # healthy names that have answered lately
        run.injected(len(post_all(run, ("silent",), count, url)))
        resolving(run, 20 if run.quick else 60, start=3)
        healthy = {one for one in run.log.ids("ok") if one.startswith("named-")}
        late = run.ledger.wait_delivered(healthy, 60)
        run.expect(not late, f"{len(late)} healthy names were not called within 60 s")
        named = slowest_healthy(run, "named-")
        run.expect(named < PROMPT_SECONDS, f"names that resolve waited {named:.1f} s")
        run.remark(f"99 % of the healthy names: within {named:.2f} s")
        eventually(lambda: logged(service, "silent."), 60)
        dns.healed = True
        run.drain(timeout=120)


@row(58, "dead first address of a name", queues=(SQLITE, QUORUM))
def dead_first_address(run: Run) -> None:
    """The next address is tried soon, and remembered: nobody waits for the dead one."""
    count = 20 if run.quick else 100
    with own_dns(run) as (_, prefix), full_backlog("::1", run.ledger.port):
        service = run.service(prefix=prefix)
        client = run.client()
        for n in range(count):
            call_id = f"twofold-{n}"
            # A new name each second time: what worked last is remembered for others.
            name = f"{n // 2}.twofold.test:{run.ledger.port}"
            url = f"http://{name}/call/{call_id}"
            client.post(call_id, properties={"url": url, "requeue": False})
        client.close()
        run.injected(count)
        run.drain()
        slowest = max(line.seconds for line in logged(service, "twofold-"))
        run.expect(slowest < PROMPT_SECONDS, f"an attempt took {slowest:.1f} s")
        run.remark(f"the slowest attempt took {slowest:.2f} s")


def everything(run: Run) -> str:
    return "".join(service.output for service in run.services)
