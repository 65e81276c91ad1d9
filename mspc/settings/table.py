"""Every setting: a new one is a line here, in env.dist.yml and in docs/settings.md."""

from mspc.calls.networks import DEFAULT_DENIED
from mspc.settings import kinds

# Name, default as one would write it, what its text may be, and the part and field of
# the Config that the value goes to, when it goes there as it is.
SETTINGS: tuple[tuple[str, str, kinds.Check, str], ...] = (
    ("QUEUE_SCHEME", "sqlite", kinds.one_of("sqlite", "amqp", "amqps"), ""),
    ("QUEUE_HOST", "localhost", kinds.brokers, ""),
    ("QUEUE_PORT", "", kinds.if_any(kinds.port), ""),  # the scheme's own
    ("QUEUE_NAME", "services", kinds.queue_name, "amqp.name"),
    ("QUEUE_TYPE", "quorum", kinds.one_of("quorum", "classic"), "amqp.queue_type"),
    ("QUEUE_CA_FILE", "", kinds.if_any(kinds.path), "amqp.ca_file"),
    ("QUEUE_NUMBER_OF_CONSUMERS", "200", kinds.number(1, 10_000), ".consumers"),
    ("BREAKER_FAILURES", "5", kinds.number(0, 1000), ".breaker_failures"),
    ("QUEUE_HELD_MEGABYTES", "32", kinds.number(1, 65_536), ""),
    ("RABBITMQ_DEFAULT_USER", "guest", str, "amqp.user"),
    ("RABBITMQ_DEFAULT_PASS", "guest", str, "amqp.password"),
    ("RABBITMQ_DEFAULT_VHOST", "/", str, "amqp.vhost"),
    ("RABBITMQ_HIPE_COMPILE", "0", kinds.boolean, ""),
    ("SPOOL", "0", kinds.boolean, ""),
    ("DATA_DIR", "data", kinds.path, ""),
    ("REQUEUE_FAILED_AFTER_MILLISECONDS", "5000", kinds.number(1, 65_535_000), ""),
    ("REQUEUE_BACKOFF_FACTOR", "1", kinds.factor, "delays.factor"),
    (
        "REQUEUE_LONGEST_DELAY_SECONDS",
        "3600",
        kinds.number(1, 31_536_000),
        "delays.longest",
    ),
    ("REQUEUE_JITTER", "0", kinds.share, "delays.jitter"),
    ("REQUEUE_MAX_ATTEMPTS", "0", kinds.number(0, 1_000_000), ".max_attempts"),
    ("REQUEUE_MAX_AGE_SECONDS", "0", kinds.number(0, 31_536_000), ".max_age"),
    ("PERMANENT_STATUSES", "", kinds.statuses, ".permanent"),
    ("HTTP_HOST", "0.0.0.0", kinds.listen, "http.host"),  # noqa: S104
    ("HTTP_PORT", "8008", kinds.port, "http.port"),
    ("TLS", "0", kinds.boolean, "http.tls"),
    ("REDIRECT_TO_TLS", "1", kinds.boolean, "http.redirect_to_tls"),
    ("HTTPS_PORT", "8009", kinds.port, "http.https_port"),
    ("SSL_DIR", "ssl", kinds.path, "http.ssl_dir"),
    # Longer than the balancers keep theirs, 60 s as a rule: who closes first decides
    # whether a request is lost on the way.
    ("HTTP_KEEP_ALIVE_SECONDS", "75", kinds.number(1, 86_400), "http.keep_alive"),
    # RabbitMQ 4 takes messages of up to 16 MiB unless told otherwise.
    (
        "MAX_REQUEST_BYTES",
        "1048576",
        kinds.number(1, 16_000_000),
        "http.max_request_bytes",
    ),
    ("FAST_PUBLISH", "0", kinds.boolean, "http.fast_publish"),
    ("AUTHORIZATION_HEADER", "X-Authorization", kinds.header, "auth.header"),
    ("AUTHORIZATION_KEY", "", str, "auth.key"),
    (
        "AUTHORIZATION_MAX_AGE_SECONDS",
        "0",
        kinds.number(0, 10**9),
        "auth.max_age_seconds",
    ),
    ("FORWARD_CONNECT_TIMEOUT_SECONDS", "5", kinds.seconds, "forward.connect_timeout"),
    # RabbitMQ takes a delivery back that is not settled for 30 minutes.
    ("FORWARD_TIMEOUT_SECONDS", "60", kinds.seconds, "forward.timeout"),
    ("FORWARD_VERIFY_TLS", "1", kinds.boolean, "forward.verify_tls"),
    ("FORWARD_CA_FILE", "", kinds.if_any(kinds.path), "forward.ca_file"),
    (
        "FORWARD_DENY_NETWORKS",
        ", ".join(DEFAULT_DENIED),
        kinds.networks,
        "networks.deny",
    ),
    ("FORWARD_ALLOW_NETWORKS", "none", kinds.networks, "networks.allow"),
    ("SHUTDOWN_TIMEOUT_SECONDS", "30", kinds.number(0, 3600), ".shutdown_timeout"),
    ("JOURNAL", "1", kinds.boolean, "journal.on"),
    ("JOURNAL_DAYS", "7", kinds.number(1, 3650), "journal.days"),
    ("JOURNAL_MAX_CALLS", "1000000", kinds.number(1, 10**9), "journal.max_calls"),
    ("JOURNAL_BODY_BYTES", "4096", kinds.number(0, 65_536), "journal.body_bytes"),
    ("ADMIN", "1", kinds.boolean, "admin.on"),
    ("ADMIN_HOST", "127.0.0.1", kinds.listen, "admin.host"),
    ("ADMIN_PORT", "8010", kinds.port, "admin.port"),
    ("ADMIN_KEY", "", kinds.key, "admin.key"),
    ("READ_KEY", "", kinds.key, "admin.read_key"),
    ("ADMIN_NAMES", "", kinds.host_names, "admin.names"),
    ("ADMIN_PREFIX", "", kinds.if_any(kinds.prefix), ""),
    ("METRICS_DESTINATIONS", "", kinds.destinations, "admin.metrics_destinations"),
    # OpenTelemetry's own name; what else it has, its SDK reads from the environment.
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "", kinds.if_any(kinds.endpoint), ".tracing"),
    ("FILE_LOG_ENABLED", "1", kinds.boolean, ""),
    ("LOG_FILE", "logs/mspc.log", kinds.path, ""),
    ("LOG_FILE_MAX_BYTES", "67108864", kinds.number(0, 10**15), "log.max_bytes"),
    ("LOG_FILES_KEPT", "7", kinds.number(0, 1000), "log.kept"),
    ("LOG_FORMAT", "text", kinds.one_of("text", "json"), "log.format"),
    (
        "LOG_LEVEL",
        "info",
        kinds.one_of("debug", "info", "warning", "error"),
        "log.level",
    ),
)
NAMES = tuple(row[0] for row in SETTINGS)
# Never shown.
SECRETS = frozenset(
    ("RABBITMQ_DEFAULT_PASS", "AUTHORIZATION_KEY", "ADMIN_KEY", "READ_KEY")
)
