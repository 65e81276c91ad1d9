"""How long healthy targets wait while others are down or hang."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.processes import Child
from benchmarks.stage import Stage
from benchmarks.subjects import Subject

RATE = 200.0
FORWARD_TIMEOUT_SECONDS = 5

# What happens to which percentage of the calls.
CASES = (("down", 0), ("down", 10), ("down", 50), ("hang", 10), ("hang", 50))
_SETTINGS = {
    "FORWARD_TIMEOUT_SECONDS": str(FORWARD_TIMEOUT_SECONDS),
    "SHUTDOWN_TIMEOUT_SECONDS": "1",
}


@dataclass(frozen=True, slots=True)
class Span:
    """How long calls are sent, and how long afterwards they are waited for."""

    seconds: float = 15.0
    patience: float = 20.0


def run(
    stage: Stage, subject: Subject, span: Span
) -> Iterator[tuple[str, dict[str, float]]]:
    """The figures of the healthy calls, case by case."""
    for fault, share in CASES:
        with stage.service(subject, _SETTINGS) as service:
            numbers = [share, RATE, span.seconds, span.patience]
            arguments = [service.url, fault, *map(str, numbers)]
            command = [sys.executable, "-m", "benchmarks.probe", *arguments]
            child = Child(command, stage.directory / "probe.log")
            try:
                output = child.finish(span.seconds + span.patience + 60)
            finally:
                child.stop()
            yield f"{fault} {share}", json.loads(output.splitlines()[-1])
