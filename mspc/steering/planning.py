"""How many calls a job would reach."""

from collections.abc import Sequence

from mspc.journal.base import Filter, View
from mspc.steering.base import Action, Plan
from mspc.steering.reach import Reach

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


def named(view: View, reach: Reach, action: Action, ids: Sequence[str]) -> list[str]:
    """Those of some calls that an action is for.

    Raises:
        JournalUnavailable: nobody knows.
        NotPossible: as Reach.fitting() has it.
    """
    calls = [seen for one in ids if (seen := view.call(one)) is not None]
    states = frozenset(call.state for call in calls)
    fitting = reach.fitting(action, Filter(states))
    return [call.id for call in calls if fitting and call.state in fitting.states]
