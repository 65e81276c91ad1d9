"""What a goal's verdict is, and how it is told."""

from dataclasses import dataclass

# A p99 below this is noise.
NOISE_MS = 10


@dataclass(frozen=True, slots=True)
class Verdict:
    """One goal.

    Attributes:
        met: None when it was not measured.
    """

    goal: str
    measured: str
    met: bool | None


def bounded(goal: str, value: float | None, bound: float, unit: str) -> Verdict:
    """Whether it is below a bound."""
    if value is None:
        return Verdict(goal, "not measured", None)
    return Verdict(goal, f"{short(value)} {unit}", value < bound)


def short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
