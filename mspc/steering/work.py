"""What is left to do of a job, and how it stands in the journal."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from mspc.journal.base import Filter
from mspc.steering.base import Job

RUNNING = "running"
DONE = "done"
STOPPED = "stopped"
FAILED = "failed"

_JOB = tuple(field.name for field in fields(Job))


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some calls of a job: what is done at once, and written down before.

    Attributes:
        ids: theirs.
        asked: how many were looked for: of some of a job by ids nobody knows anything.
        cursor: where the chunk after it begins; None after the last one.
        matched: how many calls the job had found before it.
        at: when it was begun, Unix seconds.
    """

    ids: tuple[str, ...]
    asked: int
    cursor: int | None
    matched: int
    at: float

    def details(self) -> dict[str, object]:
        """As it is written down."""
        return asdict(self)


def read_chunk(details: Mapping[str, Any]) -> Chunk | None:
    """What details() wrote; None when another version wrote something else."""
    try:
        return Chunk(**{**details, "ids": tuple(details["ids"])})
    except (KeyError, TypeError):
        return None


@dataclass(frozen=True, slots=True)
class Work:
    """A job, with all that it takes to go on after a crash.

    Attributes:
        job: what is told of it.
        instance: which one does it.
        wanted: which calls; None when ids say it.
        ids: which calls; of those that another instance does, unknown.
        limit: how many at most.
        per_second: how many in a second, for `retry`.
        cursor: how far it is: in `ids`, or Page.next; None at the beginning.
        delay: in how many seconds each is due then, for `retry`.
        ended: whether what was begun has come to its end, too.
    """

    job: Job
    instance: str
    wanted: Filter | None
    ids: tuple[str, ...]
    limit: int
    per_second: float
    cursor: int | None = None
    delay: float = 0.0
    ended: bool = False

    def with_status(self, status: str, now: float) -> "Work":
        """Ended, one way or the other."""
        return replace(self, job=replace(self.job, status=status, finished_at=now))

    def details(self, *, with_ids: bool) -> dict[str, object]:
        """As it is written down. The ids are once, at the beginning: they are many."""
        return asdict(self.job) | {
            "instance": self.instance,
            "filter": None if self.wanted is None else _filter_details(self.wanted),
            "limit": self.limit,
            "per_second": self.per_second,
            "cursor": self.cursor,
            "delay": self.delay,
            "ended": self.ended,
            **({"ids": list(self.ids)} if with_ids else {}),
        }


def read_work(details: Mapping[str, Any]) -> Work | None:
    """What details() wrote; None when another version wrote something else."""
    try:
        return Work(
            Job(**{name: details[name] for name in _JOB}),
            details["instance"],
            None if details["filter"] is None else _read_filter(details["filter"]),
            tuple(details.get("ids", ())),
            details["limit"],
            details["per_second"],
            details["cursor"],
            # Older versions have neither, and left nothing for later.
            details.get("delay", 0.0),
            details.get("ended", True),
        )
    except (KeyError, TypeError):
        return None


def _filter_details(wanted: Filter) -> dict[str, object]:
    return asdict(wanted) | {"states": sorted(wanted.states)}


def _read_filter(details: Mapping[str, Any]) -> Filter:
    return Filter(**{**details, "states": frozenset(details["states"])})
