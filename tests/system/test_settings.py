"""Mistakes that keep mspc from starting: exit code 2 and a sentence, no traceback."""

import re
import ssl
from pathlib import Path

import pytest

from tests.conftest import StartMspc
from tests.support.certificates import Certificates
from tests.support.children import free_port
from tests.support.process import MspcProcess
from tests.support.rabbitmq import Broker
from tests.support.target import Target


def refused(mspc: MspcProcess) -> list[str]:
    """Waits for the end that a wrong setting must have; the lines it printed."""
    assert mspc.wait() == 2, mspc.output
    assert "Traceback" not in mspc.output
    return mspc.output.splitlines()


def naming(lines: list[str], name: str) -> str:
    """The one line that names `name`."""
    found = [line for line in lines if re.search(rf"(?<![A-Z_]){name}(?![A-Z_])", line)]
    assert len(found) == 1, lines
    return found[0]


WRONG = {
    "QUEUE_SCHEME": ("redis", "sqlite or amqp or amqps"),
    "QUEUE_HOST": ("a b", "host:port"),
    "QUEUE_PORT": ("70000", "1 to 65535"),
    "QUEUE_NAME": ("amq.mine", "amq."),
    "QUEUE_TYPE": ("stream", "quorum or classic"),
    "QUEUE_NUMBER_OF_CONSUMERS": ("0", "a number from 1"),
    "REQUEUE_FAILED_AFTER_MILLISECONDS": ("-5", "'-5'"),
    "RABBITMQ_HIPE_COMPILE": ("2", "1 or 0"),
    "HTTP_PORT": ("http", "1 to 65535"),
    "HTTPS_PORT": ("65536", "1 to 65535"),
    "FAST_PUBLISH": ("maybe", "1 or 0"),
    "TLS": ("2", "1 or 0"),
    "REDIRECT_TO_TLS": ("-", "1 or 0"),
    "MAX_REQUEST_BYTES": ("1e6", "'1e6'"),
    "LOG_FILE_MAX_BYTES": ("64M", "'64M'"),
    "LOG_FILES_KEPT": ("-1", "'-1'"),
    "LOG_FORMAT": ("xml", "text or json"),
    "LOG_LEVEL": ("loud", "debug or info or warning or error"),
    "AUTHORIZATION_HEADER": ("X Y", "a header name"),
    "AUTHORIZATION_MAX_AGE_SECONDS": ("1.5", "'1.5'"),
    "FORWARD_DENY_NETWORKS": ("10.0.0.0/33", "10.0.0.0/33"),
    "FORWARD_ALLOW_NETWORKS": ("localhost", "localhost"),
    "FORWARD_TIMEOUT_SECONDS": ("soon", "'soon'"),
    "SHUTDOWN_TIMEOUT_SECONDS": ("-1", "'-1'"),
}


def test_each_wrong_value_has_its_line(mspc_process: StartMspc) -> None:
    settings = {name: value for name, (value, _) in WRONG.items()}
    lines = refused(mspc_process(settings, wait=False))
    assert len(lines) == len(WRONG), lines
    for name, (_, part) in WRONG.items():
        (line,) = [line for line in lines if line.startswith(f"{name} must be ")]
        assert part in line


@pytest.mark.parametrize("name", ["QUEUE_NUMBER_OF_CONSUMERS", "FAST_PUBLISH"])
def test_one_wrong_value(mspc_process: StartMspc, name: str) -> None:
    (line,) = refused(mspc_process({name: "many"}, wait=False))
    assert line.startswith(name)
    assert "'many'" in line


def test_every_mistake_is_reported_at_once(mspc_process: StartMspc) -> None:
    yaml = """
        QUEUE_NUMBER_OF_CONSUMERS: three
        QUEUE_SHEME: sqlite
        FAST_PUBLISH: [1]
        NONSENSE_BEYOND_REPAIR: 1
        """
    settings = {"LOG_LEVEL": "loud", "TLS": "perhaps"}
    lines = refused(mspc_process(settings, yaml=yaml, wait=False))
    assert "three" in naming(lines, "QUEUE_NUMBER_OF_CONSUMERS")
    assert "did you mean QUEUE_SCHEME?" in naming(lines, "QUEUE_SHEME")
    assert "line 4" in naming(lines, "FAST_PUBLISH")
    assert "remove it" in naming(lines, "NONSENSE_BEYOND_REPAIR")
    assert "loud" in naming(lines, "LOG_LEVEL")
    assert "perhaps" in naming(lines, "TLS")
    assert len(lines) == 6


@pytest.mark.parametrize(
    ("yaml", "part"),
    [
        ("LOG_LEVEL: info\nTLS: 'no\n", "not valid YAML, line"),
        ("- LOG_LEVEL\n", "KEY: value"),
        ("LOG_LEVEL\n", "KEY: value"),
        ("\tLOG_LEVEL: info\n", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_settings(
    mspc_process: StartMspc, yaml: str, part: str
) -> None:
    mspc = mspc_process(yaml=yaml, wait=False)
    (line,) = refused(mspc)
    assert line.startswith(str(mspc.config_file))
    assert part in line


def test_a_file_that_is_not_there(mspc_process: StartMspc, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.yml")
    (line,) = refused(mspc_process(arguments=("--config", missing), wait=False))
    assert line.startswith(f"{missing} cannot be read")


def test_the_environment_wins_over_the_file(
    mspc_process: StartMspc, tmp_path: Path
) -> None:
    """And --config over MSPC_CONFIG; values may be quoted, empty ones are defaults."""
    named = tmp_path / "named.yml"
    named.write_text('LOG_LEVEL: loud\nQUEUE_NUMBER_OF_CONSUMERS: "7"\nTLS:\n')
    mspc = mspc_process(
        {"LOG_LEVEL": "info"},
        yaml="QUEUE_NUMBER_OF_CONSUMERS: 5",
        arguments=("--config", str(named)),
    )
    mspc.wait_for_log("7 consumers")


@pytest.mark.parametrize("missing", ["server.crt", "server.key"])
def test_tls_needs_a_certificate(
    mspc_process: StartMspc, tmp_path: Path, missing: str
) -> None:
    for name in {"server.crt", "server.key"} - {missing}:
        (tmp_path / name).write_text("anything")
    settings = {"TLS": "1", "SSL_DIR": str(tmp_path)}
    assert missing in naming(refused(mspc_process(settings, wait=False)), "SSL_DIR")


def test_tls_needs_a_proper_certificate(
    mspc_process: StartMspc, tmp_path: Path
) -> None:
    for name in ("server.crt", "server.key"):
        (tmp_path / name).write_text("no certificate\n")
    settings = {"TLS": "1", "SSL_DIR": str(tmp_path)}
    assert "PEM" in naming(refused(mspc_process(settings, wait=False)), "SSL_DIR")


def test_a_data_directory_that_cannot_be_used(
    mspc_process: StartMspc, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.touch()
    mspc = mspc_process({"DATA_DIR": str(file / "data")}, wait=False)
    assert "cannot be written" in naming(refused(mspc), "DATA_DIR")


def test_a_file_that_is_no_queue(mspc_process: StartMspc, tmp_path: Path) -> None:
    file = tmp_path / "queue.db"
    file.write_bytes(b"something else entirely" * 1_000)
    mspc = mspc_process({"DATA_DIR": str(tmp_path)}, wait=False)
    assert str(file) in naming(refused(mspc), "DATA_DIR")
    assert file.read_bytes().startswith(b"something else")


def test_a_second_instance_on_the_same_directory(
    mspc_process: StartMspc, target: Target
) -> None:
    first = mspc_process()
    second = mspc_process({"DATA_DIR": str(first.data_dir)}, wait=False)
    assert "in use by another mspc" in naming(refused(second), "DATA_DIR")
    # The first one does not mind.
    assert first.post({"url": target.url("/first")}).status == 202
    target.wait_for(1, "/first")


def test_a_port_in_use(mspc_process: StartMspc) -> None:
    first = mspc_process()
    second = mspc_process({"HTTP_PORT": str(first.http_port)}, wait=False)
    line = naming(refused(second), "HTTP_PORT")
    assert f"{first.http_port} is in use" in line
    assert first.get("/health/ready").status == 200


@pytest.mark.parametrize("kind", ["empty", "text", "key", "DER", "damaged", "folder"])
def test_a_file_that_has_no_certificates(
    mspc_process: StartMspc, certificates: Certificates, tmp_path: Path, kind: str
) -> None:
    pem = certificates.server.crt.read_text()
    contents = {
        "empty": b"",
        "text": b"no certificate\n",
        "key": certificates.server.key.read_bytes(),
        "DER": ssl.PEM_cert_to_DER_cert(pem),
        "damaged": (pem + pem[:200]).encode(),
    }
    file = tmp_path / "ca.pem"
    if kind == "folder":
        file.mkdir()
    else:
        file.write_bytes(contents[kind])
    names = ("FORWARD_CA_FILE", "QUEUE_CA_FILE")
    settings = {"QUEUE_SCHEME": "amqps"} | dict.fromkeys(names, str(file))
    lines = refused(mspc_process(settings, wait=False))
    assert len(lines) == 2
    for name in names:
        assert str(file) in naming(lines, name)


@pytest.mark.parametrize(("exists", "wanted"), [("classic", "quorum")])
def test_a_queue_of_another_type(
    mspc_process: StartMspc,
    rabbitmq: Broker,
    queue_name: str,
    exists: str,
    wanted: str,
) -> None:
    settings = rabbitmq.settings(queue_name)
    first = mspc_process({**settings, "QUEUE_TYPE": exists})
    first.terminate()
    assert first.wait() == 0
    second = mspc_process({**settings, "QUEUE_TYPE": wanted}, wait=False)
    line = next(line for line in refused(second) if "mspc stops" in line)
    assert f"QUEUE_TYPE: the queue {queue_name} " in line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RABBITMQ_DEFAULT_PASS", "wrong-password"),
        ("RABBITMQ_DEFAULT_USER", "nobody"),
        ("RABBITMQ_DEFAULT_VHOST", "nowhere"),
    ],
)
def test_what_rabbitmq_refuses(
    mspc_process: StartMspc, rabbitmq: Broker, queue_name: str, name: str, value: str
) -> None:
    settings = {**rabbitmq.settings(queue_name), name: value}
    lines = refused(mspc_process(settings, wait=False))
    naming([line for line in lines if "mspc stops" in line], name)
    assert "wrong-password" not in "".join(lines)


def test_the_version(mspc_process: StartMspc) -> None:
    mspc = mspc_process(arguments=("--version",), wait=False)
    assert mspc.wait() == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", mspc.output)


@pytest.mark.parametrize("name", ["QUEUE_PORT", "HTTP_PORT"])
def test_a_service_link_of_kubernetes_is_not_taken(
    mspc_process: StartMspc, name: str
) -> None:
    settings = {name: "tcp://10.96.0.7:5672"}
    yaml = ""
    if name == "HTTP_PORT":
        yaml = f"HTTP_PORT: {free_port()}"
    mspc = mspc_process(settings, yaml=yaml, wait=False)
    mspc.wait_for_log(rf"WARNING {name} in the environment is .*enableServiceLinks")
    mspc.wait_for_log("INFO Listening on ")


def test_check_says_why_it_fails(mspc_process: StartMspc) -> None:
    mspc = mspc_process(arguments=("--check",), wait=False)
    assert mspc.wait() == 1
    (line,) = mspc.output.splitlines()
    assert line.startswith(f"http://127.0.0.1:{mspc.http_port}/health/live gives no")
