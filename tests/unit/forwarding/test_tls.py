"""When the certificates of targets' authorities are read."""

import ssl
from pathlib import Path

import pytest

from mspc.forwarding import tls
from mspc.forwarding.tls import ClientContext
from mspc.settings.certificates import NoCertificates, trusting
from mspc.settings.config import ForwardConfig
from tests.support.certificates import Certificates


class Reading:
    """Stands for trusting(): `file` are the system's certificates; None for none."""

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self.times = 0

    def __call__(self, file: Path | None) -> ssl.SSLContext:
        self.times += 1
        if self.file is None:
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return trusting(self.file)


def test_those_of_the_system_are_read_for_the_first_call(
    monkeypatch: pytest.MonkeyPatch, certificates: Certificates
) -> None:
    reading = Reading(certificates.server.crt)
    monkeypatch.setattr(tls, "trusting", reading)
    context = ClientContext(ForwardConfig())
    assert reading.times == 0
    assert context() is context()
    assert reading.times == 1


def test_they_are_read_again_when_they_could_not_be(
    monkeypatch: pytest.MonkeyPatch, certificates: Certificates, tmp_path: Path
) -> None:
    reading = Reading(None)
    monkeypatch.setattr(tls, "trusting", reading)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.server.crt))
    context = ClientContext(ForwardConfig())
    assert not context().cert_store_stats()["x509"]
    reading.file = certificates.server.crt
    assert context().cert_store_stats()["x509"]
    assert context() is context()
    assert reading.times == 2


def test_a_system_without_a_file_of_them_is_not_asked_each_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reading = Reading(None)
    monkeypatch.setattr(tls, "trusting", reading)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    context = ClientContext(ForwardConfig())
    assert context() is context()
    assert reading.times == 1


def test_a_file_of_the_settings_is_read_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(NoCertificates):
        ClientContext(ForwardConfig(ca_file=tmp_path / "gone"))


def test_without_verification_nobody_is_asked(certificates: Certificates) -> None:
    config = ForwardConfig(ca_file=certificates.server.crt, verify_tls=False)
    assert ClientContext(config)().verify_mode == ssl.CERT_NONE
