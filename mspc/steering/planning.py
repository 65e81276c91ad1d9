"""How many calls a job would reach."""

from mspc.journal.base import Filter, View
from mspc.steering.base import Plan

COUNTED_CALLS = 10_000
SAMPLE = 5
# Whoever waits for a page looks at so many thousands of calls, and not at a million.
SOON_COUNTS = 8


def plan(view: View, fitting: Filter | None, *, soon: bool = False) -> Plan:
    """Counts, and changes nothing.

    Args:
        view: of the journal.
        fitting: which calls; None for none.
        soon: stops counting in time for somebody who waits.

    Raises:
        JournalUnavailable: nothing can be counted.
    """
    sample: list[str] = []
    if fitting is None:
        return Plan(0, False, sample)
    matched, counts, after = 0, 0, None
    while True:
        count = view.count(fitting, after)
        if count.calls and len(sample) < SAMPLE:
            page = view.calls(fitting, after, SAMPLE - len(sample))
            sample += [call.id for call in page.calls]
        matched += count.calls
        counts += 1
        if matched > COUNTED_CALLS:
            return Plan(COUNTED_CALLS, True, sample)
        if count.next is None or (soon and counts >= SOON_COUNTS):
            return Plan(matched, count.next is not None, sample)
        after = count.next
