"""An origin that is down, with calls waiting for it, and comes back.

`python -m benchmarks.recovery RETURN` gets a `Return` as JSON and prints the figures as
JSON: how soon the first call came after the origin was back, when the last one came,
how many it had at once, and how many came in each second since the first.
"""

from gevent import monkey

monkey.patch_all()

import gc
import json
import sys
import time

import gevent

from benchmarks.origins import Origin, bound, listen
from benchmarks.probing import Return, each_second, steepest

# For calls that come again.
AFTERWARDS_SECONDS = 1.0


def main(plan: Return) -> dict[str, float]:
    refusing = bound(plan.port)
    gevent.sleep(plan.dead)
    back = time.monotonic()
    origin = Origin(listen(refusing), plan.answers_after)
    while len(origin.arrived) < plan.calls and time.monotonic() < back + plan.patience:
        gevent.sleep(0.02)
    ended = max(origin.arrived.values(), default=time.monotonic())
    gevent.sleep(AFTERWARDS_SECONDS)
    first = min(origin.arrived.values(), default=time.monotonic())
    missing = plan.calls - len(origin.arrived)
    seconds = each_second([at - first for at in origin.arrived.values()])
    return {
        "waiting": plan.calls,
        "missing": missing,
        "twice": origin.times.total() - len(origin.arrived),
        "noticed_s": first - back,
        # Of a drain that did not end, how long it was watched.
        "drained_s": plan.patience if missing else ended - back,
        "most_at_once": origin.most,
        "steepest": steepest(seconds),
        **{f"second_{number}": count for number, count in enumerate(seconds, 1)},
    }


if __name__ == "__main__":
    gc.disable()  # its pauses would be taken for mspc's
    print(json.dumps(main(Return.of_json(sys.argv[1]))), flush=True)
