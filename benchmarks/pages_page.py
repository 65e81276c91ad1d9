"""The sections of the page about the pages, and about what is counted."""

from collections.abc import Iterator

from benchmarks.counting import FULL, REMEMBERED
from benchmarks.limits import QUEUES
from benchmarks.looks import NAMES
from benchmarks.pages import LIVE_SECONDS, OVERVIEWS
from benchmarks.store import METRICS, PAGES, Store
from benchmarks.subjects import plain
from benchmarks.tables import number, spread, table

_INTRODUCTION = f"""\
mspc's own pages, with calls that wait and dead letters in its queue and in its journal,
most of them spread over the destinations of which /metrics is asked below. A tenth of
those that wait has failed once, the others were asked for no sooner. Each page is asked
for over a kept connection by somebody who has logged in, one after the other, while
nothing else happens. Then {OVERVIEWS} overviews are open, each of which asks for itself
every {LIVE_SECONDS:.0f} seconds as its script does: first while nothing else happens,
then beside calls to a healthy target at half of the accepts/s, in turns with the same
without them."""
_HOW = """\
- **Longest:** of all the times that a page was asked for in a round, from the request
  to the end of its answer; the first one is not counted, in which its template is
  compiled. A plan is what is shown before many calls are retried, cancelled or
  deleted.
- **Open:** the CPU time of mspc with the open overviews, without what it takes while
  nothing happens, in percent of a core. **Live:** until one of them has come, beside
  the calls.
- **Scrape:** `GET /metrics` when all destinations are known and none of them answers;
  **down** are two pages at that time.
- JOURNAL_MAX_CALLS is 10,000,000. BREAKER_FAILURES is 0 while dead letters are made,
  then 1, and REQUEUE_FAILED_AFTER_MILLISECONDS an hour: so all destinations can be down
  within seconds, and are not asked again while they are looked at."""
_COSTS = (
    ("open, %", "open_percent"),
    ("live p50, ms", "live_p50_ms"),
    ("longest", "live_max_ms"),
    ("accept p50, ms", "p50_ms"),
    ("alone", "alone_p50_ms"),
    ("p99, ms", "p99_ms"),
    ("alone", "alone_p99_ms"),
)
_REST = (
    ("scrape p50, ms", "scrape_p50_ms"),
    ("p99, ms", "scrape_p99_ms"),
    ("memory, MiB", "rss_mib"),
    ("start-up, s", "start_up_s"),
)
_COUNTED = """\
mspc with something and without it: two processes of it make calls in turns. For the
metrics the operators' door is what is closed in one of them, since no setting turns
them off alone; without the journal nobody but them is told what becomes of a call. The
journal's price is that of JOURNAL 1, beside the metrics. One that is full, here of
1,000 calls, forgets one for each that comes, as a journal does from its
JOURNAL_MAX_CALLS on."""
_COUNTED_COLUMNS = (
    ("CPU s per 1,000 calls with it", "with"),
    ("without", "without"),
    ("times", "times"),
)


def parts(store: Store) -> Iterator[str]:
    """Their paragraphs and tables; none of what was not measured."""
    if store.names(PAGES):
        yield "## The pages"
        yield _INTRODUCTION
        yield _table(store, ("waiting", "dead"), ("waiting", "dead"), _COSTS)
        yield _table(store, ("known",), ("destinations down",), _REST)
        yield _each_page(store)
        yield _HOW
    if store.names(METRICS):
        yield "## The metrics and the journal"
        yield _COUNTED
        yield table(
            ("queue", "price of", *(title for title, _ in _COUNTED_COLUMNS)),
            [
                (queue, what, *_spreads(store, METRICS, name, _COUNTED_COLUMNS))
                for queue in QUEUES
                for name, what in _prices(queue)
                if name in store.names(METRICS)
            ],
        )


def _prices(queue: str) -> tuple[tuple[str, str], ...]:
    ours = f"mspc-{queue}"
    return (
        (ours, "the metrics, beside the journal"),
        (plain(queue), "the metrics alone"),
        (REMEMBERED.name(ours), "the journal"),
        (FULL.name(ours), "the journal, full"),
    )


def measured(store: Store) -> list[str]:
    """The queues of which the pages were looked at."""
    return [queue for queue in QUEUES if f"mspc-{queue}" in store.names(PAGES)]


def _table(
    store: Store,
    plain_figures: tuple[str, ...],
    titles: tuple[str, ...],
    columns: tuple[tuple[str, str], ...],
) -> str:
    rows = [
        (
            queue,
            *(number(store.median(PAGES, name, figure)) for figure in plain_figures),
            *_spreads(store, PAGES, name, columns),
        )
        for queue in measured(store)
        for name in (f"mspc-{queue}",)
    ]
    return table(("queue", *titles, *(title for title, _ in columns)), rows)


def _spreads(
    store: Store, section: str, name: str, columns: tuple[tuple[str, str], ...]
) -> list[str]:
    return [spread(store.spread(section, name, figure)) for _, figure in columns]


def _each_page(store: Store) -> str:
    """A row for each page, in the order in which they are asked for."""
    queues = measured(store)
    titles = [f"{queue}: {what}" for queue in queues for what in ("p50, ms", "longest")]
    rows = []
    for page in NAMES:
        figures = [
            store.median(PAGES, f"mspc-{queue} {page}", figure)
            for queue in queues
            for figure in ("p50_ms", "max_ms")
        ]
        if any(figure is not None for figure in figures):
            rows.append((page, *map(number, figures)))
    return table(("page", *titles), rows)
