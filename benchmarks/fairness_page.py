"""The section of the page about fairness."""

from collections.abc import Iterator

from benchmarks import fairness, goals
from benchmarks.fairness import RATE, RECOVERY, Scope
from benchmarks.limits import QUEUES
from benchmarks.probing import FEW
from benchmarks.store import FAIRNESS, Store
from benchmarks.tables import Row, number, spread, table

_FULL = Scope()
_INTRODUCTION = f"""\
How long calls to a healthy target take from their POST to their arrival there, alone
and while other calls meet trouble. Default settings; the healthy calls come at
{RATE:.0f} a second all the time, and with the trouble as many bad ones more, but for
the backlog of a slow origin, which is there already."""
_HOW = f"""\
- **Alone** are {_FULL.alone:g} s in the same process of mspc before the trouble begins.
  Where calls lie in the queue from the start there is no before: alone is then another
  process, on an empty queue, just before.
- **Timed** are {_FULL.beside:g} s: the first ones of the trouble; around the end of the
  first attempts in the row with their deadline and where half are slow; from a
  second after the start on where calls lie in the queue.
- **Missing** had not arrived {_FULL.patience:g} s after the last POST: they count with
  the time that they had waited until then, so that percentiles are a lower bound
  where there are any. **Twice:** came more often than once. Both are sums of all
  rounds, over all that was sent, timed or not.
- The backlog of the slow origin is {_FULL.neighbour:,} calls.
- **Recovery:** {_FULL.returning:,} calls wait for an origin that is down for
  {_FULL.dead:g} s or more while mspc runs, then listens and answers after
  {fairness.RECOVERED_SECONDS * 1000:.0f} ms. *Noticed* is the first call, *drained* the
  last one, counted from the moment it listens. *Steepest* is the greatest factor from
  one second's calls to the next one's, seconds counted from the first call; fewer than
  {FEW} calls in a second count as {FEW}. Up to {goals.DOUBLING:g} is
  doubling: seconds are not cut where mspc cuts them."""


def parts(store: Store) -> Iterator[str]:
    """Its paragraphs and tables; none when nothing was measured."""
    if not store.names(FAIRNESS):
        return
    yield "## Fairness"
    yield _INTRODUCTION
    titles = ("queue", "the other calls", "p50, ms", "alone", "p99, ms", "alone")
    rows = list(_waits(store))
    if rows:
        yield table((*titles, "missing", "twice"), rows)
    rows = list(_recoveries(store))
    if rows:
        columns = ("noticed, s", "drained, s", "most at once", "steepest")
        yield table(("queue", "waiting", *columns, "missing", "twice"), rows)
        yield "Calls in each second of the recovery, medians:"
        yield table(("queue", "calls"), _seconds(store))
    yield _HOW


def _waits(store: Store) -> Iterator[Row]:
    figures = ("p50_ms", "alone_p50_ms", "p99_ms", "alone_p99_ms")
    for queue in QUEUES:
        for case in fairness.measured(store, queue):
            if case == RECOVERY:
                continue
            name = f"mspc-{queue} {case}"
            cells = [spread(store.spread(FAIRNESS, name, figure)) for figure in figures]
            sent = store.total(FAIRNESS, name, "healthy")
            missing = f"{store.total(FAIRNESS, name, 'missing'):,.0f} of {sent:,.0f}"
            twice = f"{store.total(FAIRNESS, name, 'twice'):,.0f}"
            yield (queue, fairness.title(case), *cells, missing, twice)


def _recoveries(store: Store) -> Iterator[Row]:
    figures = ("noticed_s", "drained_s", "most_at_once", "steepest")
    for queue in QUEUES:
        name = f"mspc-{queue} {RECOVERY}"
        if name in store.names(FAIRNESS):
            waiting = number(store.median(FAIRNESS, name, "waiting"))
            cells = [spread(store.spread(FAIRNESS, name, figure)) for figure in figures]
            sums = (store.total(FAIRNESS, name, f) for f in ("missing", "twice"))
            yield (queue, waiting, *cells, *(f"{total:,.0f}" for total in sums))


def _seconds(store: Store) -> Iterator[Row]:
    for queue in QUEUES:
        counts = each_second(store, queue)
        if counts:
            yield queue, ", ".join(f"{count:,.0f}" for count in counts)


def each_second(store: Store, queue: str) -> list[float]:
    """The median calls in each second of a recovery, from its first call."""
    counts: list[float] = []
    name = f"mspc-{queue} {RECOVERY}"
    while (
        count := store.median(FAIRNESS, name, f"second_{len(counts) + 1}")
    ) is not None:
        counts.append(count)
    return counts
