"""The network between mspc and RabbitMQ: cut, silent, one-sided, slow."""

from collections.abc import Callable
from weakref import WeakKeyDictionary

import gevent
from gevent.event import Event

from tests.faults.checker import Sent
from tests.faults.ledger import fail_first, slow
from tests.faults.load import CONNECTIONS
from tests.faults.proxy import (
    BASIC_ACK,
    BASIC_DELIVER,
    BASIC_PUBLISH,
    ChaosProxy,
    Direction,
    Frames,
    Method,
)
from tests.faults.rows import BROKERS, Run, Service, row
from tests.faults.rows.broker import links_made

# mspc gives a confirm 10 s and a silent peer two heartbeats.
NOTICED_SECONDS = 16.0
UNNOTICED_SECONDS = 4.0
REDELIVERED_SECONDS = 20.0

DELAY_SECONDS = 0.3
BYTES_PER_SECOND = 10_000


class AckFilter:
    """Takes confirms out of what goes to mspc; everything else passes.

    Attributes:
        hold: how many more confirms to take out.
        held: set when one was taken out.
    """

    def __init__(self, proxy: ChaosProxy) -> None:
        self.hold = 0.0
        self.held = Event()
        # A connection is known by the greenlet that forwards it.
        self._frames: WeakKeyDictionary[object, Frames] = WeakKeyDictionary()
        proxy.on_bytes["to_client"] = self._filter

    def _filter(self, data: bytes) -> bytes:
        frames = self._frames.setdefault(gevent.getcurrent(), Frames())
        passing = b""
        for frame, method, _ in frames.split(data):
            if method == BASIC_ACK and self.hold > 0:
                self.hold -= 1
                self.held.set()
            else:
                passing += frame
        return passing


@row(9, "partition", queues=BROKERS, recover_within=30.0)
def partitions(run: Run) -> None:
    run.ledger.behave(fail_first(1, every=10))
    proxy = run.proxy()
    acks = AckFilter(proxy)
    service = run.service(through=proxy)

    def silence(*directions: Direction) -> Callable[[], None]:
        return lambda: proxy.black_hole(*directions)

    def break_connections() -> None:
        proxy.black_hole(discard_connections=True)

    def hold_acks() -> None:
        acks.hold = float("inf")

    kinds: list[tuple[str, Callable[[], None], float]] = [
        ("both ways", silence(), NOTICED_SECONDS),
        ("only confirms", hold_acks, NOTICED_SECONDS),
        ("to the broker", silence("to_server"), NOTICED_SECONDS),
        ("from the broker", silence("to_client"), NOTICED_SECONDS),
        ("for good", break_connections, NOTICED_SECONDS),
        ("both ways, short", silence(), UNNOTICED_SECONDS),
        ("only from the broker, short", silence("to_client"), UNNOTICED_SECONDS),
    ]
    run.load(rate=50)
    for name, begin, seconds in kinds[:2] if run.quick else kinds:
        gevent.sleep(run.random.uniform(1, 2))
        with run.recovering(), run.fault(settles_within=REDELIVERED_SECONDS):
            begin()
            gevent.sleep(seconds)
            acks.hold = 0
            proxy.forward()
        run.remark(f"{name} {seconds:g} s: {run.recoveries[-1]:.1f} s")
    run.drain()
    _expect_no_hang(run)
    run.expect(service.running, "mspc has ended")


@row(9, "one confirm lost", queues=BROKERS)
def one_confirm_lost(run: Run) -> None:
    """The next call's confirm must not be taken for the lost one."""
    proxy = run.proxy()
    acks = AckFilter(proxy)
    run.service(through=proxy)
    for _ in range(1 if run.quick else 3):
        run.post()
        acks.held.clear()
        acks.hold = 1
        with run.recovering(), run.fault(settles_within=REDELIVERED_SECONDS):
            first = gevent.spawn(run.post)
            run.expect(acks.held.wait(10), "no confirm came")
            # One by one: several confirms may come as one, for all up to a number.
            for _ in range(5):
                told = run.post().status
                run.expect(told == 202, f"a confirmed call was told {told}")
            run.expect(not first.dead, "a call was told before its confirm")
            first.join(20)
            sent = first.value
            run.expect(
                isinstance(sent, Sent) and sent.status == 503,
                f"a call without a confirm was told {sent}",
            )
    run.drain()


def _expect_no_hang(run: Run) -> None:
    """A client hears within the confirm timeout, and a little."""
    longest = max(sent.seconds for sent in run.log.sent.values())
    run.remark(f"longest answer {longest:.1f} s")
    run.expect(longest <= 14, f"an answer took {longest:.1f} s")


# Where a connection is ended: direction, method, and whether that still passes.
AROUND_A_CONFIRM: list[tuple[Direction, Method, bool]] = [
    ("to_server", BASIC_PUBLISH, True),
    ("to_server", BASIC_PUBLISH, False),
    ("to_client", BASIC_ACK, False),
    ("to_client", BASIC_ACK, True),
]
AROUND_AN_ACK: list[tuple[Direction, Method, bool]] = [
    ("to_client", BASIC_DELIVER, True),
    ("to_client", BASIC_DELIVER, False),
    ("to_server", BASIC_ACK, False),
    ("to_server", BASIC_ACK, True),
]


@row(10, "cut between publish and confirm, each n", queues=BROKERS)
def cuts_around_confirms(run: Run) -> None:
    run.ledger.behave(fail_first(1, every=10))
    _cut_everywhere(run, AROUND_A_CONFIRM)


@row(11, "cut between delivery and ack, each n", queues=BROKERS)
def cuts_around_acks(run: Run) -> None:
    answer = fail_first(1, every=10)
    late = slow(0.05)  # so that attempts are in flight

    def behave(call_id: str, attempt: int) -> object:
        answered = answer(call_id, attempt)
        return late(call_id, attempt) if answered.status == 200 else answered

    run.ledger.behave(behave)  # type: ignore[arg-type]
    _cut_everywhere(run, AROUND_AN_ACK)


def _cut_everywhere(run: Run, places: list[tuple[Direction, Method, bool]]) -> None:
    """Ends a connection at the n-th frame of each place; no call is made twice."""
    proxy = run.proxy()
    service = run.service(through=proxy)
    run.load(rate=100)
    times = 2 if run.quick else 5
    for n in range(1, times + 1):
        for direction, method, passes in places:
            action = run.random.choice(("cut", "reset"))
            _cut(run, proxy, direction, method, n, passes, action)
    run.drain()
    run.remark(f"n = 1 to {times}")
    run.expect(service.running, "mspc has ended")


def _cut(
    run: Run,
    proxy: ChaosProxy,
    direction: Direction,
    method: Method,
    n: int,
    passes: bool,
    action: str,
) -> None:
    with run.recovering(), run.fault(settles_within=5):
        trip = proxy.cut_at(
            direction,
            method,
            n,
            before=not passes,
            action="reset" if action == "reset" else "cut",
        )
        run.expect(trip.wait(), f"no {n} frames {method} {direction}")


@row(12, "slow broker", queues=BROKERS, recover_within=15.0)
def slow_broker(run: Run) -> None:
    """300 ms each way and 10 kB/s: what fits goes through, nobody reconnects."""
    proxy = run.proxy()
    service = run.service(through=proxy)
    run.post()
    before = links_made(service)
    with run.recovering():
        with run.fault():
            proxy.delay(DELAY_SECONDS)
            proxy.throttle(BYTES_PER_SECOND)
            for rate in (5.0, 30.0):
                _slow_load(run, rate, 10 if run.quick else 30)
            again = links_made(service) - before
            run.expect(not again, f"connected {again} times more while it was slow")
        if not run.quick:
            _overload(run, proxy)
            _cut_while_slow(run, proxy, service)
        proxy.forward()
    run.drain()


def _slow_load(
    run: Run, rate: float, seconds: float, connections: int = CONNECTIONS
) -> None:
    earlier = set(run.log.sent)
    run.load(rate, seconds, connections=connections).join()
    sent = [run.log.sent[call_id] for call_id in run.log.sent.keys() - earlier]
    accepted = sum(call.outcome == "ok" for call in sent)
    slowest = max(call.seconds for call in sent)
    run.remark(
        f"{rate:g} calls/s: {accepted} of {len(sent)} accepted, slowest {slowest:.1f} s"
    )
    # What the link can carry must be accepted; beyond that, most of what it can.
    needed = len(sent) * (0.95 if rate < 10 else 0.05)
    run.expect(accepted >= needed, f"only {accepted} of {len(sent)} were accepted")


def _overload(run: Run, proxy: ChaosProxy) -> None:
    """More than can be confirmed in time: what can, is, again and again."""
    before = proxy.accepted
    with run.fault(settles_within=REDELIVERED_SECONDS):
        _slow_load(run, 60.0, 40, connections=300)
    run.remark(f"{proxy.accepted - before} connections more in an overload")


def _cut_while_slow(run: Run, proxy: ChaosProxy, service: Service) -> None:
    """Connecting takes some thirty round trips: they must fit into its time limit."""
    links = links_made(service)
    with run.fault(settles_within=REDELIVERED_SECONDS):
        proxy.cut()
        with gevent.Timeout(90, False):  # type: ignore[arg-type]
            while links_made(service) < links + 2:
                gevent.sleep(0.2)
    connected = links_made(service) - links
    run.expect(connected == 2, f"{connected} of 2 links connected while it was slow")
