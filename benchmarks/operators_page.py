"""The section of the page about those who look at what lies there."""

from collections.abc import Iterator

from benchmarks.limits import QUEUES
from benchmarks.operators import COUNTS, PAGE
from benchmarks.store import OPERATORS, Store
from benchmarks.tables import number, spread, table

_INTRODUCTION = f"""\
mspc, with calls that wait because nobody listens where they go: in its queue and in its
journal. Calls to a healthy target come at half of the accepts/s, evenly spread, first
alone; then while somebody reads pages of {PAGE:,} calls from the operators' door one
after the other, from the newest call to the oldest and again, and now and then the
counts."""
_HOW = f"""\
- **Listed:** calls in one reading of all pages, just before. **Read:** while the
  healthy calls came.
- **Page:** until the whole page had come; p99 and the longest, beside the healthy
  calls; the longest while there were none. **Counts:** the longest of
  {", ".join(f"`GET {path}`" for path in COUNTS)}, the same.
- **Start-up** runs to the first 200 from `/health/ready`, with all of it there.
  **Memory** is the highest resident size of the round."""
_WAITS = (
    ("accept p50, ms", "p50_ms"),
    ("alone", "alone_p50_ms"),
    ("p99, ms", "p99_ms"),
    ("alone", "alone_p99_ms"),
)
_READS = (
    ("read", "read"),
    ("page p99, ms", "page_p99_ms"),
    ("longest", "page_max_ms"),
    ("alone", "quiet_page_max_ms"),
    ("counts, ms", "counts_max_ms"),
    ("alone", "quiet_counts_max_ms"),
    ("memory, MiB", "rss_mib"),
    ("start-up, s", "start_up_s"),
)


def parts(store: Store) -> Iterator[str]:
    """Its paragraphs and tables; none when nothing was measured."""
    if not store.names(OPERATORS):
        return
    yield "## Beside somebody who looks"
    yield _INTRODUCTION
    yield _table(store, ("stored", "rate_per_s"), ("stored", "/s"), _WAITS)
    yield _table(store, ("listed",), ("listed",), _READS)
    yield _HOW


def _table(
    store: Store,
    plain: tuple[str, ...],
    titles: tuple[str, ...],
    columns: tuple[tuple[str, str], ...],
) -> str:
    """A row for each queue: `plain` figures, then those with their spread."""
    rows = [
        (
            queue,
            *(number(store.median(OPERATORS, name, figure)) for figure in plain),
            *(spread(store.spread(OPERATORS, name, figure)) for _, figure in columns),
        )
        for queue in QUEUES
        if (name := f"mspc-{queue}") in store.names(OPERATORS)
    ]
    return table(("queue", *titles, *(title for title, _ in columns)), rows)
