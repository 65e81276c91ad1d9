"""Settings that somebody gave and that do nothing, as the others are."""

from collections.abc import Iterator, Mapping
from typing import Any

from mspc.settings.table import NAMES, SETTINGS

# Where env.dist.yml has something other than the default.
SAMPLE = {
    **{name: text for name, text, _, _ in SETTINGS},
    "QUEUE_SCHEME": "amqp",
    "QUEUE_HOST": "queue",
    "QUEUE_PORT": "5672",
    "RABBITMQ_DEFAULT_USER": "usernameforrabbitmq",
    "RABBITMQ_DEFAULT_PASS": "passwordforrabbitmq",
    "SPOOL": "1",
    "REQUEUE_BACKOFF_FACTOR": "2",
    "REQUEUE_JITTER": "0.1",
    "DATA_DIR": "./data",
    "SSL_DIR": "./ssl",
    "LOG_FILE": "./logs/mspc.log",
    "AUTHORIZATION_MAX_AGE_SECONDS": "300",
}

_RABBITMQ = (
    "QUEUE_HOST",
    "QUEUE_PORT",
    "QUEUE_NAME",
    "QUEUE_TYPE",
    "QUEUE_CA_FILE",
    "RABBITMQ_DEFAULT_USER",
    "RABBITMQ_DEFAULT_PASS",
    "RABBITMQ_DEFAULT_VHOST",
    "SPOOL",
)
# Nothing in the first leaves the others without effect, and why.
_NEEDED = {
    "AUTHORIZATION_KEY": (
        "AUTHORIZATION_KEY is empty",
        ("AUTHORIZATION_HEADER", "AUTHORIZATION_MAX_AGE_SECONDS"),
    ),
    "FORWARD_VERIFY_TLS": ("FORWARD_VERIFY_TLS is 0", ("FORWARD_CA_FILE",)),
    "FORWARD_DENY_NETWORKS": ("no network is denied", ("FORWARD_ALLOW_NETWORKS",)),
    "JOURNAL": (
        "JOURNAL is 0",
        ("JOURNAL_DAYS", "JOURNAL_MAX_CALLS", "JOURNAL_BODY_BYTES"),
    ),
    "ADMIN": (
        "ADMIN is 0",
        (
            "ADMIN_HOST",
            "ADMIN_PORT",
            "ADMIN_KEY",
            "READ_KEY",
            "ADMIN_NAMES",
            "ADMIN_PREFIX",
            "METRICS_DESTINATIONS",
        ),
    ),
    "FILE_LOG_ENABLED": (
        "FILE_LOG_ENABLED is 0",
        ("LOG_FILE", "LOG_FILE_MAX_BYTES", "LOG_FILES_KEPT"),
    ),
    "LOG_FILE_MAX_BYTES": ("LOG_FILE_MAX_BYTES is 0", ("LOG_FILES_KEPT",)),
}


def without_effect(
    values: Mapping[str, Any], file: Mapping[str, str], environment: Mapping[str, str]
) -> Iterator[str]:
    """A sentence for each reason why settings that were given have no effect.

    Args:
        values: all settings, checked.
        file: the texts of the settings file.
        environment: those of the environment.
    """
    # A copy of env.dist.yml has everything; what nobody changed in it, nobody meant.
    copied = len(file) > len(NAMES) // 2
    given = {name for name, text in file.items() if text} | set(environment)
    if copied:
        same = {name for name, text in file.items() if text == SAMPLE.get(name)}
        given -= same - set(environment)
    for why, names in _idle(values):
        found = [name for name in names if name in given]
        given -= set(found)
        if found:
            yield f"{', '.join(found)}: without effect, since {why}."


def _idle(values: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Reasons, and the settings that have no effect because of them.

    SSL_DIR and DATA_DIR are not among them: they say where something would be, not
    that it is wanted, and deploy/mspc.service says so to whoever starts it.
    """
    yield from _idle_of_the_queue(values)
    if not values["TLS"]:
        yield "TLS is 0", ("REDIRECT_TO_TLS", "HTTPS_PORT")
    elif not values["REDIRECT_TO_TLS"]:
        yield "REDIRECT_TO_TLS is 0", ("HTTP_PORT",)
    yield from (idle for name, idle in _NEEDED.items() if not values[name])


def _idle_of_the_queue(
    values: Mapping[str, Any],
) -> Iterator[tuple[str, tuple[str, ...]]]:
    scheme = values["QUEUE_SCHEME"]
    if scheme == "sqlite":
        yield "QUEUE_SCHEME is sqlite", _RABBITMQ
        return
    if all(port for _, port in values["QUEUE_HOST"]):
        yield "QUEUE_HOST has ports of its own", ("QUEUE_PORT",)
    if scheme == "amqp":
        yield "QUEUE_SCHEME is amqp, not amqps", ("QUEUE_CA_FILE",)
