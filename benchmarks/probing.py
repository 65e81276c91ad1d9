"""What the probes of the fairness section are told, as JSON, and what they judge by."""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Literal

# Fewer calls in a second than this are no load: they count as so many.
FEW = 50

Fault = Literal["none", "down", "hang", "slow"]


@dataclass(frozen=True, slots=True)
class Window:
    """Seconds since trouble began, from and to, whose healthy calls are timed."""

    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What `benchmarks.probe` does.

    Attributes:
        url: mspc's.
        rate: healthy calls a second.
        warm_up, alone: seconds of healthy calls before the trouble, timed after
            `warm_up`.
        window: what is timed beside the trouble, which lasts until its end.
        patience: seconds that calls are waited for at the end.
        fault: what the ports of the trouble do.
        ports: the origins of the trouble.
        answers_after: seconds, of a slow origin.
        posted: whether calls to those ports are posted too, as many as healthy ones;
            otherwise such calls lie in the queue already.
    """

    url: str
    rate: float
    warm_up: float
    alone: float
    window: Window
    patience: float
    fault: Fault = "none"
    ports: tuple[int, ...] = ()
    answers_after: float = 0.0
    posted: bool = True

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def of_json(cls, text: str) -> "Plan":
        content = json.loads(text)
        window = Window(**content.pop("window"))
        return cls(window=window, ports=tuple(content.pop("ports")), **content)


@dataclass(frozen=True, slots=True)
class Return:
    """What `benchmarks.recovery` does.

    Attributes:
        port: of the origin that is down for `dead` seconds and then comes back.
        calls: how many wait for it.
        answers_after: seconds that it takes for each.
        patience: seconds that they are waited for.
    """

    port: int
    calls: int
    dead: float
    answers_after: float
    patience: float

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def of_json(cls, text: str) -> "Return":
        return cls(**json.loads(text))


def each_second(moments: list[float]) -> list[int]:
    """How many fell into each second, from the first one on."""
    counts = Counter(map(int, moments))
    return [counts[number] for number in range(max(counts, default=-1) + 1)]


def steepest(seconds: list[int]) -> float:
    """The greatest factor from one second to the next."""
    before = [0, *seconds]
    return max(
        (now / max(was, FEW) for was, now in zip(before, seconds, strict=False)),
        default=0.0,
    )
