"""A million calls wait: to be made, or for their next attempt."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager

import gevent

from tests.faults.backlog import Backlog, BrokerStore, FileStore, Store
from tests.faults.rows import CLASSIC, QUORUM, SQLITE, Run, Service, row
from tests.support.waiting import eventually

MANY, QUICK = 1_000_000, 20_000
# The oldest ones, of which some are promised: they must come first.
FIRST, PROMISED = 5_000, 1_000
LONGEST_START_SECONDS = 15.0
MOST_MEMORY_BYTES = 150e6
WATCHED_SECONDS = 20.0
HOUR_SECONDS = 3600.0
# Until something is given up; what is expected is less.
PATIENCE_SECONDS = 300.0
DISK_BYTES = 6 * 2**30
KINDS = (SQLITE, CLASSIC, QUORUM)


@row(
    36, "a million calls are in the queue", queues=KINDS, timeout=2400, everywhere=True
)
def many_in_the_queue(run: Run) -> None:
    backlog = Backlog(run.base, QUICK if run.quick else MANY)
    run.stored = backlog
    with filled(run, backlog) as (service, store):
        promised = {
            backlog.id(n + 1) for n in run.random.sample(range(FIRST), PROMISED)
        }
        for call_id in promised:
            run.log.promise(call_id)
        start = time.monotonic()
        service.start()
        run.injected()
        eventually(lambda: run.ledger.delivered, PATIENCE_SECONDS)
        expect_prompt_start(run, "first delivery", time.monotonic() - start)
        before = len(run.ledger.delivered)
        cpu, seconds = watch(run, service)
        made = len(run.ledger.delivered) - before
        run.remark(f"{made / seconds:.0f} deliveries/s")
        run.remark(f"{1000 * cpu / max(made, 1):.2f} s of CPU for 1,000 deliveries")
        missing = run.ledger.wait_delivered(promised, PATIENCE_SECONDS)
        run.expect(not missing, f"{len(missing)} of the oldest calls do not come")
        service.kill()
        left = backlog.count - len(run.ledger.delivered)
        found = store.expect(left)
        run.expect(found >= left, f"{found} calls of {left} are left")


@row(
    36,
    "a million calls wait for their next attempt",
    queues=KINDS,
    timeout=2400,
    everywhere=True,
)
def many_waiting(run: Run) -> None:
    """None of them is due: each one that comes is unexpected."""
    backlog = Backlog(run.base, QUICK if run.quick else MANY)
    with filled(run, backlog, due=time.time() + HOUR_SECONDS) as (service, store):
        start = time.monotonic()
        service.start()
        run.injected()
        service.wait_ready(PATIENCE_SECONDS)
        ready = time.monotonic() - start
        new = run.post(service)
        missing = run.ledger.wait_delivered({new.id}, PATIENCE_SECONDS)
        run.expect(not missing, "a new call does not come")
        run.remark(f"ready after {ready:.1f} s")
        expect_prompt_start(run, "delivery of a new call", time.monotonic() - start)
        cpu, seconds = watch(run, service)
        run.remark(f"{100 * cpu / seconds:.1f} % of a core meanwhile")
        service.kill()
        found = store.expect(backlog.count)
        run.expect(found == backlog.count, f"{found} calls of {backlog.count} wait")


@contextmanager
def filled(
    run: Run, backlog: Backlog, due: float | None = None
) -> Iterator[tuple[Service, Store]]:
    """An mspc that does not run, and its store with all these calls in it."""
    if not run.quick and shutil.disk_usage(run.directory).free < DISK_BYTES:
        run.cannot("the disk is too small for a million calls")
    # A node of its own: what it has held does not burden the rows that follow.
    node = None if run.queue == SQLITE else run.fresh_node()
    service = run.service(broker=node)
    service.terminate()
    service.wait()
    store: Store = FileStore(service.data_dir / "queue.db")
    if node is not None:
        store = BrokerStore(node, run.queue_name)
    begin = time.monotonic()
    store.fill(backlog, due)
    run.remark(f"{backlog.count:,} calls, stored in {time.monotonic() - begin:.0f} s")
    try:
        yield service, store
    finally:
        service.kill()  # or it would go on with the rest


def expect_prompt_start(run: Run, event: str, seconds: float) -> None:
    run.remark(f"start to {event}: {seconds:.1f} s")
    run.expect(seconds < LONGEST_START_SECONDS, f"{seconds:.1f} s to the {event}")


def watch(run: Run, service: Service) -> tuple[float, float]:
    """Lets it work for a while; seconds of CPU that it took, and of the clock."""
    begin, cpu = time.monotonic(), service.cpu()
    first = highest = service.rss()
    for _ in range(int(WATCHED_SECONDS * 10) // (4 if run.quick else 1)):
        gevent.sleep(0.1)
        highest = max(highest, service.rss())
    seconds, cpu = time.monotonic() - begin, service.cpu() - cpu
    run.remark(f"memory {first / 1e6:.0f} MB, at most {highest / 1e6:.0f} MB")
    run.expect(highest < MOST_MEMORY_BYTES, f"memory reached {highest / 1e6:.0f} MB")
    return cpu, seconds
