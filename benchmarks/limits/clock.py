"""Times an operation in greenlets, in a process that does nothing else."""

import json
import time
from collections.abc import Callable

from gevent.pool import Pool

GREENLETS = 100


def report(count: int, seconds: float, cpu: float) -> None:
    """Prints what was measured, for the process that started this one."""
    figures = {"per_s": count / seconds, "cpu_us": cpu / count * 1e6}
    print(json.dumps(figures), flush=True)


def repeat(operation: Callable[[int], object], count: int) -> None:
    """Calls operation(0) to operation(count - 1), a hundred at once, and reports."""
    _run(operation, range(-count // 10, 0))
    started, cpu = time.monotonic(), time.process_time()
    _run(operation, range(count))
    report(count, time.monotonic() - started, time.process_time() - cpu)


def _run(operation: Callable[[int], object], numbers: range) -> None:
    left = iter(numbers)

    def work() -> None:
        for number in left:
            operation(number)

    pool = Pool(GREENLETS)
    workers = [pool.spawn(work) for _ in range(GREENLETS)]
    pool.join()
    for worker in workers:
        worker.get()
