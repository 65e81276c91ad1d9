"""What it costs each call that it is counted for Prometheus, or remembered."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.end_to_end import deliver
from benchmarks.service import Service, Subject
from benchmarks.stage import Stage
from benchmarks.store import Figures


@dataclass(frozen=True, slots=True)
class Price:
    """Of something that one process does and another one does not.

    Attributes:
        what: becomes of calls by it: part of the name under which figures are stored.
        setting: turns it on and off.
        others: settings of both.
    """

    what: str
    setting: str
    others: Mapping[str, str] = field(default_factory=dict)

    def name(self, key: str) -> str:
        """Under which a subject's figures are stored."""
        return f"{key} {self.what}".strip()


# No setting turns the metrics off alone: the door at which they are asked for does.
COUNTED = Price("", "ADMIN")
REMEMBERED = Price("remembered", "JOURNAL")
# As most are: from the millionth call on, one is forgotten for each that comes.
FULL = Price("forgotten", "JOURNAL", {"JOURNAL_MAX_CALLS": "1000"})


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is done in one round of one subject.

    Attributes:
        calls: in each turn.
        warm_up: calls before the first one.
        turns: of each of the two.
    """

    calls: int = 10_000
    warm_up: int = 1_000
    turns: int = 4


def run(stage: Stage, subject: Subject, effort: Effort, price: Price) -> Figures:
    """One round: two processes of it take turns, one that does it and one not."""
    with (
        stage.service(subject, {**price.others, price.setting: "1"}) as one,
        stage.service(subject, {**price.others, price.setting: "0"}) as other,
    ):
        both = (one, other)
        spent = {service.url: 0.0 for service in both}
        for service in both:
            deliver(stage, service, effort.warm_up)
        for turn in range(effort.turns):
            # Who goes first changes: what a machine does meanwhile hits both alike.
            for service in both if turn % 2 else reversed(both):
                spent[service.url] += _cpu(stage, service, effort.calls)
    with_, without = (spent[service.url] / effort.turns for service in both)
    return {"with": with_, "without": without, "times": with_ / without}


def _cpu(stage: Stage, service: Service, calls: int) -> float:
    """Seconds for 1,000 calls."""
    return deliver(stage, service, calls)["cpu_s_per_1000"]
