"""What each part is told: one frozen dataclass a part, filled by load.py."""

from dataclasses import dataclass, field
from pathlib import Path

from mspc.calls.networks import NetworkRules
from mspc.calls.policy import Delays


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """Where and how calls are accepted.

    Attributes:
        keep_alive: seconds for which an idle connection is kept.
    """

    host: str = "0.0.0.0"  # noqa: S104 - the original's documented default
    port: int = 8008
    tls: bool = False
    redirect_to_tls: bool = True
    https_port: int = 8009
    ssl_dir: Path = Path("ssl")
    keep_alive: int = 75
    max_request_bytes: int = 1_048_576
    fast_publish: bool = False


@dataclass(frozen=True, slots=True)
class AuthConfig:
    """Who may send calls. An empty key lets everybody in."""

    header: str = "X-Authorization"
    key: str = field(default="", repr=False)
    max_age_seconds: int = 0


@dataclass(frozen=True, slots=True)
class SqliteConfig:
    """The embedded queue."""

    path: Path


@dataclass(frozen=True, slots=True)
class AmqpConfig:
    """The queue on RabbitMQ.

    Attributes:
        hosts: (host, port) pairs, tried in turn.
        ca_file: certificates that sign an amqps broker's; None for the system's.
        prefetch: new calls held unacknowledged at most.
        held_calls: calls held unacknowledged at most, those of all queues.
        held_bytes: of their payloads at most; one alone may be larger.
        spool: the file for calls that RabbitMQ cannot take; None to refuse them.
    """

    hosts: tuple[tuple[str, int], ...]
    name: str = "services"
    queue_type: str = "quorum"
    tls: bool = False
    ca_file: Path | None = None
    user: str = "guest"
    password: str = field(default="guest", repr=False)
    vhost: str = "/"
    prefetch: int = 130
    held_calls: int = 400
    held_bytes: int = 32 * 2**20
    spool: Path | None = None


QueueConfig = SqliteConfig | AmqpConfig


@dataclass(frozen=True, slots=True)
class ForwardConfig:
    """How one attempt is made. Times in seconds."""

    connect_timeout: float = 5.0
    timeout: float = 60.0
    verify_tls: bool = True
    ca_file: Path | None = None
    networks: NetworkRules = field(default_factory=NetworkRules)


@dataclass(frozen=True, slots=True)
class JournalConfig:
    """What is remembered of calls, for people.

    Attributes:
        path: its file.
        days: after which a finished call is forgotten.
        max_calls: how many are remembered; finished ones are forgotten first.
        body_bytes: so much of each body is kept.
    """

    path: Path = Path("data/journal.db")
    on: bool = True
    days: int = 7
    max_calls: int = 1_000_000
    body_bytes: int = 4096


@dataclass(frozen=True, slots=True)
class AdminConfig:
    """The operators' door.

    Attributes:
        key: may do everything; empty: one is made into key_file.
        key_file: of the key that mspc makes itself.
        read_key: may look; empty: nobody has it.
        names: of Host headers that it answers to besides the machine's own, lower case.
        prefix: the path below which a proxy has it, `/mspc` for example; or empty.
        metrics_destinations: those with a label of their own in /metrics.
    """

    on: bool = True
    host: str = "127.0.0.1"
    port: int = 8010
    key: str = field(default="", repr=False)
    key_file: Path = Path("data/admin.key")
    read_key: str = field(default="", repr=False)
    names: tuple[str, ...] = ()
    prefix: str = ""
    metrics_destinations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LogConfig:
    """Where the log goes besides standard output, and how much of it.

    Attributes:
        format: `text` or `json`.
        max_bytes: the file is rotated before it is larger; 0 for never.
        kept: rotated files that are kept.
    """

    level: str = "info"
    format: str = "text"
    file: Path | None = None
    max_bytes: int = 67_108_864
    kept: int = 7


@dataclass(frozen=True, slots=True)
class Config:
    """Everything, complete and checked.

    Attributes:
        consumers: calls in flight at once.
        breaker_failures: so many in a row, and a service's calls wait; 0: never.
        delays: between a failed attempt and the next one.
        max_attempts: of a call; 0: no end.
        max_age: seconds; 0: no end.
        permanent: answers after which a call is not made again; see calls/policy.py.
        shutdown_timeout: seconds that attempts in flight get after SIGTERM.
        tracing: the URL of the collector of spans; None for none.
        remarks: what somebody should be told once about the settings.
    """

    queue: QueueConfig
    http: HttpConfig = HttpConfig()
    auth: AuthConfig = AuthConfig()
    forward: ForwardConfig = ForwardConfig()
    log: LogConfig = LogConfig()
    journal: JournalConfig = JournalConfig()
    admin: AdminConfig = AdminConfig()
    consumers: int = 200
    breaker_failures: int = 5
    delays: Delays = field(default_factory=lambda: Delays(5.0))
    max_attempts: int = 0
    max_age: float = 0.0
    permanent: frozenset[str] = frozenset()
    shutdown_timeout: float = 30.0
    tracing: str | None = None
    remarks: tuple[str, ...] = ()
