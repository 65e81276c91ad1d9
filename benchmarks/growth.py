"""What waiting calls cost: the same work beside 0 to a million of them."""

import time
from collections.abc import Iterator

from benchmarks.backlog import store_calls
from benchmarks.end_to_end import MEBIBYTE, deliver
from benchmarks.measure import median
from benchmarks.processes import Failed
from benchmarks.service import Place, Service, Subject
from benchmarks.stage import Stage

SIZES = (0, 1_000, 10_000, 100_000, 1_000_000)
TIMES = 3


def run(
    stage: Stage, subject: Subject, sizes: tuple[int, ...], calls: int
) -> Iterator[tuple[int, dict[str, float]]]:
    """The figures beside each number of waiting calls; one queue that grows."""
    with stage.place(subject) as place:
        with Service(subject, place):
            pass  # makes the queue
        filled = 0
        for size in sizes:
            if size > filled:
                waiting = store_calls(stage, place, size - filled)
                if waiting != size:
                    raise Failed(f"{waiting} calls wait, not {size}")
            filled = size
            yield size, _measure(stage, subject, place, calls)


def _measure(
    stage: Stage, subject: Subject, place: Place, calls: int
) -> dict[str, float]:
    started = time.monotonic()
    with Service(subject, place) as service:
        start_up = time.monotonic() - started
        deliver(stage, service, calls // 5)
        runs = [deliver(stage, service, calls) for _ in range(TIMES)]
        rss = service.peak_rss() / MEBIBYTE
    names = ("calls_per_s", "accept_p99_ms", "cpu_s_per_1000")
    medians = {name: median([run[name] for run in runs]) for name in names}
    return {"start_up_s": start_up, "rss_mib": rss, **medians}
