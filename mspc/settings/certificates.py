"""Whom connections over TLS trust: the system's certificates, or those of a file."""

import ssl
from pathlib import Path

MAX_LOOKED_AT_BYTES = 1_000_000
_DER_SEQUENCE = b"\x30"


class NoCertificates(ValueError):
    """The file cannot be used; the text says what it has, after its setting's name."""


def trusting(file: Path | None) -> ssl.SSLContext:
    """A client's TLS context that trusts `file` alone; None for the system's.

    It is the same on every Python. From 3.13 on, Python's default refuses what RFC 5280
    asks of authorities: many a private one has no key identifiers. And it takes an
    intermediate authority for trusted when the file names it, before 3.13 it did not.
    That default also writes the keys of each connection to SSLKEYLOGFILE, and fails
    where it cannot. And Debian's Python leaves the oldest version to OpenSSL; a
    system that wants a newer one than TLS 1.2 gets it.

    Raises:
        NoCertificates: there is no certificate in `file`, or one that is damaged.
    """
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if context.minimum_version < ssl.TLSVersion.TLSv1_2:
            context.minimum_version = ssl.TLSVersion.TLSv1_2
        if file is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(file)
    except OSError as exc:  # ssl.SSLError is one
        raise NoCertificates(_sentence(file, exc)) from exc
    if file is not None and not context.cert_store_stats()["x509"]:
        raise NoCertificates(_sentence(file))
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _sentence(file: Path | None, exc: OSError | None = None) -> str:
    wanted = (
        "must name a file of certificates in PEM form (-----BEGIN CERTIFICATE-----)"
    )
    if file is None or (exc is not None and not isinstance(exc, ssl.SSLError)):
        return f"{wanted}: {file} cannot be read ({exc and exc.strerror})."
    try:
        with file.open("rb") as stream:
            text = stream.read(MAX_LOOKED_AT_BYTES)
    except OSError as again:
        return f"{wanted}: {file} cannot be read ({again.strerror})."
    if not text.strip():
        found = "is empty"
    elif b"-----BEGIN CERTIFICATE-----" in text:
        found = "has one that is damaged"
    elif b"PRIVATE KEY-----" in text:
        found = "has a private key and no certificate"
    elif text.startswith(_DER_SEQUENCE):
        found = "seems to be DER, which `openssl x509 -inform DER` makes PEM of"
    else:
        found = "has none"
    return f"{wanted}: {file} {found}."
