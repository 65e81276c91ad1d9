"""The results of several runs, as JSON: a part that ran again replaces itself."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measure import median

Figures = dict[str, float]

LIMITS = "limits"
END_TO_END = "end-to-end"
GROWTH = "growth"
FAIRNESS = "fairness"
OPERATORS = "operators"
PAGES = "pages"
METRICS = "metrics"
SECTIONS = (LIMITS, END_TO_END, GROWTH, FAIRNESS, OPERATORS, PAGES, METRICS)


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of a figure's rounds, with the least and the greatest."""

    median: float
    least: float
    greatest: float


@dataclass(frozen=True, slots=True)
class RunInfo:
    """Under what a result was measured."""

    command: str
    date: str
    quick: bool
    machine: dict[str, str]
    versions: dict[str, str]


@dataclass(slots=True)
class Store:
    """Results by section and by name; each is a list of rounds.

    Attributes:
        run_of: which of `runs` measured a result.
        failures: why a round is missing, by section and subject.
    """

    results: dict[str, dict[str, list[Figures]]] = field(default_factory=dict)
    run_of: dict[str, str] = field(default_factory=dict)
    runs: dict[str, RunInfo] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> "Store":
        if not path.exists():
            return cls()
        content: dict[str, Any] = json.loads(path.read_text())
        runs = {name: RunInfo(**run) for name, run in content["runs"].items()}
        return cls(content["results"], content["run_of"], runs, content["failures"])

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        runs = {name: asdict(run) for name, run in self.runs.items()}
        content = {
            "runs": runs,
            "run_of": self.run_of,
            "failures": self.failures,
            "results": self.results,
        }
        path.write_text(json.dumps(content, indent=1) + "\n")

    def add(self, section: str, name: str, figures: Figures) -> None:
        """One more round."""
        self.results.setdefault(section, {}).setdefault(name, []).append(figures)

    def take_over(self, newer: "Store", run: RunInfo) -> None:
        """Replaces what was measured anew, and forgets runs that nothing is left of."""
        for section, results in newer.results.items():
            for name, rounds in results.items():
                self.results.setdefault(section, {})[name] = rounds
                self.run_of[f"{section}/{name}"] = run.date
                self.failures.pop(f"{section}/{name.split()[0]}", None)
                self.failures.pop(section, None)
        self.failures |= newer.failures
        self.runs[run.date] = run
        used = set(self.run_of.values())
        self.runs = {date: each for date, each in self.runs.items() if date in used}

    def forget_others(self, section: str, known: Callable[[str], bool]) -> None:
        """Drops results of a section that have another name today."""
        results = self.results.get(section, {})
        for name in [name for name in results if not known(name.partition(" ")[2])]:
            del results[name]
            self.run_of.pop(f"{section}/{name}", None)

    def spread(self, section: str, name: str, figure: str) -> Spread | None:
        """None when it was not measured."""
        rounds = self.results.get(section, {}).get(name, [])
        values = [one[figure] for one in rounds if figure in one]
        if not values:
            return None
        return Spread(median(values), min(values), max(values))

    def median(self, section: str, name: str, figure: str) -> float | None:
        spread = self.spread(section, name, figure)
        return None if spread is None else spread.median

    def total(self, section: str, name: str, figure: str) -> float:
        """The sum of all rounds."""
        rounds = self.results.get(section, {}).get(name, [])
        return sum(one.get(figure, 0.0) for one in rounds)

    def runs_of(self, section: str) -> set[str]:
        """The runs whose results are shown beside each other."""
        return {
            run for key, run in self.run_of.items() if key.startswith(f"{section}/")
        }

    def names(self, section: str) -> list[str]:
        return list(self.results.get(section, {}))

    def floor(self, parts: tuple[str, ...]) -> float | None:
        """The CPU time of these parts for one call, microseconds."""
        medians = [self.median(LIMITS, part, "cpu_us") for part in parts]
        known = [value for value in medians if value is not None]
        return sum(known) if len(known) == len(parts) else None
