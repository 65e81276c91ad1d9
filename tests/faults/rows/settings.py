"""Mistakes in the configuration, and certificates that change under load."""

import http.client
import json
import re
import signal
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import gevent
from gevent.event import Event

from tests.faults.checker import Sent
from tests.faults.load import call_to
from tests.faults.rows import QUORUM, SQLITE, Run, Service, row
from tests.support.certificates import Certificates

AT_ONCE = 4
END_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Mistake:
    """One wrong configuration.

    Attributes:
        name: what the one sentence must name.
        settings: on top of right ones.
        yaml: the settings file.
    """

    name: str
    settings: Mapping[str, str] = field(default_factory=dict)
    yaml: str = ""


# Missing and empty are no mistakes: an empty value is the default.
NUMBERS = ("0", "-1", "three", "1.5", "1e3", "٣", "9" * 30, "0x10", "1_000")
WRONG: dict[str, tuple[str, ...]] = {
    "QUEUE_NUMBER_OF_CONSUMERS": NUMBERS,
    "REQUEUE_FAILED_AFTER_MILLISECONDS": NUMBERS,
    "MAX_REQUEST_BYTES": NUMBERS,
    "HTTP_PORT": (*NUMBERS[:3], "65536"),
    "HTTPS_PORT": ("0", "70000"),
    "QUEUE_PORT": ("0", "70000", "amqp"),
    "FORWARD_TIMEOUT_SECONDS": ("0", "-1", "soon", "601"),
    "FORWARD_CONNECT_TIMEOUT_SECONDS": ("0", "inf", "nan"),
    "SHUTDOWN_TIMEOUT_SECONDS": ("-1", "long"),
    "AUTHORIZATION_MAX_AGE_SECONDS": ("-1", "1.5"),
    "AUTHORIZATION_HEADER": ("X Y", "X:Y", "Ž", "X_Authorization", "Content-Length"),
    "AUTHORIZATION_KEY": ("one\ntwo",),
    "QUEUE_SCHEME": ("redis", "http", "amqp://"),
    "QUEUE_HOST": ("a b", "amqp://host", "host:port"),
    "QUEUE_NAME": ("amq.mine", "x" * 300),
    "QUEUE_TYPE": ("stream", "mirrored"),
    "QUEUE_CA_FILE": ("missing.pem", "/proc/version"),
    "FORWARD_CA_FILE": ("missing.pem", ".", "/proc/version", "/dev/zero"),
    "FORWARD_DENY_NETWORKS": ("10.0.0.0/33", "localhost"),
    "FORWARD_ALLOW_NETWORKS": ("::/129",),
    "TLS": ("2", "perhaps"),
    "REDIRECT_TO_TLS": ("-",),
    "SPOOL": ("maybe",),
    "FAST_PUBLISH": ("2",),
    "FILE_LOG_ENABLED": ("log",),
    "LOG_LEVEL": ("loud",),
    "HTTP_HOST": ("192.0.2.1", "a b"),
}
FILES = {
    "QUEUE_SHEME": "QUEUE_SHEME: sqlite\n",
    "LOG_LEVEL": "LOG_LEVEL: [info]\n",
    "TLS": "TLS: '1'\nTLS: '0'\n",
    "env.yml": "TLS: 'no\n",
    "YAML": "\tTLS: 1\n",
    "KEY: value": "- TLS\n",
}


def mistakes(run: Run, port_in_use: int) -> list[Mistake]:
    found = [
        Mistake(name, {name: text}) for name, texts in WRONG.items() for text in texts
    ]
    found += [Mistake(name, yaml=yaml) for name, yaml in FILES.items()]
    found.append(Mistake("HTTP_PORT", {"HTTP_PORT": str(port_in_use)}))
    port = {"HTTP_PORT": "18009", "HTTPS_PORT": "18009", "TLS": "1"}
    pair = pairs(run.directory)
    found.append(Mistake("HTTPS_PORT", port | {"SSL_DIR": str(pair["right"])}))
    found += [
        Mistake("SSL_DIR", {"TLS": "1", "SSL_DIR": str(directory)})
        for name, directory in pair.items()
        if name != "right"
    ]
    file = run.directory / "file"
    file.touch()
    found.append(Mistake("DATA_DIR", {"DATA_DIR": str(file / "data")}))
    database = run.directory / "junk"
    database.mkdir()
    (database / "queue.db").write_bytes(b"no database" * 1000)
    found.append(Mistake("queue.db", {"DATA_DIR": str(database)}))
    return found


def pairs(directory: Path) -> dict[str, Path]:
    """Directories with a right pair of certificate and key, and with wrong ones."""
    names = ("right", "other-key", "junk", "empty", "no-key", "no-certificate", "swap")
    made = {name: directory / f"ssl-{name}" for name in names}
    for path in made.values():
        path.mkdir()
        Certificates(path)
    other = Certificates(made["other-key"]).make("other")
    other.key.replace(made["other-key"] / "server.key")
    (made["junk"] / "server.crt").write_text("no certificate\n")
    (made["empty"] / "server.key").write_text("")
    (made["no-key"] / "server.key").unlink()
    (made["no-certificate"] / "server.crt").unlink()
    crt, key = made["swap"] / "server.crt", made["swap"] / "server.key"
    first, second = crt.read_bytes(), key.read_bytes()
    crt.write_bytes(second)
    key.write_bytes(first)
    return made


@row(46, "mistakes in the configuration", queues=(SQLITE,))
def wrong_configuration(run: Run) -> None:
    running = run.service()
    load = run.load(rate=20)
    table = mistakes(run, running.http_port)
    if run.quick:
        table = run.random.sample(table, 16)
    for first in range(0, len(table), AT_ONCE):
        group = [
            (start(run, m, first + n), m)
            for n, m in enumerate(table[first : first + AT_ONCE])
        ]
        for service, mistake in group:
            expect_refused(run, service, mistake)
    load.stop()
    run.remark(f"{len(table)} mistakes")
    run.drain()


def start(run: Run, mistake: Mistake, number: int) -> Service:
    settings = run.settings() | dict(mistake.settings)
    service = Service(run.directory / f"wrong-{number}", settings)
    service.config_file.write_text(mistake.yaml)
    service.may_end = True
    service.start()
    run.injected()
    return service


def expect_refused(run: Run, service: Service, mistake: Mistake) -> None:
    what = f"{mistake.name} = {mistake.settings or mistake.yaml!r}"
    try:
        code = service.wait(END_SECONDS)
    except AssertionError:
        run.expect(False, f"{what}: mspc runs: {service.output[-300:]}")
        service.kill()
        return
    lines = [line for line in service.output.splitlines() if " INFO " not in line]
    named = [line for line in lines if mistake.name in line]
    run.expect(code == 2, f"{what}: exit code {code}: {lines[-3:]}")
    run.expect(len(named) == 1, f"{what} is named in {len(named)} lines: {lines[-3:]}")
    run.expect("Traceback" not in service.output, f"{what}: a traceback")


# Certificates


@row(47, "certificates renewed and broken under load", queues=(SQLITE, QUORUM))
def certificates(run: Run) -> None:
    ssl_dir = run.directory / "ssl"
    ssl_dir.mkdir()
    made = Certificates(ssl_dir)
    shelf = run.directory / "shelf"
    shelf.mkdir()
    service = run.service(TLS="1", SSL_DIR=str(ssl_dir))
    ending = Event()
    loads = [TlsLoad(run, service, n, ending) for n in range(4)]
    clients = [gevent.spawn(load.run) for load in loads]
    rounds = 2 if run.quick else 15
    try:
        for _ in range(rounds):
            before = shown(service)
            renewed = made.make("server").crt.read_text()
            hang_up(run, service, r"was reloaded")
            run.expect(shown(service) == renewed.strip(), "the new one is not shown")
            run.expect(shown(service) != before, "the old certificate is still shown")
            broken(run, service, ssl_dir, renewed)
    finally:
        ending.set()
        gevent.joinall(clients, timeout=30)
    unknown = run.log.ids("unknown", "fail")
    run.expect(not unknown, f"{len(unknown)} calls were not answered with 202")
    run.remark(f"{rounds} renewals, {len(BREAKS)} broken pairs after each")
    run.drain()


def broken(run: Run, service: Service, ssl_dir: Path, old: str) -> None:
    """No broken pair takes the place of the one in use."""
    crt, key = ssl_dir / "server.crt", ssl_dir / "server.key"
    right = crt.read_bytes(), key.read_bytes()
    for name, damage in BREAKS.items():
        damage(crt, key)
        hang_up(run, service, r"was not reloaded, the old one stays")
        run.expect(shown(service) == old.strip(), f"{name}: another one is shown")
        for path, content in zip((crt, key), right, strict=True):
            path.write_bytes(content)


def _half(crt: Path, key: Path) -> None:
    crt.write_bytes(crt.read_bytes()[:200])


def _other(crt: Path, key: Path) -> None:
    other = Certificates(crt.parent / "..").make("other")
    key.write_bytes(other.key.read_bytes())


BREAKS: dict[str, Callable[[Path, Path], object]] = {
    "half written": _half,
    "the key of another": _other,
    "no key": lambda crt, key: key.unlink(),
    "empty": lambda crt, key: crt.write_bytes(b""),
    "swapped": lambda crt, key: crt.write_bytes(key.read_bytes()),
}


def hang_up(run: Run, service: Service, told: str) -> None:
    count = len(re.findall(told, service.output)) + 1
    service.signal(signal.SIGHUP)
    run.injected()
    service.wait_for_log(told, count=count)


def shown(service: Service) -> str:
    """The certificate that a new client gets."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    address = ("127.0.0.1", service.https_port)
    with (
        socket.create_connection(address, timeout=10) as plain,
        context.wrap_socket(plain) as connection,
    ):
        der = connection.getpeercert(binary_form=True)
    assert der is not None
    return ssl.DER_cert_to_PEM_cert(der).strip()


class TlsLoad:
    """A client over TLS; it keeps its connection for a while, then takes a new one."""

    def __init__(self, run: Run, service: Service, number: int, ending: Event) -> None:
        self._run = run
        self._service = service
        self._number = number
        self._ending = ending
        self._sent = 0

    def run(self) -> None:
        while not self._ending.is_set():
            connection = self._service.connect(timeout=15)
            try:
                for _ in range(10):
                    self._sent += 1
                    self._post(connection)
                    gevent.sleep(0.05)
            finally:
                connection.close()

    def _post(self, connection: http.client.HTTPConnection) -> None:
        call_id = f"tls-{self._number}-{self._sent}"
        content = json.dumps(call_to(self._run.base, call_id)).encode()
        at = monotonic()
        status = 0
        with suppress(OSError, http.client.HTTPException):
            connection.request("POST", "/", content)
            response = connection.getresponse()
            response.read()
            status = response.status
        seconds = monotonic() - at
        self._run.log.add(
            Sent(call_id, "ok" if status == 202 else "unknown", status, at, seconds)
        )
