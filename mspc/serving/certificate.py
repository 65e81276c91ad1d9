"""The certificate that clients are shown, read at start and again after SIGHUP."""

import ssl
from pathlib import Path

from mspc.errors import ConfigError


def load_context(ssl_dir: Path) -> ssl.SSLContext:
    """Reads `server.crt` and `server.key`, for TLS 1.2 and newer.

    Raises:
        ConfigError: one of them is missing, unreadable or does not fit the other.
    """
    crt, key = ssl_dir / "server.crt", ssl_dir / "server.key"
    for path in (crt, key):
        try:
            path.open("rb").close()
        except OSError as exc:
            raise ConfigError(
                f"SSL_DIR: {path} cannot be read ({exc.strerror}): put the PEM file "
                "there, or set TLS to 0."
            ) from exc
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Requests say themselves where they end. An idle client that goes away, or that is
    # sent away, is no TLS error to be answered by an alert.
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_IGNORE_UNEXPECTED_EOF
    try:
        # A password, even an empty one, keeps OpenSSL from asking on the terminal.
        context.load_cert_chain(crt, key, password="")
    except (OSError, ValueError) as exc:
        if "KEY_VALUES_MISMATCH" in str(exc):
            problem = f"{key} is not the key of {crt}: put a pair there."
        else:
            problem = f"{crt} and {key} must be PEM files, the key without a password."
        raise ConfigError(f"SSL_DIR: {problem}") from exc
    return context
