"""Settings: what is read, and what is said about every mistake."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mspc.calls.networks import DEFAULT_DENIED, NetworkRules, parse_network
from mspc.errors import ConfigError
from mspc.settings.config import AmqpConfig, Config, SqliteConfig
from mspc.settings.describe import describe
from mspc.settings.load import load_config
from mspc.settings.table import NAMES
from tests.support.certificates import Certificates

PROJECT = Path(__file__).parents[3]
NOWHERE = Path("/nonexistent")
NOBODY = 65534


def load(root: Path, text: str = "", **environ: str) -> Config:
    (root / "env.yml").write_text(text)
    return load_config(None, environ, root)


def problems(root: Path, text: str = "", **environ: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(root, text, **environ)
    return caught.value.problems


@contextmanager
def without_rights(folder: Path) -> Iterator[None]:
    """As somebody who may not search the folder."""
    root = os.geteuid() == 0  # who may do everything
    folder.chmod(0)
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o700)


def test_without_a_file_the_defaults_serve_on_the_embedded_queue() -> None:
    config = load_config(None, {}, NOWHERE)

    assert config.queue == SqliteConfig(NOWHERE / "data/queue.db")
    assert (config.http.host, config.http.port, config.http.tls) == (
        "0.0.0.0",
        8008,
        False,
    )
    assert config.http.ssl_dir == NOWHERE / "ssl"
    assert config.http.max_request_bytes == 1048576
    assert config.forward.networks == NetworkRules(own_port=8010)
    assert (config.consumers, config.delays.initial, config.shutdown_timeout) == (
        200,
        5.0,
        30,
    )
    assert config.log.file == NOWHERE / "logs/mspc.log"


def test_no_call_may_be_made_to_our_own_door_where_there_is_one(tmp_path: Path) -> None:
    assert load(tmp_path, "ADMIN_PORT: 9000").forward.networks.own_port == 9000
    assert load(tmp_path, "ADMIN: 0").forward.networks.own_port is None


def test_the_defaults_are_those_of_the_dataclasses() -> None:
    loaded = asdict(load_config(None, {}, NOWHERE))
    plain = asdict(Config(queue=SqliteConfig(NOWHERE / "data/queue.db")))
    loaded["remarks"] = ()
    loaded["forward"]["networks"]["own_port"] = None
    loaded["http"]["ssl_dir"] = Path("ssl")
    loaded["log"]["file"] = None
    loaded["journal"]["path"] = Path("data/journal.db")
    loaded["admin"]["key_file"] = Path("data/admin.key")

    assert loaded == plain


def test_the_file_in_the_root_is_read_and_the_environment_overrides_it(
    tmp_path: Path,
) -> None:
    config = load(tmp_path, 'HTTP_PORT: "81"\nHTTPS_PORT: 82\n', HTTP_PORT="83")

    assert (config.http.port, config.http.https_port) == (83, 82)


def test_a_named_file_is_read_instead_and_must_exist(tmp_path: Path) -> None:
    other = tmp_path / "other.yml"
    other.write_text("HTTP_PORT: 81")
    load(tmp_path, "HTTP_PORT: 82")

    assert load_config(other, {}, tmp_path).http.port == 81
    with pytest.raises(ConfigError, match=r"missing\.yml cannot be read: No such file"):
        load_config(tmp_path / "missing.yml", {}, tmp_path)
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(tmp_path, {}, tmp_path)


def test_a_folder_that_may_not_be_searched_may_have_a_file(tmp_path: Path) -> None:
    """It is not passed over: what it says may be what keeps others out."""
    told = re.escape(f"{tmp_path}/env.yml cannot be read: Permission denied.")
    (tmp_path / "env.yml").write_text("AUTHORIZATION_KEY: secret")

    with without_rights(tmp_path), pytest.raises(ConfigError, match=told):
        load_config(None, {}, tmp_path)


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "\ufeffTLS: 0"])
def test_a_file_may_be_empty(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, text).http.port == 8008


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        ("HTTP_PORT:", {}),
        ("HTTP_PORT: ''", {}),
        ("HTTP_PORT: ~", {}),
    ],
)
def test_an_empty_value_is_the_default(
    tmp_path: Path, text: str, environ: Mapping[str, str]
) -> None:
    assert load(tmp_path, text, **environ).http.port == 8008


def test_an_empty_variable_is_not_set(tmp_path: Path) -> None:
    assert load(tmp_path, "AUTHORIZATION_KEY: k", AUTHORIZATION_KEY="").auth.key == "k"


def test_values_are_the_text_that_stands_there(tmp_path: Path) -> None:
    text = (
        "QUEUE_SCHEME: amqp\nRABBITMQ_DEFAULT_USER: 0123\nRABBITMQ_DEFAULT_PASS: yes\n"
    )
    queue = load(tmp_path, text).queue

    assert isinstance(queue, AmqpConfig)
    assert (queue.user, queue.password) == ("0123", "yes")


@pytest.mark.parametrize(
    ("text", "expected"),
    [(t, True) for t in ("1", "t", "T", "true", "TRUE", "yes", "On")]
    + [(f, False) for f in ("0", "f", "F", "False", "no", "OFF")],
)
def test_booleans(tmp_path: Path, text: str, expected: bool) -> None:
    assert load(tmp_path, f"FAST_PUBLISH: {text}").http.fast_publish is expected
    assert load(tmp_path, FAST_PUBLISH=text).http.fast_publish is expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("FAST_PUBLISH", "maybe"),
        ("FAST_PUBLISH", "2"),
        ("HTTP_PORT", "0"),
        ("HTTP_PORT", "65536"),
        ("HTTP_PORT", "0x50"),
        ("HTTP_PORT", "+80"),
        ("HTTP_PORT", "8_0"),
        ("HTTP_PORT", "٨٠"),
        ("HTTP_PORT", "9" * 5000),
        ("HTTP_HOST", "a b"),
        ("HTTP_HOST", "a..b"),
        ("ADMIN_HOST", "." + "a" * 64),
        ("ADMIN_NAMES", "https://mspc.example.com"),
        ("ADMIN_NAMES", "mspc-1,mspc-2:8010"),
        ("METRICS_DESTINATIONS", "https://host:99999"),
        ("METRICS_DESTINATIONS", "https://host/path"),
        ("METRICS_DESTINATIONS", "host"),
        ("QUEUE_HOST", f"a,{'b' * 64}.c"),
        ("QUEUE_SCHEME", "redis"),
        ("QUEUE_HOST", "a,,b"),
        ("QUEUE_HOST", "a:0"),
        ("QUEUE_HOST", "a:x"),
        ("QUEUE_HOST", "::1"),
        ("QUEUE_HOST", "user@a"),
        ("QUEUE_PORT", "-1"),
        ("QUEUE_NAME", "amq.x"),
        ("QUEUE_NAME", "é" * 101),
        ("QUEUE_NAME", "a\nb"),
        ("QUEUE_TYPE", "stream"),
        ("QUEUE_NUMBER_OF_CONSUMERS", "0"),
        ("QUEUE_NUMBER_OF_CONSUMERS", "10001"),
        ("REQUEUE_FAILED_AFTER_MILLISECONDS", "0"),
        ("REQUEUE_FAILED_AFTER_MILLISECONDS", "65535001"),
        ("REQUEUE_FAILED_AFTER_MILLISECONDS", "1.5"),
        ("MAX_REQUEST_BYTES", "16000001"),
        ("AUTHORIZATION_HEADER", "X Y"),
        ("AUTHORIZATION_MAX_AGE_SECONDS", "-1"),
        ("FORWARD_TIMEOUT_SECONDS", "0"),
        ("FORWARD_TIMEOUT_SECONDS", "601"),
        ("FORWARD_TIMEOUT_SECONDS", "inf"),
        ("FORWARD_CONNECT_TIMEOUT_SECONDS", "1e1"),
        ("FORWARD_DENY_NETWORKS", "10.0.0.0/8, x"),
        ("FORWARD_CA_FILE", "missing.pem"),
        ("QUEUE_CA_FILE", "missing.pem"),
        ("SHUTDOWN_TIMEOUT_SECONDS", "3601"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("AUTHORIZATION_KEY", "\udcff"),
    ],
)
def test_a_wrong_value_gives_one_sentence_that_names_it(
    tmp_path: Path, name: str, text: str
) -> None:
    (problem,) = problems(tmp_path, **{name: text})

    assert problem.startswith(name)
    assert problem.endswith(".")
    assert len(problem) < 300
    problem.encode()


@pytest.mark.parametrize("name", ["QUEUE_HOST", "OTEL_EXPORTER_OTLP_ENDPOINT"])
def test_a_password_that_has_no_place_is_not_shown(tmp_path: Path, name: str) -> None:
    (problem,) = problems(tmp_path, **{name: "http://user:sec,ret@host:5672"})

    assert problem.startswith(name)
    assert not re.search("user:|sec|ret@", problem)


@pytest.mark.parametrize("name", ["FORWARD_CA_FILE", "QUEUE_CA_FILE"])
@pytest.mark.parametrize("content", ["", "no certificate\n"])
def test_a_file_without_certificates_is_named_with_its_setting(
    tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / "ca.pem").write_text(content)

    (problem,) = problems(tmp_path, **{name: "ca.pem"})

    assert problem.startswith(f"{name} must name a file of certificates in PEM form")
    assert str(tmp_path / "ca.pem") in problem


def test_every_mistake_is_reported_at_once(tmp_path: Path) -> None:
    text = "TLS: 1\nHTTP_PORT: x\nhttps_port: 1\nQUEUE_NAME: [a]\nLOG_LEVEL: info\n"

    assert problems(tmp_path, text + "LOG_LEVEL: debug", FAST_PUBLISH="perhaps") == (
        "QUEUE_NAME (env.yml, line 4) must be one plain or quoted value.",
        "LOG_LEVEL (env.yml, line 6) is given twice: remove one.",
        "HTTP_PORT must be a number from 1 to 65535, not 'x'.",
        "'https_port' is not a setting: did you mean HTTPS_PORT?",
        "FAST_PUBLISH must be 1 or 0, true or false, yes or no, not 'perhaps'.",
        f"SSL_DIR needs {tmp_path}/ssl/server.crt: put a file there that mspc can "
        "read.",
        f"SSL_DIR needs {tmp_path}/ssl/server.key: put a file there that mspc can "
        "read.",
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- a", "must consist of lines"),
        ("text", "must consist of lines"),
        ("a: b: c", "line 1: mapping values are not allowed here"),
        ("TLS: 1\nx: 'y", "line 2: "),
        ("TLS: 1\n---\nTLS: 0", "another document"),
        ("x: " + "[" * 600, "is not valid YAML"),
        ("\x01", "is not valid YAML"),
        ("QUEUE_NAME: {a: b}", "one plain or quoted value"),
        ("QUEUE_NAME: !secret x", "one plain or quoted value"),
        ("? [a]\n: b", "one plain or quoted value"),
        ("<<: {TLS: 1}", "one plain or quoted value"),
    ],
)
def test_what_is_not_a_flat_mapping_is_a_mistake(
    tmp_path: Path, text: str, expected: str
) -> None:
    assert expected in " ".join(problems(tmp_path, text))


def test_a_file_that_is_not_utf_8_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "env.yml").write_bytes(b"QUEUE_NAME: \xff")

    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load_config(None, {}, tmp_path)


def test_secrets_are_in_no_sentence_and_no_summary(tmp_path: Path) -> None:
    secret = {"AUTHORIZATION_KEY": "s3cret", "RABBITMQ_DEFAULT_PASS": "s3cret"}
    config = load(tmp_path, QUEUE_SCHEME="amqp", **secret)
    wrong = {name: f"{value}\n" for name, value in secret.items()}

    assert "s3cret" not in describe(config)
    assert "s3cret" not in repr(config)
    assert "s3cret" not in " ".join(problems(tmp_path, **wrong))


@pytest.mark.parametrize(
    ("scheme", "host", "port", "expected"),
    [
        ("amqp", "a", "", (("a", 5672),)),
        ("amqps", "a", "", (("a", 5671),)),
        ("AMQPS", "a", "5673", (("a", 5673),)),
        ("amqp", "a:1, [::1]:2,[::1]", "3", (("a", 1), ("::1", 2), ("::1", 3))),
    ],
)
def test_brokers(
    tmp_path: Path, scheme: str, host: str, port: str, expected: tuple[Any, ...]
) -> None:
    queue = load(tmp_path, QUEUE_SCHEME=scheme, QUEUE_HOST=host, QUEUE_PORT=port).queue

    assert isinstance(queue, AmqpConfig)
    assert queue.hosts == expected
    assert queue.tls is (scheme.lower() == "amqps")


@pytest.mark.parametrize(
    ("consumers", "prefetch", "held"),
    [("1", 20, 2002), ("100", 130, 2200), ("10000", 10_030, 22_000)],
)
def test_what_is_held_follows_the_consumers(
    tmp_path: Path, consumers: str, prefetch: int, held: int
) -> None:
    queue = load(
        tmp_path, QUEUE_SCHEME="amqp", QUEUE_NUMBER_OF_CONSUMERS=consumers
    ).queue

    assert isinstance(queue, AmqpConfig)
    assert queue.prefetch == prefetch
    assert queue.held_calls == held
    assert queue.held_bytes == 32 * 2**20


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", []),
        ("", DEFAULT_DENIED),
        ("10.0.0.0/8,::1 127.0.0.1", ["10.0.0.0/8", "::1", "127.0.0.1"]),
    ],
)
def test_denied_networks(tmp_path: Path, text: str, expected: list[str]) -> None:
    networks = load(tmp_path, FORWARD_DENY_NETWORKS=text).forward.networks

    assert networks.deny == tuple(map(parse_network, expected))


def test_destinations_are_those_of_the_lanes_however_they_are_written(
    tmp_path: Path,
) -> None:
    written = (
        "https://API.example.com, http://b\u00fccher.de:80 http://[2001:DB8::1]:80"
    )
    config = load(
        tmp_path, "", METRICS_DESTINATIONS=f"{written},https://api.example.com"
    )
    assert config.admin.metrics_destinations == (
        "https://api.example.com:443",
        "http://xn--bcher-kva.de:80",
        "http://[2001:db8::1]:80",
    )


def test_relative_paths_start_at_the_root_absolute_ones_stay(
    tmp_path: Path, certificates: Certificates
) -> None:
    (tmp_path / "ca.pem").write_bytes(certificates.server.crt.read_bytes())
    config = load(
        tmp_path, "LOG_FILE: /var/log/x\nDATA_DIR: ./d\nFORWARD_CA_FILE: ca.pem"
    )

    assert config.log.file == Path("/var/log/x")
    assert config.queue == SqliteConfig(tmp_path / "d/queue.db")
    assert config.forward.ca_file == tmp_path / "ca.pem"
    assert load(tmp_path, "FILE_LOG_ENABLED: 0").log.file is None


@pytest.mark.parametrize(
    ("settings", "free"),
    [
        ("ADMIN_PORT: 8008", False),
        ("ADMIN_PORT: 8008\nADMIN_HOST: 0.0.0.0", False),
        ("ADMIN_PORT: 8008\nHTTP_HOST: '::'", False),
        ("ADMIN_PORT: 8008\nADMIN_HOST: '::1'", True),
        ("ADMIN_PORT: 8008\nHTTP_HOST: 10.0.0.1", True),
        ("ADMIN_PORT: 8008\nADMIN: 0", True),
        ("ADMIN_PORT: 8009", True),
    ],
)
def test_each_door_has_a_port_of_its_own(
    tmp_path: Path, settings: str, free: bool
) -> None:
    if free:
        load(tmp_path, settings)
    else:
        told = ("HTTP_PORT and ADMIN_PORT must differ.",)
        assert problems(tmp_path, settings) == told


def test_who_may_only_look_has_a_key_of_their_own(tmp_path: Path) -> None:
    one, other = 16 * "a", 16 * "b"
    load(tmp_path, f"ADMIN_KEY: {one}\nREAD_KEY: {other}")
    assert problems(tmp_path, f"ADMIN_KEY: {one}\nREAD_KEY: {one}") == (
        "READ_KEY and ADMIN_KEY must differ: READ_KEY may look and change nothing.",
    )


def test_tls_needs_both_files_and_two_ports(tmp_path: Path) -> None:
    (tmp_path / "ssl").mkdir()
    (tmp_path / "ssl/server.crt").touch()
    (tmp_path / "ssl/server.key").touch()

    assert load(tmp_path, "TLS: 1").http.tls
    assert load(tmp_path, "TLS: 1\nHTTP_PORT: 8009\nREDIRECT_TO_TLS: 0").http.tls
    assert problems(tmp_path, "TLS: 1\nHTTP_PORT: 8009") == (
        "HTTP_PORT and HTTPS_PORT must differ.",
    )


FILES = [
    ({"FORWARD_CA_FILE": "{}/ca.pem"}, ["FORWARD_CA_FILE needs {}/ca.pem"]),
    ({"QUEUE_CA_FILE": "{}/ca.pem"}, ["QUEUE_CA_FILE needs {}/ca.pem"]),
    (
        {"TLS": "1", "SSL_DIR": "{}"},
        ["SSL_DIR needs {}/server.crt", "SSL_DIR needs {}/server.key"],
    ),
]


@pytest.mark.parametrize(("settings", "told"), FILES)
def test_a_file_that_mspc_may_not_look_for(
    tmp_path: Path, settings: dict[str, str], told: list[str]
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    given = {name: text.format(closed) for name, text in settings.items()}

    with without_rights(closed), pytest.raises(ConfigError) as caught:
        load_config(None, given, NOWHERE)

    assert [one.partition(":")[0] for one in caught.value.problems] == [
        one.format(closed) for one in told
    ]


@pytest.mark.parametrize(("settings", "told"), FILES)
def test_a_file_that_no_disk_can_have(
    settings: dict[str, str], told: list[str]
) -> None:
    long = "/" + 300 * "a"
    given = {name: text.format(long) for name, text in settings.items()}

    with pytest.raises(ConfigError) as caught:
        load_config(None, given, NOWHERE)

    assert [one.partition(":")[0] for one in caught.value.problems] == [
        one.format(long) for one in told
    ]


def test_remarks_tell_what_somebody_should_know(tmp_path: Path) -> None:
    assert load(tmp_path, "AUTHORIZATION_KEY: k").remarks == ()
    text = "RABBITMQ_HIPE_COMPILE: 1\nFORWARD_VERIFY_TLS: 0"
    assert [remark.split()[0] for remark in load(tmp_path, text).remarks] == [
        "AUTHORIZATION_KEY",
        "FORWARD_VERIFY_TLS",
        "RABBITMQ_HIPE_COMPILE",
    ]


def test_the_summary_is_one_line(tmp_path: Path) -> None:
    text = describe(
        load(tmp_path, QUEUE_SCHEME="amqps", QUEUE_HOST="[::1],b", HTTP_PORT="81")
    )

    assert "amqps://[::1]:5671,b:5671" in text
    assert "http 81 on 0.0.0.0" in text
    assert "\n" not in text


def test_the_sample_is_valid_and_documents_every_setting() -> None:
    sample = PROJECT / "env.dist.yml"
    config = load_config(sample, {}, NOWHERE)
    lines = sample.read_text().splitlines()
    written = [line.removeprefix("# ").partition(":")[0] for line in lines]

    assert isinstance(config.queue, AmqpConfig)
    assert config.queue.hosts == (("queue", 5672),)
    assert config.auth.max_age_seconds == 300
    assert not config.http.tls
    assert [name for name in NAMES if name not in written] == []


def test_the_sample_can_be_read_by_compose() -> None:
    for line in (PROJECT / "env.dist.yml").read_text().splitlines():
        assert not line or line.startswith("# ") or line == "#" or " #" not in line
        if line and not line.startswith("#"):
            name, colon, _ = line.partition(": ")
            assert name in NAMES
            assert colon


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=20)))
def test_no_value_gives_anything_but_a_config_or_sentences(
    environ: dict[str, str],
) -> None:
    try:
        describe(load_config(None, environ, NOWHERE))
    except ConfigError as exc:
        found = exc.problems
    else:
        return
    assert found
    assert all(problem.endswith(".") for problem in found)
