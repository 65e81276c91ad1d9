"""Listening on every address that a name has."""

import errno
import logging
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mspc.errors import ConfigError
from mspc.serving import binding
from mspc.serving.binding import bound_sockets
from mspc.serving.server import Server
from mspc.settings.config import HttpConfig
from tests.integration.serving.harness import GET, LOCAL, SOON, App, Client, Start
from tests.support.certificates import Certificates

OTHER = "127.0.0.2"  # Linux has all of 127.0.0.0/8
ABSENT = "198.51.100.77"  # for documentation: RFC 5737

Named = Callable[..., str]


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Iterator[Named]:
    """A name that has the addresses given, as /etc/hosts would have it."""
    resolve = socket.getaddrinfo

    def named(*addresses: str) -> str:
        def getaddrinfo(host: str, *args: object, **more: object) -> object:
            asked = addresses if host == "mspc.test" else (host,)
            return [
                found
                for address in asked
                for found in resolve(address, *args, **more)  # type: ignore[arg-type]
            ]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        return "mspc.test"

    yield named
    monkeypatch.undo()


def ask(address: str, port: int | None) -> int:
    client = Client(port, socket.create_connection((address, port or 0), timeout=SOON))
    try:
        return client.ask(GET).status
    finally:
        client.close()


@pytest.mark.parametrize(
    "addresses",
    [
        (LOCAL, OTHER),
        pytest.param(
            ("::1", LOCAL),
            marks=pytest.mark.skipif(not has_ipv6(), reason="there is no IPv6"),
        ),
        (LOCAL, LOCAL, OTHER),
        ("0.0.0.0",),
    ],
)
def test_each_address_is_listened_on(
    start: Start, named: Named, addresses: tuple[str, ...]
) -> None:
    server = start(host=named(*addresses))
    port = server.ports.http
    assert port
    for address in addresses:
        assert ask(address, port) == 200
    server.stop(SOON)
    for address in addresses:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address, port), timeout=SOON)


@pytest.mark.skipif(not has_ipv6(), reason="there is no IPv6")
def test_both_kinds_of_every_address(start: Start, named: Named) -> None:
    server = start(host=named("::", "0.0.0.0"))
    assert ask("::1", server.ports.http) == ask(LOCAL, server.ports.http) == 200


def test_the_log_names_each_address(
    start: Start, named: Named, caplog: pytest.LogCaptureFixture
) -> None:
    port = start(host=named(LOCAL, OTHER)).ports.http
    for address in (LOCAL, OTHER):
        assert f"Listening on http://{address}:{port}" in caplog.text


def test_https_and_its_redirect(
    start: Start, named: Named, ssl_dir: Path, certificates: Certificates
) -> None:
    server = start(host=named(LOCAL, OTHER), tls=True, ssl_dir=ssl_dir)
    server.reload()
    for address in (LOCAL, OTHER):
        assert ask(address, server.ports.http) == 307
        plain = socket.create_connection((address, server.ports.https or 0), SOON)
        context = certificates.server.client_context()
        with context.wrap_socket(plain, server_hostname="localhost") as secure:
            secure.sendall(GET)
            assert secure.recv(100).startswith(b"HTTP/1.1 200 OK")


def test_an_address_that_the_machine_has_not(
    start: Start, named: Named, caplog: pytest.LogCaptureFixture
) -> None:
    server = start(host=named(ABSENT, LOCAL))
    assert ask(LOCAL, server.ports.http) == 200
    (record,) = [r for r in caplog.records if ABSENT in r.getMessage()]
    assert record.levelno == logging.INFO
    assert "The other addresses are listened on." in record.getMessage()


def test_no_address_at_all(named: Named) -> None:
    with pytest.raises(ConfigError) as caught:
        bound_sockets("HTTP_PORT", named(ABSENT, "203.0.113.77"), 0)
    assert str(caught.value) == (
        f"HTTP_HOST: mspc.test ({ABSENT}) cannot be listened on: Cannot assign "
        "requested address."
    )


def test_a_port_in_use_on_one_address(named: Named) -> None:
    with socket.socket() as taken:
        taken.bind((OTHER, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            bound_sockets("HTTP_PORT", named(LOCAL, OTHER), port)
        assert str(caught.value).startswith(
            f"HTTP_PORT: {port} is in use on {OTHER}: stop what listens on it,"
        )
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((LOCAL, port), timeout=SOON)


@pytest.mark.parametrize("failures", [1, binding.FREE_PORT_ATTEMPTS])
def test_a_free_port_is_one_that_is_free_everywhere(
    named: Named, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    listening = binding._listening
    left = failures
    tried: list[int] = []

    def listen(
        family: socket.AddressFamily, address: str, port: int, several: bool
    ) -> socket.socket:
        nonlocal left
        if address == OTHER:
            tried.append(port)
            left -= 1
            if left >= 0:
                raise OSError(errno.EADDRINUSE, "Address already in use")
        return listening(family, address, port, several)

    monkeypatch.setattr(binding, "_listening", listen)
    host = named(LOCAL, OTHER)
    if failures == binding.FREE_PORT_ATTEMPTS:
        with pytest.raises(ConfigError, match=f"is in use on {OTHER}"):
            bound_sockets("HTTP_PORT", host, 0)
        return
    sockets = bound_sockets("HTTP_PORT", host, 0)
    assert {sock.getsockname()[1] for sock in sockets} == {tried[-1]}
    assert len(tried) == 2
    for sock in sockets:
        sock.close()


def test_the_spelling_of_an_address_is_told(start: Start) -> None:
    port = start().ports.http
    with pytest.raises(ConfigError, match=rf"^HTTP_PORT: {port} is in use on {LOCAL}"):
        Server(HttpConfig(host="127.1", port=port or 0), App()).bind()


def test_a_second_instance_is_told_how_to_choose_another_port_for_operators(
    start: Start,
) -> None:
    port = start().ports.http or 0
    server = Server(HttpConfig(host=LOCAL, port=port), App(), setting="ADMIN_PORT")
    with pytest.raises(ConfigError) as caught:
        server.bind()
    assert str(caught.value) == (
        f"ADMIN_PORT: {port} is in use: stop what listens on it, or choose another"
        " port. ADMIN_PORT in env.yml or in the environment sets it for each instance;"
        " ADMIN: 0 does without the operators' door."
    )


def test_an_address_of_the_operators_door_that_is_not_here() -> None:
    with pytest.raises(ConfigError, match=f"^ADMIN_HOST: {ABSENT} cannot be listened"):
        bound_sockets("ADMIN_PORT", ABSENT, 0)
    with pytest.raises(ConfigError, match=r"^ADMIN_HOST: nowhere\.invalid is unknown"):
        bound_sockets("ADMIN_PORT", "nowhere.invalid", 0)
