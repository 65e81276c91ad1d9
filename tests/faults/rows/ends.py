"""mspc's own end, under load: by a crash and in order."""

import signal
import time

import gevent

from tests.faults.ledger import fail_first, slow
from tests.faults.rows import Run, in_flight, row

GRACE_SECONDS = 30.0


@row(2, "random kill -9 under load", bound=in_flight)
def random_kills(run: Run) -> None:
    run.ledger.behave(fail_first(1, every=10))
    service = run.service()
    run.load(rate=100)
    for kill in range(5 if run.quick else 200):
        # Often before it is ready again: a start must survive a crash, too.
        gevent.sleep(run.random.uniform(0.2, 2.0))
        service.kill()
        run.injected()
        if kill % 5:
            service.start()
            continue
        with run.recovering():
            service.start()
    service.wait_ready()  # or it could be asked to end before it knows how to
    run.drain()


@row(4, "SIGTERM under load", bound=0)
def terminations(run: Run) -> None:
    # So that attempts are in flight, in half of the consumers, as one service may.
    run.ledger.behave(slow(0.05))
    service = run.service()
    run.load(rate=100)
    longest = 0.0
    for _ in range(3 if run.quick else 20):
        gevent.sleep(run.random.uniform(0.5, 2.0))
        start = time.monotonic()
        service.signal(signal.SIGTERM)
        code = service.wait(GRACE_SECONDS + 5)
        longest = max(longest, time.monotonic() - start)
        run.injected()
        run.expect(code == 0, f"exit code {code} after SIGTERM")
        with run.recovering():
            service.start()
    run.expect(longest <= GRACE_SECONDS, f"it took {longest:.1f} s to end")
    run.remark(f"ends within {longest:.1f} s")
    run.drain()
