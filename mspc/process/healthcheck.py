"""Asks the service on this machine whether it is alive: a container's HEALTHCHECK."""

import http.client
import ssl

from mspc.settings.config import HttpConfig

TIMEOUT_SECONDS = 5.0
EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104


def check(config: HttpConfig) -> str | None:
    """Asks for /health/live: None when it is answered 200, else what happened."""
    host = EVERY_ADDRESS.get(config.host, config.host)
    connection: http.client.HTTPConnection
    if config.tls:
        # It is our own listener: whatever certificate it shows is the right one.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(
            host, config.https_port, timeout=TIMEOUT_SECONDS, context=context
        )
    else:
        connection = http.client.HTTPConnection(
            host, config.port, timeout=TIMEOUT_SECONDS
        )
    place = f"[{host}]" if ":" in host else host
    asked = f"http{'s' if config.tls else ''}://{place}:{connection.port}/health/live"
    try:
        connection.request("GET", "/health/live")
        status = connection.getresponse().status
    except OSError as exc:
        reason = exc.strerror or str(exc)
        return f"{asked} gives no answer: {reason}. Does mspc run with these settings?"
    except http.client.HTTPException as exc:
        return f"{asked} gives no answer in HTTP: {str(exc)[:100]!r}."
    finally:
        connection.close()
    return None if status == http.client.OK else f"{asked} answers {status}."
