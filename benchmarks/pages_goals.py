"""What the pages and the metrics may cost, and whether they do not cost more."""

from collections.abc import Iterator

from benchmarks import counting
from benchmarks.limits import QUEUES
from benchmarks.looks import NAMES
from benchmarks.pages import LIVE_SECONDS, OVERVIEWS
from benchmarks.store import METRICS, PAGES, Store
from benchmarks.subjects import plain
from benchmarks.verdict import NOISE_MS, Verdict, bounded, short

PAGE_MS = 100
OPEN_PERCENT = 5
# What two runs of the same may differ by.
SAME = 1.25
SCRAPE_MS = 20
COUNTED = 1.03
REMEMBERED = 1.15


def verdicts(store: Store) -> Iterator[Verdict]:
    """Of what was measured."""
    for queue in QUEUES:
        if f"mspc-{queue}" in store.names(PAGES):
            yield from _looked_at(store, queue)
    for queue in QUEUES:
        for name, journal in ((f"mspc-{queue}", "with"), (plain(queue), "without")):
            what = f"{queue}, {journal} the journal"
            yield from _price(store, name, what, "the metrics", COUNTED)
        for price, what in (
            (counting.REMEMBERED, "the journal"),
            (counting.FULL, "the journal when it is full"),
        ):
            name = price.name(f"mspc-{queue}")
            yield from _price(store, name, queue, what, REMEMBERED)


def _looked_at(store: Store, queue: str) -> Iterator[Verdict]:
    name = f"mspc-{queue}"
    waiting, dead, known, alone, p99 = (
        store.median(PAGES, name, figure) or 0.0
        for figure in ("waiting", "dead", "known", "alone_p99_ms", "p99_ms")
    )
    there = f"{waiting:,.0f} calls that wait and {dead:,.0f} dead letters"
    took = {
        page: longest
        for page in NAMES
        if (longest := store.median(PAGES, f"{name} {page}", "max_ms")) is not None
    }
    if took:
        worst = max(took, key=lambda page: took[page])
        yield Verdict(
            f"{queue}, {there}: each page within {PAGE_MS} ms",
            f"{short(took[worst])} ms ({worst}), the longest of {len(took)} pages",
            took[worst] < PAGE_MS,
        )
    opened = f"{OVERVIEWS} open overviews, each asking every {LIVE_SECONDS:.0f} s"
    cost = store.median(PAGES, name, "open_percent")
    goal = f"{queue}, {there}: {opened}, take less than {OPEN_PERCENT} % of a core"
    yield bounded(goal, cost, OPEN_PERCENT, "%")
    yield Verdict(
        f"{queue}, beside {OVERVIEWS} open overviews: accept p99 at most {SAME} times"
        f" (or {SAME * NOISE_MS:g} ms) of what it is without them",
        f"{short(p99)} ms, alone {short(alone)}",
        p99 <= SAME * max(alone, NOISE_MS),
    )
    scrape = store.median(PAGES, name, "scrape_p99_ms")
    goal = f"{queue}, {known:,.0f} destinations known: p99 of a scrape below"
    yield bounded(f"{goal} {SCRAPE_MS} ms", scrape, SCRAPE_MS, "ms")


def _price(
    store: Store, name: str, what: str, added: str, most: float
) -> Iterator[Verdict]:
    """The median of the rounds: in each of them both have taken turns."""
    times = store.median(METRICS, name, "times")
    if times is None:
        return
    with_, without = (store.median(METRICS, name, f) for f in ("with", "without"))
    measured = (
        f"{times:.3f} times ({short(with_ or 0)} and {short(without or 0)} s per 1,000"
        " calls)"
    )
    goal = f"{what}: at most {most - 1:.0%} more CPU time per call with {added}"
    yield Verdict(goal, measured, times <= most)
