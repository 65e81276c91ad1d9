"""Builds what operators need: the journal, the steering, their door."""

import socket
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mspc.api.accepting import Acceptance
from mspc.calls.requests import Requests
from mspc.journal.base import Recorder
from mspc.journal.gathering import Shared
from mspc.journal.journal import Journal
from mspc.journal.nothing import NoJournal
from mspc.journal.wire import decode, encode
from mspc.lanes.steered import Steered
from mspc.process import logs
from mspc.process.disk import Volume
from mspc.process.identity import identity_of
from mspc.queues.base import Queue
from mspc.queues.watch import NOBODY, StoreWatch
from mspc.serving.server import Server
from mspc.settings.config import Config, HttpConfig, SqliteConfig
from mspc.steering.base import Steering
from mspc.steering.ended import Ended
from mspc.steering.missed import Missed
from mspc.steering.operator import Operator

if TYPE_CHECKING:
    from mspc.metrics.counting import Counting


def open_journal(config: Config) -> Journal | NoJournal:
    """The journal that the settings ask for; on RabbitMQ all instances share theirs."""
    if not config.journal.on:
        return NoJournal()
    if isinstance(config.queue, SqliteConfig):
        return Journal(config.journal)
    # Here: whoever has no RabbitMQ starts without what speaks to it.
    from mspc.queues.amqp.stream import JournalStream

    stream = JournalStream(config.queue, config.journal.days)
    return Journal(config.journal, Shared(stream, encode, decode))


def open_steering(
    config: Config,
    queue: Queue,
    lanes: Steered,
    journal: Journal | NoJournal,
    in_flight: Callable[[str], bool],
    flying: Callable[[], Sequence[str]],
) -> Operator:
    instance = identity_of(config.journal.path.parent)
    return Operator(queue, lanes, journal, in_flight, flying, instance)


def open_missed(
    config: Config,
    queue: Queue,
    journal: Journal | NoJournal,
    requests: Requests,
    in_flight: Callable[[str], bool],
    steering: Operator,
) -> Missed:
    """What tells the journal of what it lost in a crash."""
    return Missed(
        queue,
        journal,
        requests.read,
        Ended(queue, journal, journal, in_flight, steering.busy),
        steering,
        identity_of(config.journal.path.parent),
    )


@dataclass(frozen=True, slots=True)
class Condition:
    """How the service is.

    Attributes:
        problem: why it is not ready; None when it is.
        remark: what else one should know.
        in_flight: attempts that run now.
        spans_dropped: how many are lost, since the start; None where nobody collects
            them.
    """

    problem: Callable[[], str | None]
    remark: Callable[[], str | None]
    in_flight: Callable[[], int]
    spans_dropped: Callable[[], int | None]


def open_counting(config: Config, journal: Journal | NoJournal) -> "Counting | None":
    """What counts, when there is a door to ask for it; None for none."""
    if not config.admin.on:
        return None
    # Here: whoever keeps the door closed starts without it.
    from mspc.metrics.counting import Counting

    named = config.admin.metrics_destinations
    return Counting(_engine(config), journal, named)


def recorder_of(journal: Journal | NoJournal, counting: "Counting | None") -> Recorder:
    """Who is told what becomes of calls: the journal, and what counts."""
    return journal if counting is None else counting.recorder


def watch_of(counting: "Counting | None") -> StoreWatch:
    """Who is told how the store does."""
    return NOBODY if counting is None else counting.stores


def open_door(
    config: Config,
    queue: Queue,
    journal: Journal | NoJournal,
    steering: Steering,
    acceptance: Acceptance,
    condition: Condition,
    counting: "Counting | None",
) -> Server | None:
    """The operators' door; None when it is to stay closed.

    Raises:
        ConfigError: there is no key for it, and none can be made.
    """
    if counting is None:
        return None
    # Here: whoever keeps it closed starts without it.
    from mspc.admin.app import create_admin_app
    from mspc.admin.keys import Keys, admin_key
    from mspc.admin.stats import Health
    from mspc.metrics.resource import add_metrics
    from mspc.metrics.sources import Sources
    from mspc.pages.desk import Desk
    from mspc.pages.login import Logins
    from mspc.pages.rendering import Templates
    from mspc.pages.routes import add_pages

    key, read_key = admin_key(config.admin), config.admin.read_key
    app = create_admin_app(
        *(config.admin, key, journal, steering, acceptance.take),
        Health(
            *(_engine(config), condition.problem, condition.remark),
            *(queue.spooled, condition.in_flight),
        ),
        config.http.max_request_bytes,
        names=[socket.gethostname()],
        header=config.auth.header,
    )
    sources = Sources(
        config.consumers,
        condition.in_flight,
        condition.problem,
        lambda: count_states(steering.glance().values()),
        queue.spooled,
        queue.connected,
        Volume(config.journal.path.parent).free,
        logs.lines_dropped,
        condition.spans_dropped,
    )
    counting.ask(sources, journal)
    add_metrics(app, counting.render, Keys(key, read_key))
    desk = Desk(
        *(journal, steering, Logins(key, read_key), Templates()),
        *(condition.problem, condition.remark, condition.in_flight, queue.spooled),
        acceptance.take,
        "embedded queue" if _engine(config) == "sqlite" else "RabbitMQ",
    )
    add_pages(app, desk)
    http = HttpConfig(config.admin.host, config.admin.port)
    return Server(http, app, setting="ADMIN_PORT")


def count_states(states: Iterable[str]) -> dict[str, int]:
    """How many destinations are in each state, of those with something to tell."""
    return dict.fromkeys(("ok", "held", "paused"), 0) | Counter(states)


def _engine(config: Config) -> str:
    return "sqlite" if isinstance(config.queue, SqliteConfig) else "amqp"
