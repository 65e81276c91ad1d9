"""What the figures must show, and whether they do: computed, never written down."""

from collections.abc import Callable, Iterator

from benchmarks import fairness, pages_goals
from benchmarks.fairness import RECOVERY
from benchmarks.limits import QUEUES, floor_parts
from benchmarks.store import END_TO_END, FAIRNESS, GROWTH, OPERATORS, Store
from benchmarks.subjects import plain
from benchmarks.verdict import NOISE_MS, Verdict, bounded, short

# Those peers keep nothing of what became of a call; Workly does.
AMQP = (plain("classic"), plain("quorum"))
SQLITE = plain("sqlite")
AMQP_PEERS = ("celery", "dramatiq")
MILLION = 1_000_000
MEGABYTES = 1.048576  # in one MiB
# What a p99 may be, of what it is alone: beside services that are ill, beside somebody
# who looks.
FAIR, OPERATED = 2, 1.5
# While nothing else happens.
PAGE_MS, COUNTS_MS = 50, 5
NOTICED_SECONDS = 5
# Seconds are not cut where mspc cuts them.
DOUBLING = 2.2


def judge(store: Store) -> list[Verdict]:
    return list(_verdicts(store))


def _verdicts(store: Store) -> Iterator[Verdict]:
    rates = _of(store, "calls_per_s")
    cpu = _of(store, "cpu_s_per_1000")
    # Like with like: without the journal where the peer has none.
    yield _compared(
        "RabbitMQ, end to end: at least 1.5 times the calls/s of the best peer, on"
        " classic and on quorum",
        rates(*AMQP),
        max,
        rates(*AMQP_PEERS),
        lambda ours, peer: min(ours) / peer,
        lambda ratio: ratio >= 1.5,
        "calls/s",
    )
    yield _compared(
        "RabbitMQ, end to end: at most half the CPU time per call of the best peer",
        cpu(*AMQP),
        min,
        cpu(*AMQP_PEERS),
        lambda ours, peer: max(ours) / peer,
        lambda ratio: ratio <= 0.5,
        "s per 1,000 calls",
    )
    yield _compared(
        "SQLite, end to end: at least 2 times Huey's calls/s",
        rates(SQLITE),
        max,
        rates("huey"),
        lambda ours, peer: min(ours) / peer,
        lambda ratio: ratio >= 2,
        "calls/s",
    )
    yield _compared(
        "SQLite, end to end: not slower than on RabbitMQ",
        rates(SQLITE),
        max,
        rates(*AMQP),
        lambda ours, peer: min(ours) / peer,
        lambda ratio: ratio >= 1,
        "calls/s",
    )
    yield _compared(
        "SQLite, end to end: at least 2 times Workly's calls/s, both with what became"
        " of each call",
        rates("mspc-sqlite"),
        max,
        rates("workly-sqlite"),
        lambda ours, peer: min(ours) / peer,
        lambda ratio: ratio >= 2,
        "calls/s",
    )
    yield _compared(
        "SQLite, end to end: at most half of Workly's CPU time per call, the same",
        cpu("mspc-sqlite"),
        min,
        cpu("workly-sqlite"),
        lambda ours, peer: max(ours) / peer,
        lambda ratio: ratio <= 0.5,
        "s per 1,000 calls",
    )
    for queue in QUEUES:
        yield _compared(
            f"{queue}, end to end: at most {pages_goals.REMEMBERED - 1:.0%} more CPU"
            " time per call with the journal than without",
            cpu(f"mspc-{queue}"),
            min,
            cpu(plain(queue)),
            lambda ours, without: max(ours) / without,
            lambda ratio: ratio <= pages_goals.REMEMBERED,
            "s per 1,000 calls",
        )
    for queue in QUEUES:
        yield _floor(store, queue)
    yield from _each(
        store,
        "Accept p99 below 10 ms at half of the maximum",
        "steady_p99_ms",
        10,
        "ms",
    )
    for queue in QUEUES:
        yield from _million(store, queue)
    yield from _each(store, "Idle below 1 % of a core", "idle_percent", 1, "%")
    for queue in QUEUES:
        yield from _operated(store, queue)
    yield from pages_goals.verdicts(store)
    for queue in QUEUES:
        yield from _fair(store, queue)
        yield from _recovered(store, queue)


def _operated(store: Store, queue: str) -> Iterator[Verdict]:
    """Beside somebody who pages through what waits."""
    name = f"mspc-{queue}"
    alone = store.median(OPERATORS, name, "alone_p99_ms")
    p99 = store.median(OPERATORS, name, "p99_ms")
    stored = store.median(OPERATORS, name, "stored")
    if alone is None or p99 is None or stored is None:
        return
    yield Verdict(
        f"{queue}, somebody pages through {stored:,.0f} calls that wait: accept p99 at"
        f" most {OPERATED} times (or {OPERATED * NOISE_MS:g} ms) of what it is alone",
        f"{short(p99)} ms, alone {short(alone)}",
        p99 <= OPERATED * max(alone, NOISE_MS),
    )
    for what, figure, most in (
        ("a page of 1,000 calls", "quiet_page_max_ms", PAGE_MS),
        ("the counts", "quiet_counts_max_ms", COUNTS_MS),
    ):
        longest = store.median(OPERATORS, name, figure)
        if longest is not None:
            yield Verdict(
                f"{queue}, {stored:,.0f} calls that wait: {what} in less than"
                f" {most} ms",
                f"{short(longest)} ms at the longest",
                longest < most,
            )


def _fair(store: Store, queue: str) -> Iterator[Verdict]:
    """One verdict for each case: the worst of what it must hold decides."""
    for case in fairness.measured(store, queue):
        if case == RECOVERY:
            continue
        name = f"mspc-{queue} {case}"
        p50, p99, alone_p50, alone_p99 = (
            store.median(FAIRNESS, name, figure) or 0.0
            for figure in ("p50_ms", "p99_ms", "alone_p50_ms", "alone_p99_ms")
        )
        lost, twice = (store.total(FAIRNESS, name, f) for f in ("missing", "twice"))
        most = FAIR * max(alone_p99, NOISE_MS)
        yield Verdict(
            f"{queue}, {fairness.title(case)}: p50 of healthy calls at most 1.5"
            f" times, p99 at most {FAIR} times (or {FAIR * NOISE_MS} ms) of what they"
            " are alone,"
            " none missing, none twice",
            f"p50 {short(p50)} ms, alone {short(alone_p50)}; p99 {short(p99)} ms,"
            f" alone {short(alone_p99)}; {lost:,.0f} missing, {twice:,.0f} twice",
            p50 <= 1.5 * alone_p50 and p99 <= most and not lost and not twice,
        )


def _recovered(store: Store, queue: str) -> Iterator[Verdict]:
    name = f"mspc-{queue} {RECOVERY}"
    noticed = store.median(FAIRNESS, name, "noticed_s")
    steepest = store.median(FAIRNESS, name, "steepest")
    if noticed is None or steepest is None:
        return
    lost, twice = (store.total(FAIRNESS, name, f) for f in ("missing", "twice"))
    yield Verdict(
        f"{queue}, {fairness.title(RECOVERY)}: noticed within {NOTICED_SECONDS} s,"
        " calls a second never more than doubling, none missing, none twice",
        f"{short(noticed)} s, {short(steepest)} times; {lost:,.0f} missing,"
        f" {twice:,.0f} twice",
        noticed <= NOTICED_SECONDS and steepest <= DOUBLING and not lost and not twice,
    )


def _of(store: Store, figure: str) -> Callable[..., dict[str, float] | None]:
    def medians(*subjects: str) -> dict[str, float] | None:
        values = {name: store.median(END_TO_END, name, figure) for name in subjects}
        known = {name: value for name, value in values.items() if value is not None}
        return known if len(known) == len(values) else None

    return medians


def _compared(
    goal: str,
    ours: dict[str, float] | None,
    best: Callable[..., float],
    others: dict[str, float] | None,
    ratio: Callable[..., float],
    good: Callable[[float], bool],
    unit: str,
) -> Verdict:
    if ours is None or others is None:
        return Verdict(goal, "not measured", None)
    factor = ratio(ours.values(), best(others.values()))
    said = ", ".join(f"{name} {short(v)}" for name, v in (ours | others).items())
    return Verdict(goal, f"{factor:.2f} times ({said} {unit})", good(factor))


def _floor(store: Store, queue: str) -> Verdict:
    goal = f"{queue}: CPU time per call at most 1.3 times the floor"
    floor = store.floor(floor_parts(queue))
    cpu = store.median(END_TO_END, plain(queue), "cpu_s_per_1000")
    if floor is None or cpu is None:
        return Verdict(goal, "not measured", None)
    factor = cpu * 1000 / floor
    measured = f"{factor:.2f} times ({cpu * 1000:.0f} µs, floor {floor:.0f} µs)"
    return Verdict(goal, measured, factor <= 1.3)


def _each(
    store: Store, goal: str, figure: str, bound: float, unit: str
) -> Iterator[Verdict]:
    for queue in QUEUES:
        value = store.median(END_TO_END, f"mspc-{queue}", figure)
        yield bounded(f"{queue}: {goal[0].lower()}{goal[1:]}", value, bound, unit)


def _million(store: Store, queue: str) -> Iterator[Verdict]:
    beside = f"{queue}, a million waiting calls"
    name = f"mspc-{queue} {MILLION}"
    rss = store.median(GROWTH, name, "rss_mib")
    megabytes = None if rss is None else rss * MEGABYTES
    yield bounded(f"{beside}: resident memory below 150 MB", megabytes, 150, "MB")
    start = store.median(GROWTH, name, "start_up_s")
    yield bounded(f"{beside}: start-up below 5 s", start, 5, "s")
    goal = f"{beside}: throughput within 20 % of the empty queue's"
    full = store.median(GROWTH, name, "calls_per_s")
    empty = store.median(GROWTH, f"mspc-{queue} 0", "calls_per_s")
    if full is None or empty is None:
        yield Verdict(goal, "not measured", None)
    else:
        measured = f"{full / empty:.0%} ({short(full)} of {short(empty)} calls/s)"
        yield Verdict(goal, measured, full >= 0.8 * empty)
