"""The operators' door: the API, the metrics and the pages, on a port of their own.

Imported only where it is open.
"""

import socket
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mspc.admin.app import AdminApp, create_admin_app
from mspc.admin.keys import Keys, admin_key
from mspc.admin.stats import Health
from mspc.api.health import Condition
from mspc.journal.journal import Journal
from mspc.journal.nothing import NoJournal
from mspc.metrics.counting import Counting
from mspc.metrics.resource import add_metrics
from mspc.metrics.sources import Sources
from mspc.pages.desk import Desk
from mspc.pages.login import Logins
from mspc.pages.rendering import Templates
from mspc.pages.routes import add_pages
from mspc.process import logs
from mspc.process.disk import Volume
from mspc.queues.base import Queue
from mspc.serving.server import Server
from mspc.settings.config import Config, HttpConfig
from mspc.steering.base import Steering

# As people call them.
_ENGINES = {"sqlite": "embedded queue", "amqp": "RabbitMQ"}


@dataclass(frozen=True, slots=True)
class Door:
    """What stands behind it.

    Attributes:
        config: its port, its keys, and what is told of the settings.
        queue: where the calls are.
        journal: what became of them.
        steering: what may be done to them.
        send: stores a call, given its JSON; returns its id. Raises BadRequest and
            QueueUnavailable.
        condition: how the service is.
        counting: what the metrics tell.
    """

    config: Config
    queue: Queue
    journal: Journal | NoJournal
    steering: Steering
    send: Callable[[bytes], str]
    condition: Condition
    counting: Counting

    def server(self) -> Server:
        """
        Raises:
            ConfigError: there is no key, and none can be made.
        """
        admin = self.config.admin
        key = admin_key(admin)
        app = self._api(key)
        self.counting.ask(self._sources(), self.journal)
        add_metrics(app, self.counting.render, Keys(key, admin.read_key))
        add_pages(app, self._desk(Logins(key, admin.read_key)))
        return Server(HttpConfig(admin.host, admin.port), app, setting="ADMIN_PORT")

    def _api(self, key: str) -> AdminApp:
        health = Health(
            engine=self.counting.engine,
            problem=self.condition.problem,
            remark=self.condition.remark,
            spool=self.queue.spooled,
            in_flight=self.condition.in_flight,
        )
        return create_admin_app(
            self.config.admin,
            key,
            self.journal,
            self.steering,
            self.send,
            health,
            self.config.http.max_request_bytes,
            names=[socket.gethostname()],
            header=self.config.auth.header,
        )

    def _sources(self) -> Sources:
        return Sources(
            consumers=self.config.consumers,
            in_flight=self.condition.in_flight,
            problem=self.condition.problem,
            destinations=lambda: count_states(self.steering.glance().values()),
            spooled=self.queue.spooled,
            connected=self.queue.connected,
            disk_free=Volume(self.config.journal.path.parent).free,
            lines_dropped=logs.lines_dropped,
            spans_dropped=self.condition.spans_dropped,
        )

    def _desk(self, logins: Logins) -> Desk:
        return Desk(
            view=self.journal,
            steering=self.steering,
            logins=logins,
            templates=Templates(),
            problem=self.condition.problem,
            remark=self.condition.remark,
            in_flight=self.condition.in_flight,
            spooled=self.queue.spooled,
            send=self.send,
            engine=_ENGINES[self.counting.engine],
        )


def count_states(states: Iterable[str]) -> dict[str, int]:
    """How many destinations are in each state, of those with something to tell."""
    return dict.fromkeys(("ok", "held", "paused"), 0) | Counter(states)
