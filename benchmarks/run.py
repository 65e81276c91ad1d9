"""The command: what is measured, in which order, and where it is written."""

import argparse
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from benchmarks import (
    counting,
    end_to_end,
    fairness,
    growth,
    limits,
    machine,
    operators,
    pages,
    plots,
    report,
)
from benchmarks.fairness import CASES
from benchmarks.goals import judge
from benchmarks.looks import NAMES
from benchmarks.processes import ROOT
from benchmarks.scale import FULL, QUICK, Scale
from benchmarks.service import Subject
from benchmarks.stage import Stage, missing
from benchmarks.store import (
    END_TO_END,
    FAIRNESS,
    GROWTH,
    LIMITS,
    METRICS,
    OPERATORS,
    PAGES,
    SECTIONS,
    Figures,
    RunInfo,
    Store,
)
from benchmarks.subjects import SUBJECTS, choose

PAGE = ROOT / "docs" / "benchmarks.md"
REPORT = "report"
# Huey's calls/s are a fraction of the others': fewer calls tell as much.
FEWER = {"huey": 5}


class Bench:
    """One run of the chosen sections."""

    def __init__(
        self,
        stage: Stage,
        scale: Scale,
        subjects: list[Subject],
        cases: Sequence[str] = CASES,
    ) -> None:
        self.results = Store()
        self._cases = cases
        self._stage = stage
        self._scale = scale
        self._subjects = subjects
        self._mspc = [one for one in subjects if one.product == "mspc"]
        # As it is by default; without its journal little of it is compared.
        self._ours = [one for one in self._mspc if one.journal]

    def run(self, sections: Sequence[str]) -> None:
        """In turns: every round has each limit and each subject once."""
        for number in range(1, self._scale.rounds + 1):
            if LIMITS in sections:
                self._try(LIMITS, f"limits, round {number}", self._limits)
            if END_TO_END in sections:
                for subject in self._subjects:
                    what = f"{subject.title}, round {number}"
                    self._try(END_TO_END, what, self._end_to_end, subject)
        if GROWTH in sections:
            self._each(GROWTH, self._growth)
        if FAIRNESS in sections:
            self._in_every_case()
        if OPERATORS in sections:
            self._each(OPERATORS, self._operators)
        if PAGES in sections:
            self._each(PAGES, self._pages)
        if METRICS in sections:
            self._in_turns()

    def _each(self, section: str, step: Callable[[Subject], None]) -> None:
        for subject in self._ours:
            self._try(section, f"{subject.title}, {section}", step, subject)

    def _in_every_case(self) -> None:
        for case in self._cases:
            for subject in self._ours:
                what = f"{subject.title}, fairness, {case}"
                step = partial(self._fairness, case)
                self._try(FAIRNESS, what, step, subject)

    def _in_turns(self) -> None:
        for number in range(1, self._scale.rounds + 1):
            for subject in self._mspc:
                what = f"{subject.title}, metrics, round {number}"
                step = partial(self._price, counting.COUNTED)
                self._try(METRICS, what, step, subject)
            for subject in self._ours:
                for price in (counting.REMEMBERED, counting.FULL):
                    what = f"{subject.title}, calls {price.what}, round {number}"
                    self._try(METRICS, what, partial(self._price, price), subject)

    def _limits(self) -> None:
        parts = limits.run(self._stage, self._scale.limit_operations)
        for part, figures in parts.items():
            self._note(LIMITS, part, figures)

    def _end_to_end(self, subject: Subject) -> None:
        counts = self._scale.counts
        calls = counts.calls // FEWER.get(subject.key, 1)
        counts = replace(counts, calls=calls, warm_up=min(counts.warm_up, calls // 5))
        figures = end_to_end.run(self._stage, subject, counts)
        self._note(END_TO_END, subject.key, {"calls": float(calls), **figures})

    def _growth(self, subject: Subject) -> None:
        scale = self._scale
        rows = growth.run(self._stage, subject, scale.sizes, scale.growth_calls)
        for size, figures in rows:
            self._note(GROWTH, f"{subject.key} {size}", figures)

    def _fairness(self, case: str, subject: Subject) -> None:
        scale = self._scale
        rows = fairness.run(self._stage, subject, scale.scope, case, scale.rounds)
        for name, figures in rows:
            self._note(FAIRNESS, f"{subject.key} {name}", figures)

    def _operators(self, subject: Subject) -> None:
        scale = self._scale
        for figures in operators.run(self._stage, subject, scale.extent, scale.rounds):
            self._note(OPERATORS, subject.key, figures)

    def _pages(self, subject: Subject) -> None:
        scale = self._scale
        for page, figures in pages.run(self._stage, subject, scale.sight, scale.rounds):
            self._note(PAGES, f"{subject.key} {page}".strip(), figures)

    def _price(self, price: counting.Price, subject: Subject) -> None:
        figures = counting.run(self._stage, subject, self._scale.effort, price)
        self._note(METRICS, price.name(subject.key), figures)

    def _note(self, section: str, name: str, figures: Figures) -> None:
        self.results.add(section, name, figures)
        said = ", ".join(f"{key} {value:.4g}" for key, value in figures.items())
        self._stage.say(f"  {name}: {said}")

    def _try(
        self, section: str, what: str, step: Callable[..., None], *subjects: Subject
    ) -> None:
        """A subject that fails is named in the report; the others are measured."""
        self._stage.say(what)
        try:
            step(*subjects)
        except Exception as exc:  # noqa: BLE001 - it is the result
            problem = f"{type(exc).__name__}: {exc}"
            self._stage.say(f"  FAILED: {problem}")
            key = "/".join([section, *(subject.key for subject in subjects)])
            known = self.results.failures.get(key)
            said = [*([known] if known else []), f"{what}: {problem}"]
            self.results.failures[key] = "; ".join(said)


def main(arguments: Sequence[str] | None = None) -> int:
    """1 when something could not be measured, 2 when programs are missing."""
    options = _parser().parse_args(arguments)
    # As with Ctrl-C, everything that was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    page = options.write or (None if options.quick else PAGE)
    if REPORT in options.only:
        _write(Store.load(PAGE.with_suffix(".json")), page or PAGE)
        return 0
    absent = missing()
    if absent:
        packages = " ".join(sorted(absent.values()))
        print(f"Missing: {', '.join(sorted(absent))}. Install them with")
        print(f"    apt-get install --no-install-recommends {packages}")
        return 2
    scale = QUICK if options.quick else FULL
    scale = replace(scale, rounds=options.rounds or scale.rounds)
    bench, run = _measure(options, scale)
    store = Store()
    if page is not None:
        store = Store.load(page.with_suffix(".json"))
        store.forget_others(FAIRNESS, fairness.known)
        store.forget_others(PAGES, lambda page: page in ("", *NAMES))
    store.take_over(bench.results, run)
    if page is not None:
        store.save(page.with_suffix(".json"))
        _write(store, page)
    for verdict in judge(store):
        word = {True: "met", False: "MISSED", None: "-"}[verdict.met]
        print(f"{word:>7}  {verdict.goal}: {verdict.measured}")
    return 1 if bench.results.failures else 0


def _measure(options: argparse.Namespace, scale: Scale) -> tuple[Bench, RunInfo]:
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {line}", flush=True)

    with Stage(say) as stage:
        bench = Bench(stage, scale, choose(options.subjects), options.cases)
        bench.run(options.only)
        run = RunInfo(
            _as_typed(options),
            datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
            options.quick,
            machine.machine(stage.directory),
            machine.versions(stage.node_started, stage.postgres_started),
        )
    return bench, run


def _write(store: Store, page: Path) -> None:
    drawn = plots.draw(store, page.with_suffix(""))
    report.write(store, page, drawn)
    print(f"written: {page}")


def _as_typed(options: argparse.Namespace) -> str:
    words = []
    if tuple(options.only) != SECTIONS:
        words.append(f"--only {','.join(options.only)}")
    if options.subjects:
        words.append(f"--subjects {','.join(options.subjects)}")
    if tuple(options.cases) != CASES:
        words.append(f"--cases {','.join(options.cases)}")
    if options.rounds:
        words.append(f"--rounds {options.rounds}")
    if options.quick:
        words.append("--quick")
    return f"make bench ARGS='{' '.join(words)}'" if words else "make bench"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures mspc beside its peers and its limits.",
    )
    parser.add_argument(
        "--only",
        type=lambda text: _names(text, (*SECTIONS, REPORT)),
        default=SECTIONS,
        metavar="SECTIONS",
        help=f"of {','.join(SECTIONS)}; report writes the page again from its JSON",
    )
    parser.add_argument(
        "--subjects",
        type=lambda text: _names(text, tuple(s.key for s in SUBJECTS)),
        default=[],
        help=f"of {','.join(s.key for s in SUBJECTS)}; default: all",
    )
    parser.add_argument(
        "--cases",
        type=lambda text: _names(text, CASES),
        default=CASES,
        metavar="CASES",
        help=f"of the fairness section, of {','.join(CASES)}; default: all",
    )
    parser.add_argument("--rounds", type=int, help=f"default: {FULL.rounds}")
    parser.add_argument(
        "--quick", action="store_true", help="little of everything; writes no page"
    )
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help=f"default: {PAGE.relative_to(ROOT)}"
    )
    return parser


def _names(text: str, known: tuple[str, ...]) -> list[str]:
    names = [part for part in text.split(",") if part]
    if wrong := set(names) - set(known):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(wrong))}")
    return names
