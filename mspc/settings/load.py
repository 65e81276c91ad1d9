"""Settings: env.yml and the environment, checked completely before a socket opens.

A value is the text that stands in the file, quoted or not, as Compose's `env_file` has
it: a password 0123 stays 0123. An empty value means the default, wherever it is
written. What each setting is for stands in env.dist.yml.
"""

import difflib
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Set
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from voluptuous import All, Invalid, MultipleInvalid, Optional, Schema

from mspc.calls.networks import NetworkRules
from mspc.calls.policy import Delays
from mspc.errors import ConfigError
from mspc.settings import config as to
from mspc.settings import kinds
from mspc.settings.certificates import NoCertificates, trusting
from mspc.settings.effects import without_effect
from mspc.settings.file import File
from mspc.settings.sources import read_sources
from mspc.settings.table import NAMES, SETTINGS

Values = Mapping[str, Any]

# Besides those that are due: of every retry queue what leaves it within a second. With
# 200 of these, of 200 calls a second with delays of up to a minute 3 % came late, by up
# to 20 s, on a quorum queue; with 2,000 the latest by 0.12 s (fault row 59). Those of
# this number are small, some MB together: large ones are counted in bytes.
WAITING_CALLS = 2000

_LINKS = (
    "{names} in the environment is the address of a service of that name and no"
    " setting: it is not taken. In Kubernetes `enableServiceLinks: false` keeps it"
    " away; settings of that name can stand in the settings file."
)
_TRACING = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
_SCHEMA = Schema(
    {
        Optional(name, default=text): All(kinds.text, kind)
        for name, text, kind, _ in SETTINGS
    }
)


def load_config(path: Path | None, environ: Mapping[str, str], root: Path) -> to.Config:
    """Reads `path`, or env.yml in `root` if there is one, and what overrides it.

    Relative paths in the settings start at `root`.

    Raises:
        ConfigError: with every mistake.
    """
    sources = read_sources(path, environ, root)
    file, given, links = sources.file, sources.given, sources.links
    problems = file.problems
    values, wrong = _check(sources.texts)
    values = {n: root / v if isinstance(v, Path) else v for n, v in values.items()}
    sentences = [*problems.values(), *wrong.values()]
    unsure = problems.keys() | wrong.keys()
    sentences += [told for names, told in _conflicts(values) if not names & unsure]
    if sentences:
        raise ConfigError(sentences)
    remarks = (
        *_remarks(values),
        *_ambiguous(file, given),
        *without_effect(values, file.texts, given),
        *([_LINKS.format(names=", ".join(links))] if links else []),
    )
    return _build(values, remarks)


def _ambiguous(file: File, given: Mapping[str, str]) -> Iterator[str]:
    """What may have been meant as a part of the value, and would be a proper one."""
    check = {name: kind for name, _, kind, _ in SETTINGS}
    for name, (place, whole) in file.commented.items():
        if name in given or name not in NAMES:
            continue
        with suppress(Invalid):
            check[name](kinds.text(whole))
            yield (
                f"{place} ends before the #: what follows is a comment. Quotes around"
                " the value make it a part of it."
            )


def _check(texts: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Every value, the default where it is wrong, and the mistakes by name."""
    try:
        return _SCHEMA(texts), {}
    except MultipleInvalid as exc:
        problems = {str(error.path[0]): _sentence(error) for error in exc.errors}
    right = {name: text for name, text in texts.items() if name not in problems}
    return _SCHEMA(right), problems


def _sentence(error: Invalid) -> str:
    name = str(error.path[0])
    if name in NAMES:
        return f"{name} {error.msg}"
    near = difflib.get_close_matches(name.upper(), NAMES, n=1)
    hint = f"did you mean {near[0]}?" if near else "remove it."
    return f"{kinds.quoted(name)} is not a setting: {hint}"


def _conflicts(values: Values) -> Iterator[tuple[Set[str], str]]:
    """What is wrong beyond a single text, and the settings that it comes from."""
    needed = [(name, values[name]) for name in ("QUEUE_CA_FILE", "FORWARD_CA_FILE")]
    if values["TLS"]:
        pair = ("server.crt", "server.key")
        needed += [("SSL_DIR", values["SSL_DIR"] / name) for name in pair]
    for name, file in needed:
        # Not Path.is_file(), which raises where a folder may not be searched.
        if file and not (os.path.isfile(file) and os.access(file, os.R_OK)):
            yield {name}, f"{name} needs {file}: put a file there that mspc can read."
        elif file and name.endswith("_CA_FILE"):
            try:
                trusting(file)
            except NoCertificates as exc:
                yield {name}, f"{name} {exc}"
    if values["OTEL_EXPORTER_OTLP_ENDPOINT"] and not _has_tracing():
        name = "OTEL_EXPORTER_OTLP_ENDPOINT"
        told = "needs OpenTelemetry's SDK: pip install 'mspc[tracing]'."
        yield {name}, f"{name} {told}"
    for one, other in _same_ports(values):
        yield {one, other}, f"{one} and {other} must differ."
    if values["READ_KEY"] and values["READ_KEY"] == values["ADMIN_KEY"]:
        told = "must differ: READ_KEY may look and change nothing."
        yield {"READ_KEY", "ADMIN_KEY"}, f"READ_KEY and ADMIN_KEY {told}"


def _same_ports(values: Values) -> Iterator[tuple[str, str]]:
    """Settings that name one port for two listeners."""
    doors = ["HTTP_PORT"] if not values["TLS"] or values["REDIRECT_TO_TLS"] else []
    doors += ["HTTPS_PORT"] if values["TLS"] else []
    pairs = [(doors[0], doors[1])] if len(doors) > 1 else []
    if values["ADMIN"] and _overlap({values["HTTP_HOST"], values["ADMIN_HOST"]}):
        pairs += [(door, "ADMIN_PORT") for door in doors]
    yield from (pair for pair in pairs if values[pair[0]] == values[pair[1]])


def _overlap(hosts: Set[str]) -> bool:
    """Whether a port of one of them is surely one of the other."""
    if len(hosts) == 1 or "::" in hosts:
        return True
    return "0.0.0.0" in hosts and not any(":" in host for host in hosts)  # noqa: S104


def _has_tracing() -> bool:
    """Whether what makes spans is installed; it is not loaded for that."""
    try:
        return all(map(find_spec, _TRACING))
    except ModuleNotFoundError:  # not even the package that it would be in
        return False


def _build(values: Values, remarks: tuple[str, ...]) -> to.Config:
    parts: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, _, _, place in SETTINGS:
        if place:
            part, _, field = place.partition(".")
            parts[part][field] = values[name]
    own_port = values["ADMIN_PORT"] if values["ADMIN"] else None
    networks = NetworkRules(**parts["networks"], own_port=own_port)
    log_file = values["LOG_FILE"] if values["FILE_LOG_ENABLED"] else None
    return to.Config(
        queue=_queue(values, parts["amqp"]),
        http=to.HttpConfig(**parts["http"]),
        auth=to.AuthConfig(**parts["auth"]),
        forward=to.ForwardConfig(**parts["forward"], networks=networks),
        log=to.LogConfig(**parts["log"], file=log_file),
        journal=to.JournalConfig(values["DATA_DIR"] / "journal.db", **parts["journal"]),
        admin=to.AdminConfig(
            **parts["admin"],
            prefix=values["ADMIN_PREFIX"] or "",
            key_file=values["DATA_DIR"] / "admin.key",
        ),
        delays=Delays(
            values["REQUEUE_FAILED_AFTER_MILLISECONDS"] / 1000, **parts["delays"]
        ),
        remarks=remarks,
        **parts[""],
    )


def _queue(values: Values, amqp: Mapping[str, Any]) -> to.QueueConfig:
    if values["QUEUE_SCHEME"] == "sqlite":
        return to.SqliteConfig(values["DATA_DIR"] / "queue.db")
    tls = values["QUEUE_SCHEME"] == "amqps"
    default = values["QUEUE_PORT"] or (5671 if tls else 5672)
    hosts = tuple((host, port or default) for host, port in values["QUEUE_HOST"])
    # Some more than can be in flight keeps every consumer busy, with new calls or with
    # those that wait; the rest only fills memory.
    consumers = values["QUEUE_NUMBER_OF_CONSUMERS"]
    return to.AmqpConfig(
        hosts,
        tls=tls,
        prefetch=max(20, min(2 * consumers, consumers + 30)),
        held_calls=2 * consumers + WAITING_CALLS,
        held_bytes=values["QUEUE_HELD_MEGABYTES"] * 2**20,
        spool=values["DATA_DIR"] / "spool.db" if values["SPOOL"] else None,
        **amqp,
    )


def _remarks(values: Values) -> Iterator[str]:
    if not values["AUTHORIZATION_KEY"]:
        yield "AUTHORIZATION_KEY is empty: whoever reaches the port can send calls."
    if not values["FORWARD_VERIFY_TLS"]:
        yield "FORWARD_VERIFY_TLS is 0: calls trust whoever answers."
    if values["RABBITMQ_HIPE_COMPILE"]:
        yield "RABBITMQ_HIPE_COMPILE has no effect on RabbitMQ 3.8 on OTP 24 and later."
