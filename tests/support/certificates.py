"""Certificates for the TLS tests, made on the spot."""

import datetime as dt
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its key, as PEM files."""

    crt: Path
    key: Path

    @property
    def subject(self) -> x509.Name:
        return x509.load_pem_x509_certificate(self.crt.read_bytes()).subject

    @property
    def private_key(self) -> ec.EllipticCurvePrivateKey:
        key = serialization.load_pem_private_key(self.key.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key

    def server_context(self) -> ssl.SSLContext:
        """For a server that shows this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.crt, self.key)
        return context

    def client_context(self) -> ssl.SSLContext:
        """For a client that trusts this certificate and no other."""
        return ssl.create_default_context(cafile=str(self.crt))


class Certificates:
    """A directory with `server.crt` and `server.key`, and more on request.

    `server` is valid for `localhost` and 127.0.0.1, from yesterday on for ten days.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.server = self.make("server")

    def make(
        self,
        name: str,
        *,
        expired: bool = False,
        hosts: tuple[str, ...] = ("localhost", "127.0.0.1"),
        directory: Path | None = None,
        issuer: Certificate | None = None,
        path_length: int = 0,
    ) -> Certificate:
        """Writes `<name>.crt` and `<name>.key`, with a new key on every call.

        No certificate has key identifiers, as those of many private authorities have
        none. It is its own issuer unless told otherwise.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, hosts[0])])
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.subject if issuer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=10 if expired else 1))
            .not_valid_after(now + dt.timedelta(days=-1 if expired else 10))
            .add_extension(
                x509.SubjectAlternativeName([_general_name(host) for host in hosts]),
                critical=False,
            )
            .add_extension(
                x509.BasicConstraints(ca=True, path_length=path_length), critical=True
            )
        )
        certificate = builder.sign(
            issuer.private_key if issuer else key, hashes.SHA256()
        )
        directory = directory or self.directory
        made = Certificate(directory / f"{name}.crt", directory / f"{name}.key")
        made.crt.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        made.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return made


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
