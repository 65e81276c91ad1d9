"""HTTPS, the redirect to it, and the health check of a container."""

import http.client
import signal
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import StartMspc
from tests.support.certificates import Certificate, Certificates
from tests.support.process import MspcProcess
from tests.support.target import Target


@pytest.fixture
def ssl_dir(tmp_path: Path) -> Path:
    path = tmp_path / "certificates"
    path.mkdir()
    return path


@pytest.fixture
def certificate(certificates: Certificates, ssl_dir: Path) -> Certificate:
    return certificates.make("server", directory=ssl_dir)


@pytest.fixture
def tls(ssl_dir: Path, certificate: Certificate) -> Mapping[str, str]:
    return {"TLS": "1", "SSL_DIR": str(ssl_dir)}


def shown_certificate(mspc: MspcProcess) -> str:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    address = ("127.0.0.1", mspc.https_port)
    with (
        socket.create_connection(address, timeout=10) as plain,
        context.wrap_socket(plain) as connection,
    ):
        shown = connection.getpeercert(binary_form=True)
    assert shown is not None
    return ssl.DER_cert_to_PEM_cert(shown).strip()


def test_a_call_over_tls(
    mspc_process: StartMspc,
    tls: Mapping[str, str],
    certificate: Certificate,
    target: Target,
) -> None:
    mspc = mspc_process(tls)
    client = http.client.HTTPSConnection(
        "localhost", mspc.https_port, timeout=10, context=certificate.client_context()
    )
    try:
        for _ in range(2):
            client.request("POST", "/", b'{"url": "%b"}' % target.url("/s").encode())
            response = client.getresponse()
            assert response.status == 202
            response.read()
    finally:
        client.close()
    target.wait_for(2, "/s")


def test_plain_http_is_redirected(
    mspc_process: StartMspc, tls: Mapping[str, str]
) -> None:
    mspc = mspc_process(tls)
    for method, path in (
        ("POST", "/"),
        ("GET", "/health/live?a=b%20c&d"),
        ("PUT", "/x"),
    ):
        response = mspc.request(method, path, b"{}", tls=False)
        assert response.status == 307
        place = f"https://127.0.0.1:{mspc.https_port}{path}"
        assert response.headers["location"] == place
        assert response.headers["content-type"] == "application/json; charset=UTF-8"
        assert response.json["error"] is True
        assert place in response.json["message"]


def test_without_redirect_plain_http_is_closed(
    mspc_process: StartMspc, tls: Mapping[str, str]
) -> None:
    mspc = mspc_process({**tls, "REDIRECT_TO_TLS": "0"})
    assert mspc.get("/health/live").status == 200
    with pytest.raises(ConnectionRefusedError):
        mspc.request("GET", "/health/live", tls=False)


def test_plain_http_to_the_tls_port_harms_nobody(
    mspc_process: StartMspc, tls: Mapping[str, str]
) -> None:
    mspc = mspc_process(tls)
    with socket.create_connection(("127.0.0.1", mspc.https_port), 10) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert not client.recv(100).startswith(b"HTTP/")
    assert mspc.get("/health/live").status == 200


def test_a_renewed_certificate(
    mspc_process: StartMspc,
    tls: Mapping[str, str],
    certificate: Certificate,
    certificates: Certificates,
    ssl_dir: Path,
) -> None:
    mspc = mspc_process(tls)
    old = certificate.crt.read_text().strip()
    assert shown_certificate(mspc) == old
    kept = mspc.connect()
    try:
        kept.request("GET", "/health/live")
        kept.getresponse().read()

        renewed = certificates.make("server", directory=ssl_dir).crt.read_text().strip()
        assert shown_certificate(mspc) == old
        mspc.signal(signal.SIGHUP)
        mspc.wait_for_log("The certificate in .* was reloaded")
        assert shown_certificate(mspc) == renewed != old

        kept.request("GET", "/health/live")  # still on the old handshake
        assert kept.getresponse().status == 200
    finally:
        kept.close()


@pytest.mark.parametrize("broken", ["no certificate", "another key", "missing"])
def test_a_broken_renewal_keeps_the_old_certificate(
    mspc_process: StartMspc,
    tls: Mapping[str, str],
    certificate: Certificate,
    certificates: Certificates,
    broken: str,
) -> None:
    mspc = mspc_process(tls)
    old = certificate.crt.read_text().strip()
    match broken:
        case "no certificate":
            certificate.crt.write_text("no certificate\n")
        case "another key":
            certificate.key.write_bytes(certificates.server.key.read_bytes())
        case _:
            certificate.key.unlink()
    mspc.signal(signal.SIGHUP)
    mspc.wait_for_log("ERROR The certificate was not reloaded, the old one stays: ")
    assert shown_certificate(mspc) == old


def test_sighup_without_tls(mspc_process: StartMspc) -> None:
    mspc = mspc_process()
    mspc.signal(signal.SIGHUP)
    mspc.wait_for_log("no certificate to reload")
    assert mspc.get("/health/ready").status == 200


@pytest.mark.parametrize("with_tls", [False, True], ids=["http", "https"])
def test_the_health_check(
    mspc_process: StartMspc, tls: Mapping[str, str], with_tls: bool
) -> None:
    mspc = mspc_process({**(tls if with_tls else {}), "AUTHORIZATION_KEY": "key"})
    same = {
        **mspc.settings,
        "HTTP_PORT": str(mspc.http_port),
        "HTTPS_PORT": str(mspc.https_port),
    }

    def check() -> int:
        return mspc_process(same, arguments=("--check",), wait=False).wait()

    assert check() == 0
    mspc.kill()
    assert check() == 1
