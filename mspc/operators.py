"""Builds what operators need: the journal, the steering, their door."""

import socket
from collections.abc import Callable
from dataclasses import dataclass

from mspc.api.accepting import Acceptance
from mspc.journal.gathering import Shared
from mspc.journal.journal import Journal
from mspc.journal.nothing import NoJournal
from mspc.journal.wire import decode, encode
from mspc.lanes.steered import Steered
from mspc.process.identity import identity_of
from mspc.queues.base import Queue
from mspc.queues.spooled import SpooledQueue
from mspc.serving.server import Server
from mspc.settings.config import Config, HttpConfig, SqliteConfig
from mspc.steering.base import Steering
from mspc.steering.operator import Operator


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
) -> Operator:
    instance = identity_of(config.journal.path.parent)
    return Operator(queue, lanes, journal, journal, journal.listen, in_flight, instance)


@dataclass(frozen=True, slots=True)
class Condition:
    """How the service is: why it is not ready, and what else one should know."""

    problem: Callable[[], str | None]
    remark: Callable[[], str | None]


def open_door(
    config: Config,
    queue: Queue,
    journal: Journal | NoJournal,
    steering: Steering,
    acceptance: Acceptance,
    condition: Condition,
) -> Server | None:
    """The operators' door; None when it is to stay closed.

    Raises:
        ConfigError: there is no key for it, and none can be made.
    """
    if not config.admin.on:
        return None
    # Here: whoever keeps it closed starts without it.
    from mspc.admin.app import create_admin_app
    from mspc.admin.keys import admin_key
    from mspc.admin.stats import Health

    engine = "sqlite" if isinstance(config.queue, SqliteConfig) else "amqp"
    spool = queue.spooled if isinstance(queue, SpooledQueue) else lambda: None
    app = create_admin_app(
        config.admin,
        admin_key(config.admin),
        journal,
        steering,
        acceptance.take,
        Health(engine, condition.problem, condition.remark, spool),
        config.http.max_request_bytes,
        names=[socket.gethostname()],
    )
    http = HttpConfig(config.admin.host, config.admin.port)
    return Server(http, app, setting="ADMIN_PORT")
