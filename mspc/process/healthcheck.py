"""Asks the service on this machine whether it is alive: a container's HEALTHCHECK."""

import http.client
import ssl

from mspc.settings.config import HttpConfig

TIMEOUT_SECONDS = 5.0
EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104


def check(config: HttpConfig) -> int:
    """0 when GET /health/live is answered 200, else 1."""
    host = EVERY_ADDRESS.get(config.host, config.host)
    connection: http.client.HTTPConnection
    if config.tls:
        # It is our own listener: whatever certificate it shows is the right one.
        context = ssl._create_unverified_context()  # noqa: S323
        connection = http.client.HTTPSConnection(
            host, config.https_port, timeout=TIMEOUT_SECONDS, context=context
        )
    else:
        connection = http.client.HTTPConnection(
            host, config.port, timeout=TIMEOUT_SECONDS
        )
    try:
        connection.request("GET", "/health/live")
        return 0 if connection.getresponse().status == http.client.OK else 1
    except (OSError, http.client.HTTPException):
        return 1
    finally:
        connection.close()
