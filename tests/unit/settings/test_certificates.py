"""Whom TLS trusts, and what is said about a file that cannot tell."""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mspc.settings.certificates import NoCertificates, trusting
from tests.support.certificates import Certificates

BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"

Content = Callable[[str, str], bytes]


def der(crt: str, _key: str) -> bytes:
    return x509.load_pem_x509_certificate(crt.encode()).public_bytes(Encoding.DER)


WRONG: dict[str, tuple[Content, str]] = {
    "empty": (lambda *_: b"", "is empty"),
    "blank": (lambda *_: b" \r\n\n", "is empty"),
    "text": (lambda *_: b"no certificate\n", "has none"),
    "binary": (lambda *_: bytes(range(256)) * 20, "has none"),
    "key": (lambda _, key: key.encode(), "a private key and no certificate"),
    "DER": (der, "seems to be DER"),
    "UTF-16": (lambda crt, _: crt.encode("utf-16"), "has none"),
    "truncated": (lambda crt, _: crt[:200].encode(), "damaged"),
    "one line": (lambda crt, _: crt.replace("\n", "").encode(), "damaged"),
    "second one": (lambda crt, _: (crt + crt[:200]).encode(), "damaged"),
    "junk": (lambda *_: f"{BEGIN}\nAAAA\n{END}\n".encode(), "damaged"),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ca.pem"


@pytest.mark.parametrize("kind", WRONG)
def test_a_file_without_certificates(
    file: Path, certificates: Certificates, kind: str
) -> None:
    content, expected = WRONG[kind]
    pair = certificates.server
    file.write_bytes(content(pair.crt.read_text(), pair.key.read_text()))
    with pytest.raises(NoCertificates) as caught:
        trusting(file)
    said = str(caught.value)
    assert said.startswith("must name a file of certificates in PEM form")
    assert said.endswith(".")
    assert f"{file} " in said
    assert expected in said
    assert "\n" not in said


def test_a_file_that_cannot_be_read(file: Path) -> None:
    with pytest.raises(NoCertificates, match="No such file"):
        trusting(file)
    file.mkdir()
    with pytest.raises(NoCertificates, match="Is a directory"):
        trusting(file)


@pytest.mark.parametrize("around", ["{}", "\ufeff{}", "# mine\n{}the end", "{0}{0}"])
def test_a_file_with_certificates(
    file: Path, certificates: Certificates, around: str
) -> None:
    file.write_text(around.format(certificates.server.crt.read_text()))
    (trusted,) = trusting(file).get_ca_certs()
    assert trusted["subject"] == ((("commonName", "localhost"),),)


def test_a_file_takes_the_place_of_the_systems_certificates(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.make("system").crt))
    assert len(trusting(None).get_ca_certs()) >= 1
    (trusted,) = trusting(certificates.server.crt).get_ca_certs()
    own = x509.load_pem_x509_certificate(certificates.server.crt.read_bytes())
    assert int(str(trusted["serialNumber"]), 16) == own.serial_number


def test_it_is_the_same_on_every_python_and_in_every_environment(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Where it cannot be written, Python's own contexts cannot even be made.
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "none" / "keys"))
    for file in (None, certificates.server.crt):
        context = trusting(file)
        assert context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN
        assert not context.verify_flags & ssl.VERIFY_X509_STRICT
        assert context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
