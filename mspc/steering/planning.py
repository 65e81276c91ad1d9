"""How many calls a job would reach."""

from mspc.journal.base import Filter, View
from mspc.steering.base import Plan

COUNTED_CALLS = 10_000
SAMPLE = 5
PAGE = 1000


def plan(view: View, fitting: Filter | None) -> Plan:
    """Counts, and changes nothing.

    Args:
        view: of the journal.
        fitting: which calls; None for none.

    Raises:
        JournalUnavailable: nothing can be counted.
    """
    sample: list[str] = []
    if fitting is None:
        return Plan(0, False, sample)
    matched, after = 0, None
    while True:
        page = view.calls(fitting, after, PAGE)
        matched += len(page.calls)
        sample += [call.id for call in page.calls[: SAMPLE - len(sample)]]
        if matched > COUNTED_CALLS:
            return Plan(COUNTED_CALLS, True, sample)
        if page.next is None:
            return Plan(matched, False, sample)
        after = page.next
