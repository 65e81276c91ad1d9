"""Which calls a filter wants, in the words of SQL."""

from collections.abc import Sized
from dataclasses import dataclass

from mspc.calls.words import QUEUED, SUCCEEDED, WAITING
from mspc.journal.base import NEITHER, Filter
from mspc.journal.keys import first_key


@dataclass(frozen=True, slots=True)
class Source:
    """Rows in the order of their keys, without sorting: by an index, or the table.

    Attributes:
        table: with the index.
        condition: of the index.
        values: of its parameters.
    """

    table: str
    condition: str
    values: tuple[object, ...]


def sources(wanted: Filter, number: int | None) -> list[Source]:
    """Where the wanted calls are, among as few others as possible; read side by side.

    Args:
        wanted: which calls.
        number: of the destination that is asked for; None when none is.
    """
    of_it = () if number is None else (number,)
    if wanted.states and SUCCEEDED not in wanted.states:
        index = "calls_state" if number is None else "calls_standing"
        condition = f"state = ? AND state <> '{SUCCEEDED}'"
        if number is not None:
            condition = f"destination = ? AND {condition}"
        found = [
            Source(f"calls c INDEXED BY {index}", condition, (*of_it, state))
            for state in sorted(wanted.states)
        ]
        if wanted.flying:  # few
            others = f"state NOT IN ({_marks(wanted.states)})"  # none is in two sources
            condition = f"c.id IN ({_marks(wanted.flying)}) AND {others}"
            values = (*wanted.flying, *sorted(wanted.states), *of_it)
            if number is not None:
                condition += " AND destination = ?"
            found.append(Source("calls c INDEXED BY calls_id", condition, values))
        return found
    if number is not None:
        table = "calls c INDEXED BY calls_destination"
        return [Source(table, "destination = ?", of_it)]
    return [Source("calls c NOT INDEXED", "1", ())]


def keys(wanted: Filter) -> tuple[int, int]:
    """Between which keys the wanted calls are, both exclusive."""
    after, before = -1, (1 << 63) - 1
    if wanted.created_after is not None:
        after = first_key(wanted.created_after + 0.001) - 1
    if wanted.created_before is not None:
        before = first_key(wanted.created_before)
    return after, before


def conditions(wanted: Filter) -> tuple[str, tuple[object, ...]]:
    """What is looked at in each row; the values of its parameters."""
    found: list[str] = []
    values: list[object] = []
    for condition, value in (
        ("substr(url, 1, length(?)) = ?", wanted.url_prefix),
        ("method = ?", wanted.method),
        ("instr(labels, ?)", f" {wanted.label} " if wanted.label else ""),
        ("reason = ?", wanted.reason),
        ("c.error = ?", wanted.error),
        ("attempts >= ?", wanted.attempts_min),
    ):
        if value:
            found.append(condition)
            values += [value] * condition.count("?")
    if wanted.states:
        states = f"state IN ({_marks(wanted.states)})"
        values += sorted(wanted.states)
        if wanted.flying:
            states += f" OR state IN (?, ?) AND c.id IN ({_marks(wanted.flying)})"
            values += (QUEUED, WAITING, *wanted.flying)
        found.append(f"({states})")
    if wanted.status == NEITHER:
        found.append("c.status IS NULL AND c.error = ''")
    elif wanted.status:
        found.append("c.status BETWEEN ? AND ?")
        values += _statuses(wanted.status)
    return " AND ".join(found) or "1", tuple(values)


def _marks(values: Sized) -> str:
    return ", ".join("?" * len(values))


def _statuses(status: str) -> tuple[int, int]:
    """The first and the last one: of "404", or "4xx"."""
    if status.endswith("xx"):
        return int(status[0]) * 100, int(status[0]) * 100 + 99
    return int(status), int(status)
